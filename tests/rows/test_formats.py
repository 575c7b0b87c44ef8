"""The joined table in every format: values untouched, our columns after them."""

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchmill.core.limits import Limits
from batchmill.core.outcome import Outcome, Result
from batchmill.rows.frames import spool_frame

SMALL = Limits(requests_max=4, bytes_max=10**6, request_bytes_max=10**5)


OURS = [
    "answer",
    "outcome",
    "failure",
    "detail",
    "model",
    "input_tokens",
    "output_tokens",
    "cost_usd",
    "attempts",
]


def test_csv_values_come_back_verbatim(world, csv_rows):
    cells = ["007", "NA", " x ", "", 'a "b"', "two\nlines", "1,000", "é", "null", "1e5", "\ttab"]
    content = "v,w\n" + "".join('"' + c.replace('"', '""') + '",1\n' for c in cells)
    world.cut(world.table("t.csv", content), prompt="{{ v }}", limits=SMALL)
    world.answer_all()
    for name, delimiter in (("o.csv", ","), ("o.tsv", "\t")):
        found = csv_rows(world.join(name), delimiter)
        assert [r["v"] for r in found] == cells
        assert [r["answer"] for r in found] == [f"answer to {n}" for n in range(len(cells))]
        assert list(found[0]) == ["v", "w", *OURS]


@settings(max_examples=50)
@given(st.lists(st.text(st.characters(codec="utf-8", blacklist_characters="\0")), min_size=1))
def test_any_text_makes_the_round_trip_through_csv(worlds, read_rows, texts):
    world = worlds()
    content = "v,w\n" + "".join('"' + t.replace('"', '""') + '",1\n' for t in texts)
    world.cut(world.table("t.csv", content), prompt="{{ v }}", limits=SMALL)
    for shard in list(world.shards):
        results = [
            Result(r.custom_id, Outcome.SUCCEEDED, answer=texts[int(r.custom_id[13:])])
            for r in world.requests(shard)
        ]
        world.settle(shard, results)
    found = read_rows(world.join("o.csv"))
    assert [(r["v"], r["answer"]) for r in found] == [(t, t) for t in texts]


def test_parquet_types_come_back(world):
    table = pa.table(
        {
            "n": pa.array([1, None, 3], pa.int16()),
            "when": pa.array([0, 1, 2], pa.timestamp("us", "UTC")),
            "tags": pa.array([["a"], [], None], pa.list_(pa.string())),
            "c": pa.array(["u", "v", "u"]).dictionary_encode(),
            "b": pa.array([b"\xff", b"", None], pa.binary()),
        }
    )
    pq.write_table(table, world.folder / "t.parquet")
    world.cut(str(world.folder / "t.parquet"), prompt="{{ n }}", limits=SMALL)
    world.answer_all()
    found = pq.read_table(world.join("o.parquet"))
    read = pq.read_table(world.folder / "t.parquet")
    assert found.select(read.schema.names).equals(read)
    assert found.schema.names[-9:] == OURS
    assert found.schema.field("cost_usd").type == pa.decimal128(38, 20)


def test_a_parquet_table_may_leave_as_csv_or_json_lines(world, csv_rows):
    from datetime import UTC, datetime

    table = pa.table(
        {
            "n": pa.array([1.5, None], pa.float64()),
            "ok": [True, False],
            "when": pa.array([datetime(2026, 1, 2, tzinfo=UTC)] * 2, pa.timestamp("us", "UTC")),
            "d": pa.array([Decimal("1.50"), None], pa.decimal128(9, 2)),
            "tags": [["a,b"], []],
            "o": [{"x": 1}, None],
        }
    )
    pq.write_table(table, world.folder / "t.parquet")
    world.cut(str(world.folder / "t.parquet"), prompt="{{ n }}")
    world.answer_all()
    first, second = csv_rows(world.join("o.csv"))
    assert (first["n"], first["ok"], first["d"], first["tags"], first["o"]) == (
        "1.5",
        "true",
        "1.50",
        '["a,b"]',
        '{"x":1}',
    )
    assert (second["n"], second["ok"], second["d"], second["o"]) == ("", "false", "", "")
    assert first["when"].startswith("2026-01-02 00:00:00")
    line = json.loads(Path(world.join("o.jsonl")).read_text().splitlines()[0])
    assert (line["n"], line["tags"], line["o"], line["answer"]) == (
        1.5,
        ["a,b"],
        {"x": 1},
        "answer to 0",
    )


def test_json_lines_come_back_as_they_were(world):
    lines = ['{"a":"x", "n":1.10}', "{ }", '{"b":{"deep":[12345678901234567890]} }  ']
    world.cut(world.table("t.jsonl", "\n".join(lines)), prompt="{{ a }}{{ b }}")
    world.answer_all()
    found = Path(world.join("o.jsonl")).read_text().splitlines()
    assert found[0].startswith('{"a":"x", "n":1.10,"answer":"answer to 0","outcome":"succeeded",')
    assert found[1].startswith('{"answer":"answer to 1",')
    assert found[2].startswith('{"b":{"deep":[12345678901234567890]},"answer":"answer to 2",')
    assert [json.loads(line)["attempts"] for line in found] == [1, 1, 1]


