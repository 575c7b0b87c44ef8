"""Each failure class in the words of the vendors that speak OpenAI's dialects, with its source."""

import json

import pytest

from batchmill.core.failure import Failure
from batchmill.core.outcome import Outcome
from batchmill.core.request import OPENAI_CHAT, OPENAI_RESPONSES
from batchmill.wire import openai
from batchmill.wire.failures import error_words, failure_of, names_account


def said(code: object, message: str, kind: str = "invalid_request_error") -> bytes:
    error = {"message": message, "type": kind, "param": None, "code": code}
    return json.dumps({"error": error}).encode()


#: Status, body, class. The id of each case is its source.
ERRORS = {
    # -- OpenAI
    "openai: error codes page, 429 rate": (
        429,
        said("rate_limit_exceeded", "Rate limit reached for gpt-4o on tokens per min", "tokens"),
        Failure.RATE_LIMITED,
    ),
    "openai: error codes page, 429 quota": (
        429,
        said("insufficient_quota", "You exceeded your current quota, please check your plan"),
        Failure.ACCOUNT,
    ),
    "openai: billing limit, community thread": (
        400,
        said("billing_hard_limit_reached", "Billing hard limit has been reached"),
        Failure.ACCOUNT,
    ),
    "openai: error codes page, 401": (
        401,
        said("invalid_api_key", "Incorrect API key provided: sk-t***t."),
        Failure.ACCOUNT,
    ),
    "openai: error codes page, 403 country": (
        403,
        said("unsupported_country_region_territory", "Country, region, or territory not supported"),
        Failure.ACCOUNT,
    ),
    "openai: 404 model": (
        404,
        said("model_not_found", "The model `gpt-9` does not exist or you do not have access to it"),
        Failure.ACCOUNT,
    ),
    "openai: error codes page, 500": (
        500,
        said(None, "The server had an error while processing your request", "server_error"),
        Failure.SERVER,
    ),
    "openai: error codes page, 503": (
        503,
        said(None, "The engine is currently overloaded, please try again later"),
        Failure.SERVER,
    ),
    "openai: status_code 0, community tag batch": (0, b"{}", Failure.SERVER),
    "openai: context, community thread": (
        400,
        said("context_length_exceeded", "This model's maximum context length is 8192 tokens."),
        Failure.TOO_LONG,
    ),
    "openai: string length, openapi file": (
        400,
        said("string_above_max_length", "Invalid 'input': string too long."),
        Failure.TOO_LONG,
    ),
    "openai: request too large, community thread": (
        429,
        said("rate_limit_exceeded", "Request too large for gpt-4o: Limit 30000, Requested 50000"),
        Failure.TOO_LONG,
    ),
    "http: 413": (413, b"<html>413 Request Entity Too Large</html>", Failure.TOO_LONG),
    "openai: moderation, community thread": (
        400,
        said("content_policy_violation", "Your request was rejected by our safety system."),
        Failure.REFUSED,
    ),
    "openai: image url, community thread": (
        400,
        said("invalid_image_url", "Failed to download image from https://example.org/a.png."),
        Failure.INVALID_MEDIA,
    ),
    "openai: image format, community thread": (
        400,
        said("invalid_image_format", "You uploaded an unsupported image."),
        Failure.INVALID_MEDIA,
    ),
    "openai: types, recorded answer": (
        400,
        said("invalid_type", "Invalid type for 'temperature': expected a decimal."),
        Failure.INVALID_REQUEST,
    ),
    "openai: a field the model does not take": (
        400,
        said("unsupported_parameter", "Unsupported parameter: 'max_tokens' with this model."),
        Failure.INVALID_REQUEST,
    ),
    "openai: enqueued tokens, openai-python#2084": (
        400,
        said("token_limit_exceeded", "Enqueued token limit reached for gpt-4o. Limit: 90,000"),
        Failure.QUOTA,
    ),
    # -- Azure
    "azure: filter, content filtering page": (
        400,
        said("content_filter", "The response was filtered due to the prompt triggering"),
        Failure.REFUSED,
    ),
    "azure: 401, learn page": (
        401,
        b'{"error":{"code":"401","message":"Access denied due to invalid subscription key"}}',
        Failure.ACCOUNT,
    ),
    "azure: deployment, learn page": (
        404,
        b'{"error":{"code":"DeploymentNotFound","message":"The API deployment does not exist."}}',
        Failure.ACCOUNT,
    ),
    "azure: wrong kind of deployment, learn page": (
        400,
        b'{"error":{"code":"OperationNotSupported","message":"The operation does not work."}}',
        Failure.ACCOUNT,
    ),
    "azure: 429, learn page": (
        429,
        b'{"error":{"code":"429","message":"Requests have exceeded token rate limit. Retry."}}',
        Failure.RATE_LIMITED,
    ),
    # -- Groq
    "groq: retired model, deprecations page": (
        400,
        said("model_decommissioned", "The model `x` has been decommissioned"),
        Failure.ACCOUNT,
    ),
    "groq: json mode, structured outputs page": (
        400,
        said("json_validate_failed", "Failed to generate JSON. Please adjust your prompt."),
        Failure.SCHEMA,
    ),
    "groq: flex tier, error codes page": (
        498,
        said("capacity_exceeded", "Flex tier capacity exceeded"),
        Failure.RATE_LIMITED,
    ),
    # -- others
    "xai: wrong key": (
        400,
        b'{"code":"Client specified an invalid argument","error":"Incorrect API key provided: x."}',
        Failure.ACCOUNT,
    ),
    "xai: no such model": (
        404,
        b'{"code":"Some requested entity was not found","error":"The model x does not exist."}',
        Failure.ACCOUNT,
    ),
    "together: no such model": (
        404,
        said("model_not_available", "Unable to access model x. Please visit the models page."),
        Failure.ACCOUNT,
    ),
    "fireworks: no such model": (
        404,
        said("NOT_FOUND", "Model not found, inaccessible, and/or not deployed"),
        Failure.ACCOUNT,
    ),
    "perplexity: no such model": (
        400,
        said(400, "Invalid model 'x'. Permitted models can be found in the documentation."),
        Failure.ACCOUNT,
    ),
    "deepseek: error codes page, 402": (402, said(None, "Insufficient Balance"), Failure.ACCOUNT),
    "deepseek: no such model": (400, said(None, "Model Not Exist"), Failure.ACCOUNT),
    "vllm: no such model, its server's source": (
        404,
        b'{"object":"error","message":"The model `x` does not exist.","code":404}',
        Failure.ACCOUNT,
    ),
    "llama.cpp: context, its server's source": (
        400,
        said("exceed_context_size_error", "the request exceeds the available context size"),
        Failure.TOO_LONG,
    ),
}


