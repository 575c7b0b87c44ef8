"""
Mistral's batch lines, what its chat and embeddings endpoints answer, and what its errors mean.

Answers have OpenAI's shape and are read as such; the lines around them and the errors have not.
Role-blind. Sources: the vendor's API reference and its SDK 3.7.0 (read 2026-11-22), and lines of
real jobs that a third party wrote down on 2026-09-02; odd cases carry their own source.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from batchmill.core.failure import Failure
from batchmill.core.outcome import Outcome, Result
from batchmill.core.request import OPENAI_CHAT, OPENAI_EMBEDDINGS, Request
from batchmill.wire import _loose, openai
from batchmill.wire.failures import OUTCOMES, excerpt


class Response(msgspec.Struct):
    status_code: int = 0
    body: Raw = Raw(b"null")


class ResultLine(msgspec.Struct):
    """One line of an output or error file. Both may hold failures; a line may name no request."""

    custom_id: str | None = None
    response: Response | None = None
    error: object = None


class _OddResponse(msgspec.Struct):
    status_code: object = 0
    body: Raw = Raw(b"null")


class _OddLine(msgspec.Struct):
    custom_id: str | None = None
    response: _OddResponse | None = None
    error: object = None


class _Choice(msgspec.Struct):
    finish_reason: object = None


class _Chat(msgspec.Struct):
    choices: list[_Choice] = []


class _Error(msgspec.Struct):
    message: object = None
    type: object = None
    code: object = None
    detail: object = None
    description: object = None
    errors: object = None
    error: object = None


_result_line = msgspec.json.Decoder(ResultLine).decode
_odd = msgspec.json.Decoder(_OddLine).decode
_text = msgspec.json.Decoder(str).decode
_chat = msgspec.json.Decoder(_Chat).decode
_error = msgspec.json.Decoder(_Error).decode
_encode = msgspec.json.Encoder().encode

#: `code` of an error, a text; where there is none, its `type`.
CODES = {
    "1300": Failure.RATE_LIMITED,
    "rate_limited": Failure.RATE_LIMITED,
    "3505": Failure.RATE_LIMITED,
    "service_tier_capacity_exceeded": Failure.RATE_LIMITED,
    "1500": Failure.ACCOUNT,
    "invalid_model": Failure.ACCOUNT,
    "1910": Failure.ACCOUNT,
    "tier_not_allowed": Failure.ACCOUNT,
    "3051": Failure.TOO_LONG,
    "3210": Failure.TOO_LONG,
    "3310": Failure.INVALID_MEDIA,
    "invalid_request_file": Failure.INVALID_MEDIA,
}
#: A line of a result file without a status: the row was not run, or nobody says how it went.
_NO_STATUS = 0
#: (what it says, what it is, with which statuses; none: with any). Words go before statuses: a
#: picture that cannot be read has come as a 500 (platform-docs-public issue 149), and a prompt that
#: is too long as an ordinary 400 without a code. Loose words count only where no name of a person's
#: own tool or field can be quoted.
_WORDS = (
    (
        re.compile("maximum context length|too many (tokens|inputs)|exceeding max [0-9]+ tokens"),
        Failure.TOO_LONG,
        (),
    ),
    (
        re.compile(
            "file could not be fetched|as a valid image|has an invalid format"
            "|animated gif|could not be decoded"
        ),
        Failure.INVALID_MEDIA,
        (),
    ),
    (
        re.compile("^invalid model|access to the model|^model .*(not found|is deprecated)"),
        Failure.ACCOUNT,
        (),
    ),
    # Guardrails answer 403 (SDK 3.7.0, GuardrailConfig). What follows is guessed: the vendor does
    # not publish these words.
    (re.compile("guardrail|moderation|content policy"), Failure.REFUSED, (403,)),
    (
        re.compile("subscription|billing|payment|credit|(spend|usage) limit"),
        Failure.ACCOUNT,
        (429,),
    ),
    (re.compile("too many .*jobs|queue"), Failure.QUOTA, (429,)),
    (re.compile("expired|timeout.?exceeded"), Failure.EXPIRED, (_NO_STATUS,)),
    (re.compile("cancell?ed"), Failure.CANCELED, (_NO_STATUS,)),
)
_STATUSES = {
    401: Failure.ACCOUNT,
    402: Failure.ACCOUNT,
    403: Failure.ACCOUNT,
    408: Failure.SERVER,
    409: Failure.SERVER,
    413: Failure.TOO_LONG,
    429: Failure.RATE_LIMITED,
}
#: How many complaints of one refusal a person is shown.
_COMPLAINTS_MAX = 3
_JOB_STATUS = re.compile(r"status code:? (\d{3})")


@dataclass(frozen=True, slots=True)
class Complaint:
    """What an error says, in one line."""

    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" if self.code else self.message


def render_request_line(request: Request) -> bytes:
    """Return the request as one line of a batch input file, without the line feed."""
    return b'{"custom_id":"%b","body":%b}' % (request.custom_id.encode(), request.body)


def render_result_line(custom_id: str, status: int, body: bytes, line_id: str) -> bytes:
    """Return one line of an output (200) or error (any other status) file."""
    # Bodies of failed rows travel as a text with JSON in it (as seen on 2026-09-02 and 09-04).
    shown = body if status == 200 else _encode(body.decode(errors="replace"))
    return b'{"id":"%b","custom_id":%b,"response":{"status_code":%d,"body":%b},"error":null}' % (
        line_id.encode(),
        _encode(custom_id),
        status,
        shown,
    )


def parse_result_line(line: bytes, dialect: str) -> Result | None:
    """
    Read one line of an output or error file; None: a sound line that names no request.

    Raises `msgspec.MsgspecError` where it is no line.
    """
    try:
        found = _result_line(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        found = _odd_line(line)
    if found.custom_id is None:
        return None
    response = found.response
    status = response.status_code if response is not None else 0
    if found.error is None and response is not None:
        return result(found.custom_id, status, _body(response.body), dialect)
    return _errored_line(found.custom_id, status, found.error, response)


def _odd_line(line: bytes) -> ResultLine:
    odd = _odd(_loose.loads(line)[1])
    if odd.response is None:
        return ResultLine(odd.custom_id, error=odd.error)
    try:
        status = int(float(str(odd.response.status_code)))
    except (ValueError, OverflowError):
        status = 0
    return ResultLine(odd.custom_id, Response(status, odd.response.body), odd.error)


def _body(raw: Raw) -> bytes:
    """Return a body that may have been put into a text."""
    body = bytes(raw)
    return _text(body).encode() if body.startswith(b'"') else body


def _errored_line(custom_id: str, status: int, error: object, response: Response | None) -> Result:
    """Judge a line with an `error`, which has no shape of its own: a text, an object, or more."""
    said = _complaint(error) if error is not None else Complaint("", "")
    body = b"" if response is None else _body(response.body)
    if not said.message and body not in (b"", b"null"):
        said = complaint(body)
    # Nothing says that it was run, so it may run again.
    words = said.message or "the provider gave neither an answer nor a reason"
    failure = failure_of(status, said.code, words) if status or said.message else Failure.SERVER
    return _errored(custom_id, status, failure, Complaint(said.code, words), body)


def result(custom_id: str, status: int, body: bytes, dialect: str) -> Result:
    """Judge one HTTP answer of Mistral's chat or embeddings endpoint; *body* is kept verbatim."""
    if status != 200:
        said = complaint(body)
        failure = failure_of(status, said.code, said.message)
        return _errored(custom_id, status, failure, said, body)
    if dialect == OPENAI_EMBEDDINGS:
        return openai.result(custom_id, status, body, dialect)
    found = openai.result(custom_id, status, body, OPENAI_CHAT)
    # It is read a second time only where the word is there; `error` is minded by OpenAI's reader.
    if found.failure is None and b'"model_length"' in body:
        return _as_it_ended(found, body)
    return found


