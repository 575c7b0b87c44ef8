"""Rows become requests: the right body for each, in segments that fit, or nothing at all."""

import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchmill.core.limits import Limits, Range, cut
from batchmill.core.rowset import row_range, rows_of
from batchmill.errors import InvalidRecipe, InvalidRow, InvalidTable, StorageTrouble
from batchmill.rows.chunk import Place, TableChunk
from batchmill.rows.cutting import Cutter
from batchmill.rows.read import describe

PNG = b"\x89PNG\r\n\x1a\nrest"

SCHEMA = {
    "title": "product card",
    "type": "object",
    "properties": {"brand": {"type": "string"}, "size": {"type": "integer"}},
    "required": ["brand"],
}


# --------------------------------------------------------------------------------------- cutting


limits = st.builds(
    Limits,
    requests_max=st.integers(1, 6),
    bytes_max=st.integers(260, 1200),
    request_bytes_max=st.integers(40, 400),
)


@given(st.lists(st.integers(0, 50), max_size=40), limits, st.lists(st.integers(1, 9), max_size=9))
def test_blocks_are_cut_exactly_as_the_core_says(sizes, limits, steps):
    import io
    from contextlib import contextmanager

    files: dict[int, bytes] = {}

    @contextmanager
    def open_segment(n):
        file = io.BytesIO()
        yield file
        files[n] = file.getvalue()

    def run() -> list[Range]:
        at = 0
        with Cutter(limits, open_segment) as cutter:
            for step in [*steps, 99]:
                block = b"".join(b"x" * size + b"\n" for size in sizes[at : at + step])
                place = Place(name="t", part=0, start=at, start_in_part=at)
                if block:
                    batch = pa.record_batch({"a": [0] * block.count(b"\n")})
                    cutter.add(block, TableChunk(place, batch))
                at += step
        return cutter.ranges

    try:
        want = list(cut(sizes, limits))
    except InvalidRow:
        with pytest.raises(InvalidRow):
            run()
        return
    assert run() == want
    for found in want:
        expected = [b"x" * s for s in sizes[found.start : found.start + found.count]]
        assert files[found.n].split(b"\n")[:-1] == expected


def test_a_cell_too_large_for_any_request_is_named_with_the_limit(world):
    path = world.table("t.csv", f"a\nx\n{'y' * 5000}\n")
    small = Limits(requests_max=10, bytes_max=10_000, request_bytes_max=1000)
    with pytest.raises(
        InvalidRow, match=r"t\.csv, row 2: its request has 5,0\d\d bytes.*at most 1,000"
    ):
        world.cut(path, limits=small, prompt="{{ a }}")


def test_after_any_error_nothing_is_left(world):
    path = world.table("t.csv", "a\n" + "x\n" * 5000 + "y,z\n")
    with pytest.raises(InvalidTable, match="line 5002"):
        world.cut(
            path,
            limits=Limits(requests_max=10, bytes_max=10**6, request_bytes_max=10**5),
            prompt="{{ a }}",
        )
    assert world.blobs.list("batches/") == []


def test_a_table_without_rows_is_fine(world):
    cutting = world.cut(world.table("t.csv", "a\n"), prompt="{{ a }}")
    assert (cutting.rows, cutting.ranges, cutting.first_body) == (0, (), b"")


def test_the_first_body_can_be_looked_at(world):
    cutting = world.cut(world.table("t.csv", "a\n1\n2\n"), prompt="{{ a }}")
    assert json.loads(cutting.first_body)["messages"][0]["content"] == "1"
    assert (
        cutting.size_bytes
        == sum(r.size_bytes for r in cutting.ranges)
        == 2 * len(cutting.first_body)
    )


def test_progress_is_told_in_rows(world):
    told: list[int] = []
    from batchmill.core.batch import Recipe

    source = describe(world.table("t.csv", "a\n1\n2\n"))
    world.segments.cut(
        "b",
        Recipe(model="m", prompt="{{ a }}"),
        source,
        Limits(requests_max=9, bytes_max=10**6, request_bytes_max=10**5),
        told.append,
    )
    assert told[-1] == 2