def test_json_lines_may_leave_as_csv_or_parquet(world, csv_rows):
    lines = ['{"s":"x","n":1.10,"i":1}', '{"i":2,"o":{"k":[1]},"f":true}', '{"n":2,"s":null}']
    world.cut(world.table("t.jsonl", "\n".join(lines)), prompt="{{ s }}{{ i }}")
    world.answer_all()
    found = csv_rows(world.join("o.csv"))
    assert [[r[k] for k in "sniof".replace(" ", "")] for r in found] == [
        ["x", "1.10", "1", "", ""],
        ["", "", "2", '{"k":[1]}', "true"],
        ["", "2", "", "", ""],
    ]
    table = pq.read_table(world.join("o.parquet"))
    assert [str(table.schema.field(k).type) for k in "sniof"] == [
        "string",
        "double",
        "int64",
        "string",
        "bool",
    ]
    assert table["o"].to_pylist() == [None, '{"k":[1]}', None]


def test_ready_made_requests_come_back_under_the_clients_names(world, csv_rows):
    line = {"method": "POST", "url": "/v1/chat/completions", "body": {"model": "m"}}
    lines = [json.dumps({"custom_id": c} | line) for c in ("b/1", 'a"2')]
    world.cut(world.table("t.jsonl", "\n".join(lines)))
    world.answer_all()
    found = [json.loads(x) for x in Path(world.join("o.jsonl")).read_text().splitlines()]
    assert [(r["custom_id"], r["answer"]) for r in found] == [
        ("b/1", "answer to 0"),
        ('a"2', "answer to 1"),
    ]
    assert [list(r) for r in found] == [["custom_id", *OURS]] * 2
    assert [r["custom_id"] for r in csv_rows(world.join("o.csv"))] == ["b/1", 'a"2']


SCHEMA = {
    "type": "object",
    "properties": {
        "brand": {"type": "string"},
        "size": {"type": ["integer", "null"]},
        "price": {"type": "number"},
        "new": {"type": "boolean"},
        "tags": {"type": "array"},
    },
}


def test_each_property_of_the_schema_becomes_a_column(ten, answer, csv_rows):
    ten.batch = replace(ten.batch, recipe=replace(ten.batch.recipe, schema=SCHEMA))
    ten.answer_all()
    first = ten.shards[0] if ten.shards[0].n == 1 else next(s for s in ten.shards if s.n == 1)
    texts = [
        '{"brand":"Acme, Inc","size":3,"price":1,"new":true,"tags":["a"]}',
        '{"brand":"B","size":null,"tags":[]}',
        '{"size":"wrong"}',
    ]
    ten.settle(first, [answer(f"{first.id}-{n}", t) for n, t in enumerate(texts)])
    found = ten.joined()
    names = list(SCHEMA["properties"])
    assert [list(r) for r in found] == [["a", *OURS, *names]] * 10
    assert [[r[n] for n in names] for r in found[:3]] == [
        ["Acme, Inc", 3, 1.0, True, '["a"]'],
        ["B", None, None, None, "[]"],
        [None, None, None, None, None],
    ]
    assert [r["outcome"] for r in found[:3]] == ["succeeded", "succeeded", "errored"]
    assert found[2]["answer"] == '{"size":"wrong"}'
    assert [csv_rows(ten.join("o.csv"))[0][n] for n in names] == [
        "Acme, Inc",
        "3",
        "1",
        "true",
        '["a"]',
    ]
    line = json.loads(Path(ten.join("o.jsonl")).read_text().splitlines()[0])
    assert line["tags"] == ["a"]


@pytest.mark.parametrize("name", ["o.csv", "o.tsv", "o.parquet", "o.jsonl"])
def test_a_table_without_rows_comes_back_without_rows(world, name):
    world.cut(world.table("t.csv", "a,b\n"), prompt="{{ a }}")
    path = world.join(name)
    if name.endswith("parquet"):
        assert pq.read_table(path).schema.names == ["a", "b", *OURS]
    elif name.endswith("jsonl"):
        assert Path(path).read_bytes() == b""
    else:
        delimiter = "," if name.endswith("csv") else "\t"
        assert Path(path).read_text() == delimiter.join(["a", "b", *OURS]) + "\n"


def test_a_table_from_memory_comes_back_as_arrow(world):
    import polars as pl

    frame = pl.DataFrame({"a": [1, 2], "c": pl.Series(["u", None], dtype=pl.Categorical)})
    world.cut(spool_frame(frame, world.blobs, "spool/1/frame"), prompt="{{ a }}")
    world.answer_all()
    assert [(r["a"], r["c"], r["answer"]) for r in world.joined()] == [
        (1, "u", "answer to 0"),
        (2, None, "answer to 1"),
    ]
