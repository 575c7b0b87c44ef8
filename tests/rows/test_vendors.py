"""The same recipe, and the same ready-made lines, go to any vendor: one changed model is enough."""

import base64
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batchmill.core.request import DIALECTS
from batchmill.errors import InvalidRecipe, InvalidRow, InvalidTable
from batchmill.rows.read import describe, glimpse

PNG = b"\x89PNG\r\n\x1a\nrest"
DATA = base64.b64encode(PNG).decode()
SCHEMA = {
    "type": "object",
    "properties": {"brand": {"type": "string"}},
    "additionalProperties": False,
}


def recipe(dialect, **more):
    return {"prompt": "P {{ a }}", "dialect": dialect, "url": DIALECTS[dialect].url, **more}


WHOLE = {
    "anthropic.messages": {
        "model": "m",
        "system": "S 1",
        "messages": [{"role": "user", "content": "P x"}],
        "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
        "max_tokens": 9,
        "temperature": 0,
        "stop_sequences": ["."],
    },
    "gemini.generate": {
        "systemInstruction": {"parts": [{"text": "S 1"}]},
        "contents": [{"role": "user", "parts": [{"text": "P x"}]}],
        "generationConfig": {
            "maxOutputTokens": 9,
            "temperature": 0,
            "stopSequences": ["."],
            "responseMimeType": "application/json",
            "responseJsonSchema": SCHEMA,
        },
    },
    "mistral.chat": {
        "model": "m",
        "messages": [{"role": "system", "content": "S 1"}, {"role": "user", "content": "P x"}],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": SCHEMA},
        },
        "stop": ["."],
        "max_tokens": 9,
        "temperature": 0,
    },
    "bedrock.converse": {
        "system": [{"text": "S 1"}],
        "messages": [{"role": "user", "content": [{"text": "P x"}]}],
        "inferenceConfig": {"maxTokens": 9, "temperature": 0, "stopSequences": ["."]},
        "outputConfig": {
            "textFormat": {
                "type": "json_schema",
                "structure": {
                    "jsonSchema": {
                        "name": "answer",
                        "schema": json.dumps(SCHEMA, separators=(",", ":")),
                    }
                },
            }
        },
    },
}


@pytest.mark.parametrize("dialect", WHOLE)
def test_a_body_says_all_the_recipe_says_in_every_dialect(world, dialect):
    asked = recipe(
        dialect,
        system="S {{ b }}",
        max_tokens=9,
        schema=SCHEMA,
        params={"temperature": 0, "stop": "."},
    )
    world.cut(world.table("t.csv", "a,b\nx,1\n"), **asked)
    assert world.bodies() == [WHOLE[dialect]]


@pytest.mark.parametrize("dialect", [*WHOLE, "openai.chat", "openai.responses"])
def test_prompts_arrive_in_every_dialect_whatever_characters_they_hold(world, dialect):
    texts = ['"', "\x00slot\x00", "\x7f", "\u2028é\n", "{}"]
    pq.write_table(pa.table({"a": texts, "n": range(5)}), world.folder / "t.parquet")
    for system in (None, "{{ n }}"):
        world.cut(str(world.folder / "t.parquet"), **recipe(dialect, system=system))
        found = [json.dumps(body) for body in world.bodies()]
        assert all(json.dumps(f"P {t}")[1:-1] in body for t, body in zip(texts, found, strict=True))


IMAGES = {
    "anthropic.messages": (
        "content",
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": DATA}},
    ),
    "gemini.generate": ("parts", {"inlineData": {"mimeType": "image/png", "data": DATA}}),
    "bedrock.converse": ("content", {"image": {"format": "png", "source": {"bytes": DATA}}}),
    "mistral.chat": (
        "content",
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{DATA}"}},
    ),
}


@pytest.mark.parametrize("dialect", IMAGES)
def test_images_of_a_row_are_parts_in_every_dialect_and_none_is_none(world, dialect):
    pq.write_table(pa.table({"a": ["x", "y"], "i": [PNG, None]}), world.folder / "t.parquet")
    world.cut(str(world.folder / "t.parquet"), **recipe(dialect, images=("i", "i")))
    name, part = IMAGES[dialect]
    turns = [(body.get("messages") or body["contents"])[0][name] for body in world.bodies()]
    assert [len(parts) for parts in turns] == [3, 1]
    assert turns[0][1:] == [part, part]


