"""
What Google's errors mean, on Gemini's API and on Vertex: by words, then by code.

Both speak `google.rpc.Status`: in an HTTP answer with the HTTP status as its code, in the error of
a row or of a job mostly with one of the seventeen canonical codes. Words go first, as one code
stands for much: a 400 is a bad row or a bad key, a 403 a bad key or a file that has expired, a 429
a minute's limit or an account without credit.
"""

import re
from typing import Final

import msgspec

from batchmill.core.failure import Failure
from batchmill.wire import _loose
from batchmill.wire.failures import excerpt


class Status(msgspec.Struct):
    """An error as Google says it. Every field may be absent."""

    code: int = 0  #: canonical (1 to 16) or of HTTP
    message: str = ""
    status: str = ""  #: the canonical code's name
    details: list[object] | None = None

    @property
    def name(self) -> str:
        """The canonical code's name; empty where only HTTP's status is known."""
        if self.status:
            return self.status
        return _NAMES[self.code] if 0 <= self.code < len(_NAMES) else ""

    @property
    def words(self) -> str:
        """Code and message, as a person is shown them."""
        code = " ".join(filter(None, (str(self.code or ""), self.name)))
        return ": ".join(filter(None, (code, " ".join(self.message.split())))) or "no reason given"


#: In the order of their numbers (google/rpc/code.proto).
_NAMES: Final = (
    "",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
_OF_NAME: Final = {
    "CANCELLED": Failure.CANCELED,
    "INVALID_ARGUMENT": Failure.INVALID_REQUEST,
    "NOT_FOUND": Failure.INVALID_REQUEST,
    "PERMISSION_DENIED": Failure.ACCOUNT,
    "RESOURCE_EXHAUSTED": Failure.RATE_LIMITED,
    "FAILED_PRECONDITION": Failure.INVALID_REQUEST,
    "OUT_OF_RANGE": Failure.INVALID_REQUEST,
    "UNIMPLEMENTED": Failure.INVALID_REQUEST,
    "UNAUTHENTICATED": Failure.ACCOUNT,
}
_OF_HTTP: Final = {
    401: Failure.ACCOUNT,
    402: Failure.ACCOUNT,
    403: Failure.ACCOUNT,
    408: Failure.SERVER,
    409: Failure.SERVER,
    413: Failure.TOO_LONG,
    429: Failure.RATE_LIMITED,
    499: Failure.CANCELED,
}

#: "check your plan and billing details" is said at every minute's limit, and is none of these.
_ACCOUNT: Final = (
    "api key not valid",
    "api key not found",
    "api key expired",
    "api key was reported as leaked",
    "api_key_invalid",
    "api_key_service_blocked",
    "billing is disabled",
    "billing account",
    "billing to be enabled",
    "enable billing",
    "billing_disabled",
    "credits are depleted",
    "spending cap",
    "spend cap",
    "user location is not supported",
    "has not been used in project",
    "service_disabled",
    "consumer_suspended",
    "has been suspended",
    "is not found for api version",
    "no longer available",
    "was not found or your project does not have access",
)
PAYLOAD: Final = "payload size exceeds the limit"
_TOO_LONG: Final = (
    "exceeds the maximum number of tokens",
    "input context is too long",
    "input token count",
    PAYLOAD,
)
_MEDIA: Final = (
    "unable to process input",
    "image is not valid",
    "cannot fetch content from the provided url",
    "url_error",
    "unsupported mime type",
    "unsupported file uri",
    "document has no pages",
    "access the file",
    "not in an active state",
)
_REFUSED: Final = ("responsible ai", "blocked by our safety", "safety filters")
_NO_SHARE: Final = re.compile(r"limit: 0(?![\d.])")
_QUEUE: Final = ("enqueued", "batch", "concurrent job")


def failure_of(error: Status) -> Failure:
    """Return the class of an error."""
    said = error.message.lower() + _reasons(error)
    for words, failure in _BY_WORDS:
        if any(each in said for each in words):
            return failure
    if "batch" in said and "expired" in said:
        return Failure.EXPIRED
    known = _OF_NAME.get(error.name) or _OF_HTTP.get(error.code)
    if known is Failure.RATE_LIMITED:
        return _short_of(said)
    if known is not None:
        return known
    # The canonical codes that are left, e.g. 13 INTERNAL, are the vendor's own trouble.
    if error.name:
        return Failure.SERVER
    return Failure.INVALID_REQUEST if 400 <= error.code < 500 else Failure.SERVER


def _short_of(said: str) -> Failure:
    """Return what a 429 is about: no share at all, the queue of batches, or this minute."""
    if _NO_SHARE.search(said):
        return Failure.ACCOUNT  # this model is in no plan of this account
    return Failure.QUOTA if any(each in said for each in _QUEUE) else Failure.RATE_LIMITED


def names_account(body: bytes) -> bool:
    """Say whether an error names the key or the credit, and not merely this one row."""
    error = status_of(0, body)
    said = error.message.lower() + _reasons(error)
    return any(each in said for each in _ACCOUNT)


def status_of(http: int, body: bytes) -> Status:
    """Return the error in the body of an HTTP answer, whatever shape it has."""
    try:
        found = msgspec.json.decode(body.removeprefix(_loose.MARK))
    except _loose.UNREADABLE:
        return Status(http, excerpt(body))
    if isinstance(found, list) and found:  # streaming endpoints answer with a list of one
        found = found[0]
    error = found.get("error") if isinstance(found, dict) else None
    return read(error, http) if error is not None else Status(http, excerpt(body))


def read(error: object, code: int = 0) -> Status:
    """Return an error that is already decoded; *code* where it has none of its own."""
    if isinstance(error, str):  # OAuth's errors, e.g. {"error": "invalid_grant"}
        return Status(code, error)
    try:
        found = _loose.struct(Status, error)
    except _loose.UNREADABLE:
        return Status(code, excerpt(msgspec.json.encode(error)))
    found.code = found.code or code
    return found


def in_words(text: str) -> Status:
    """Return the error in the words of a Vertex row, e.g. `Bad Request: {"error": {…}}`."""
    start = text.find("{")
    if start >= 0:
        try:
            found, _ = _loose.loads(text[start:].encode())
        except _loose.UNREADABLE:
            found = None
        if isinstance(found, dict):
            inner: object = found.get("error", found)
            if isinstance(inner, dict) and ("code" in inner or "message" in inner):
                return read(inner)
    first = text.split(maxsplit=1)[0].strip(":,") if text.strip() else ""
    name = next((each for each in _NAMES if each and each == first), "")
    return Status(0, text, name)


def _reasons(error: Status) -> str:
    """Return the reasons in an error's details (google.rpc.ErrorInfo), in lower case."""
    found = [d.get("reason") for d in error.details or [] if isinstance(d, dict)]
    return "".join(f" {reason.lower()}" for reason in found if isinstance(reason, str))


_BY_WORDS: Final = (
    (_ACCOUNT, Failure.ACCOUNT),
    (_TOO_LONG, Failure.TOO_LONG),
    (_MEDIA, Failure.INVALID_MEDIA),
    (_REFUSED, Failure.REFUSED),
)
