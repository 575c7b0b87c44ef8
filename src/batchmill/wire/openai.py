"""
OpenAI's batch lines, and the answers of its chat, responses and embeddings endpoints.

Role-blind: the same functions whether we are the client or the server. Sources: the vendor's API
reference and its openapi file (read 2026-08-21); odd cases carry their own source.
"""

import re
from typing import Annotated

import msgspec
from msgspec import Meta, Raw
from msgspec.structs import replace

from batchmill.core.failure import Failure
from batchmill.core.outcome import Outcome, Result, Usage
from batchmill.core.request import OPENAI_EMBEDDINGS, OPENAI_RESPONSES, Request
from batchmill.wire import _loose
from batchmill.wire.failures import CODES, OUTCOMES, error_words, excerpt, failure_of

#: A count of tokens; beyond it lies nonsense, and no file of ours could hold it.
_Count = Annotated[int, Meta(ge=0, le=1 << 62)]


class RequestLine(msgspec.Struct):
    """One line of a batch input file."""

    custom_id: str
    method: str
    url: str
    body: Raw


class Response(msgspec.Struct):
    status_code: int = 0
    request_id: str | None = None
    body: Raw = Raw(b"null")


class LineError(msgspec.Struct):
    code: str | None = None
    message: str | None = None


class ResultLine(msgspec.Struct):
    """One line of an output or error file."""

    custom_id: str
    id: str = ""
    response: Response | None = None
    error: LineError | None = None


class _OddResponse(msgspec.Struct):
    status_code: object = 0
    body: Raw = Raw(b"null")


class _OddLine(msgspec.Struct):
    custom_id: str
    response: _OddResponse | None = None
    error: object = None


class _Details(msgspec.Struct):
    cached_tokens: _Count | None = None
    reasoning_tokens: _Count | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: _Count | None = None
    completion_tokens: _Count | None = None
    input_tokens: _Count | None = None
    output_tokens: _Count | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None


class _Message(msgspec.Struct):
    content: object = None
    refusal: str | None = None
    tool_calls: list[object] | None = None


class _Choice(msgspec.Struct):
    message: _Message = msgspec.field(default_factory=_Message)
    text: str | None = None
    finish_reason: str | None = None


class _Chat(msgspec.Struct):
    choices: list[_Choice]
    model: str = ""
    usage: _Usage | None = None


class _Embeddings(msgspec.Struct):
    data: list[dict[str, object]]
    model: str = ""
    usage: _Usage | None = None


class _Responses(msgspec.Struct):
    output: list[dict[str, object]]
    model: str = ""
    status: str = "completed"
    incomplete_details: dict[str, object] | None = None
    error: dict[str, object] | None = None
    usage: _Usage | None = None


#: How other endpoints of this dialect end what they could not finish (DeepSeek, gateways).
_BROKEN_OFF = ("insufficient_system_resource", "error")

#: The names we give are all of this form; within a JSON text its quotes would be escaped.
_NAME = re.compile(rb'"custom_id"\s*:\s*"([A-Za-z0-9_-]{1,64})"')
_NAME_WITHIN = 4096

_request_line = msgspec.json.Decoder(RequestLine).decode
_result_line = msgspec.json.Decoder(ResultLine).decode
_odd = msgspec.json.Decoder(_OddLine).decode
_chat = msgspec.json.Decoder(_Chat).decode
_embeddings = msgspec.json.Decoder(_Embeddings).decode
_responses = msgspec.json.Decoder(_Responses).decode
_encode = msgspec.json.Encoder().encode


def render_request_line(request: Request, url: str) -> bytes:
    """Return the request as one line of a batch input file, without the line feed."""
    return b'{"custom_id":"%b","method":"POST","url":"%b","body":%b}' % (
        request.custom_id.encode(),
        url.encode(),
        request.body,
    )


def parse_request_line(line: bytes) -> RequestLine:
    """Read one line of an input file; raise `msgspec.MsgspecError` or `UnicodeDecodeError`."""
    line.decode()  # Raw would let invalid UTF-8 pass
    return _request_line(line)


def render_result_line(custom_id: str, status: int, body: bytes, request_id: str) -> bytes:
    """Return one line of an output (200) or error (any other status) file."""
    return (
        b'{"id":"%b","custom_id":"%b","response":'
        b'{"status_code":%d,"request_id":"%b","body":%b},"error":null}'
    ) % (b"batch_req_" + request_id.encode(), custom_id.encode(), status, request_id.encode(), body)


