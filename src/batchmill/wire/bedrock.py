"""
Bedrock's batch records, and the answers of its Converse and InvokeModel operations.

Role-blind: the same functions whether we are the client or the server. Sources: the service models
of botocore 1.44.5 and the vendor's user guide (read 2026-08-21); odd cases carry their own source.
An answer of a Claude model is Anthropic's own, and judged there.
"""

import re
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Raw

from batchmill.core.failure import Failure
from batchmill.core.outcome import Outcome, Result, Usage
from batchmill.core.request import ANTHROPIC_MESSAGES, Request, custom_id_of
from batchmill.wire import _loose, anthropic
from batchmill.wire.bedrock_failures import error_words, failure_of
from batchmill.wire.failures import OUTCOMES, excerpt
from batchmill.wire.hub import ANSWER_TOOL

#: Which generation of Anthropic's API a body is written for; the only one Bedrock knows.
ANTHROPIC_VERSION: Final = "bedrock-2023-05-31"

#: Older pages of the vendor want exactly eleven letters and digits; newer ones say nothing.
_RECORD_ID: Final = re.compile(r"R([0-9]{10})", re.ASCII)

#: A count of tokens; beyond it lies nonsense, and no file of ours could hold it.
_Count = Annotated[int, Meta(ge=0, le=1 << 62)]


class Record(msgspec.Struct, rename="camel"):
    """One line of an output file. `modelInput`, an echo of what was sent, is not looked at."""

    record_id: str
    model_output: Raw = Raw(b"null")
    error: Raw = Raw(b"null")


class _RecordError(msgspec.Struct, rename="camel"):
    error_code: int | str = 0
    error_message: str = ""
    expired: bool = False


class _ToolUse(msgspec.Struct, rename="camel"):
    tool_use_id: str = ""
    name: str = ""
    input: object = None


class _Cited(msgspec.Struct, rename="camel"):
    content: list[dict[str, object]] | None = None


class _Block(msgspec.Struct, rename="camel"):
    text: str | None = None
    tool_use: _ToolUse | None = None
    citations_content: _Cited | None = None


class _Message(msgspec.Struct, rename="camel"):
    content: list[_Block]


class _Output(msgspec.Struct, rename="camel"):
    message: _Message


class _Usage(msgspec.Struct, rename="camel"):
    input_tokens: _Count | None = None
    output_tokens: _Count | None = None
    cache_read_input_tokens: _Count | None = None
    cache_write_input_tokens: _Count | None = None


class _Converse(msgspec.Struct, rename="camel"):
    output: _Output
    stop_reason: str = ""
    usage: _Usage | None = None


_record = msgspec.json.Decoder(Record).decode
_record_error = msgspec.json.Decoder(_RecordError).decode
_converse = msgspec.json.Decoder(_Converse).decode
_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode

_VERSION: Final = Raw(_encode(ANTHROPIC_VERSION))
_NULL: Final = b"null"
_WHOSE: Final = re.compile(rb'"recordId"\s*:\s*"(R[0-9]{10})"')

#: Of the nine stop reasons that botocore 1.44.5 lists, those that are no whole answer.
_STOPPED: Final = {
    "max_tokens": (Failure.TRUNCATED, "stopped at the maximum of output tokens"),
    # More room for the output would not help: it is the context that is full.
    "model_context_window_exceeded": (Failure.TOO_LONG, "the model's context window is full"),
    "guardrail_intervened": (Failure.REFUSED, "stopped by a guardrail"),
    "content_filtered": (Failure.REFUSED, "stopped by the provider's content filter"),
    "refusal": (Failure.REFUSED, "the model declined to answer"),
    "malformed_model_output": (Failure.SCHEMA, "the model's output was malformed"),
    "malformed_tool_use": (Failure.SCHEMA, "the model's tool call was malformed"),
}


def render_record(request: Request, dialect: str) -> bytes:
    """Return the request as one line of an input file, without the line feed."""
    row = int(request.custom_id.rpartition("-")[2])
    body = invoke_body(request.body) if dialect == ANTHROPIC_MESSAGES else request.body
    return b'{"recordId":"R%010d","modelInput":%b}' % (row, body)


def invoke_body(body: bytes) -> bytes:
    """
    Return a body of Anthropic's Messages as InvokeModel takes it.

    The model is named beside it; in the body it is "Extra inputs are not permitted"
    (maximhq/bifrost pull 4516).
    """
    fields = _fields(body)
    fields.pop("model", None)
    fields.pop("stream", None)
    fields.setdefault("anthropic_version", _VERSION)
    return _encode(fields)


def uses_tools(body: bytes) -> bool:
    """Say whether a Converse body has a `toolConfig`, which a batch job refuses."""
    return b'"toolConfig"' in body and "toolConfig" in _fields(body)


def custom_id(record_id: str, shard_id: str) -> str:
    """Return the name we gave the record; what never was a record of ours keeps its own."""
    found = _RECORD_ID.fullmatch(record_id)
    return custom_id_of(shard_id, int(found[1])) if found else record_id


