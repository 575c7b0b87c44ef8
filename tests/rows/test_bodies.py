"""Each row becomes the body its recipe asks for; ready-made ones stay as they are."""

import base64
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchmill.core.request import OPENAI_EMBEDDINGS, OPENAI_RESPONSES
from batchmill.errors import InvalidRecipe, InvalidRow

PNG = b"\x89PNG\r\n\x1a\nrest"


SCHEMA = {
    "title": "product card",
    "type": "object",
    "properties": {"brand": {"type": "string"}, "size": {"type": "integer"}},
    "required": ["brand"],
}


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
            "json_schema": {"name": "product_card", "strict": False, "schema": SCHEMA},
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
                    "strict": False,
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


WHOLE = {
    "type": "object",
    "properties": {"a": {"type": "string"}, "b": {"$ref": "#/$defs/b"}},
    "required": ["b", "a"],
    "$defs": {"b": {"type": "object", "properties": {"c": {"enum": [{}]}}, "required": ["c"]}},
}


def test_a_schema_without_optional_properties_is_closed_and_strict_at_openai(world):
    form = asked(world, WHOLE)

    assert form["strict"] is True
    assert form["schema"]["additionalProperties"] is False
    assert form["schema"]["$defs"]["b"]["additionalProperties"] is False
    assert form["schema"]["$defs"]["b"]["properties"] == {"c": {"enum": [{}]}}
    assert "additionalProperties" not in WHOLE


@pytest.mark.parametrize(
    "schema",
    [
        {**WHOLE, "required": ["a"]},
        {**WHOLE, "additionalProperties": True},
        {
            "type": "object",
            "properties": {
                "a": {
                    "type": "array",
                    "items": {"type": "object", "properties": {"b": {"type": "string"}}},
                }
            },
            "required": ["a"],
        },
    ],
)
def test_a_schema_that_strict_mode_would_refuse_is_sent_as_it_is_and_judged_here(world, schema):
    form = asked(world, schema)

    assert form["strict"] is False
    assert form["schema"] == schema


def asked(world, schema):
    world.cut(world.table("t.csv", "x\n1\n"), prompt="{{ x }}", schema=schema)
    [body] = world.bodies()
    return body["response_format"]["json_schema"]