# -------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ({"prompt": "Classify {title}"}, r"Is {title} written for {{ title }}\?.*--same-prompt"),
        ({"prompt": "Classify"}, r"uses no column.*{{ title }}.*--same-prompt"),
        ({"prompt": "{{ titel }}"}, r"no column 'titel'. Did you mean {{ title }}"),
        ({"prompt": "{{ title }}", "system": "{{ pricee }}"}, "system prompt: there is no column"),
        ({"prompt": "{{ title }}", "images": ("pic",)}, "--image: there is no column 'pic'"),
        ({"prompt": None}, "prompt: is missing"),
        ({"prompt": "{{ title }}", "schema": {"type": "objekt"}}, "schema.*is no JSON Schema"),
        ({"prompt": "{{ title }}", "schema": {"$ref": "http://x/y"}}, "is no JSON Schema"),
        ({"prompt": "{{ title }}", "params": {"messages": []}}, "--param messages: is set by"),
        ({"prompt": "{{ title }}", "dialect": "klingon"}, "dialect 'klingon'"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(world, recipe, words):
    with pytest.raises(InvalidRecipe, match=words) as caught:
        world.cut(world.table("t.csv", "title,price\nx,1\n"), **recipe)
    assert "\n" not in str(caught.value)


def test_one_prompt_for_all_is_bought_when_wanted(world):
    world.cut(world.table("t.csv", "a\n1\n2\n"), prompt="Say {hello}", same_prompt=True)
    assert world.prompts() == ["Say {hello}", "Say {hello}"]


def test_a_column_of_json_lines_counts_as_known_if_any_line_has_it(world):
    path = world.table("t.jsonl", '{"a":"1"}\n{"b":"2"}\n')
    world.cut(path, prompt="{{ a }}-{{ b }}")
    assert world.prompts() == ["1-", "-2"]
    with pytest.raises(InvalidRecipe, match="no column 'c'"):
        world.cut(path, prompt="{{ a }}{{ c }}")


@pytest.mark.parametrize("column", ["answer", "cost_usd", "brand"])
def test_a_column_that_the_answers_need_is_refused_by_name(world, column):
    for name, content in (
        ("t.csv", f"a,{column}\n1,2\n"),
        ("t.jsonl", f'{{"a":1,"{column}":2}}\n'),
    ):
        with pytest.raises(InvalidTable, match=f"column '{column}'.*[Rr]ename"):
            world.cut(world.table(name, content), prompt="{{ a }}", schema=SCHEMA)


def test_a_property_named_like_one_of_our_columns_is_refused(world):
    schema = {"type": "object", "properties": {"outcome": {}}}
    with pytest.raises(InvalidTable, match="column 'outcome': is a property of the schema"):
        world.cut(world.table("t.csv", "a\n1\n"), prompt="{{ a }}", schema=schema)


# -------------------------------------------------------------------------------------- requests


def test_requests_come_in_row_order_under_the_shards_names(world):
    small = Limits(requests_max=3, bytes_max=10**6, request_bytes_max=10**5)
    world.cut(
        world.table("t.csv", "a\n" + "".join(f"{n}\n" for n in range(8))),
        limits=small,
        prompt="{{ a }}",
    )
    assert [[r.custom_id for r in world.requests(s)] for s in world.shards] == [
        ["batch_1-0001-0", "batch_1-0001-1", "batch_1-0001-2"],
        ["batch_1-0002-3", "batch_1-0002-4", "batch_1-0002-5"],
        ["batch_1-0003-6", "batch_1-0003-7"],
    ]
    assert world.prompts() == [str(n) for n in range(8)]


@given(st.sets(st.integers(0, 29), min_size=1))
def test_a_shard_of_any_rows_gets_exactly_their_requests(numbered, numbers):
    shard = numbered.again(numbers, n=9)
    found = numbered.requests(shard)
    assert [r.custom_id for r in found] == [f"batch_1-0009-{n}" for n in sorted(numbers)]
    assert [json.loads(r.body)["messages"][0]["content"] for r in found] == [
        str(n) for n in sorted(numbers)
    ]


@pytest.fixture(scope="module")
def numbered(worlds):
    world = worlds()
    small = Limits(requests_max=7, bytes_max=10**6, request_bytes_max=10**5)
    content = "a\n" + "".join(f"{n}\n" for n in range(30))
    world.cut(world.table("t.csv", content), limits=small, prompt="{{ a }}")
    return world


def test_many_requests_travel_in_chunks(world):
    import asyncio

    world.cut(world.table("t.csv", "a\n" + "x\n" * 10_000), prompt="{{ a }}")

    async def sizes():
        stream = world.segments.requests(world.batch, world.ranges, world.shards[0])
        return [len(chunk) async for chunk in stream]

    assert asyncio.run(sizes()) == [4096, 4096, 1808]


def test_a_segment_that_lost_its_end_is_storage_trouble(world):
    world.cut(world.table("t.csv", "a\n1\n2\n"), prompt="{{ a }}")
    path = world.folder / "blobs/batches/batch_1/requests/00001.jsonl"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(StorageTrouble, match="ends before row 2"):
        world.requests(world.shards[0])
    with pytest.raises(StorageTrouble, match="ends before row 2"):
        world.requests(world.again([1]))


def test_ten_million_pending_rows_are_kilobytes():
    assert len(row_range(0, 10_000_000).serialize()) < 4000
    assert len(rows_of(range(0, 10_000_000, 3)).serialize()) < 1 << 21