def parse_record(line: bytes, dialect: str, shard_id: str) -> Result:
    """Read one line of an output file; raise `msgspec.MsgspecError` where it is none."""
    try:
        found = _record(line)
        line.decode()  # Raw would let invalid UTF-8 pass
    except (msgspec.MsgspecError, UnicodeDecodeError):
        found = _record(_loose.loads(line)[1])
    name = custom_id(found.record_id, shard_id)
    if (error := bytes(found.error)) != _NULL:
        return _unsuccessful(name, error)
    if (answer := bytes(found.model_output)) == _NULL:
        # Nothing says that it was run, so it may run again.
        detail = "the provider gave neither an answer nor an error"
        return Result(name, Outcome.ERRORED, Failure.SERVER, detail)
    return result(name, 200, answer, dialect)


def unreadable(line: bytes, shard_id: str) -> Result | None:
    """Return what is left of a line that is no JSON: whose it was, if that can be seen at all."""
    found = _WHOSE.search(line)
    if found is None:
        return None
    detail = f"its result is a line that cannot be read: {excerpt(line)}"
    name = custom_id(found[1].decode(), shard_id)
    return Result(name, Outcome.ERRORED, Failure.SERVER, detail)


def result(name: str, status: int, body: bytes, dialect: str) -> Result:
    """Judge one HTTP answer of Converse, or of InvokeModel. *body* is kept verbatim."""
    if status != 200:
        code, message = error_words(body)
        failure = failure_of(status, code, message)
        said = f"{status} {code}: {message}" if code else f"{status}: {message}"
        return Result(name, Outcome.ERRORED, failure, said, body=_loose.sound(body))
    if dialect == ANTHROPIC_MESSAGES:
        return anthropic.result(name, status, body)
    try:
        return _answered(name, _converse(body), body)
    except _loose.UNREADABLE:
        return _odd_answer(name, body)


def _odd_answer(name: str, body: bytes) -> Result:
    """Read leniently what was most likely paid for; where that fails too, keep the words."""
    sound = b""
    try:
        found, sound = _loose.loads(body)
        return _answered(name, _loose.struct(_Converse, found), sound)
    except _loose.UNREADABLE as error:
        detail = f"status 200 with a body that is no answer ({error}): {excerpt(body)}"
        return Result(name, Outcome.ERRORED, Failure.SERVER, detail, body=sound)


def _answered(name: str, found: _Converse, body: bytes) -> Result:
    failure, detail = _STOPPED.get(found.stop_reason, (None, ""))
    return Result(
        name,
        Outcome.SUCCEEDED if failure is None else Outcome.ERRORED,
        failure,
        detail,
        _text_of(found.output.message.content),
        "",  # an answer does not say who gave it
        _tokens(found.usage),
        None,
        body,
    )


def _text_of(content: list[_Block]) -> str | None:
    """Return the text; of a forced schema its object; else the tool calls, as OpenAI's chat has."""
    if len(content) == 1 and content[0].text is not None:
        return content[0].text
    texts: list[str] = []
    calls: list[_ToolUse] = []
    for block in content:
        if block.text is not None:
            texts.append(block.text)
        elif block.tool_use is not None:
            calls.append(block.tool_use)
        elif block.citations_content is not None:
            cited = block.citations_content.content or []
            texts += [said for each in cited if isinstance(said := each.get("text"), str)]
    if len(calls) == 1 and calls[0].name == ANSWER_TOOL:
        return _encode(calls[0].input).decode()
    text = "".join(texts)
    if text or not calls:
        return text if texts else None
    return _encode([_call(each) for each in calls]).decode()


def _call(use: _ToolUse) -> dict[str, object]:
    function = {"name": use.name, "arguments": _encode(use.input).decode()}
    return {"id": use.tool_use_id, "type": "function", "function": function}


def _tokens(usage: _Usage | None) -> Usage | None:
    if usage is None or (usage.input_tokens is None and usage.output_tokens is None):
        return None
    # What was read from the cache or written to it is not in `inputTokens`
    # (anomalyco/opencode pull 38427). Nor is reasoning told apart in `outputTokens`.
    cached = usage.cache_read_input_tokens or 0
    taken = (usage.input_tokens or 0) + cached + (usage.cache_write_input_tokens or 0)
    return Usage(taken, usage.output_tokens or 0, cached)


def _unsuccessful(name: str, error: bytes) -> Result:
    try:
        found = _record_error(error)
    except _loose.UNREADABLE:
        found = _odd_error(error)
    code, status = "", 0
    if isinstance(found.error_code, int):
        status = found.error_code
    elif found.error_code.isascii() and found.error_code.isdigit():
        status = int(found.error_code[:4])
    else:
        code = found.error_code
    failure = Failure.EXPIRED if found.expired else failure_of(status, code, found.error_message)
    outcome = OUTCOMES.get(failure, Outcome.ERRORED)
    detail = f"{found.error_code}: {found.error_message or excerpt(error)}"
    return Result(name, outcome, failure, detail, body=_loose.sound(error))


def _odd_error(error: bytes) -> _RecordError:
    try:
        found = _loose.loads(error)[0]
        return _loose.struct(_RecordError, found)
    except _loose.UNREADABLE:
        return _RecordError(error_message=excerpt(error))
