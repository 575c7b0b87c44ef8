"""What the simulated models answer: bodies in the shape of OpenAI's, good ones and bad ones."""

import struct
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any, Final
from zlib import crc32

import msgspec
from msgspec import Raw

from batchmill.core.failure import Failure
from batchmill.core.request import OPENAI_EMBEDDINGS, OPENAI_RESPONSES
from batchmill.providers._sim_example import examples

ECHO, JSON = "echo", "json"
MODELS: Final = (ECHO, JSON)

VECTOR: Final = (0.5, -0.25, 0.125, 0.75)

#: custom_id, HTTP status, body.
Answer = tuple[str, int, bytes]


class _Part(msgspec.Struct):
    text: str = ""


class _Message(msgspec.Struct):
    role: str = ""
    content: Raw = Raw(b'""')


class _Chat(msgspec.Struct):
    """The part of a chat request an echo needs."""

    messages: list[_Message] = msgspec.field(default_factory=list[_Message])


class _Responses(msgspec.Struct):
    input: Raw = Raw(b'""')


class _Embeddings(msgspec.Struct):
    input: object = ""
    encoding_format: str = "float"


class _Line(msgspec.Struct):
    custom_id: str
    body: Raw


class _ChatLine(msgspec.Struct):
    custom_id: str
    body: _Chat


_line = msgspec.json.Decoder(_Line).decode
_chat_line = msgspec.json.Decoder(_ChatLine).decode
_chat = msgspec.json.Decoder(_Chat).decode
_responses = msgspec.json.Decoder(_Responses).decode
_embeddings = msgspec.json.Decoder(_Embeddings).decode
_messages = msgspec.json.Decoder(list[_Message]).decode
_parts = msgspec.json.Decoder(str | list[_Part] | None).decode
_encode = msgspec.json.Encoder().encode

_CHAT_HEAD: Final = b'{"id":"chatcmpl-'
_CHAT_MODEL: Final = b'","object":"chat.completion","created":0,"model":"'
_CHAT_TEXT: Final = b'","choices":[{"index":0,"message":{"role":"assistant","content":'
_CHAT_TAIL: Final = (
    b'},"finish_reason":"%b"}],'
    b'"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}}'
)
_TOOL_BODY: Final = (
    b'{"id":"chatcmpl-%b","object":"chat.completion","created":0,"model":"%b","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function",'
    b'"function":{"name":%b,"arguments":%b}}]},"finish_reason":"tool_calls"}],'
    b'"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}}'
)
_RESPONSE_BODY: Final = (
    b'{"id":"resp_%b","object":"response","created_at":0,"model":"%b","status":"%b",'
    b'"incomplete_details":%b,"output":[%b],'
    b'"usage":{"input_tokens":%d,"output_tokens":%d,"total_tokens":%d}}'
)
_MESSAGE_ITEM: Final = (
    b'{"id":"msg_1","type":"message","role":"assistant","status":"completed",'
    b'"content":[{"type":"output_text","text":%b,"annotations":[]}]}'
)
_CALL_ITEM: Final = (
    b'{"id":"fc_1","type":"function_call","call_id":"call_1","name":%b,"arguments":%b,'
    b'"status":"completed"}'
)


def custom_id_in(line: bytes) -> str:
    """Return the custom_id of an uploaded line."""
    return _line(line).custom_id


def answerer(model: str, dialect: str) -> Callable[[bytes], Answer]:
    """Return what answers one uploaded line of *dialect*."""
    if dialect == OPENAI_EMBEDDINGS:
        return _embed
    name = model.encode()
    if model == JSON:
        return lambda line: _made_up(line, dialect, name)
    if dialect == OPENAI_RESPONSES:

        def respond(line: bytes) -> Answer:
            found = _line(line)
            text = _last_input(bytes(found.body))
            return found.custom_id, 200, _responded(found.custom_id, name, text, len(line))

        return respond

    def chat(line: bytes) -> Answer:  # a million of these: one decoding, no detour
        found = _chat_line(line)
        text = _last_text(found.body.messages)
        return found.custom_id, 200, _chatted(found.custom_id, name, text, len(line))

    return chat


def _last_text(messages: list[_Message]) -> bytes:
    """Return the last user message as a JSON string, byte for byte where it is one already."""
    for message in reversed(messages):
        if message.role == "user":
            return _text(bytes(message.content))
    return _text(bytes(messages[-1].content)) if messages else b'""'


def _last_message(body: bytes) -> bytes:
    return _last_text(_chat(body).messages)


def _last_input(body: bytes) -> bytes:
    found = bytes(_responses(body).input)
    if found.startswith(b"["):
        return _last_text(_messages(found))
    return _text(found)


def _text(content: bytes) -> bytes:
    if content.startswith(b'"'):
        return content
    parts = _parts(content)
    if isinstance(parts, list):
        return _encode("".join(part.text for part in parts))
    return _encode(parts or "")


