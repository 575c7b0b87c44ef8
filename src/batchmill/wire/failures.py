"""
What the errors of OpenAI-shaped endpoints mean: by code, then status, then words.

Codes go before statuses: a 429 is a rate or an empty account, a 403 a key or one bad row.
"""

import re

import msgspec

from batchmill.core.failure import Failure
from batchmill.core.outcome import Outcome
from batchmill.wire import _loose


class _ErrorBody(msgspec.Struct):
    error: object = None
    message: object = None


_error_body = msgspec.json.Decoder(_ErrorBody).decode

CODES = {
    "insufficient_quota": Failure.ACCOUNT,
    "billing_hard_limit_reached": Failure.ACCOUNT,
    "billing_not_active": Failure.ACCOUNT,
    "account_deactivated": Failure.ACCOUNT,
    "invalid_api_key": Failure.ACCOUNT,
    "invalid_organization": Failure.ACCOUNT,
    "account_suspended": Failure.ACCOUNT,
    "access_terminated": Failure.ACCOUNT,
    "unsupported_country_region_territory": Failure.ACCOUNT,
    "model_not_found": Failure.ACCOUNT,
    "model_not_available": Failure.ACCOUNT,  # Together
    "model_decommissioned": Failure.ACCOUNT,  # Groq
    "model_terms_required": Failure.ACCOUNT,  # Groq
    "model_permission_blocked_org": Failure.ACCOUNT,  # Groq
    "model_permission_blocked_project": Failure.ACCOUNT,  # Groq
    "DeploymentNotFound": Failure.ACCOUNT,  # Azure
    "OperationNotSupported": Failure.ACCOUNT,  # Azure: a deployment that is not for batches
    "input_no_permissions": Failure.ACCOUNT,  # Azure
    "token_limit_exceeded": Failure.QUOTA,
    "rate_limit_exceeded": Failure.RATE_LIMITED,
    "server_error": Failure.SERVER,
    "context_length_exceeded": Failure.TOO_LONG,
    "exceed_context_size_error": Failure.TOO_LONG,  # llama.cpp's server
    "string_above_max_length": Failure.TOO_LONG,
    "content_policy_violation": Failure.REFUSED,
    "content_filter": Failure.REFUSED,
    "invalid_image_url": Failure.INVALID_MEDIA,
    "invalid_image_format": Failure.INVALID_MEDIA,
    "invalid_image": Failure.INVALID_MEDIA,
    "image_parse_error": Failure.INVALID_MEDIA,
    "invalid_base64_image": Failure.INVALID_MEDIA,
    "unsupported_image_media_type": Failure.INVALID_MEDIA,
    "empty_image_file": Failure.INVALID_MEDIA,
    "failed_to_download_image": Failure.INVALID_MEDIA,
    "image_file_not_found": Failure.INVALID_MEDIA,
    "image_file_too_large": Failure.INVALID_MEDIA,
    "image_too_large": Failure.INVALID_MEDIA,
    "image_too_small": Failure.INVALID_MEDIA,
    "image_content_policy_violation": Failure.REFUSED,
    "json_validate_failed": Failure.SCHEMA,  # Groq: the model did not keep to the form
    # Of a whole batch: it holds more than is taken, and fits when it is cut again.
    "too_many_tasks": Failure.NOT_RUN,
    "batch_expired": Failure.EXPIRED,
    "batch_cancelled": Failure.CANCELED,
    "batch_canceled": Failure.CANCELED,
}
#: Not the row is wrong, but whom it is for; where all rows are for the same, nothing is.
OF_THE_MODEL = ("model_not_found", "model_not_available", "DeploymentNotFound")
OUTCOMES = {Failure.EXPIRED: Outcome.EXPIRED, Failure.CANCELED: Outcome.CANCELED}
_STATUSES = {
    401: Failure.ACCOUNT,
    402: Failure.ACCOUNT,
    403: Failure.ACCOUNT,
    408: Failure.SERVER,
    409: Failure.SERVER,
    413: Failure.TOO_LONG,
    429: Failure.RATE_LIMITED,
    498: Failure.RATE_LIMITED,  # Groq: no room in the flex tier
}
_TOO_LONG = ("context length", "context size", "maximum context")
#: OpenAI says 429 also to a row that no minute's limit can ever hold ("Request too large for ...:
#: Limit 30000, Requested 50000"); waiting does not mend that.
_TOO_LARGE = "request too large"
#: How endpoints without a code for it say that there is no such model, or not for this account.
_NO_MODEL = re.compile(
    r"\bmodel:? (['\"`][^'\"`]+['\"`] |(?!is |was |that )[\w./:@-]+ )?"
    r"(does not exist|not exist|not found)|^invalid model "
)
_NO_MODEL_STATUSES = (400, 403, 404)
_NO_KEY = ("incorrect api key", "invalid api key")  # xAI says so with a 400
_WAITING_HELPS = (None, Failure.RATE_LIMITED, Failure.QUOTA)
_OF_THE_ACCOUNT = ("api key", "api_key", "billing", "credit", "quota", "deactivated")


def failure_of(status: int, code: str, message: str) -> Failure:
    """Return the class of an error."""
    known, words = CODES.get(code), message.lower()
    by_status = _STATUSES.get(status)
    if _TOO_LARGE in words and known in _WAITING_HELPS and by_status is not Failure.ACCOUNT:
        return Failure.TOO_LONG
    if known is not None:
        return known
    if any(said in words for said in _TOO_LONG):
        return Failure.TOO_LONG
    if by_status is not None:
        return by_status
    if any(said in words for said in _NO_KEY):
        return Failure.ACCOUNT
    if status in _NO_MODEL_STATUSES and _NO_MODEL.search(words[:300]):
        return Failure.ACCOUNT
    return Failure.INVALID_REQUEST if 400 <= status < 500 else Failure.SERVER


def names_account(body: bytes) -> bool:
    """Say whether an error names the key or the credit, and not merely this one row."""
    code, message = error_words(body)
    words = message.lower()
    return CODES.get(code) is Failure.ACCOUNT or any(said in words for said in _OF_THE_ACCOUNT)


def error_words(body: bytes) -> tuple[str, str]:
    """Return (code, message) of an error body, whatever shape it has."""
    try:
        found = _error_body(body.removeprefix(_loose.MARK))
    except _loose.UNREADABLE:
        return "", excerpt(body)
    error = found.error if found.error is not None else found.message
    if isinstance(error, dict):
        code = error.get("code") if isinstance(error.get("code"), str) else error.get("type")
        return str(code or ""), str(error.get("message") or excerpt(body))
    return "", str(error) if error else excerpt(body)


def excerpt(body: bytes) -> str:
    """Return the beginning of a foreign body, for people."""
    text = body.removeprefix(_loose.MARK)[:300].decode(errors="replace").strip()
    return text or "an empty body"
