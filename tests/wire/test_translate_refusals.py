"""What only one vendor knows is never dropped on the way to another: the field is named."""

from typing import Any

import msgspec
import pytest

from batchmill.core.request import DIALECTS
from batchmill.errors import InvalidRequest
from batchmill.wire import translate

encode = msgspec.json.encode
USER = [{"role": "user", "content": "hi"}]


def told(body: dict[str, Any], from_: str, to: str) -> dict[str, Any]:
    return msgspec.json.decode(translate.request(encode(body), from_, to, "other"))


@pytest.mark.parametrize(
    ("from_", "body", "field"),
    [
        ("openai.chat", {"n": 2}, "n"),
        ("openai.chat", {"logprobs": True, "top_logprobs": 3}, "logprobs, top_logprobs"),
        ("openai.chat", {"web_search_options": {}}, "web_search_options"),
        ("openai.chat", {"audio": {"voice": "x"}}, "audio"),
        ("openai.chat", {"messages": [*USER, {"role": "system", "content": "s"}]}, r"messages\[1\].role"),
        ("openai.chat", {"messages": [{"role": "user", "content": "x", "name": "n"}]}, r"messages\[0\].name"),
        (
            "openai.chat",
            {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
            r"messages\[0\].content\[0\].input_audio",
        ),
        ("openai.chat", {"tools": [{"type": "custom", "custom": {"name": "x"}}]}, r"tools\[0\].type"),
        ("openai.responses", {"previous_response_id": "r"}, "previous_response_id"),
        ("openai.responses", {"tools": [{"type": "web_search"}]}, r"tools\[0\].type"),
        ("mistral.chat", {"safe_prompt": True}, "safe_prompt"),
        ("anthropic.messages", {"container": "c"}, "container"),
        ("anthropic.messages", {"tools": [{"type": "bash_20250124", "name": "bash"}]}, r"tools\[0\].type"),
        ("gemini.generate", {"safetySettings": []}, "safetySettings"),
        ("mistral.chat", {"prediction": {"type": "content", "content": "x"}}, "prediction"),
        ("gemini.generate", {"tools": [{"google_search": {}}]}, r"tools\[0\].googleSearch"),
        ("gemini.generate", {"generationConfig": {"candidate_count": 3}}, "generationConfig.candidateCount"),
        ("gemini.generate", {"tool_config": {"retrieval_config": {"language_code": "de"}}}, "toolConfig.retrievalConfig"),
        (
            "gemini.generate",
            {"toolConfig": {"functionCallingConfig": {"mode": "ANY"}, "includeServerSideToolInvocations": True}},
            "toolConfig.includeServerSideToolInvocations",
        ),
        (
            "gemini.generate",
            {"toolConfig": {"functionCallingConfig": {"mode": "AUTO", "streamFunctionCallArguments": True}}},
            "toolConfig.functionCallingConfig.streamFunctionCallArguments",
        ),
        ("gemini.generate", {"generationConfig": {"thinkingConfig": {"x": 1}}}, "generationConfig.thinkingConfig.x"),
        ("gemini.generate", {"generationConfig": {"speechConfig": {"languageCode": "de"}}}, "generationConfig.speechConfig"),
        ("gemini.generate", {"generationConfig": {"responseSchema": {"type": "STRING"}}}, "generationConfig.responseSchema"),
        ("gemini.generate", {"generationConfig": {"responseJsonSchema": {"type": "string"}}}, "generationConfig.responseJsonSchema"),
        ("bedrock.converse", {"guardrailConfig": {"guardrailIdentifier": "g"}}, "guardrailConfig"),
        ("bedrock.converse", {"additionalModelRequestFields": {"top_k": 1}}, "additionalModelRequestFields"),
    ],
)  # fmt: skip
def test_a_field_that_only_one_vendor_knows_is_named(
    from_: str, body: dict[str, Any], field: str
) -> None:
    plain: dict[str, dict[str, Any]] = {
        "openai.chat": {"model": "m", "messages": USER},
        "openai.responses": {"model": "m", "input": "hi"},
        "mistral.chat": {"model": "m", "messages": USER},
        "anthropic.messages": {"model": "m", "max_tokens": 5, "messages": USER},
        "gemini.generate": {"contents": [{"parts": [{"text": "hi"}]}]},
        "bedrock.converse": {"messages": [{"role": "user", "content": [{"text": "hi"}]}]},
    }
    to = "openai.chat" if from_ != "openai.chat" else "anthropic.messages"
    assert told(plain[from_], from_, to)["messages"] == USER
    with pytest.raises(InvalidRequest, match=f"^{field}: only {from_} knows this"):
        told(plain[from_] | body, from_, to)
    # Where it was written for, it stays as it is.
    own = encode(plain[from_] | body)
    assert translate.request(own, from_, from_, "") == own


def test_what_says_no_more_than_is_so_anyhow_needs_no_counterpart() -> None:
    usual = {"n": 1, "stream": False, "logprobs": False, "store": False, "service_tier": "auto"}
    body = {"model": "m", "messages": USER, "temperature": None, "prompt_cache_key": "k", **usual}
    assert told(body, "openai.chat", "anthropic.messages") == {
        "model": "other",
        "messages": USER,
        "max_tokens": 4096,
    }


def test_a_cache_mark_is_kept_where_there_is_a_place_for_it() -> None:
    text = {"type": "text", "text": "long"}
    marked = {**text, "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    body = {
        "model": "m",
        "max_tokens": 5,
        "system": [marked],
        "messages": USER,
        "cache_control": {"type": "ephemeral"},
    }
    there = told(body, "anthropic.messages", "bedrock.converse")
    assert there["system"] == [{"text": "long"}, {"cachePoint": {"type": "default", "ttl": "1h"}}]
    assert there["messages"][0]["content"] == [{"text": "hi"}, {"cachePoint": {"type": "default"}}]
    assert told(body, "anthropic.messages", "openai.chat")["messages"] == [
        {"role": "system", "content": "long"},
        *USER,
    ]


def test_thoughts_are_for_the_mind_that_had_them() -> None:
    thought = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
    said = {"role": "assistant", "content": [thought, {"type": "text", "text": "yes"}]}
    body = {"model": "m", "max_tokens": 5, "messages": [*USER, said, *USER]}
    there = told(body, "anthropic.messages", "bedrock.converse")
    assert there["messages"][1]["content"][0] == {
        "reasoningContent": {"reasoningText": {"text": "hm", "signature": "c2ln"}}
    }
    with pytest.raises(InvalidRequest, match=r"^messages\[1\].thinking: gemini.generate cannot"):
        told(body, "anthropic.messages", "gemini.generate")


def test_calls_without_an_id_get_one_and_one_that_does_not_fit_another() -> None:
    body = {
        "contents": [
            {"role": "user", "parts": [{"text": "hi"}]},
            {"role": "model", "parts": [{"function_call": {"name": "f", "args": {"a": 1}}}] * 2},
            {
                "role": "user",
                "parts": [{"functionResponse": {"name": "f", "response": {"r": 1}}}] * 2,
            },
        ]
    }
    there = told(body, "gemini.generate", "mistral.chat")["messages"]
    called = [call["id"] for call in there[1]["tool_calls"]]
    assert len(set(called)) == 2
    assert all(len(id) == 9 and id.isalnum() for id in called)
    assert [message["tool_call_id"] for message in there[2:]] == called
    assert there[2]["content"] == '{"r":1}'


def test_geminis_own_form_of_a_schema_becomes_json_schema() -> None:
    schema = {
        "type": "OBJECT",
        "properties": {"b": {"type": "STRING"}, "type": {"type": "STRING", "nullable": True}},
        "propertyOrdering": ["type", "unknown"],
    }
    config = {"response_mime_type": "application/json", "response_schema": schema}
    body = {"contents": [{"parts": [{"text": "hi"}]}], "generation_config": config}
    there = told(body, "gemini.generate", "openai.chat")
    found = there["response_format"]["json_schema"]["schema"]
    assert found == {
        "type": "object",
        "properties": {"type": {"type": ["string", "null"]}, "b": {"type": "string"}},
    }
    assert list(found["properties"]) == ["type", "b"]  # as the vendor was told to order them


def test_a_body_in_its_own_dialect_changes_nothing_but_its_model() -> None:
    body = b'{"model":"m", "temperature": 0.70, "x": {"y": [1.0]}}'
    assert translate.request(body, "openai.chat", "openai.chat", "m") == body
    assert translate.request(body, "openai.chat", "openai.chat", "") == body
    remodelled = translate.request(body, "openai.chat", "openai.chat", "n")
    assert remodelled == b'{"model":"n","temperature":0.70,"x":{"y": [1.0]}}'
    named = b'{"model":"models/m","contents":[]}'
    assert translate.request(named, "gemini.generate", "gemini.generate", "m") == b'{"contents":[]}'


# --------------------------------------------------------------------------------------- complaints


@pytest.mark.parametrize(
    ("dialect", "body", "words"),
    [
        ("openai.chat", b"{", "no JSON"),
        ("openai.chat", b"[1]", "expected an object"),
        ("openai.chat", b"[" * 100_000, "nested too deeply"),
        ("openai.chat", b'{"messages":[{"role":"user","content":"x"}]}', "model: is missing"),
        ("openai.chat", b'{"model":"m"}', "messages: is missing"),
        ("openai.chat", b'{"model":"m","messages":[]}', "messages: there are none"),
        ("openai.chat", b'{"model":"m","messages":"x"}', "messages: expected an array, got 'x'"),
        ("openai.chat", b'{"model":"m","messages":[{"content":"x"}]}', r"messages\[0\].role"),
        ("openai.chat", b'{"model":"m","messages":[{"role":"user","content":[{}]}]}', r"content\[0\].type"),
        ("openai.chat", b'{"model":"m","temperature":"hot","messages":[]}', "temperature: expected a number"),
        ("mistral.chat", b'{"model":"m","temperature":1.6,"messages":[{"role":"user","content":"x"}]}', "0 to 1.5"),
        ("openai.chat", b'{"model":"m","temperature":3,"messages":[{"role":"user","content":"x"}]}', "0 to 2"),
        ("openai.chat", b'{"model":"m","max_tokens":0,"messages":[{"role":"user","content":"x"}]}', "1 or more"),
        ("openai.responses", b'{"model":"m"}', "input: is missing"),
        ("openai.embeddings", b'{"model":"m","input":[]}', "input: is empty"),
        ("anthropic.messages", b'{"model":"m","messages":[]}', "max_tokens: is missing"),
        ("anthropic.messages", b'{"model":"m","max_tokens":1,"messages":[{"role":"tool"}]}', "role"),
        ("gemini.generate", b'{"contents":[{"parts":[{"text":1}]}]}', r"contents\[0\].parts\[0\].text"),
        ("gemini.embed", b"{}", "content: is missing"),
        ("bedrock.converse", b'{"messages":[{"role":"user","content":"x"}]}', "content: expected an array"),
    ],
)  # fmt: skip
def test_a_body_that_can_be_no_request_is_told_why(dialect: str, body: bytes, words: str) -> None:
    import re

    assert re.search(words, translate.complaint(dialect, body))


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [*USER, {"role": "developer", "content": "s"}]},
        {"messages": [*USER, {"role": "function", "name": "f", "content": "s"}]},
        {"tool_choice": {"type": "allowed_tools", "allowed_tools": {}}},
        {"reasoning_effort": "utmost"},
        {"response_format": {"type": "grammar", "grammar": "x"}},
        {"metadata": {"a": 1}},
        {"something": "new"},
    ],
)
def test_what_is_only_unknown_to_us_is_no_complaint(body: dict[str, Any]) -> None:
    assert translate.complaint("openai.chat", encode({"model": "m", "messages": USER} | body)) == ""


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        ("openai.embeddings", {"model": "m", "input": [1, 2, 3]}),
        ("openai.embeddings", {"model": "m", "input": [[1], [2]]}),
        ("mistral.chat", {"model": "m", "messages": [*USER, {"role": "tool", "content": None}]}),
        (
            "gemini.generate",
            {
                "contents": [{"parts": [{"text": "x"}]}],
                "generationConfig": {"maxOutputTokens": "5"},
            },
        ),
    ],
)
def test_what_one_vendor_takes_is_no_complaint_either(dialect: str, body: dict[str, Any]) -> None:
    assert translate.complaint(dialect, encode(body)) == ""


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_more_room_is_one_changed_number_in_every_dialect(dialect: str) -> None:
    for path in translate.max_tokens_fields(dialect):
        outer, *inner = path
        body: dict[str, Any] = {"a": 1.5, outer: {inner[0]: 5, "b": 2} if inner else 5}
        wider = translate.with_max_tokens(encode(body), dialect, 900)
        body[outer] = {inner[0]: 900, "b": 2} if inner else 900
        assert msgspec.json.decode(wider) == body
    if DIALECTS[dialect].endpoint == "embeddings":
        assert translate.with_max_tokens(b'{"a":1}', dialect, 900) == b'{"a":1}'
    else:
        assert b"900" in translate.with_max_tokens(b'{"a":1}', dialect, 900)