def _as_it_ended(found: Result, body: bytes) -> Result:
    """Mind the finish reason that only Mistral has."""
    try:
        choices = _chat(body).choices
    except _loose.UNREADABLE:
        return found
    reason = choices[0].finish_reason if choices else None
    if reason == "model_length":
        detail = "stopped at the context length of the model"
        return replace(found, outcome=Outcome.ERRORED, failure=Failure.TRUNCATED, detail=detail)
    return found


def _errored(custom_id: str, status: int, failure: Failure, said: Complaint, body: bytes) -> Result:
    outcome = OUTCOMES.get(failure, Outcome.ERRORED)
    detail = f"{status} {said}" if status else str(said)
    return Result(custom_id, outcome, failure, detail, body=_loose.sound(body))


def failure_of(status: int, code: str, message: str) -> Failure:
    """Return the class of an error: by code, then by words, then by status."""
    known, words = CODES.get(code), message.lower()
    if known is not None:
        return known
    for pattern, failure, statuses in _WORDS:
        if (not statuses or status in statuses) and pattern.search(words):
            return failure
    by_status = _STATUSES.get(status)
    if by_status is not None:
        return by_status
    return Failure.INVALID_REQUEST if 400 <= status < 500 else Failure.SERVER


def names_account(body: bytes) -> bool:
    """Say whether an error names the key, the credit or the model, and not merely this one row."""
    said = complaint(body)
    unauthorized = "unauthorized" in said.message.lower()
    return unauthorized or failure_of(400, said.code, said.message) is Failure.ACCOUNT