def test_an_embedding_is_asked_for_in_googles_words(world):
    asked = recipe("gemini.embed", params={"dimensions": 8, "taskType": "CLUSTERING"})
    world.cut(world.table("t.csv", "a\nx\n"), **asked)
    assert world.bodies() == [
        {
            "content": {"parts": [{"text": "P x"}]},
            "outputDimensionality": 8,
            "taskType": "CLUSTERING",
        }
    ]


@pytest.mark.parametrize(
    ("dialect", "params", "found"),
    [
        ("gemini.generate", {"top_k": 3, "seed": 1}, {"generationConfig": {"topK": 3, "seed": 1}}),
        (
            "gemini.generate",
            {"top_p": 0.5, "generationConfig": {"responseModalities": ["TEXT"]}},
            {"generationConfig": {"topP": 0.5, "responseModalities": ["TEXT"]}},
        ),
        ("bedrock.converse", {"max_tokens": 5}, {"inferenceConfig": {"maxTokens": 5}}),
        ("bedrock.converse", {"additionalModelRequestFields": {"top_k": 1}}, {"additionalModelRequestFields": {"top_k": 1}}),
        ("mistral.chat", {"seed": 7, "safe_prompt": True}, {"random_seed": 7, "safe_prompt": True}),
        ("openai.responses", {"reasoning_effort": "low"}, {"reasoning": {"effort": "low"}}),
        # Servers of one's own speak OpenAI's dialect, and know more than OpenAI.
        ("openai.chat", {"top_k": 40, "min_p": 0.1}, {"top_k": 40, "min_p": 0.1}),
    ],
)  # fmt: skip
def test_a_parameter_finds_its_place_in_every_dialect(world, dialect, params, found):
    world.cut(world.table("t.csv", "a\nx\n"), **recipe(dialect, params=params))
    [body] = world.bodies()
    assert {name: body.get(name) for name in found} == found


@pytest.mark.parametrize(
    ("dialect", "more", "words"),
    [
        ("anthropic.messages", {"params": {"seed": 1}}, r"^--param seed: anthropic.messages has no"),
        ("openai.chat", {"model": "gpt-5", "params": {"temperature": 0}}, r"^--param temperature: gpt-5"),
        ("mistral.chat", {"params": {"temperature": "hot"}}, r"^--param temperature: expected a number, not 'hot'"),
        ("gemini.generate", {"params": {"reasoning_effort": "utmost"}}, r"^--param reasoning_effort: expected one of"),
        ("gemini.generate", {"params": {"stop": [1]}}, r"^--param stop: expected a string"),
        ("gemini.generate", {"params": {"contents": []}}, r"^--param contents: is set by batchmill"),
        ("gemini.generate", {"max_tokens": 5, "params": {"generationConfig": {"maxOutputTokens": 1}}}, r"^--param generationConfig"),
        ("mistral.chat", {"max_tokens": 5, "params": {"max_tokens": 6}}, r"^--param max_tokens: is set by --max-tokens"),
        ("anthropic.messages", {"model": "claude-haiku-4-5", "max_tokens": 5, "params": {"reasoning_effort": "low"}}, r"^--max-tokens: 5"),
        ("gemini.embed", {"max_tokens": 5}, r"^--max-tokens: embeddings"),
        ("elvish.song", {}, r"^dialect 'elvish.song'"),
    ],
)  # fmt: skip
def test_a_recipe_that_a_vendor_cannot_follow_is_told_by_its_flag(world, dialect, more, words):
    asked = {"prompt": "{{ a }}", "dialect": dialect, "url": "/", **more}
    with pytest.raises(InvalidRecipe, match=words):
        world.cut(world.table("t.csv", "a\nx\n"), **asked)


# ------------------------------------------------------------------------------------ ready-made

