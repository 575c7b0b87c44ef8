"""
Gemini's batch lines, on its own API and on Vertex, and the answers of its endpoints.

Role-blind: the same functions whether we are the client or the server. Sources: the vendor's API
reference for `batches`, `GenerateContentResponse` and `EmbedContentResponse` (read 2026-11), and
what its SDKs send; odd cases carry their own source.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta, Raw
from msgspec.structs import replace

from batchmill.core.failure import Failure
from batchmill.core.outcome import Outcome, Result, Usage
from batchmill.core.request import GEMINI_EMBED, Request
from batchmill.wire import _loose
from batchmill.wire.failures import OUTCOMES, excerpt
from batchmill.wire.google import Status, failure_of, in_words, read, status_of

#: A count of tokens; beyond it lies nonsense, and no file of ours could hold it.
_Count = Annotated[int, Meta(ge=0, le=1 << 62)]

#: The label a request travels under on Vertex, where a line has no name of its own.
LABEL = "batchmill"
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{1,63}")  # what Google Cloud takes as a label's value
_NAMED = re.compile(rb'"(?:key|%b)"\s*:\s*"([A-Za-z0-9_-]{1,64})"' % LABEL.encode())


class _Metadata(msgspec.Struct):
    key: str = ""


class ResultLine(msgspec.Struct):
    """One line of a result file (`key`), or one inline response (`metadata.key`)."""

    key: str = ""
    metadata: _Metadata | None = None
    response: Raw = Raw(b"null")
    error: Status | None = None


class _OddLine(msgspec.Struct):
    key: str = ""
    metadata: _Metadata | None = None
    response: object = None
    error: object = None


class _Labels(msgspec.Struct):
    batchmill: str = ""


class _Labelled(msgspec.Struct):
    labels: _Labels | None = None


class _VertexLine(msgspec.Struct):
    request: Raw = Raw(b"")
    response: Raw = Raw(b"")
    status: str | None = ""


class Echo(msgspec.Struct, frozen=True):
    """A line of Vertex: the result, whose custom_id is empty where the label did not come back."""

    result: Result
    request: bytes  #: as it was echoed


class _Part(msgspec.Struct):
    text: str | None = None
    thought: bool | None = None
    functionCall: object = None  # noqa: N815  # theirs


class _Content(msgspec.Struct):
    parts: list[_Part] | None = None


class _Candidate(msgspec.Struct):
    content: _Content | None = None
    finishReason: str | None = None  # noqa: N815
    finishMessage: str | None = None  # noqa: N815


class _Feedback(msgspec.Struct):
    blockReason: str | None = None  # noqa: N815
    blockReasonMessage: str | None = None  # noqa: N815


class _Usage(msgspec.Struct):
    promptTokenCount: _Count | None = None  # noqa: N815
    toolUsePromptTokenCount: _Count | None = None  # noqa: N815
    cachedContentTokenCount: _Count | None = None  # noqa: N815
    candidatesTokenCount: _Count | None = None  # noqa: N815
    thoughtsTokenCount: _Count | None = None  # noqa: N815


class _Generated(msgspec.Struct):
    candidates: list[_Candidate] | None = None
    promptFeedback: _Feedback | None = None  # noqa: N815
    usageMetadata: _Usage | None = None  # noqa: N815
    modelVersion: str | None = None  # noqa: N815


class _Vector(msgspec.Struct):
    values: list[float] | None = None


class _Embedded(msgspec.Struct):
    embedding: _Vector | None = None
    usageMetadata: _Usage | None = None  # noqa: N815
    tokenCount: _Count | str | None = None  # noqa: N815


_result_line = msgspec.json.Decoder(ResultLine).decode
_vertex_line = msgspec.json.Decoder(_VertexLine).decode
_labelled = msgspec.json.Decoder(_Labelled).decode
_generated = msgspec.json.Decoder(_Generated).decode
_embedded = msgspec.json.Decoder(_Embedded).decode
_encode = msgspec.json.Encoder().encode
_ordered = msgspec.json.Encoder(order="sorted").encode

#: Why an answer ended, where that is no success (the API reference's `FinishReason`). What is not
#: here and not `STOP`, e.g. `OTHER`, is the vendor's trouble and may go well another time.
_ENDS = {
    "MAX_TOKENS": Failure.TRUNCATED,
    "SAFETY": Failure.REFUSED,
    "RECITATION": Failure.REFUSED,
    "LANGUAGE": Failure.REFUSED,
    "BLOCKLIST": Failure.REFUSED,
    "PROHIBITED_CONTENT": Failure.REFUSED,
    "SPII": Failure.REFUSED,
    "MODEL_ARMOR": Failure.REFUSED,
    "JAILBREAK": Failure.REFUSED,
    "IMAGE_SAFETY": Failure.REFUSED,
    "IMAGE_PROHIBITED_CONTENT": Failure.REFUSED,
    "IMAGE_RECITATION": Failure.REFUSED,
    "MALFORMED_FUNCTION_CALL": Failure.SCHEMA,
    "MALFORMED_RESPONSE": Failure.SCHEMA,
    "UNEXPECTED_TOOL_CALL": Failure.SCHEMA,
    "MISSING_THOUGHT_SIGNATURE": Failure.INVALID_REQUEST,
}
_GOOD_ENDS = (None, "", "STOP", "FINISH_REASON_UNSPECIFIED")


def render_line(request: Request) -> bytes:
    """Return the request as one line of a batch input file, without the line feed."""
    return b'{"key":"%b","request":%b}' % (request.custom_id.encode(), request.body)


def render_inline(request: Request) -> bytes:
    """Return the request as one of a batch that is sent in the creating call itself."""
    return b'{"request":%b,"metadata":{"key":"%b"}}' % (request.body, request.custom_id.encode())


def render_vertex_line(request: Request) -> bytes:
    """Return the request as one line for Vertex, labelled with its custom_id."""
    body = request.body
    if not _LABEL_VALUE.fullmatch(request.custom_id):
        return b'{"request":%b}' % body  # it will be known by its hash
    label = b'"%b":"%b"' % (LABEL.encode(), request.custom_id.encode())
    if b'"labels"' not in body:
        head = body.rstrip()[:-1].rstrip()
        comma = b"" if head.endswith(b"{") else b","
        return b'{"request":%b%b"labels":{%b}}}' % (head, comma, label)
    found: dict[str, object] = msgspec.json.decode(body, type=dict[str, object])
    own = found.get("labels")
    found["labels"] = {**(own if isinstance(own, dict) else {}), LABEL: request.custom_id}
    return b'{"request":%b}' % _encode(found)


def render_bigquery_row(request: Request) -> bytes:
    """Return the request as a row of an input table: columns that the job hands on."""
    body = render_vertex_line(request)[len(b'{"request":') : -1]
    return _encode({"key": request.custom_id, "request": body.decode()})


def parse_bigquery_row(row: Mapping[str, object], dialect: str) -> Echo:
    """Read one row of an output table: the same as a line, its JSON in columns of text."""
    key, request, response, status = (
        found if isinstance(found := row.get(name), str) else ""
        for name in ("key", "request", "response", "status")
    )
    line = b'{"status":%b,"request":%b,"response":%b}' % (
        _encode(status),
        request.encode() or b"{}",
        response.encode() or b"{}",
    )
    try:
        echo = parse_vertex_line(line, dialect)
    except _loose.UNREADABLE:
        detail = f"its row cannot be read: {excerpt(line)}"
        echo = Echo(Result(key, Outcome.ERRORED, Failure.SERVER, detail), b"{}")
    return Echo(replace(echo.result, custom_id=key), echo.request) if key else echo


def parse_line(line: bytes, dialect: str) -> Result | None:
    """
    Read one line of a result file, or one inline response; None: it names its row, and no more.

    Raises `msgspec.MsgspecError` where it is none, or nobody's: without a key it must not be
    attributed, least of all by its place (python-genai#1909, 2026-01: the order is not kept).
    """
    try:
        found = _result_line(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        found = _odd_line(line)
    key = found.key or (found.metadata.key if found.metadata else "")
    if not key:
        raise msgspec.ValidationError(f"a result without a key: {excerpt(line)}")
    response = bytes(found.response)
    if found.error is not None and (found.error.code or response == b"null"):
        return errored(key, found.error)
    # Nothing says that it was run, nor that it failed: to the caller it has no line.
    return None if response == b"null" else result(key, 200, response, dialect)


def _odd_line(line: bytes) -> ResultLine:
    odd = _loose.struct(_OddLine, _loose.loads(line)[0])
    response = Raw(_encode(odd.response))
    error = None if odd.error is None else read(odd.error)
    return ResultLine(odd.key, odd.metadata, response, error)


def parse_vertex_line(line: bytes, dialect: str) -> Echo:
    """Read one line that Vertex wrote; raise `msgspec.MsgspecError` where it is none."""
    try:
        found = _vertex_line(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        found = _vertex_line(_loose.loads(line)[1])
    request, response = bytes(found.request), bytes(found.response)
    if not (request or response or found.status):
        raise msgspec.ValidationError(f"neither a request nor an answer: {excerpt(line)}")
    request, response = request or b"{}", response or b"{}"
    try:
        labels = _labelled(request).labels
    except _loose.UNREADABLE:
        labels = None
    custom_id = labels.batchmill if labels else ""
    if found.status and found.status.strip():
        return Echo(errored(custom_id, in_words(found.status)), request)
    return Echo(result(custom_id, 200, response, dialect), request)


def salvaged(line: bytes) -> Result | None:
    """Return what a line that cannot be read is, if its row can still be told."""
    named = _NAMED.findall(line)
    if len(set(named)) != 1:
        return None
    detail = f"its line cannot be read: {excerpt(line)}"
    return Result(named[0].decode(), Outcome.ERRORED, Failure.SERVER, detail)


def fingerprint(request: bytes) -> bytes:
    """
    Return what two renderings of the same request have in common.

    An echo may come back in another order, spelling (`system_instruction`) or with other forms of
    the same number; our own label is no part of what was asked.
    """
    found = _plain(_loose.loads(request)[0])
    if isinstance(found, dict) and isinstance(labels := found.get("labels"), dict):
        labels.pop(LABEL, None)
        if not labels:
            del found["labels"]
    return hashlib.sha256(_ordered(found)).digest()[:16]


def _plain(value: object) -> object:
    if isinstance(value, dict):
        pairs = ((str(name).replace("_", "").lower(), _plain(each)) for name, each in value.items())
        return {name: each for name, each in pairs if each is not None}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def result(custom_id: str, status: int, body: bytes, dialect: str) -> Result:
    """Judge one HTTP answer of `generateContent` or `embedContent`. *body* is kept verbatim."""
    if status != 200:
        return errored(custom_id, status_of(status, body), body=_loose.sound(body))
    try:
        if dialect == GEMINI_EMBED:
            return _vector(custom_id, _embedded(body), body)
        return _judged(custom_id, _generated(body), body)
    except _loose.UNREADABLE:
        return _odd_answer(custom_id, body, dialect)


def errored(custom_id: str, error: Status, body: bytes = b"") -> Result:
    """Return the result of a row that failed with an error of Google's."""
    failure = failure_of(error)
    outcome = OUTCOMES.get(failure, Outcome.ERRORED)
    return Result(custom_id, outcome, failure, error.words, body=body)


def _odd_answer(custom_id: str, body: bytes, dialect: str) -> Result:
    """Read leniently what was most likely paid for; where that fails too, keep the words."""
    sound = b""
    try:
        found, sound = _loose.loads(body)
        if dialect == GEMINI_EMBED:
            return _vector(custom_id, _loose.struct(_Embedded, found), sound)
        return _judged(custom_id, _loose.struct(_Generated, found), sound)
    except _loose.UNREADABLE as error:
        detail = f"status 200 with a body that is no answer ({error}): {excerpt(body)}"
        return Result(custom_id, Outcome.ERRORED, Failure.SERVER, detail, body=sound)


def _judged(custom_id: str, found: _Generated, body: bytes) -> Result:
    model, usage = found.modelVersion or "", _tokens(found.usageMetadata)
    if not found.candidates:
        failure, detail = Failure.SERVER, "the answer has no candidates"
        feedback = found.promptFeedback
        if feedback is not None and feedback.blockReason:
            failure = Failure.REFUSED
            detail = _said("the prompt was blocked", feedback.blockReason)
            detail = ": ".join(filter(None, (detail, feedback.blockReasonMessage)))
        return Result(
            custom_id, Outcome.ERRORED, failure, detail, model=model, usage=usage, body=body
        )
    candidate = found.candidates[0]
    answer = _answer(candidate, body)
    failure, detail = None, ""
    if candidate.finishReason == "MAX_TOKENS":
        failure, detail = Failure.TRUNCATED, "stopped at the maximum of output tokens"
    elif candidate.finishReason not in _GOOD_ENDS:
        failure = _ENDS.get(candidate.finishReason or "", Failure.SERVER)
        detail = _said("the answer was stopped", candidate.finishReason or "")
        detail = ": ".join(filter(None, (detail, candidate.finishMessage)))
    elif answer is None:
        # Seen now and then with STOP; the same request is answered another time
        # (litellm#24442, 2026-03).
        failure, detail = Failure.SERVER, "the answer is empty"
    outcome = Outcome.SUCCEEDED if failure is None else Outcome.ERRORED
    return Result(custom_id, outcome, failure, detail, answer, model, usage, None, body)


def _said(what: str, reason: str) -> str:
    return f"{what} ({reason})"


def _answer(candidate: _Candidate, body: bytes) -> str | None:
    """Return the text without the thoughts; else calls of tools, or other parts, as JSON."""
    parts = (candidate.content.parts if candidate.content else None) or []
    texts = [part.text for part in parts if part.text is not None and not part.thought]
    if len(texts) == 1 and len(parts) == 1:
        return texts[0]
    if text := "".join(texts):
        return text
    if calls := [part.functionCall for part in parts if part.functionCall is not None]:
        return _encode(calls).decode()
    if any(part.text is None for part in parts):  # e.g. an image
        whole = msgspec.json.decode(body)
        return _encode(whole["candidates"][0]["content"]["parts"]).decode()
    return "" if texts else None


def _vector(custom_id: str, found: _Embedded, body: bytes) -> Result:
    values = found.embedding.values if found.embedding else None
    if not values:
        return Result(
            custom_id, Outcome.ERRORED, Failure.SERVER, "the answer has no vector", body=body
        )
    usage = _tokens(found.usageMetadata)
    if usage is None and found.tokenCount is not None and str(found.tokenCount).isdigit():
        usage = Usage(int(found.tokenCount))
    answer = _encode(values).decode()
    return Result(custom_id, Outcome.SUCCEEDED, None, "", answer, "", usage, None, body)


def _tokens(usage: _Usage | None) -> Usage | None:
    if usage is None:
        return None
    return Usage(
        (usage.promptTokenCount or 0) + (usage.toolUsePromptTokenCount or 0),
        # What was thought is not among the candidates' tokens, and costs the same.
        (usage.candidatesTokenCount or 0) + (usage.thoughtsTokenCount or 0),
        usage.cachedContentTokenCount or 0,
        usage.thoughtsTokenCount or 0,
    )
