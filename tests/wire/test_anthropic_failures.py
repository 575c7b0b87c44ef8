"""The vendor's own words and what they mean for us, each with its source."""

import json

import pytest

from batchmill.core.failure import Failure
from batchmill.core.outcome import Outcome
from batchmill.wire import anthropic
from batchmill.wire import anthropic_failures as failures

KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}

ERRORS = "platform.claude.com/docs/en/api/errors"
LIMITS = "platform.claude.com/docs/en/api/rate-limits"
SDK = "types of the SDK 2.12.0"
CODE = "github.com/anthropics/claude-code/issues"
PYTHON = "github.com/anthropics/anthropic-sdk-python/issues"

#: (status, what it says, the class, where it was said)
SAID = [
    (400, "prompt is too long: 208310 tokens > 200000 maximum", Failure.TOO_LONG, f"{CODE}/12186"),
    (
        400,
        (
            "input length and `max_tokens` exceed context limit: 178959 + 64000 > 200000, decrease "
            "input length or `max_tokens` and try again"
        ),
        Failure.TOO_LONG,
        "github.com/docker/docker-agent/issues/569",
    ),
    (
        400,
        "messages.4.content.0.pdf.source.base64.data: A maximum of 100 PDF pages may be provided.",
        Failure.TOO_LONG,
        f"{CODE}/6231",
    ),
    (413, "Request exceeds the maximum size", Failure.TOO_LONG, ERRORS),
    (400, "Could not process image", Failure.INVALID_MEDIA, f"{CODE}/8646"),
    (400, "Could not process PDF", Failure.INVALID_MEDIA, f"{PYTHON}/903"),
    (
        400,
        (
            "messages.2.content.0.image.source.base64: image exceeds 5 MB maximum: 8259148 bytes > "
            "5242880 bytes"
        ),
        Failure.INVALID_MEDIA,
        f"{CODE}/19631",
    ),
    (
        400,
        (
            "messages.7.content.2.image.source.base64.data: At least one of the image dimensions "
            "exceed max allowed size: 8000 pixels"
        ),
        Failure.INVALID_MEDIA,
        f"{CODE}/4778",
    ),
    (
        400,
        (
            "messages.0.content.1.image.source.base64.media_type: Input should be 'image/jpeg', "
            "'image/png', 'image/gif' or 'image/webp'"
        ),
        Failure.INVALID_MEDIA,
        "github.com/expectedparrot/edsl/issues/2057",
    ),
    (
        400,
        "Unable to download the file. Please verify the URL and try again.",
        Failure.INVALID_MEDIA,
        "github.com/acoyfellow/my-ax/issues/91",
    ),
    (400, "Output blocked by content filtering policy", Failure.REFUSED, f"{CODE}/58367"),
    (
        400,
        (
            "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing "
            "to upgrade or purchase credits."
        ),
        Failure.ACCOUNT,
        f"{CODE}/66314",
    ),
    (
        400,
        (
            "You have reached your specified API usage limits. You will regain access on 2026-04-01 "
            "at 00:00 UTC."
        ),
        Failure.ACCOUNT,
        f"{CODE}/38035",
    ),
    (400, "This organization has been disabled.", Failure.ACCOUNT, f"{CODE}/72457"),
    (401, "invalid x-api-key", Failure.ACCOUNT, ERRORS),
    (402, "There is an issue with your billing", Failure.ACCOUNT, ERRORS),
    (403, "Your API key does not have permission", Failure.ACCOUNT, ERRORS),
    (404, "model: claude-9", Failure.ACCOUNT, ERRORS),
    (404, "File not found: file_01", Failure.INVALID_REQUEST, ERRORS),
    (400, "messages: at least one message is required", Failure.INVALID_REQUEST, ERRORS),
    (
        429,
        (
            "This request would exceed your organization's rate limit of 80,000 output tokens per "
            "minute."
        ),
        Failure.RATE_LIMITED,
        "github.com/bespokelabsai/curator/pull/202",
    ),
    # The page names the limit of batch requests in the processing queue, but not its message.
    (429, "Too many batch requests in the processing queue", Failure.QUOTA, LIMITS),
    (
        429,
        "Extra usage is required for long context requests.",
        Failure.ACCOUNT,
        f"{CODE}/44863",
    ),
    (500, "Internal server error", Failure.SERVER, ERRORS),
    (504, "The request timed out", Failure.SERVER, ERRORS),
    (529, "Overloaded", Failure.SERVER, f"{CODE}/75384"),
]