MESSAGES = [{"role": "system", "content": "S"}, {"role": "user", "content": "hi"}]
LINES: dict[str, dict[str, Any]] = {
    "openai.chat": {
        "custom_id": "a",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "gpt-4o", "messages": MESSAGES, "max_tokens": 5, "temperature": 0.25},
    },
    "openai.responses": {
        "custom_id": "a",
        "method": "POST",
        "url": "/v1/responses",
        "body": {
            "model": "gpt-4o",
            "instructions": "S",
            "input": "hi",
            "max_output_tokens": 5,
            "temperature": 0.25,
        },
    },
    "anthropic.messages": {
        "custom_id": "a",
        "params": {
            "model": "claude-haiku-4-5",
            "system": "S",
            "messages": MESSAGES[1:],
            "max_tokens": 5,
            "temperature": 0.25,
        },
    },
    "mistral.chat": {
        "custom_id": "a",
        "body": {"messages": MESSAGES, "max_tokens": 5, "temperature": 0.25},
    },
    "gemini.generate": {
        "key": "a",
        "request": {
            "systemInstruction": {"parts": [{"text": "S"}]},
            "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
            "generationConfig": {"maxOutputTokens": 5, "temperature": 0.25},
        },
    },
}
SAID: dict[str, dict[str, Any]] = {
    "openai.chat": {"model": "m", "messages": MESSAGES, "max_tokens": 5, "temperature": 0.25},
    "openai.responses": {**LINES["openai.responses"]["body"], "model": "m"},
    "anthropic.messages": {**LINES["anthropic.messages"]["params"], "model": "m"},
    "mistral.chat": {"model": "m", "messages": MESSAGES, "max_tokens": 5, "temperature": 0.25},
    "gemini.generate": LINES["gemini.generate"]["request"],
    "bedrock.converse": {
        "system": [{"text": "S"}],
        "messages": [{"role": "user", "content": [{"text": "hi"}]}],
        "inferenceConfig": {"maxTokens": 5, "temperature": 0.25},
    },
}


@pytest.mark.parametrize("to", SAID)
@pytest.mark.parametrize("from_", LINES)
def test_a_file_of_one_vendors_lines_can_be_given_to_any_other(world, from_, to):
    path = world.table("t.jsonl", json.dumps(LINES[from_]) + "\n")
    world.cut(path, dialect=to, url=DIALECTS[to].url)
    assert world.bodies() == [SAID[to]]
    source = describe(path)
    assert source.format == "requests"
    assert glimpse(source, world.blobs).dialect == from_


def test_embeddings_of_one_vendor_can_be_given_to_the_other(world):
    line = {"key": "a", "request": {"content": {"parts": [{"text": "hi"}]}}}
    path = world.table("t.jsonl", json.dumps(line) + "\n")
    world.cut(path, dialect="openai.embeddings", url="/v1/embeddings")
    assert world.bodies() == [{"model": "m", "input": "hi"}]
    with pytest.raises(InvalidRecipe, match="want to go to :embedContent"):
        world.cut(path)


def test_azures_lines_leave_the_version_out(world):
    line = {**LINES["openai.chat"], "url": "/chat/completions"}
    world.cut(world.table("t.jsonl", json.dumps(line) + "\n"))
    assert world.bodies() == [SAID["openai.chat"]]


def test_a_line_that_cannot_be_told_to_another_vendor_is_named_with_its_field(world):
    plain = LINES["openai.chat"]
    seeded = {**plain, "custom_id": "b", "body": {**plain["body"], "seed": 1}}
    path = world.table("t.jsonl", json.dumps(plain) + "\n" + json.dumps(seeded) + "\n")
    with pytest.raises(InvalidRow, match=r"t\.jsonl, line 2: seed: anthropic.messages has no"):
        world.cut(path, dialect="anthropic.messages", url="/v1/messages")


def test_lines_of_two_vendors_are_no_one_table(world):
    lines = [LINES["openai.chat"], {**LINES["mistral.chat"], "custom_id": "b"}]
    path = world.table("t.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(InvalidTable, match=r"line 2: is a line for mistral.chat, but .*line 1"):
        world.cut(path)
