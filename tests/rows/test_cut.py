"""Rows become requests: the right body for each, in segments that fit, or nothing at all."""

import base64
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchmill.core.limits import Limits, Range, cut
from batchmill.core.request import OPENAI_EMBEDDINGS, OPENAI_RESPONSES
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


# ---------------------------------------------------------------------------------------- bodies


def test_a_chat_body_says_all_the_recipe_says(world):
    path = world.table("t.csv", 'a,b\n"x ""y""\n",1\nö\x01,2\n')
    world.cut(
        path,
        prompt="P {{ a }}",
        system="S",
        max_tokens=9,
        params={"temperature": 0.5},
        schema=SCHEMA,
    )
    first, second = world.bodies()
    assert first == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "S"},
            {"role": "user", "content": 'P x "y"\n'},
        ],
        "max_tokens": 9,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "product_card", "strict": True, "schema": SCHEMA},
        },
        "temperature": 0.5,
    }
    assert second["messages"][1]["content"] == "P ö\x01"


def test_a_system_prompt_may_use_columns_too(world):
    world.cut(world.table("t.csv", "a,b\n1,2\n3,4\n"), prompt="{{ a }}", system="100% {{ b }}\n")
    assert [[m["content"] for m in body["messages"]] for body in world.bodies()] == [
        ["100% 2", "1"],
        ["100% 4", "3"],
    ]


def test_a_responses_body(world):
    world.cut(
        world.table("t.csv", "a\nx\n"),
        prompt="{{ a }}",
        system="S",
        dialect=OPENAI_RESPONSES,
        url="/v1/responses",
        max_tokens=9,
        schema=SCHEMA,
    )
    assert world.bodies() == [
        {
            "model": "m",
            "instructions": "S",
            "input": "x",
            "max_output_tokens": 9,
            "text": {
                "format": {
                    "type": "json_schema",
                    "name": "product_card",
                    "strict": True,
                    "schema": SCHEMA,
                }
            },
        }
    ]


def test_an_embeddings_body(world):
    recipe = {"dialect": OPENAI_EMBEDDINGS, "url": "/v1/embeddings"}
    world.cut(world.table("t.csv", "a\nx\n"), prompt="{{ a }}", params={"dimensions": 3}, **recipe)
    assert world.bodies() == [{"model": "m", "input": "x", "dimensions": 3}]
    for more in ({"system": "S"}, {"max_tokens": 1}, {"schema": SCHEMA}, {"images": ("a",)}):
        with pytest.raises(InvalidRecipe, match="embeddings"):
            world.cut(world.table("t.csv", "a\nx\n"), prompt="{{ a }}", **recipe, **more)


def test_images_are_links_or_files_and_an_empty_cell_is_none(world):
    path = world.folder / "i.png"
    path.write_bytes(PNG)
    data = "data:image/png;base64," + base64.b64encode(PNG).decode()
    pq.write_table(
        pa.table({"i": ["https://x/y.jpg", str(path), None], "b": [None, None, PNG]}),
        world.folder / "t.parquet",
    )
    recipe = {"prompt": "What?", "images": ("i", "b")}
    world.cut(str(world.folder / "t.parquet"), **recipe)
    contents = [body["messages"][0]["content"] for body in world.bodies()]
    text = {"type": "text", "text": "What?"}
    assert contents == [
        [text, {"type": "image_url", "image_url": {"url": "https://x/y.jpg"}}],
        [text, {"type": "image_url", "image_url": {"url": data}}],
        [text, {"type": "image_url", "image_url": {"url": data}}],
    ]
    world.cut(str(world.folder / "t.parquet"), **recipe, dialect=OPENAI_RESPONSES)
    assert world.bodies()[1]["input"] == [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "What?"},
                {"type": "input_image", "image_url": data},
            ],
        }
    ]


def test_an_image_that_cannot_be_read_is_named_by_row_and_column(world):
    table = world.table("t.csv", "i\nhttps://x/y.jpg\n/gone.png\n")
    with pytest.raises(
        InvalidRow, match=r"t\.csv, row 2, column i: the image '/gone.png' cannot be"
    ):
        world.cut(table, prompt="What?", images=("i",))
    text = world.table("note.txt", "hello")
    with pytest.raises(InvalidRow, match="row 1, column i: is no PNG"):
        world.cut(world.table("t.csv", f"i\n{text}\n"), prompt="What?", images=("i",))


def test_a_server_reads_no_files_for_strangers(world):
    from batchmill.rows.segments import Segments

    world.segments = Segments(world.blobs, local_images=False)
    with pytest.raises(InvalidRow, match="expected a URL"):
        world.cut(world.table("t.csv", "i\n/etc/passwd\n"), prompt="What?", images=("i",))


@settings(max_examples=50)
@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=1), st.booleans(), st.booleans())
def test_every_prompt_arrives_as_it_was_whatever_characters_it_holds(worlds, texts, logic, system):
    world = worlds()
    table = world.folder / "t.parquet"
    pq.write_table(pa.table({"a": texts, "n": range(len(texts))}), table)
    prompt = "<{{ a }}>{% if n < 0 %}!{% endif %}" if logic else "<{{ a }}>"
    world.cut(str(table), prompt=prompt, system="{{ n }}" if system else None)
    assert world.prompts() == [f"<{text}>" for text in texts]
    for shard in world.shards:
        assert all(b"\n" not in request.body for request in world.requests(shard))


# ------------------------------------------------------------------------------------ ready-made


def line(custom_id, url="/v1/chat/completions", **body) -> str:
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": url, "body": body}) + "\n"


def test_ready_made_requests_pass_through_down_to_the_last_digit(world):
    body = b'{"model":"m", "temperature": 0.70, "seed": 12345678901234567890, "x": {"y": [1.0]}}'
    content = b'{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":%b}\n' % body
    world.cut(world.table("t.jsonl", content))
    assert [r.body for r in world.requests(world.shards[0])] == [body]


def test_ready_made_requests_go_to_the_model_that_was_asked_for(world):
    content = b'{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":%b}\n'
    world.cut(world.table("t.jsonl", content % b'{"model":"other","temperature":0.70}'))
    [request] = world.requests(world.shards[0])
    assert request.body == b'{"model":"m","temperature":0.70}'


def test_what_ready_made_requests_say_themselves_is_not_said_twice(world):
    path = world.table("t.jsonl", line("a"))
    for more in ({"prompt": "x"}, {"system": "x"}, {"max_tokens": 1}, {"params": {"n": 1}}):
        with pytest.raises(InvalidRecipe, match="ready-made requests"):
            world.cut(path, **more)


def test_ready_made_requests_for_another_endpoint_are_refused(world):
    path = world.table("t.jsonl", line("a", url="/v1/embeddings"))
    with pytest.raises(InvalidRecipe, match=r"want to go to /v1/embeddings.*--endpoint"):
        world.cut(path)


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
