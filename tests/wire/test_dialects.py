"""Each vendor is asked in its own words, and each one's limits are told by the field's name."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from batchmill.errors import InvalidRequest
from batchmill.wire import hub, translate
from batchmill.wire.hub import Chat, Document, Image, Schema, Text, Turn

encode = msgspec.json.encode

SCHEMA = {"type": "object", "properties": {"brand": {"type": "string"}}, "required": ["brand"]}
CLOSED = {**SCHEMA, "additionalProperties": False}


def asked(*parts: hub.Part, **more: Any) -> Chat:
    said = parts or (Text("hi"),)
    return Chat(model=more.pop("model", "m"), turns=(Turn(hub.USER, tuple(said)),), **more)


def body(dialect: str, chat: Chat) -> dict[str, Any]:
    return msgspec.json.decode(encode(translate.write(dialect, chat)))


# ------------------------------------------------------------------------------------------ schemas


def test_a_schema_is_asked_for_in_each_vendors_own_way() -> None:
    chat = asked(schema=Schema(schema=SCHEMA, name="card"))
    named = {"name": "card", "strict": True, "schema": SCHEMA}
    format = {"type": "json_schema", "json_schema": named}
    assert body("openai.chat", chat)["response_format"] == format
    assert body("mistral.chat", chat)["response_format"] == format
    assert body("openai.responses", chat)["text"] == {"format": {"type": "json_schema", **named}}
    assert body("gemini.generate", chat)["generationConfig"] == {
        "responseMimeType": "application/json",
        "responseJsonSchema": SCHEMA,
    }
    text = body("bedrock.converse", chat)["outputConfig"]["textFormat"]
    assert text["structure"]["jsonSchema"] == {"name": "card", "schema": encode(SCHEMA).decode()}


def test_anthropic_wants_every_object_of_a_schema_closed() -> None:
    nested = {
        "type": "object",
        "properties": {"type": SCHEMA, "enum": {"type": "array", "items": SCHEMA}},
    }
    chat = asked(model="claude-haiku-4-5", schema=Schema(schema=nested))
    assert body("anthropic.messages", chat)["output_config"]["format"] == {
        "type": "json_schema",
        "schema": {
            "type": "object",
            "properties": {"type": CLOSED, "enum": {"type": "array", "items": CLOSED}},
            "additionalProperties": False,
        },
    }


@pytest.mark.parametrize("model", ["claude-opus-4-20250514", "claude-3-5-haiku-20241022"])
def test_an_older_claude_keeps_to_a_schema_by_a_forced_tool(model: str) -> None:
    chat = asked(model=model, schema=Schema(schema=SCHEMA))
    found = body("anthropic.messages", chat)
    assert found["tool_choice"] == {"type": "tool", "name": hub.ANSWER_TOOL}
    [tool] = found["tools"]
    assert tool["input_schema"] == SCHEMA
    assert translate.read("anthropic.messages", encode(found)) == replace(chat, max_tokens=4096)
    converse = body("bedrock.converse", replace(chat, model=f"anthropic.{model}-v1:0"))
    assert converse["toolConfig"]["toolChoice"] == {"tool": {"name": hub.ANSWER_TOOL}}


def test_the_answer_of_a_forced_tool_is_text_to_everybody_else() -> None:
    used = {"type": "tool_use", "id": "t", "name": hub.ANSWER_TOOL, "input": {"brand": "x"}}
    message = {"id": "a", "model": "c", "content": [used], "stop_reason": "tool_use"}
    told = msgspec.json.decode(
        translate.answer(encode(message), "anthropic.messages", "openai.chat")
    )
    [choice] = told["choices"]
    assert choice["message"]["content"] == '{"brand":"x"}'
    assert choice["finish_reason"] == "stop"


def test_any_json_needs_a_schema_where_there_is_no_such_mode() -> None:
    for dialect in ("anthropic.messages", "bedrock.converse"):
        with pytest.raises(InvalidRequest, match=r"response_format: .* no JSON without a schema"):
            translate.write(dialect, asked(json=True))


# -------------------------------------------------------------------------------------------- media

PNG = Image(data="aGk=", media_type="image/png")
LINK = Image(url="https://x.org/i.png")
PDF = Document(data="aGk=", name="a b.pdf")


@pytest.mark.parametrize(
    ("dialect", "media", "part"),
    [
        (
            "openai.chat",
            PNG,
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
        ),
        ("openai.chat", LINK, {"type": "image_url", "image_url": {"url": "https://x.org/i.png"}}),
        (
            "openai.chat",
            PDF,
            {
                "type": "file",
                "file": {"filename": "a b.pdf", "file_data": "data:application/pdf;base64,aGk="},
            },
        ),
        ("openai.responses", LINK, {"type": "input_image", "image_url": "https://x.org/i.png"}),
        (
            "anthropic.messages",
            PNG,
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/png", "data": "aGk="},
            },
        ),
        (
            "anthropic.messages",
            LINK,
            {"type": "image", "source": {"type": "url", "url": "https://x.org/i.png"}},
        ),
        (
            "anthropic.messages",
            PDF,
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="},
                "title": "a b.pdf",
            },
        ),
        ("gemini.generate", PNG, {"inlineData": {"mimeType": "image/png", "data": "aGk="}}),
        (
            "gemini.generate",
            Image(url="gs://b/i.jpg"),
            {"fileData": {"mimeType": "image/jpeg", "fileUri": "gs://b/i.jpg"}},
        ),
        ("mistral.chat", LINK, {"type": "image_url", "image_url": {"url": "https://x.org/i.png"}}),
        ("bedrock.converse", PNG, {"image": {"format": "png", "source": {"bytes": "aGk="}}}),
        (
            "bedrock.converse",
            Image(url="s3://b/i.webp"),
            {"image": {"format": "webp", "source": {"s3Location": {"uri": "s3://b/i.webp"}}}},
        ),
        (
            "bedrock.converse",
            PDF,
            {"document": {"format": "pdf", "name": "a b pdf", "source": {"bytes": "aGk="}}},
        ),
    ],
)
def test_media_travel_as_each_vendor_takes_them(
    dialect: str, media: hub.Media, part: dict[str, Any]
) -> None:
    assert translate.part(dialect, media) == part
    assert translate.takes_link(dialect, media)


@pytest.mark.parametrize(
    ("dialect", "media"),
    [
        ("openai.chat", Document(url="https://x.org/a.pdf")),
        ("openai.chat", Image(url="gs://b/i.png")),
        ("anthropic.messages", Image(url="s3://b/i.png")),
        ("gemini.generate", Image(url="https://x.org/no-ending")),
        ("bedrock.converse", LINK),
        ("openai.embeddings", PNG),
    ],
)
def test_a_link_that_a_vendor_cannot_follow_is_no_link_to_it(
    dialect: str, media: hub.Media
) -> None:
    assert not translate.takes_link(dialect, media)
    with pytest.raises(InvalidRequest):
        translate.part(dialect, media)


def test_the_links_of_a_body_are_found_wherever_they_are() -> None:
    result = hub.ToolResult(call_id="c", content=(Image(url="https://x.org/2.png"),))
    chat = Chat(
        model="m",
        turns=(
            Turn(hub.USER, (LINK, LINK, PNG)),
            Turn(hub.ASSISTANT, (hub.ToolCall(id="c", name="f", arguments="{}"),)),
            Turn(hub.USER, (result, Document(url="https://x.org/3.pdf"))),
        ),
    )
    links = ["https://x.org/i.png", "https://x.org/2.png", "https://x.org/3.pdf"]
    assert translate.links("anthropic.messages", encode(body("anthropic.messages", chat))) == links
    assert translate.links("openai.embeddings", b'{"model":"m","input":"https://x"}') == []
    assert translate.links("openai.chat", b"{") == []


# ------------------------------------------------------------------------------------------- models


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-4o-mini", "max_tokens"),
        ("llama-3.1-8b", "max_tokens"),
        ("o4-mini", "max_completion_tokens"),
        ("openai/gpt-5-nano", "max_completion_tokens"),
        ("ft:gpt-5.4:acme::x", "max_completion_tokens"),
    ],
)
def test_the_limit_of_an_answer_has_the_name_the_model_wants(model: str, name: str) -> None:
    assert body("openai.chat", asked(model=model, max_tokens=9))[name] == 9
    plain = encode(body("openai.chat", asked(model=model)))
    wider = msgspec.json.decode(translate.with_max_tokens(plain, "openai.chat", 77))
    assert wider[name] == 77


@pytest.mark.parametrize(
    ("dialect", "model", "said", "words"),
    [
        ("openai.chat", "gpt-5-mini", {"temperature": 0}, "temperature: gpt-5-mini takes no"),
        ("openai.responses", "o3", {"top_p": 0.5}, "top_p: o3 takes no"),
        ("openai.chat", "gpt-5.1", {"temperature": 0, "effort": "high"}, "temperature: gpt-5.1"),
        ("anthropic.messages", "claude-opus-4-7", {"temperature": 0}, "temperature: claude-opus-4-7"),
        ("anthropic.messages", "claude-sonnet-5", {"top_k": 5}, "top_k: claude-sonnet-5"),
        ("anthropic.messages", "claude-haiku-4-5", {"temperature": 0, "top_p": 0.5}, "top_p: .* not both"),
        ("anthropic.messages", "claude-opus-4-8", {"thinking_tokens": 2000}, "thinking_tokens: .* efforts"),
        ("anthropic.messages", "claude-opus-4-5", {"effort": "max"}, "reasoning_effort: .* low, medium, high"),
        ("anthropic.messages", "claude-haiku-4-5", {"effort": "high", "max_tokens": 99}, "max_tokens: 99"),
        ("mistral.chat", "m", {"temperature": 1.6}, "temperature: mistral.chat takes 0 to 1.5"),
        ("anthropic.messages", "m", {"temperature": 1.5}, "temperature: .* 0 to 1"),
        ("gemini.generate", "gemini-2.5-flash", {"effort": "max"}, "reasoning_effort: gemini-2.5"),
        ("gemini.generate", "gemini-3-pro", {"effort": "none"}, "reasoning_effort: gemini-3-pro"),
        ("openai.chat", "m", {"top_k": 1}, "top_k: openai.chat has no such field"),
        ("openai.responses", "m", {"stop": ("x",)}, "stop: openai.responses"),
        ("anthropic.messages", "m", {"seed": 0}, "seed: anthropic.messages has no such field"),
        ("mistral.chat", "m", {"user": "u"}, "user: mistral.chat"),
        ("bedrock.converse", "m", {"seed": 1}, "seed: bedrock.converse"),
        ("gemini.generate", "m", {"metadata": {"a": "b"}}, "metadata: gemini.generate"),
    ],
)  # fmt: skip
def test_what_a_model_or_its_dialect_refuses_is_named_before_anything_is_spent(
    dialect: str, model: str, said: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidRequest, match=f"^{words}"):
        translate.write(dialect, asked(model=model, **said))


@pytest.mark.parametrize(
    ("dialect", "model", "said", "found"),
    [
        ("openai.chat", "gpt-5-mini", {"temperature": 1}, {"temperature": 1}),
        ("openai.chat", "gpt-5.4", {"temperature": 0}, {"temperature": 0}),
        ("openai.chat", "gpt-5-chat-latest", {"temperature": 0}, {"temperature": 0}),
        ("openai.responses", "o3", {"effort": "low"}, {"reasoning": {"effort": "low"}}),
        ("anthropic.messages", "claude-haiku-4-5", {"top_p": 1, "temperature": 0}, {"temperature": 0}),
        ("anthropic.messages", "claude-opus-4-7", {"effort": "xhigh"}, {"thinking": {"type": "adaptive"}}),
        ("anthropic.messages", "claude-haiku-4-5", {"effort": "low"}, {"max_tokens": 4096 + 2048}),
        ("gemini.generate", "gemini-2.5-flash", {"effort": "none"}, {"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}}),
        ("gemini.generate", "gemini-3-pro", {"effort": "low"}, {"generationConfig": {"thinkingConfig": {"thinkingLevel": "LOW"}}}),
        ("mistral.chat", "m", {"seed": 7}, {"random_seed": 7}),
        ("bedrock.converse", "m", {"effort": "low"}, {"outputConfig": {"effort": "low"}}),
    ],
)  # fmt: skip
def test_what_a_model_takes_is_said_where_it_looks_for_it(
    dialect: str, model: str, said: dict[str, Any], found: dict[str, Any]
) -> None:
    there = body(dialect, asked(model=model, **said))
    assert {name: there.get(name) for name in found} == found


def test_no_sampling_is_left_for_the_newest_claudes_but_the_usual() -> None:
    found = body("anthropic.messages", asked(model="claude-opus-5", temperature=1))
    assert "temperature" not in found