def envelope(kind: str, message: str, code: str = "") -> bytes:
    error: dict[str, object] = {"type": kind, "message": message}
    if code:
        error["details"] = {"error_code": code}
    return json.dumps({"type": "error", "error": error, "request_id": "req_1"}).encode()


@pytest.mark.parametrize(("status", "message", "failure", "source"), SAID)
def test_an_error_of_a_row_has_its_class_and_keeps_its_words(
    status: int, message: str, failure: Failure, source: str
) -> None:
    error = envelope(KINDS[status], message)
    line = b'{"custom_id":"a","result":{"type":"errored","error":%b}}' % error

    result = anthropic.parse_result_line(line)

    assert (result.outcome, result.failure) == (Outcome.ERRORED, failure), source
    assert result.detail == f"{KINDS[status]}: {message}"
    assert result.body == error


@pytest.mark.parametrize(("status", "message", "failure", "source"), SAID)
def test_an_error_of_a_call_has_the_same_class(
    status: int, message: str, failure: Failure, source: str
) -> None:
    result = anthropic.result("a", status, envelope(KINDS[status], message))

    assert result.failure is failure, source
    assert result.detail == f"{status} {KINDS[status]}: {message}"


@pytest.mark.parametrize(
    ("status", "code", "failure"),
    [
        (429, "enforced_spend_limit_reached", Failure.ACCOUNT),
        (429, "contract_spend_limit_reached", Failure.ACCOUNT),
        (400, "linked_organization_spend_limit_reached", Failure.ACCOUNT),
        (400, "linked_organization_billing_unavailable", Failure.ACCOUNT),
        (400, "organization_on_hold", Failure.ACCOUNT),
        (429, "ramp_limit_exceeded", Failure.RATE_LIMITED),
        (400, "image_dimensions_too_large", Failure.INVALID_MEDIA),
        (400, "file_expired", Failure.INVALID_MEDIA),
        (413, "request_body_too_large_after_decoding", Failure.TOO_LONG),
    ],
)
def test_a_code_goes_before_the_kind(status: int, code: str, failure: Failure) -> None:
    """Codes: the SDK's `error.details.error_code`."""
    assert failures.error_of(status, envelope(KINDS[status], "words", code))[0] is failure, SDK


@pytest.mark.parametrize(
    ("status", "body", "failure"),
    [
        (413, b"<html>Request Entity Too Large</html>", Failure.TOO_LONG),  # a proxy before it
        (403, b"<html>Forbidden</html>", Failure.ACCOUNT),
        (502, b"<html>Bad Gateway</html>", Failure.SERVER),
        (400, b"", Failure.INVALID_REQUEST),
        (529, b"null", Failure.SERVER),
        (400, b'{"error":"no"}', Failure.INVALID_REQUEST),
        (400, b'{"error":{"type":"invalid_request_error","message":7}}', Failure.INVALID_REQUEST),
        # One level less, as the vendor's own sample reads it.
        (0, b'{"type":"overloaded_error","message":"Overloaded"}', Failure.SERVER),
        (0, b'{"type":"rate_limit_error","message":"slow down"}', Failure.RATE_LIMITED),
        (0, b"[" * 5000, Failure.SERVER),
    ],
)
def test_an_error_in_another_shape_is_read_for_what_it_says(
    status: int, body: bytes, failure: Failure
) -> None:
    found, detail = failures.error_of(status, body)

    assert found is failure
    assert detail


def test_an_account_is_named_by_words_and_not_by_a_status_alone() -> None:
    assert failures.names_account(envelope("authentication_error", "invalid x-api-key"))
    assert failures.names_account(envelope("invalid_request_error", "Your credit balance is too"))
    assert failures.names_account(envelope("not_found_error", "model: claude-9"))
    assert not failures.names_account(envelope("invalid_request_error", "messages: too few"))
    assert not failures.names_account(b"<html>Forbidden</html>")
