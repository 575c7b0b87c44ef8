"""OpenRouter's items and errors: one type means one class, wherever it is written."""

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchmill.core.failure import Failure
from batchmill.core.outcome import Outcome, Usage
from batchmill.core.request import OPENAI_CHAT, OPENAI_RESPONSES, Request
from batchmill.wire import openrouter as wire

MODEL = "openai/gpt-4o:batch"
#: Every `error_type` of the vendor's page "Errors and debugging" (read as of 2026-09).
TYPES = {
    "context_length_exceeded": (400, "too_long"),
    "max_tokens_exceeded": (400, "truncated"),
    "token_limit_exceeded": (400, "account"),
    "string_too_long": (400, "too_long"),
    "authentication": (401, "account"),
    "permission_denied": (403, "account"),
    "payment_required": (402, "account"),
    "rate_limit_exceeded": (429, "rate_limited"),
    "provider_overloaded": (503, "server"),
    "provider_unavailable": (502, "server"),
    "invalid_request": (400, "invalid_request"),
    "invalid_prompt": (400, "invalid_request"),
    "not_found": (404, "invalid_request"),
    "precondition_failed": (412, "invalid_request"),
    "payload_too_large": (413, "too_long"),
    "unprocessable": (422, "invalid_request"),
    "content_policy_violation": (400, "refused"),
    "refusal": (400, "refused"),
    "invalid_image": (400, "invalid_media"),
    "image_too_large": (400, "invalid_media"),
    "image_too_small": (400, "invalid_media"),
    "unsupported_image_format": (400, "invalid_media"),
    "image_not_found": (404, "invalid_media"),
    "image_download_failed": (400, "invalid_media"),
    "server": (500, "server"),
    "timeout": (504, "server"),
    "unmapped": (500, "server"),
}


def chat(content: str = "42", finish: str = "stop", **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"content": content}, "finish_reason": finish, **more}
    usage = {"prompt_tokens": 9, "completion_tokens": 3, "cost": 0.00012375, "is_byok": False}
    return {"model": "openai/gpt-4o", "choices": [choice], "usage": usage}


def item(**told: Any) -> bytes:
    given_item = {"id": "batch_req_1", "custom_id": "a-1", "response": None, "error": None}
    return json.dumps({**given_item, **told}).encode()


@pytest.mark.parametrize("kind", TYPES)
def test_a_type_means_the_same_in_a_call_in_an_answer_and_in_a_batch(kind: str) -> None:
    status, failure = TYPES[kind]
    error = {"code": status, "message": "in words", "metadata": {"error_type": kind}}
    called = wire.result("a", status, json.dumps({"error": error}).encode(), OPENAI_CHAT)
    inside = json.dumps(chat("par", "error", error=error)).encode()
    broke = wire.result("a", 200, inside, OPENAI_CHAT)
    said = {"type": "invalid_request_error", "message": "in words", "param": None}
    batch = wire.parse_item(
        item(response={"status_code": status, "body": None}, error={**said, "error_type": kind}),
        OPENAI_CHAT,
    )

    assert {called.failure, broke.failure, batch.failure} == {failure}
    assert broke.answer == "par"
    assert kind in called.detail
    assert kind in broke.detail
    assert kind in batch.detail


#: (status, error, class, source)
FAILURES = [
    (403, {"code": 403, "message": "Request blocked: prompt injection patterns detected"},
     "refused", "errors page: guardrails"),
    (403, {"code": 403, "message": "no", "metadata": {"reasons": ["violence"]}},
     "refused", "errors page: moderation"),
    (403, {"code": 403, "message": "Key limit exceeded (total limit)"}, "account", "seen"),
    (402, {"code": 402, "message": "Insufficient credits"}, "account", "errors page"),
    (401, {"code": 401, "message": "No auth credentials found"}, "account", "errors page"),
    (408, {"code": 408, "message": "Your request timed out"}, "server", "errors page"),
    (429, {"code": 429, "message": "Rate limit exceeded: free-models-per-day"},
     "rate_limited", "errors page"),
    (502, {"code": 502, "message": "Provider returned error"}, "server", "errors page"),
    (503, {"code": 503, "message": "There is no available model provider"}, "server", "same"),
    (400, {"code": 400, "message": "x/y is not a valid model ID"}, "account", "seen"),
    (404, {"code": 404, "message": "No endpoints found for x/y."}, "account", "seen"),
    (400, {"message": "Model 'openai/gpt-4o-mini' does not have a :batch endpoint."},
     "account", "a submission of 2026-09-28"),
    (400, {"code": 400, "message": "This endpoint's maximum context length is 32768 tokens."},
     "too_long", "refly#1177"),
    (400, {"code": 400, "message": "Provider returned error"}, "invalid_request", "cline#13194"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "error", "failure"),
    [found[:3] for found in FAILURES],
    ids=[f"{found[2]}-{found[3]}" for found in FAILURES],
)
def test_an_error_without_a_type_is_told_by_its_words_and_status(
    status: int, error: dict[str, Any], failure: str
) -> None:
    result = wire.result("a", status, json.dumps({"error": error}).encode(), OPENAI_CHAT)

    assert result.failure == failure
    assert result.detail == f"{status} {error['message']}"


@given(st.text())
def test_an_answer_survives_its_item_with_its_price(text: str) -> None:
    body = json.dumps(chat(text)).encode()
    told = b'{"custom_id":"a-1","response":{"status_code":200,"body":%b},"error":null}' % body
    result = wire.parse_item(told, OPENAI_CHAT)
    assert (result.custom_id, result.outcome, result.answer) == ("a-1", Outcome.SUCCEEDED, text)
    assert (result.usage, result.cost_usd) == (Usage(9, 3, 0, 0), Decimal("0.00012375"))
    assert result.body == body


