"""Mistral's lines and answers: every odd one has a class, and every class the vendor's own words."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchmill.core.failure import Failure
from batchmill.core.outcome import Outcome, Usage
from batchmill.core.request import MISTRAL_CHAT, OPENAI_EMBEDDINGS, Request
from batchmill.wire import mistral

ids = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)


def chat(content: object = "42", finish: str = "stop", **message: object) -> dict[str, Any]:
    said = {"role": "assistant", "content": content, "tool_calls": None, "prefix": False, **message}
    return {
        "id": "cmpl-1",
        "object": "chat.completion",
        "model": "mistral-small-2603",
        "choices": [{"index": 0, "message": said, "finish_reason": finish}],
        "usage": {
            "prompt_tokens": 9,
            "completion_tokens": 3,
            "total_tokens": 12,
            "prompt_tokens_details": {"cached_tokens": 4},
        },
    }


def line(body: object, status: int = 200, **more: object) -> bytes:
    response = {"status_code": status, "body": body}
    told = {"id": "batch-1", "custom_id": "a-1", "response": response, "error": None, **more}
    return json.dumps(told).encode()


def error(code: str | None, message: object, kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"object": "error", "message": message, "type": kind, "param": None, "code": code}


def test_a_request_line_has_neither_method_nor_url() -> None:
    assert json.loads(mistral.render_request_line(Request("a-1", b'{"x":1}'))) == {
        "custom_id": "a-1",
        "body": {"x": 1},
    }


@given(ids, st.text())
def test_an_answer_survives_the_line_and_its_body_stays_verbatim(name: str, text: str) -> None:
    body = json.dumps(chat(text)).encode()
    result = mistral.parse_result_line(
        mistral.render_result_line(name, 200, body, "batch-1"), MISTRAL_CHAT
    )
    assert result is not None
    assert (result.custom_id, result.outcome, result.answer) == (name, Outcome.SUCCEEDED, text)
    assert (result.model, result.body) == ("mistral-small-2603", body)
    assert result.usage == Usage(9, 3, 4, 0)


@given(st.text(min_size=1))
def test_a_failed_row_survives_the_line_though_its_body_is_put_into_a_text(words: str) -> None:
    body = json.dumps(error("3310", words)).encode()
    found = mistral.render_result_line("a", 400, body, "batch-1")
    assert isinstance(json.loads(found)["response"]["body"], str)
    result = mistral.parse_result_line(found, MISTRAL_CHAT)
    assert result is not None
    assert (result.failure, json.loads(result.body)["message"]) == (Failure.INVALID_MEDIA, words)


def test_a_line_that_names_no_request_is_nobodys() -> None:
    # An answer to a request without a name carries null (seen 2026-09-02); SDK 3.7.0's own tests
    # have error lines without the field.
    assert mistral.parse_result_line(line(chat(), custom_id=None), MISTRAL_CHAT) is None
    assert mistral.parse_result_line(b'{"error":"boom","response":null}', MISTRAL_CHAT) is None


@pytest.mark.parametrize("found", [b"", b"[]", b"{", b'{"custom_id":1}', b'"x"', b'{"custom_id":"'])
def test_what_is_no_line_is_an_error(found: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        mistral.parse_result_line(found, MISTRAL_CHAT)


#: (status, body, class, source)
FAILURES = [
    (429, error("1300", "Rate limit exceeded", "rate_limited"), "rate_limited", "raycast#31107"),
    (429, {"message": "Requests rate limit exceeded"}, "rate_limited", "pydantic-ai#1885"),
    (
        429,
        error("3505", "Service tier capacity exceeded for this model.", "service_tier_capacity"),
        "rate_limited",
        "continue#6185",
    ),
    (429, error(None, "Service tier capacity exceeded for this model."), "rate_limited", "same"),
    (429, error(None, "Too many running batch jobs"), "quota", "guess: not published"),
    (429, error(None, "Monthly usage limit reached"), "account", "guess: not published"),
    (500, error("1000", "Service unavailable.", "internal_server_error"), "server", "SDK: 5XX"),
    (503, {"message": "busy"}, "server", "captures/mistral.json"),
    (502, "An invalid response was received from the upstream server", "server", "2026-09-04"),
    (
        400,
        error(
            None,
            "Prompt contains 226728 tokens and 0 draft tokens, too large for model with "
            "131072 maximum context length",
        ),
        "too_long",
        "docs: known limitations",
    ),
    (
        400,
        error(
            "3210", "Too many tokens overall, split into more batches.", "invalid_request_prompt"
        ),
        "too_long",
        "edgequake: embeddings",
    ),
    (
        400,
        error("3310", "File could not be fetched from url 'https://x/y'", "invalid_request_file"),
        "invalid_media",
        "error file of a job, 2026-09-02",
    ),
    (
        500,
        error(
            None, "Image https://x/y has an invalid format.Allowed formats are JPEG,PNG,WEBP,GIF."
        ),
        "invalid_media",
        "platform-docs-public#149",
    ),
    (
        400,
        error(None, "Image, 'https://x/y.png', could not be loaded as a valid image"),
        "invalid_media",
        "n8n: MistralAI node",
    ),
    (401, {"detail": "Invalid API Key"}, "account", "2026-09-02"),
    (401, {"detail": "Unauthorized"}, "account", "agent-zero#539"),
    (401, {"message": "Unauthorized", "request_id": "93"}, "account", "CoolCline#36"),
    (402, {"message": "Payment required"}, "account", "the status"),
    (
        403,
        error("1910", "This model is not available in your subscription tier", "tier_not_allowed"),
        "account",
        "raw_status_code 403",
    ),
    (400, error("1500", "Invalid model: x", "invalid_model"), "account", "langchaingo#1233"),
    (422, {"detail": "You do not have access to the model"}, "account", "create, 2026-09-02"),
    (404, {"message": "Model pixtral-large-latest was not found."}, "account", "GET /v1/models/x"),
    (403, error(None, "Blocked by a guardrail"), "refused", "SDK 3.7.0 GuardrailConfig: 403"),
    (
        400,
        error("3230", "Expected last role User or Tool", "invalid_request_message_order"),
        "invalid_request",
        "widely seen",
    ),
    (
        422,
        {"detail": [{"type": "extra_forbidden", "loc": ["body", "store"], "msg": "Extra inputs"}]},
        "invalid_request",
        "openclaude#739",
    ),
    (422, error(None, {"detail": [{"loc": ["body"], "msg": "no"}]}), "invalid_request", "nested"),
    (413, {"detail": "Request Entity Too Large"}, "too_long", "the status"),
]


@pytest.mark.parametrize(
    ("status", "body", "failure"),
    [found[:3] for found in FAILURES],
    ids=[f"{found[2]}-{found[3]}" for found in FAILURES],
)
def test_each_class_is_told_in_the_vendors_own_words(
    status: int, body: object, failure: str
) -> None:
    said = body.encode() if isinstance(body, str) else json.dumps(body).encode()

    live = mistral.result("a-1", status, said, MISTRAL_CHAT)
    batch = mistral.parse_result_line(line(said.decode(), status), MISTRAL_CHAT)

    assert live.failure == failure
    assert batch is not None
    assert (batch.failure, batch.detail) == (live.failure, live.detail)
    assert live.detail.startswith(str(status))


@pytest.mark.parametrize(
    ("told", "failure", "outcome"),
    [
        ({"error": "rate limited", "response": {"status_code": 429, "body": None}}, "rate_limited", "errored"),
        ({"error": "boom", "response": {"status_code": 500, "body": {}}}, "server", "errored"),
        ({"error": "boom", "response": None}, "server", "errored"),
        ({"error": {"message": "boom", "code": "1300"}, "response": None}, "rate_limited", "errored"),
        ({"error": "the request expired", "response": None}, "expired", "expired"),
        ({"error": "Job was cancelled", "response": None}, "canceled", "canceled"),
        ({"error": ["odd"], "response": None}, "server", "errored"),
        ({"error": None, "response": None}, "server", "errored"),
        ({"error": None, "response": {"status_code": 0, "body": None}}, "server", "errored"),
        ({"error": None, "response": {"status_code": "400", "body": {}}}, "invalid_request", "errored"),
    ],
)  # fmt: skip
def test_an_error_of_any_shape_is_one(told: dict[str, Any], failure: str, outcome: str) -> None:
    # `error` is untyped in the vendor's own model; a text is what SDK 3.7.0's tests use.
    result = mistral.parse_result_line(
        json.dumps({"custom_id": "a", **told}).encode(), MISTRAL_CHAT
    )
    assert result is not None
    assert (result.failure, result.outcome) == (failure, outcome)
    assert result.detail


@pytest.mark.parametrize(
    ("finish", "failure"),
    [
        ("stop", None),
        ("tool_calls", None),
        ("length", Failure.TRUNCATED),
        ("model_length", Failure.TRUNCATED),
        ("error", Failure.SERVER),
    ],
)
def test_how_an_answer_ended_is_told_and_its_text_is_kept(
    finish: str, failure: Failure | None
) -> None:
    body = json.dumps(chat('said "error" and "model_length"', finish)).encode()
    result = mistral.result("a", 200, body, MISTRAL_CHAT)
    assert (result.failure, result.answer) == (failure, 'said "error" and "model_length"')


def test_thoughts_are_not_the_answer() -> None:
    # A reasoning model answers in parts (ThinkChunk and TextChunk of SDK 3.7.0).
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "42"},
    ]
    assert mistral.result("a", 200, json.dumps(chat(parts)).encode(), MISTRAL_CHAT).answer == "42"


def test_tool_calls_are_the_answer_where_there_is_no_text() -> None:
    calls = [{"id": "x", "function": {"name": "f", "arguments": "{}"}, "index": 0}]
    body = json.dumps(chat("", "tool_calls", tool_calls=calls)).encode()
    assert mistral.result("a", 200, body, MISTRAL_CHAT).failure is None


def test_a_vector_is_an_answer() -> None:
    body = json.dumps({"data": [{"embedding": [0.5], "index": 0}], "model": "m"}).encode()
    assert mistral.result("a", 200, body, OPENAI_EMBEDDINGS).answer == "[0.5]"


def test_a_refused_file_names_its_lines() -> None:
    # As a third party wrote it down on 2026-09-04.
    refusal = {
        "detail": "Invalid file format.",
        "description": "Found 1 error in this file. Please fix it.",
        "errors": [{"message": "tool_choice requests function 'x'", "line_number": 4}],
    }
    body = json.dumps(refusal).encode()
    assert mistral.named_lines(body) == {4: "tool_choice requests function 'x'"}
    assert "line 4: tool_choice" in mistral.complaint(body).message
    assert mistral.named_lines(b"<html>") == {}


def test_words_of_a_persons_own_tools_hold_no_batch() -> None:
    said = error(
        None, "tool_choice requests function 'cancelled_payment_credit' which is not there"
    )
    for status in (400, 422):
        result = mistral.result("a", status, json.dumps(said).encode(), MISTRAL_CHAT)
        assert result.failure is Failure.INVALID_REQUEST


@pytest.mark.parametrize(
    ("message", "failure"),
    [
        ("HTTP Error, status code: 400", Failure.INVALID_REQUEST),
        ("HTTP Error, status code: 503", Failure.SERVER),
        ("HTTP Error, status code: 429", Failure.RATE_LIMITED),
        ("You do not have access to the model", Failure.ACCOUNT),
        ("Line 3 is odd", Failure.INVALID_REQUEST),
        ("", Failure.SERVER),
    ],
)
def test_why_a_job_failed_has_a_class(message: str, failure: Failure) -> None:
    assert mistral.job_failure(message) is failure
