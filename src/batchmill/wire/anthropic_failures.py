"""
What Anthropic's errors mean: by code, then words, then kind, then status.

Sources: the vendor's page on errors (read 2026-08-21) and the types of its SDK 2.12.0; words that
only users have reported carry their thread in the tests.
"""

import re
from typing import Final

import msgspec

from batchmill.core.failure import Failure
from batchmill.wire import _loose
from batchmill.wire.failures import excerpt


class _Details(msgspec.Struct):
    error_code: str | None = None


class _Error(msgspec.Struct):
    type: str = ""
    message: str = ""
    details: _Details | None = None


class _Envelope(msgspec.Struct):
    error: _Error


_envelope = msgspec.json.Decoder(_Envelope).decode

_OF_KINDS: Final = {
    "authentication_error": Failure.ACCOUNT,
    "permission_error": Failure.ACCOUNT,
    "billing_error": Failure.ACCOUNT,
    "rate_limit_error": Failure.RATE_LIMITED,
    "timeout_error": Failure.SERVER,
    "api_error": Failure.SERVER,
    "overloaded_error": Failure.SERVER,
    "request_too_large": Failure.TOO_LONG,
}
#: `error.details.error_code`, which goes before everything: the kind of an empty budget is
#: `rate_limit_error`, that of a closed account `invalid_request_error`.
_OF_CODES: Final = {
    "enforced_spend_limit_reached": Failure.ACCOUNT,
    "contract_spend_limit_reached": Failure.ACCOUNT,
    "linked_organization_spend_limit_reached": Failure.ACCOUNT,
    "linked_organization_billing_unavailable": Failure.ACCOUNT,
    "organization_on_hold": Failure.ACCOUNT,
    "cmek_key_disabled": Failure.ACCOUNT,
    "ramp_limit_exceeded": Failure.RATE_LIMITED,
    "image_dimensions_too_large": Failure.INVALID_MEDIA,
    "file_expired": Failure.INVALID_MEDIA,
    "file_not_downloadable": Failure.INVALID_MEDIA,
    "request_body_too_large_after_decoding": Failure.TOO_LONG,
}
#: Most of what can be wrong is an `invalid_request_error`, and only its words tell it apart. The
#: vendor does not promise them; where they change, the row is final as `invalid_request`.
_OF_WORDS: Final = (
    ("credit balance", Failure.ACCOUNT),
    ("api usage limits", Failure.ACCOUNT),
    ("organization has been disabled", Failure.ACCOUNT),
    ("extra usage is required", Failure.ACCOUNT),
    ("anthropic-beta", Failure.ACCOUNT),  # a setting of ours is wrong, and no row
    ("anthropic-version", Failure.ACCOUNT),
    ("prompt is too long", Failure.TOO_LONG),
    ("exceed context limit", Failure.TOO_LONG),
    ("pdf pages", Failure.TOO_LONG),
    ("content filtering policy", Failure.REFUSED),
    ("could not process image", Failure.INVALID_MEDIA),
    ("could not process pdf", Failure.INVALID_MEDIA),
    ("unable to download the file", Failure.INVALID_MEDIA),
    ("image exceeds", Failure.INVALID_MEDIA),
    ("image dimensions", Failure.INVALID_MEDIA),
    ("image appears to be", Failure.INVALID_MEDIA),
)
#: The place that a complaint names, e.g. `messages.0.content.1.image.source.base64.media_type: …`.
_IN_MEDIA: Final = re.compile(r"\.(image|document|pdf)\.source\b")
#: The limit of requests that wait in all of an organization's batches (the page on rate limits).
_IN_QUEUE: Final = re.compile(r"batch requests|processing queue")
_OF_STATUSES: Final = {
    401: Failure.ACCOUNT,
    402: Failure.ACCOUNT,
    403: Failure.ACCOUNT,
    408: Failure.SERVER,
    409: Failure.SERVER,
    413: Failure.TOO_LONG,  # from a proxy before the service, without the service's envelope
    429: Failure.RATE_LIMITED,
}


def error_of(status: int, body: bytes) -> tuple[Failure, str]:
    """Return the class of an error and its words. *status* is 0 for a row of a batch."""
    error = _error_in(body)
    said = f"{error.type}: {error.message or excerpt(body)}" if error.type else excerpt(body)
    return _failure_of(status, error), f"{status} {said}" if status else said


def names_account(body: bytes) -> bool:
    """Say whether an error names the key, the credit or the model, and not merely this one row."""
    return _failure_of(0, _error_in(body)) is Failure.ACCOUNT


def _error_in(body: bytes) -> _Error:
    try:
        return _envelope(body).error
    except _loose.UNREADABLE:
        pass
    try:
        found = _loose.loads(body)[0]
        if isinstance(found, dict) and isinstance(found.get("error"), dict):
            found = found["error"]
        return _loose.struct(_Error, found)
    except _loose.UNREADABLE:
        return _Error()


def _failure_of(status: int, error: _Error) -> Failure:
    code = (error.details.error_code if error.details else None) or ""
    if (known := _OF_CODES.get(code)) is not None:
        return known
    words = error.message.lower()
    if error.type == "not_found_error" and words.startswith("model:"):
        return Failure.ACCOUNT
    kind = _OF_KINDS.get(error.type)
    if kind in (None, Failure.RATE_LIMITED):
        for said, failure in _OF_WORDS:
            if said in words:
                return failure
        if kind is Failure.RATE_LIMITED and _IN_QUEUE.search(words):
            return Failure.QUOTA
        if _IN_MEDIA.search(words):
            return Failure.INVALID_MEDIA
    if kind is not None:
        return kind
    if (by_status := _OF_STATUSES.get(status)) is not None:
        return by_status
    client = 400 <= status < 500 or error.type in ("invalid_request_error", "not_found_error")
    return Failure.INVALID_REQUEST if client else Failure.SERVER
