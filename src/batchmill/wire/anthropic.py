"""
Anthropic's Message Batches: the requests and results of a batch, and the answers of Messages.

Role-blind: the same functions whether we are the client or the server. Sources: the vendor's API
reference and its batch guide (read 2026-08-21), and the types of its SDK 2.12.0.
"""

from typing import Annotated, Final

import msgspec
from msgspec import Meta, Raw

from batchmill.core.failure import Failure
from batchmill.core.outcome import Outcome, Result, Usage
from batchmill.core.request import Request
from batchmill.wire import _loose
from batchmill.wire.anthropic_failures import error_of
from batchmill.wire.failures import excerpt
from batchmill.wire.hub import ANSWER_TOOL

#: What stands around and between the requests of a creating call.
HEAD, BETWEEN, TAIL = b'{"requests":[', b",", b"]}"

#: This tool was made of the schema that a person asked for: what it is called with is the answer.
SCHEMA_TOOL: Final = ANSWER_TOOL

#: A count of tokens; beyond it lies nonsense, and no file of ours could hold it.
_Count = Annotated[int, Meta(ge=0, le=1 << 62)]


class BatchRequest(msgspec.Struct):
    """One request of a creating call."""

    custom_id: str
    params: Raw


class _Outcome(msgspec.Struct):
    type: str
    message: Raw = Raw(b"null")
    error: Raw = Raw(b"null")


class ResultLine(msgspec.Struct):
    """One line of the results."""

    custom_id: str
    result: _Outcome


class _OddLine(msgspec.Struct):
    custom_id: str
    result: Raw = Raw(b"null")


class _Block(msgspec.Struct):
    type: str = ""
    text: str | None = None
    id: str | None = None
    name: str = ""
    input: Raw = Raw(b"{}")


class _OutputDetails(msgspec.Struct):
    thinking_tokens: _Count | None = None


class _Usage(msgspec.Struct):
    input_tokens: _Count | None = None
    output_tokens: _Count | None = None
    cache_creation_input_tokens: _Count | None = None
    cache_read_input_tokens: _Count | None = None
    output_tokens_details: _OutputDetails | None = None


class _StopDetails(msgspec.Struct):
    category: str | None = None
    explanation: str | None = None


class _Message(msgspec.Struct):
    content: list[_Block]
    model: str = ""
    stop_reason: str | None = None
    stop_details: _StopDetails | None = None
    usage: _Usage | None = None


_batch_request = msgspec.json.Decoder(BatchRequest).decode
_result_line = msgspec.json.Decoder(ResultLine).decode
_odd = msgspec.json.Decoder(_OddLine).decode
_message = msgspec.json.Decoder(_Message).decode
_encode = msgspec.json.Encoder().encode

_CUT_SHORT: Final = {
    "max_tokens": (Failure.TRUNCATED, "stopped at the maximum of output tokens"),
    # More room for the output would not help: it is the context that is full.
    "model_context_window_exceeded": (Failure.TOO_LONG, "the model's context window is full"),
    "pause_turn": (Failure.TRUNCATED, "a long turn with server tools was paused unfinished"),
    "compaction": (Failure.TRUNCATED, "paused unfinished to compact its context"),
}
_UNRUN: Final = {
    "expired": Result("", Outcome.EXPIRED, Failure.EXPIRED, "not run within 24 hours"),
    "canceled": Result("", Outcome.CANCELED, Failure.CANCELED, "the batch was canceled before"),
}


def render_request(request: Request) -> bytes:
    """Return one request of a creating call; HEAD, BETWEEN and TAIL stand around them."""
    return b'{"custom_id":"%b","params":%b}' % (request.custom_id.encode(), request.body)


def parse_request(text: bytes) -> BatchRequest:
    """Read one request of a creating call; raise `MsgspecError` or `UnicodeDecodeError`."""
    text.decode()  # Raw would let invalid UTF-8 pass
    return _batch_request(text)


def parse_result_line(line: bytes) -> Result:
    """Read one line of the results; raise `msgspec.MsgspecError` where it is none."""
    try:
        found = _result_line(line)
        line.decode()
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _odd_result(line)
    return _result(found)


def _result(line: ResultLine) -> Result:
    custom_id, found = line.custom_id, line.result
    if found.type == "succeeded":
        return result(custom_id, 200, bytes(found.message))
    if found.type == "errored":
        return _errored(custom_id, 0, bytes(found.error))
    if (unrun := _UNRUN.get(found.type)) is not None:
        return Result(custom_id, unrun.outcome, unrun.failure, unrun.detail)
    # Nothing says that it was run, so it may run again.
    detail = f"a result of a kind we do not know: {found.type[:100]!r}"
    return Result(custom_id, Outcome.ERRORED, Failure.SERVER, detail)