@pytest.mark.parametrize(("status", "body", "failure"), ERRORS.values(), ids=ERRORS)
def test_every_vendors_words_have_a_class(status: int, body: bytes, failure: Failure) -> None:
    code, message = error_words(body)
    assert failure_of(status, code, message) is failure

    live = openai.result("a", status, body, OPENAI_CHAT)
    assert live.failure is failure
    line = openai.render_result_line("a", status, body if body[:1] == b"{" else b"{}", "r")
    if body[:1] == b"{":
        assert openai.parse_result_line(line, OPENAI_CHAT).failure is failure
    assert message in live.detail


#: The rest is said without a status: rows that never ran, and answers that are none.
LINES = {
    "batch guide: expired": (
        b'{"code":"batch_expired","message":"This request could not be executed in time."}',
        Failure.EXPIRED,
        Outcome.EXPIRED,
    ),
    "batch guide: cancelled": (
        b'{"code":"batch_cancelled","message":"This batch was cancelled."}',
        Failure.CANCELED,
        Outcome.CANCELED,
    ),
    "morph: canceled": (
        b'{"code":"batch_canceled","message":"x"}',
        Failure.CANCELED,
        Outcome.CANCELED,
    ),
    "together: no code": (b'{"message":"boom"}', Failure.SERVER, Outcome.ERRORED),
}


@pytest.mark.parametrize(("error", "failure", "outcome"), LINES.values(), ids=LINES)
def test_a_row_that_never_ran_has_a_class(error: bytes, failure: Failure, outcome: Outcome) -> None:
    line = b'{"id":"","custom_id":"a","response":null,"error":%b}' % error
    result = openai.parse_result_line(line, OPENAI_CHAT)
    assert (result.failure, result.outcome) == (failure, outcome)
    assert result.detail == json.loads(error)["message"]


def chat(message: dict[str, object], finish: str) -> bytes:
    return json.dumps({"choices": [{"message": message, "finish_reason": finish}]}).encode()


ANSWERS = {
    "api reference: length": (chat({"content": "so far"}, "length"), Failure.TRUNCATED, "so far"),
    "api reference: content_filter": (
        chat({"content": ""}, "content_filter"),
        Failure.REFUSED,
        "",
    ),
    "structured outputs guide: refusal": (
        chat({"content": None, "refusal": "I can't assist with that."}, "stop"),
        Failure.REFUSED,
        None,
    ),
}