def test_a_fee_for_a_key_of_ones_own_is_no_price() -> None:
    answer = chat()
    answer["usage"]["is_byok"] = True
    assert wire.result("a", 200, json.dumps(answer).encode(), OPENAI_CHAT).cost_usd is None


def test_a_broken_answer_without_a_reason_is_the_providers_trouble() -> None:
    result = wire.result("a", 200, json.dumps(chat("par", "error")).encode(), OPENAI_CHAT)
    assert (result.failure, result.answer) == (Failure.SERVER, "par")


def test_an_error_in_place_of_an_answer_is_one() -> None:
    body = {"error": {"code": 429, "message": "Rate limit exceeded"}}
    result = wire.result("a", 200, json.dumps(body).encode(), OPENAI_CHAT)
    assert result.failure is Failure.RATE_LIMITED


def test_words_about_errors_are_no_error() -> None:
    body = json.dumps({**chat('an "error": {"code": 500}'), "error": None}).encode()
    assert wire.result("a", 200, body, OPENAI_CHAT).failure is None


def test_a_failed_response_keeps_its_type_beside_its_error() -> None:
    body = {
        "status": "failed",
        "output": [],
        "error": {"code": "server_error", "message": "Invalid credentials"},
        "error_type": "authentication",
    }
    result = wire.result("a", 200, json.dumps(body).encode(), OPENAI_RESPONSES)
    assert result.failure is Failure.ACCOUNT


@pytest.mark.parametrize(
    ("told", "failure"),
    [
        ({"error": {"type": "x", "message": "The batch expired"}}, Failure.EXPIRED),
        ({"error": {"type": "x", "message": "The batch was cancelled"}}, Failure.CANCELED),
        ({"error": {"message": "boom"}}, Failure.SERVER),
        ({"error": "boom"}, Failure.SERVER),
        ({"error": {"type": "invalid_request_error", "message": "no"}}, Failure.INVALID_REQUEST),
        ({"error": {"type": "invalid_request_error",
                    "message": "Upstream request failed with status 429."}}, Failure.RATE_LIMITED),
        ({"error": {"error_type": "invalid_prompt", "message": "no"}}, Failure.INVALID_REQUEST),
        ({}, Failure.SERVER),
        ({"response": {"status_code": 0, "body": {}}}, Failure.SERVER),
        ({"response": {"status_code": 400, "body": {"error": {"message": "no"}}}},
         Failure.INVALID_REQUEST),
        ({"error": {"message": 3, "metadata": "odd", "code": []}}, Failure.SERVER),
    ],
)  # fmt: skip
def test_an_item_that_failed_is_a_failure_whatever_its_shape(
    told: dict[str, Any], failure: Failure
) -> None:
    result = wire.parse_item(item(**told), OPENAI_CHAT)
    assert result.failure is failure
    assert result.detail


@pytest.mark.parametrize("found", [b"", b"[]", b'{"custom_id":null}', b'"x"'])
def test_what_is_no_item_is_an_error(found: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        wire.parse_item(found, OPENAI_CHAT)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"model": "a/b", "messages": []}, True),
        ({"messages": [{"content": '"model":"a/b"'}], "model": "a/b"}, True),
        ({"messages": [], "x": 'a "model"'}, False),
        ({"messages": []}, False),
        ({"model": 'a"/b', "messages": []}, False),
        ({"model": None, "messages": []}, False),
    ],
)
def test_a_body_names_the_batchs_own_model_but_no_other_is_replaced(
    body: dict[str, Any], named: bool
) -> None:
    for raw in (json.dumps(body).encode(), msgspec.json.encode(body)):
        said = json.loads(wire.render_item(Request("a-1", raw), "a/b", MODEL))
        assert said["custom_id"] == "a-1"
        assert said["body"] == ({**body, "model": MODEL} if named else body)


def test_the_head_holds_all_but_the_requests() -> None:
    whole = wire.render_head("/v1/chat/completions", MODEL) + wire.TAIL
    assert list(json.loads(whole)) == ["endpoint", "model", "completion_window", "requests"]


@pytest.mark.parametrize(
    ("model", "name"),
    [("openai/gpt-4o", MODEL), (MODEL, MODEL), ("x/y:free", "x/y:free"), ("y", "y:batch")],
)
def test_a_model_is_called_by_its_batch_variant(model: str, name: str) -> None:
    assert wire.batch_name(model, ":batch") == name


@pytest.mark.parametrize(
    ("message", "failure"),
    [
        ("Batch request 'b-1' sets 'max_tokens' below 1", Failure.INVALID_REQUEST),
        ("HTTP 422: Invalid file format.", Failure.INVALID_REQUEST),
        ("HTTP 503: overloaded", Failure.SERVER),
        ("HTTP 429: slow down", Failure.RATE_LIMITED),
        ("Insufficient credits to run this batch", Failure.ACCOUNT),
        ("", Failure.SERVER),
    ],
)
def test_why_a_batch_failed_has_a_class(message: str, failure: Failure) -> None:
    assert wire.why_failed(message) is failure


def test_rows_that_a_batch_complains_about_are_ours_only_under_our_whole_name() -> None:
    said = "Batch request 'batch_x-0001-7' and batch_x-0001-12, not batch_x-0001-3a or y-0001-4"
    assert wire.custom_ids_in(said, "batch_x-0001") == {"batch_x-0001-7", "batch_x-0001-12"}