def _odd_result(line: bytes) -> Result:
    odd = _odd(_loose.loads(line)[1])
    try:
        found = msgspec.json.decode(odd.result, type=_Outcome)
    except _loose.UNREADABLE:
        detail = f"a line without a result: {excerpt(bytes(odd.result))}"
        return Result(odd.custom_id, Outcome.ERRORED, Failure.SERVER, detail)
    return _result(ResultLine(odd.custom_id, found))


def result(custom_id: str, status: int, body: bytes, dialect: str = "") -> Result:
    """Judge one HTTP answer of Messages. *body* is kept verbatim; there is but one *dialect*."""
    if status != 200:
        return _errored(custom_id, status, body)
    try:
        return _answered(custom_id, _message(body), body)
    except _loose.UNREADABLE:
        return _odd_answer(custom_id, body)


def _odd_answer(custom_id: str, body: bytes) -> Result:
    """Read leniently what was most likely paid for; where that fails too, keep the words."""
    sound = b""
    try:
        found, sound = _loose.loads(body)
        if isinstance(found, dict) and found.get("type") == "error":
            return _errored(custom_id, 0, body)
        return _answered(custom_id, _loosely(found), sound)
    except _loose.UNREADABLE as error:
        detail = f"status 200 with a body that is no answer ({error}): {excerpt(body)}"
        return Result(custom_id, Outcome.ERRORED, Failure.SERVER, detail, body=sound)


def _loosely(found: object) -> _Message:
    """Read what is there of the blocks as well: a `Raw` cannot be made of a decoded value."""
    message = _loose.struct(_LooseMessage, found)
    blocks = [
        _Block(block.type, block.text, block.id, block.name, Raw(_encode(block.input)))
        for block in message.content
    ]
    return _Message(blocks, message.model, message.stop_reason, message.stop_details, message.usage)


class _LooseBlock(msgspec.Struct):
    type: str = ""
    text: str | None = None
    id: str | None = None
    name: str = ""
    input: object = None


class _LooseMessage(msgspec.Struct):
    content: list[_LooseBlock]
    model: str = ""
    stop_reason: str | None = None
    stop_details: _StopDetails | None = None
    usage: _Usage | None = None


def _answered(custom_id: str, message: _Message, body: bytes) -> Result:
    failure, detail = None, ""
    reason = message.stop_reason
    if reason == "refusal":
        failure, detail = Failure.REFUSED, _refusal(message.stop_details)
    elif reason in _CUT_SHORT:
        failure, detail = _CUT_SHORT[reason]
    return Result(
        custom_id,
        Outcome.SUCCEEDED if failure is None else Outcome.ERRORED,
        failure,
        detail,
        _text_of(message.content),
        message.model,
        _tokens(message.usage),
        None,
        body,
    )


def _refusal(details: _StopDetails | None) -> str:
    category = f" ({details.category})" if details and details.category else ""
    explanation = f": {details.explanation}" if details and details.explanation else ""
    return f"the model declined to answer{category}{explanation}"


def _text_of(content: list[_Block]) -> str | None:
    """Return the text; of a forced schema its object; else the tool calls, as OpenAI's chat has."""
    if len(content) == 1 and (only := content[0]).type == "text":
        return only.text
    texts = [block.text for block in content if block.type == "text" and block.text is not None]
    calls = [block for block in content if block.type == "tool_use"]
    if len(calls) == 1 and calls[0].name == SCHEMA_TOOL:
        return bytes(calls[0].input).decode(errors="replace")
    text = "".join(texts)
    if text or not calls:
        return text if texts else None
    return _encode([_call(block) for block in calls]).decode()


def _call(block: _Block) -> dict[str, object]:
    arguments = bytes(block.input).decode(errors="replace")
    function = {"name": block.name, "arguments": arguments}
    return {"id": block.id, "type": "function", "function": function}


def _tokens(usage: _Usage | None) -> Usage | None:
    if usage is None or (usage.input_tokens is None and usage.output_tokens is None):
        return None
    # What was read from the cache or written to it is not in `input_tokens`.
    cached = usage.cache_read_input_tokens or 0
    written = usage.cache_creation_input_tokens or 0
    details = usage.output_tokens_details
    return Usage(
        (usage.input_tokens or 0) + cached + written,
        usage.output_tokens or 0,
        cached,
        (details.thinking_tokens or 0) if details else 0,
    )


def _errored(custom_id: str, status: int, body: bytes) -> Result:
    failure, detail = error_of(status, body)
    return Result(custom_id, Outcome.ERRORED, failure, detail, body=_loose.sound(body))