@pytest.mark.parametrize(("body", "failure", "answer"), ANSWERS.values(), ids=ANSWERS)
def test_an_answer_that_is_none_has_a_class(
    body: bytes, failure: Failure, answer: str | None
) -> None:
    result = openai.result("a", 200, body, OPENAI_CHAT)
    assert (result.failure, result.answer) == (failure, answer)


def test_a_response_that_stopped_early_has_a_class() -> None:
    part = {"type": "output_text", "text": "so far"}
    body = {
        "status": "incomplete",
        "incomplete_details": {"reason": "max_output_tokens"},
        "output": [{"type": "message", "content": [part]}],
    }
    result = openai.result("a", 200, json.dumps(body).encode(), OPENAI_RESPONSES)
    assert (result.failure, result.answer) == (Failure.TRUNCATED, "so far")


#: Codes of a response's own error, as the openapi file lists them.
FAILED = {
    "server_error": Failure.SERVER,
    "rate_limit_exceeded": Failure.RATE_LIMITED,
    "invalid_base64_image": Failure.INVALID_MEDIA,
    "failed_to_download_image": Failure.INVALID_MEDIA,
    "image_content_policy_violation": Failure.REFUSED,
    "vector_store_timeout": Failure.SERVER,
    "": Failure.SERVER,
}


@pytest.mark.parametrize(("code", "failure"), FAILED.items(), ids=FAILED)
def test_a_response_that_failed_says_why(code: str, failure: Failure) -> None:
    body = {"status": "failed", "output": [], "error": {"code": code, "message": "Sorry."}}
    result = openai.result("a", 200, json.dumps(body).encode(), OPENAI_RESPONSES)
    assert (result.failure, result.outcome) == (failure, Outcome.ERRORED)
    assert result.detail.endswith("Sorry.")


def test_thoughts_are_no_part_of_an_answer() -> None:
    thought = {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "hm"}]}
    said = {"type": "message", "content": [{"type": "output_text", "text": "yes"}]}
    body = json.dumps({"output": [thought, said]}).encode()
    assert openai.result("a", 200, body, OPENAI_RESPONSES).answer == "yes"


@pytest.mark.parametrize("reason", ["insufficient_system_resource", "error"])
def test_an_answer_that_broke_off_may_be_asked_for_again(reason: str) -> None:
    result = openai.result("a", 200, chat({"content": "so f"}, reason), OPENAI_CHAT)
    assert (result.failure, result.answer) == (Failure.SERVER, "so f")


def test_an_answer_with_an_error_beside_it_failed_and_is_kept() -> None:
    body = chat({"content": "hi"}, "stop")
    line = b'{"custom_id":"a","response":{"status_code":200,"body":%b},"error":%b}'
    spoilt = openai.parse_result_line(
        line % (body, b'{"code":"batch_expired","message":"late"}'), OPENAI_CHAT
    )
    assert (spoilt.failure, spoilt.outcome) == (Failure.EXPIRED, Outcome.EXPIRED)
    assert (spoilt.answer, spoilt.detail) == ("hi", "late")
    empty = openai.parse_result_line(line % (body, b"{}"), OPENAI_CHAT)
    assert (empty.failure, empty.answer) == (None, "hi")


@pytest.mark.parametrize(
    "message",
    [
        "Invalid value for 'messages[0].content': the word model is not found in the list.",
        "Tool 'model_lookup' was called and its file does not exist.",
        "The image of the model that does not exist could not be read.",
        "Invalid 'response_format': model_schema not found.",
    ],
)
def test_words_about_a_row_do_not_hold_the_account(message: str) -> None:
    assert failure_of(400, "", message) is Failure.INVALID_REQUEST


def test_a_403_tells_the_account_from_a_row() -> None:
    assert names_account(said("model_not_found", "Project does not have access to model"))
    assert names_account(said(None, "Your account is deactivated"))
    assert not names_account(said("blocked", "this prompt is not welcome"))


@pytest.mark.parametrize(
    ("line", "custom_id"),
    [
        (b'{"id":"r","custom_id":"batch_x-0001-7","response":{"status_code":20', "batch_x-0001-7"),
        (b'{"custom_id" : "a-1", oops', "a-1"),
        (b'{"response":{"body":"\\"custom_id\\":\\"b\\""', None),
        (b'{"id":"r","custom_i', None),
        (b"\xff\xfe", None),
    ],
)
def test_a_line_that_cannot_be_read_still_tells_its_row(line: bytes, custom_id: str | None) -> None:
    found = openai.unreadable(line)
    assert (found.custom_id if found else None) == custom_id
    if found:
        assert found.failure is Failure.SERVER
