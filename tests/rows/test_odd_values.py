"""Values that Python, JSON or a column cannot hold as they are: nothing paid for is lost to them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchmill.errors import InvalidTable, InvalidTarget
from batchmill.rows.chunk import Place, TableChunk
from batchmill.rows.frames import spool_frame
from batchmill.rows.join import join
from batchmill.rows.template import Template

SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "number"}, "i": {"type": "integer"}},
}
HERE = Place(name="t.parquet", part=0, start=0, start_in_part=0)
YEAR_14000 = 380_000_000_000


def lines_of(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def through(world, name: str = "o.jsonl", **columns):
    """Take a table from memory to JSON lines and back."""
    world.cut(spool_frame(pa.table(columns), world.blobs, "spool/1/frame"), prompt="{{ a }}")
    world.answer_all()
    return lines_of(world.join(name))


def with_schema(ten, answer, texts, schema=SCHEMA):
    ten.batch = replace(ten.batch, recipe=replace(ten.batch.recipe, schema=schema))
    first = ten.shards[0]
    ten.answer_all()
    return ten.settle(first, [answer(f"{first.id}-{n}", t) for n, t in enumerate(texts)])


# ------------------------------------------------------------------------------- numbers in answers


@pytest.mark.parametrize("name", ["o.csv", "o.parquet", "o.jsonl"])
def test_a_number_too_large_for_its_column_is_empty_there_and_whole_in_the_answer(
    ten, answer, name
):
    huge = "9" * 400
    text = f'{{"n":{huge},"i":{huge}}}'
    with_schema(ten, answer, [text, '{"n":1.5,"i":2}', '{"n":1e300,"i":1e300}'])
    ten.join(name)
    rows = ten.joined()
    assert (rows[0]["n"], rows[0]["i"], rows[0]["answer"]) == (None, None, text)
    assert (rows[1]["n"], rows[1]["i"]) == (1.5, 2)
    assert (rows[2]["n"], rows[2]["i"]) == (1e300, None)


# ------------------------------------------------------------------------------------- fenced answers


@pytest.mark.parametrize(
    "text",
    [
        '```json\n{"n": 1, "i": 2}\n```',
        '```\n{"n": 1, "i": 2}\n```',
        ' \n```JSON \r\n{"n": 1,\n "i": 2}\r\n  ```\n\n',
        '```json{"n": 1, "i": 2}```',
    ],
)
def test_an_answer_in_a_fence_is_judged_and_taken_apart_by_what_is_inside(ten, answer, text):
    shard = with_schema(ten, answer, [text] * 4)
    assert shard.tally.succeeded == 4
    row = ten.joined()[0]
    assert (row["answer"], row["n"], row["i"]) == (text, 1.0, 2)


@pytest.mark.parametrize(
    "text",
    [
        'Here it is: ```json\n{"n": 1}\n```',
        '```json\n{"n": 1}\n``` as you asked',
        '```json\n{"n": 1}\n```\n```json\n{"n": 2}\n```',
        '```json\n{"n": "x"}\n```',
        "```json\n```",
    ],
)
def test_what_is_not_one_whole_fence_around_an_answer_does_not_fit(ten, answer, text):
    shard = with_schema(ten, answer, [text] * 4)
    assert shard.tally.succeeded == 0


def test_an_answer_that_itself_holds_a_fence_is_no_fence(ten, answer):
    schema = {"type": "object", "properties": {"s": {"type": "string"}}}
    text = '```json\n{"s": "a ``` b"}\n```'
    assert with_schema(ten, answer, [text, json.dumps({"s": "```"})], schema).tally.succeeded == 2
    assert [r["s"] for r in ten.joined()[:2]] == ["a ``` b", "```"]


# ------------------------------------------------------------------------- dates Python cannot hold


def test_dates_beyond_pythons_come_out_as_json_lines(world):
    rows = through(
        world,
        a=pa.array([YEAR_14000 * 10**6, 0, None], pa.timestamp("us")),
        z=pa.array([YEAR_14000, 0, 1], pa.timestamp("s", "UTC")),
        d=pa.array([10**7, 0, -(10**7)], pa.date32()),
        e=pa.array([2**62, 1, None], pa.duration("s")),
        n=pa.array([[{"d": 10**7}], [], None], pa.list_(pa.struct([("d", pa.date32())]))),
    )
    assert [r["a"] for r in rows] == ["14011-09-21T03:33:20.000000", "1970-01-01T00:00:00", None]
    assert [r["z"] for r in rows][:2] == ["14011-09-21T03:33:20Z", "1970-01-01T00:00:00Z"]
    assert [r["d"] for r in rows] == ["29349-01-26", "1970-01-01", "-25410-12-06"]
    assert [r["e"] for r in rows] == [f"PT{2**62}S", "PT1S", None]
    assert [r["n"] for r in rows] == [[{"d": "29349-01-26"}], [], None]


@pytest.mark.parametrize("name", ["o.csv", "o.parquet", "o.jsonl"])
@pytest.mark.parametrize("prompt", ["{{ a }}", "{% if a %}{{ a }}{% endif %}"])
def test_dates_beyond_pythons_are_cut_and_joined_in_every_format(world, name, prompt):
    table = pa.table({"a": pa.array([YEAR_14000 * 10**6, 0], pa.timestamp("us"))})
    pq.write_table(table, world.folder / "t.parquet")
    world.cut(str(world.folder / "t.parquet"), prompt=prompt)
    assert world.prompts() == ["14011-09-21 03:33:20.000000", "1970-01-01 00:00:00"]
    world.answer_all()
    world.join(name)


def test_a_zone_nobody_knows_is_no_reason_to_lose_the_table(world):
    rows = through(world, a=pa.array([1_500_000, None], pa.timestamp("us", "Mars/Phobos")))
    assert [r["a"] for r in rows] == ["1970-01-01T00:00:01.500000Z", None]


def test_nanoseconds_are_all_there_in_json_lines(world):
    rows = through(
        world,
        a=pa.array([1, 2, 3000], pa.timestamp("ns")),
        z=pa.array([1, 2, 3000], pa.timestamp("ns", "UTC")),
        t=pa.array([1, 2, 3000], pa.time64("ns")),
        e=pa.array([1, -2, 3000], pa.duration("ns")),
        s=pa.array(
            [{"x": [1]}, {"x": [2]}, None], pa.struct([("x", pa.list_(pa.timestamp("ns")))])
        ),
    )
    start = "1970-01-01T00:00:00.00000"
    assert [r["a"] for r in rows] == [start + "0001", start + "0002", start + "3"]
    assert [r["z"] for r in rows] == [start + "0001Z", start + "0002Z", start + "3Z"]
    assert [r["t"] for r in rows] == ["00:00:00.000000001", "00:00:00.000000002", "00:00:00.000003"]
    assert [r["e"] for r in rows] == ["PT0.000000001S", "-PT0.000000002S", "PT0.000003S"]
    assert [r["s"] for r in rows] == [{"x": [start + "0001"]}, {"x": [start + "0002"]}, None]


def test_numbers_that_json_does_not_have_are_texts_in_json_lines(world, csv_rows):
    odd = [float("nan"), float("inf"), float("-inf"), 1.5, None]
    rows = through(world, a=pa.array(odd), n=[[v] for v in odd], h=pa.array(odd, pa.float32()))
    texts = ["NaN", "Infinity", "-Infinity", 1.5, None]
    assert [r["a"] for r in rows] == texts
    assert [r["h"] for r in rows] == texts
    assert [r["n"] for r in rows] == [[t] for t in texts]
    assert [r["n"] for r in csv_rows(world.join("o.csv"))] == [
        '["NaN"]',
        '["Infinity"]',
        '["-Infinity"]',
        "[1.5]",
        "[null]",
    ]


def test_maps_and_bytes_come_out_as_json(world, csv_rows):
    rows = through(
        world,
        a=pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
        d=pa.array([[(0, b"\xff")], []], pa.map_(pa.date32(), pa.binary())),
    )
    assert [(r["a"], r["d"]) for r in rows] == [({"k": 1}, {"1970-01-01": "/w=="}), (None, {})]
    assert [r["a"] for r in csv_rows(world.join("o.csv"))] == ['{"k":1}', ""]


# ------------------------------------------------------------------------- nested values in prompts


def render(text: str, fast: bool = True, **columns) -> list[str]:
    return Template(text, "prompt", fast=fast).texts(TableChunk(HERE, pa.record_batch(columns)))


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(
    ("array", "want"),
    [
        (pa.array([{"ä": "x'\"<ü>", "n": None, "f": 1.5}, None]), ['{"ä":"x\'\\"<ü>","n":null,"f":1.5}', ""]),
        (pa.array([["a", None], []]), ['["a",null]', "[]"]),
        (pa.array([[("k", [1])], None], pa.map_(pa.string(), pa.list_(pa.int8()))), ['{"k":[1]}', ""]),
        (pa.array([[("k", 1), ("k", 2)]], pa.map_(pa.string(), pa.int8())), ['{"k":2}']),
        (pa.array([["ö".encode(), b"\xff\xfe"]]), ['["ö","//4="]']),
        (pa.array(["ö".encode(), b"\xff\xfe", b"", None]), ["ö", "//4=", "", ""]),
        (pa.array([float("nan"), None]), ["nan", ""]),
        (pa.array([[float("nan")]]), ['["NaN"]']),
        (pa.array([{"d": 0}], pa.struct([("d", pa.timestamp("ns"))])), ['{"d":"1970-01-01T00:00:00"}']),
    ],
)  # fmt: skip
def test_what_is_nested_is_json_text_in_a_prompt(array, want, fast):
    assert render("{{ a }}", fast, a=array) == want
    assert render("{% if true %}{{ a }}{% endif %}", fast, a=array) == want


def test_rows_of_json_lines_render_what_is_nested_as_json_too(world):
    world.cut(
        world.table("t.jsonl", '{"a":{"b":["ü",null,1.0]}}\n{"a":null}\n'), prompt="<{{ a }}>"
    )
    assert world.prompts() == ['<{"b":["ü",null,1.0]}>', "<>"]


def test_tojson_says_the_same_and_a_null_is_null_there():
    texts = pa.array([{"a": "<ü>"}, None])
    assert render("{{ a|tojson }}", a=texts) == ['{"a":"<ü>"}', "null"]
    assert render("{{ a|tojson(indent=2) }}", a=texts) == ['{\n  "a": "<ü>"\n}', "null"]
    assert render("{{ '<b>' ~ a|tojson }}", a=texts) == ['<b>{"a":"<ü>"}', "<b>null"]


def test_what_is_nested_can_still_be_taken_apart():
    text = (
        "{{ s.x }}{{ s['x'] }}{% for k, v in m.items() %}{{ k }}{{ v }}{% endfor %}{{ l|length }}"
    )
    maps = pa.array([[("k", 7)]], pa.map_(pa.string(), pa.int64()))
    assert render(text, s=pa.array([{"x": 1}]), m=maps, l=pa.array([[1, 2]])) == ["11k72"]


# ------------------------------------------------------------------ a table that is not there any more


@pytest.mark.parametrize("change", ["edited", "deleted"])
@pytest.mark.parametrize("name", ["o.csv", "o.parquet", "o.jsonl"])
def test_the_answers_alone_can_be_had_when_the_table_cannot(ten, csv_rows, change, name):
    ten.answer_all()
    if change == "edited":
        ten.table("t.csv", "a\nother\n")
    else:
        (ten.folder / "t.csv").unlink()
    message = r"The answers are kept: batchmill results batch_1 --answers-only -o OUT"
    with pytest.raises(InvalidTable, match=rf"t\.csv: .*{message}$"):
        ten.join(name)
    with pytest.raises(InvalidTable, match=message):
        ten.joined()
    path = ten.join(name, answers_only=True)
    if name == "o.csv":
        rows = csv_rows(path)
    elif name == "o.jsonl":
        rows = lines_of(path)
    else:
        rows = pq.read_table(path).to_pylist()
    assert [int(r["row"]) for r in rows] == list(range(1, 11))
    assert [r["answer"] for r in rows] == [f"answer to {n}" for n in range(10)]
    assert list(rows[0])[:3] == ["row", "answer", "outcome"]
    assert "a" not in rows[0]
    table = ten.joined(answers_only=True)
    assert [(r["row"], r["answer"]) for r in table] == [
        (n + 1, f"answer to {n}") for n in range(10)
    ]


def test_the_answers_alone_of_a_folder_of_tables_are_one_file(world, csv_rows):
    world.table("in/a.csv", "a\n1\n2\n")
    world.table("in/b.csv", "a\n3\n")
    world.cut(str(world.folder / "in"), prompt="{{ a }}")
    world.answer_all()
    (world.folder / "in/b.csv").unlink()
    rows = csv_rows(world.join("o.csv", answers_only=True))
    assert [(r["row"], r["answer"]) for r in rows] == [
        ("1", "answer to 0"),
        ("2", "answer to 1"),
        ("3", "answer to 2"),
    ]
    with pytest.raises(InvalidTarget, match="one file"):
        world.join("out/", answers_only=True)


def test_a_property_called_row_does_not_hide_the_number_of_the_row(ten, answer):
    schema = {"type": "object", "properties": {"row": {"type": "integer"}}}
    with_schema(ten, answer, ['{"row": 70}'] * 4, schema)
    rows = ten.joined(answers_only=True)
    assert (rows[0]["row"], rows[0]["answer"]) == (1, '{"row": 70}')


# ------------------------------------------------------------------------------ tables and targets


@pytest.mark.parametrize(
    "content",
    ['a,b\n1,2\n3,"open\n4,5\n6,7\n', 'a,b\n1,2\n3,4\n"x,5\n' + "y,1\n" * 9],
)
def test_a_quote_that_is_never_closed_is_named_by_its_line(world, content):
    line = 1 + content[: content.index('"')].count("\n")
    with pytest.raises(
        InvalidTable, match=rf"t\.csv, line {line}: the quote that begins in line {line} is never"
    ):
        world.cut(world.table("t.csv", content), prompt="{{ a }}")


def test_a_quote_opened_in_a_later_line_of_its_row_is_named_by_that_line(world):
    content = 'a,b\n"one\ntwo","three\nfour\n'
    with pytest.raises(InvalidTable, match=r"the quote that begins in line 3 is never closed"):
        world.cut(world.table("t.csv", content), prompt="{{ a }}")


def test_one_value_is_one_value(world):
    with pytest.raises(InvalidTable, match=r"line 3: 1 value, but the first line names 2 columns"):
        world.cut(world.table("t.csv", "a,b\n1,2\n3\n"), prompt="{{ a }}")


def test_a_missing_folder_is_not_made_for_a_single_file(ten):
    ten.answer_all()
    with pytest.raises(InvalidTarget, match=r"no such folder as .*nowhere/deep. Make it first"):
        ten.join("nowhere/deep/x.csv")
    assert not (ten.folder / "nowhere").exists()


def test_the_folders_of_a_folder_are_made(ten):
    ten.answer_all()
    join(ten.blobs, ten.batch, ten.ranges, ten.shards, str(ten.folder / "some/where") + "/")
    assert (ten.folder / "some/where/t.csv").exists()


def test_a_stray_quote_amid_a_cell_is_a_letter(world):
    content = 'a,b\nx"y,"say ""hi"", ok"\n3\n'
    with pytest.raises(InvalidTable, match=r"line 3: 1 value, but"):
        world.cut(world.table("t.csv", content), prompt="{{ a }}")