def render_unrun_line(custom_id: str, code: str, message: str) -> bytes:
    """Return the error-file line of a request that was never run (expired, cancelled)."""
    return b'{"id":"","custom_id":%b,"response":null,"error":%b}' % (
        _encode(custom_id),
        _encode({"code": code, "message": message}),
    )


def parse_result_line(line: bytes, dialect: str) -> Result:
    """Read one line of an output or error file; raise `msgspec.MsgspecError` where it is none."""
    try:
        found = _result_line(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        found = _odd_line(line)
    if found.response is None or (found.error is not None and found.response.status_code == 0):
        return _unrun(found)
    # A rejected request has `error: null` and a 4xx inside `response`, in either file.
    answer = result(
        found.custom_id, found.response.status_code, bytes(found.response.body), dialect
    )
    if found.error is None or answer.failure is not None:
        return answer
    return _spoilt(answer, found.error)


def unreadable(line: bytes) -> Result | None:
    """Return what an unreadable line says of its row; None where it does not even name it."""
    if (named := _NAME.search(line[:_NAME_WITHIN])) is None:
        return None
    detail = f"the line of its answer cannot be read: {excerpt(line)}"
    return Result(named[1].decode(), Outcome.ERRORED, Failure.SERVER, detail)


def _odd_line(line: bytes) -> ResultLine:
    odd = _odd(_loose.loads(line)[1])
    error = _loose.struct(LineError, odd.error) if isinstance(odd.error, dict) else None
    if odd.response is None:
        return ResultLine(odd.custom_id, error=error)
    try:
        status = int(float(str(odd.response.status_code)))
    except (ValueError, OverflowError):
        status = 0
    return ResultLine(odd.custom_id, response=Response(status, body=odd.response.body), error=error)


def result(custom_id: str, status: int, body: bytes, dialect: str) -> Result:
    """Judge one HTTP answer of an OpenAI-shaped endpoint. *body* is kept verbatim."""
    if status != 200:
        return _errored(custom_id, status, body)
    try:
        if dialect == OPENAI_EMBEDDINGS:
            return _embedded(custom_id, _embeddings(body), body)
        if dialect == OPENAI_RESPONSES:
            return _responded(custom_id, _responses(body), body)
        return _chatted(custom_id, _chat(body), body)
    except _loose.UNREADABLE:
        return _odd_answer(custom_id, body, dialect)


def _odd_answer(custom_id: str, body: bytes, dialect: str) -> Result:
    """Read leniently what was most likely paid for; where that fails too, keep the words."""
    sound = b""
    try:
        found, sound = _loose.loads(body)
        if dialect == OPENAI_EMBEDDINGS:
            return _embedded(custom_id, _loose.struct(_Embeddings, found), sound)
        if dialect == OPENAI_RESPONSES:
            return _responded(custom_id, _loose.struct(_Responses, found), sound)
        return _chatted(custom_id, _loose.struct(_Chat, found), sound)
    except _loose.UNREADABLE as error:
        detail = f"status 200 with a body that is no answer ({error}): {excerpt(body)}"
        return Result(custom_id, Outcome.ERRORED, Failure.SERVER, detail, body=sound)


def _chatted(custom_id: str, chat: _Chat, body: bytes) -> Result:
    if not chat.choices:
        return Result(
            custom_id, Outcome.ERRORED, Failure.SERVER, "the answer has no choices", body=body
        )
    choice = chat.choices[0]
    message = choice.message
    content = message.content if message.content is not None else choice.text
    answer = content if isinstance(content, str) else _text_of(content, message.tool_calls)
    failure, detail = None, ""
    if choice.finish_reason == "length":
        failure, detail = Failure.TRUNCATED, "stopped at the maximum of output tokens"
    elif choice.finish_reason == "content_filter":
        failure, detail = Failure.REFUSED, "stopped by the provider's content filter"
    elif message.refusal:
        failure, detail = Failure.REFUSED, message.refusal
    elif choice.finish_reason in _BROKEN_OFF:
        failure, detail = Failure.SERVER, f"the answer broke off: {choice.finish_reason}"
    return _answered(custom_id, answer, chat.model, chat.usage, failure, detail, body)


def _embedded(custom_id: str, found: _Embeddings, body: bytes) -> Result:
    vector = found.data[0].get("embedding") if found.data else None
    if vector is None:
        return Result(
            custom_id, Outcome.ERRORED, Failure.SERVER, "the answer has no vector", body=body
        )
    answer = vector if isinstance(vector, str) else _encode(vector).decode()
    return _answered(custom_id, answer, found.model, found.usage, None, "", body)


def _responded(custom_id: str, found: _Responses, body: bytes) -> Result:
    texts: list[str] = []
    refusal = ""
    calls: list[object] = []
    for item in found.output:
        if item.get("type") == "reasoning":
            continue  # open models tell their thoughts as content, too
        if item.get("type") == "function_call":
            calls.append(item)
        content = item.get("content")
        for part in content if isinstance(content, list) else []:
            if isinstance(part, dict):
                texts.append(str(part.get("text") or ""))
                refusal = refusal or str(part.get("refusal") or "")
    failure, detail = None, ""
    reason = (found.incomplete_details or {}).get("reason")
    if reason == "content_filter" or refusal:
        failure, detail = Failure.REFUSED, refusal or "stopped by the provider's content filter"
    elif found.status == "incomplete":
        failure, detail = Failure.TRUNCATED, f"incomplete: {reason}"
    elif found.status == "failed":
        failure, detail = _failed(found.error or {})
    answer = "".join(texts) or _text_of(None, calls)
    return _answered(custom_id, answer, found.model, found.usage, failure, detail, body)


def _failed(error: dict[str, object]) -> tuple[Failure, str]:
    """Return why a response that was accepted has failed."""
    code, message = str(error.get("code") or ""), str(error.get("message") or "")
    words = f"{code}: {message}" if code and message else code or message
    return CODES.get(code, Failure.SERVER), words or "the response failed"


def _answered(
    custom_id: str,
    answer: str | None,
    model: str,
    usage: _Usage | None,
    failure: Failure | None,
    detail: str,
    body: bytes,
) -> Result:
    outcome = Outcome.SUCCEEDED if failure is None else Outcome.ERRORED
    return Result(custom_id, outcome, failure, detail, answer, model, _tokens(usage), None, body)


def _tokens(usage: _Usage | None) -> Usage | None:
    if usage is None:
        return None
    taken = usage.input_tokens if usage.prompt_tokens is None else usage.prompt_tokens
    given = usage.output_tokens if usage.completion_tokens is None else usage.completion_tokens
    if taken is None and given is None:
        return None
    cached = usage.prompt_tokens_details or usage.input_tokens_details
    reasoned = usage.completion_tokens_details or usage.output_tokens_details
    return Usage(
        taken or 0,
        given or 0,
        (cached.cached_tokens or 0) if cached else 0,
        (reasoned.reasoning_tokens or 0) if reasoned else 0,
    )


def _text_of(content: object, calls: list[object] | None) -> str | None:
    """Return an answer that is no plain string: text parts joined, or tool calls as JSON."""
    if isinstance(content, list):
        parts = [p.get("text") if isinstance(p, dict) else p for p in content]
        return "".join(part for part in parts if isinstance(part, str))
    return _encode(calls).decode() if calls else None


def _errored(custom_id: str, status: int, body: bytes) -> Result:
    code, message = error_words(body)
    failure = failure_of(status, code, message)
    outcome = OUTCOMES.get(failure, Outcome.ERRORED)
    detail = f"{status} {code}: {message}" if code else f"{status}: {message}"
    return Result(custom_id, outcome, failure, detail, body=_loose.sound(body))


def _spoilt(answer: Result, error: LineError) -> Result:
    """Return an answer that came with an error beside it: it counts as failed, and is kept."""
    if not error.code and not error.message:
        return answer
    failure = CODES.get(error.code or "", Failure.SERVER)
    outcome = OUTCOMES.get(failure, Outcome.ERRORED)
    detail = error.message or error.code or ""
    return replace(answer, outcome=outcome, failure=failure, detail=detail)


def _unrun(line: ResultLine) -> Result:
    error = line.error or LineError()
    # Seen without code or message after incidents: nothing says it was run, so it may run again.
    failure = CODES.get(error.code or "", Failure.SERVER)
    detail = error.message or error.code or "the provider gave neither an answer nor a reason"
    return Result(line.custom_id, OUTCOMES.get(failure, Outcome.ERRORED), failure, detail)