def _tokens(size_bytes: int) -> int:
    return max(1, size_bytes // 4)


def _chatted(
    custom_id: str, model: bytes, text: bytes, asked: int, reason: bytes = b"stop"
) -> bytes:
    used, made = _tokens(asked), _tokens(len(text))
    tail = _CHAT_TAIL % (reason, used, made, used + made)
    # Joined, as formatting it at once takes twice as long.
    parts = (_CHAT_HEAD, custom_id.encode(), _CHAT_MODEL, model, _CHAT_TEXT, text, tail)
    return b"".join(parts)


def _responded(
    custom_id: str, model: bytes, text: bytes, asked: int, incomplete: bytes = b""
) -> bytes:
    return _response(custom_id, model, _MESSAGE_ITEM % text, asked, len(text), incomplete)


def _response(
    custom_id: str, model: bytes, item: bytes, asked: int, size: int, incomplete: bytes = b""
) -> bytes:
    used, made = _tokens(asked), _tokens(size)
    status = b"incomplete" if incomplete else b"completed"
    why = b'{"reason":"%b"}' % incomplete if incomplete else b"null"
    return _RESPONSE_BODY % (custom_id.encode(), model, status, why, item, used, made, used + made)


def _embed(line: bytes) -> Answer:
    found = _line(line)
    asked = _embeddings(found.body)
    count = len(asked.input) if isinstance(asked.input, list) else 1
    vector: object = VECTOR
    if asked.encoding_format == "base64":
        vector = b64encode(struct.pack(f"<{len(VECTOR)}f", *VECTOR)).decode()
    tokens = _tokens(len(line))
    data = [{"object": "embedding", "index": i, "embedding": vector} for i in range(count)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    body = {"object": "list", "data": data, "model": ECHO, "usage": usage}
    return found.custom_id, 200, _encode(body)


def _made_up(line: bytes, dialect: str, model: bytes) -> Answer:
    found = _line(line)
    custom_id, body = found.custom_id, bytes(found.body)
    asked: dict[str, Any] = msgspec.json.decode(body)
    tool, schema = _wanted(asked)
    if schema is None:
        last = _last_input if dialect == OPENAI_RESPONSES else _last_message
        text = last(body)
        made = b'{"echo":' + text + b"}"
    else:
        try:
            known = examples(_encode(schema))
        except ValueError as error:
            return custom_id, 400, _error("invalid_json_schema", str(error))
        if not known:
            return custom_id, 400, _error("no_example", "sim/json found no instance of this schema")
        made = known[crc32(custom_id.encode()) % len(known)]
    text, name = _encode(made.decode()), _encode(tool)
    if dialect == OPENAI_RESPONSES:
        item = _MESSAGE_ITEM % text if tool is None else _CALL_ITEM % (name, text)
        return custom_id, 200, _response(custom_id, model, item, len(body), len(text))
    if tool is None:
        return custom_id, 200, _chatted(custom_id, model, text, len(body))
    used, size = _tokens(len(body)), _tokens(len(text))
    filling = (custom_id.encode(), model, name, text, used, size, used + size)
    return custom_id, 200, _TOOL_BODY % filling


def _wanted(asked: Mapping[str, Any]) -> tuple[str | None, object]:
    """Return the forced tool, if there is one, and the schema that is asked for, if any."""
    tools = {_of(tool).get("name"): _of(tool) for tool in asked.get("tools") or ()}
    choice = asked.get("tool_choice")
    if tools and choice == "required":
        name = next(iter(tools))
        return name, tools[name].get("parameters", {})
    if isinstance(choice, dict) and (name := _of(choice).get("name")) in tools:
        return name, tools[name].get("parameters", {})
    form = asked.get("response_format") or (asked.get("text") or {}).get("format") or {}
    if form.get("type") == "json_schema":
        return None, (form.get("json_schema") or form).get("schema", {})
    return None, None


def _of(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a function's fields, which chat nests and responses does not."""
    return tool.get("function") or tool


def _error(code: str, message: str) -> bytes:
    return _encode({"error": {"message": message, "type": "sim", "code": code}})


_ERRORS: Final[Mapping[Failure, tuple[int, bytes]]] = {
    Failure.RATE_LIMITED: (429, _error("rate_limit_exceeded", "sim: too many tokens a minute")),
    Failure.QUOTA: (429, _error("token_limit_exceeded", "sim: the queue is full")),
    Failure.SERVER: (500, _error("server_error", "sim: the server had an error")),
    Failure.INVALID_MEDIA: (400, _error("invalid_image_url", "sim: the image cannot be loaded")),
    Failure.TOO_LONG: (400, _error("context_length_exceeded", "sim: longer than the context")),
    Failure.INVALID_REQUEST: (400, _error("invalid_value", "sim: a parameter is wrong")),
    Failure.ACCOUNT: (401, _error("invalid_api_key", "sim: this key may not do that")),
    Failure.REFUSED: (400, _error("content_policy_violation", "sim: against the rules")),
}

#: What a share of the rows can be made to fail with; the first three leave no answer at all.
FAILURES: Final = frozenset(
    {
        Failure.MISSING,
        Failure.EXPIRED,
        Failure.CANCELED,
        Failure.TRUNCATED,
        Failure.SCHEMA,
        *_ERRORS,
    }
)


def failed(failure: Failure, line: bytes, model: str, dialect: str) -> Answer:
    """Return the answer to a line that came to grief in this class."""
    custom_id = custom_id_in(line)
    if failure in _ERRORS:
        status, body = _ERRORS[failure]
        return custom_id, status, body
    if dialect == OPENAI_EMBEDDINGS:  # can be neither cut short nor off its schema
        return _embed(line)
    cut = failure is Failure.TRUNCATED
    text = b'"{\\"cut\\": "' if cut else b'"not what the schema asks for"'
    name = model.encode()
    if dialect == OPENAI_RESPONSES:
        why = b"max_output_tokens" if cut else b""
        return custom_id, 200, _responded(custom_id, name, text, len(line), why)
    reason = b"length" if cut else b"stop"
    return custom_id, 200, _chatted(custom_id, name, text, len(line), reason)