def complaint(body: bytes) -> Complaint:
    """Return what an error body says, in whichever of the vendor's shapes it says it."""
    try:
        found = _error(body.removeprefix(_loose.MARK))
    except _loose.UNREADABLE:
        return Complaint("", excerpt(body))
    said = _said(found)
    return said if said.message else Complaint(said.code, excerpt(body))


def _complaint(error: object) -> Complaint:
    if isinstance(error, str):
        return complaint(error.encode()) if error.startswith("{") else Complaint("", error)
    if isinstance(error, dict):
        return complaint(_encode(error))
    return Complaint("", str(error))


def _said(found: _Error) -> Complaint:
    code = next((c for c in (found.code, found.type) if isinstance(c, str) and c), "")
    if isinstance(found.code, int):
        code = str(found.code)
    parts = [words for words in (_words(found.message), _words(found.detail)) if words]
    if found.errors is not None:
        parts += [_words(found.description), *_first(_line_words(found.errors))]
    if not parts and found.error is not None:
        return _complaint(found.error)
    return Complaint(code, " ".join(" ".join(part for part in parts if part).split()))


def _words(value: object) -> str:
    """Return what a `message` or a `detail` says: a text, or FastAPI's list of complaints."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        inner = _words(value.get("detail"))
        return inner or _words(value.get("message"))
    if isinstance(value, list):
        return "; ".join(_first(_at(item) for item in value if isinstance(item, dict)))
    return ""


def _at(item: dict[str, object]) -> str:
    loc = item.get("loc")
    place = ".".join(str(step) for step in loc) if isinstance(loc, list) else ""
    words = str(item.get("msg") or item.get("message") or item.get("type") or "")
    return f"{place}: {words}" if place else words


def _first(words: Iterator[str]) -> list[str]:
    """Return a few complaints, and how many more there are."""
    found = [word for word in words if word]
    more = len(found) - _COMPLAINTS_MAX
    return [*found[:_COMPLAINTS_MAX], *([f"and {more:,} more"] if more > 0 else [])]


def _line_words(errors: object) -> Iterator[str]:
    return (f"line {number}: {words}" for number, words in _lines(errors))


def _lines(errors: object) -> Iterator[tuple[int, str]]:
    for item in errors if isinstance(errors, list) else []:
        if isinstance(item, dict):
            number, words = item.get("line_number"), _words(item.get("message"))
            if isinstance(number, int) and not isinstance(number, bool):
                yield number, " ".join(words.split())


def named_lines(body: bytes) -> dict[int, str]:
    """
    Return the lines, from 1, that a refused input file is refused for, and why.

    The file is looked at when it is uploaded: 422 with `errors: [{message, line_number}]`, as a
    third party wrote it down on 2026-09-04.
    """
    try:
        return dict(_lines(_error(body.removeprefix(_loose.MARK)).errors))
    except _loose.UNREADABLE:
        return {}


def job_failure(message: str) -> Failure:
    """Return the class of a message in a job's `errors`, e.g. `HTTP Error, status code: 400`."""
    if not message:
        return Failure.SERVER
    status = _JOB_STATUS.search(message)
    # Without a status it is most likely about the input: rows are told apart by halving it.
    return failure_of(int(status.group(1)) if status else 400, "", message)


__all__ = [
    "CODES",
    "Complaint",
    "Response",
    "ResultLine",
    "complaint",
    "failure_of",
    "job_failure",
    "named_lines",
    "names_account",
    "parse_result_line",
    "render_request_line",
    "render_result_line",
    "result",
]
