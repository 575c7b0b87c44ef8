"""Blocks of content and answers of Anthropic's Messages."""

import re
from typing import Any

from batchmill.core.request import ANTHROPIC_MESSAGES
from batchmill.wire import hub
from batchmill.wire.dialects._answers import blocks, uncached, unforced
from batchmill.wire.dialects._fields import (
    Fields,
    as_object,
    as_text,
    fitting_id,
    refused,
)
from batchmill.wire.hub import Answer, Document, Image, Text, Thinking, ToolCall, ToolResult, Turn

_CALL_ID = re.compile(r"[A-Za-z0-9_-]+")


def read_mark(found: Fields) -> str:
    """Return how long a prompt-cache mark lasts, or "" where there is none."""
    control = found.inner("cache_control")
    if control is None:
        return ""
    control.one_of("type", ("ephemeral",))
    ttl = control.one_of("ttl", (hub.CACHE_5M, hub.CACHE_1H)) or hub.CACHE_5M
    control.end()
    return ttl


def mark(body: dict[str, Any], cache: str) -> dict[str, Any]:
    """Put a prompt-cache mark on a block; five minutes is what it means without a time."""
    if cache:
        body["cache_control"] = {"type": "ephemeral"}
        if cache != hub.CACHE_5M:
            body["cache_control"]["ttl"] = cache
    return body


def read_blocks(message: Fields, name: str) -> tuple[hub.Part, ...]:
    """Read content: a string, or an array of blocks."""
    if isinstance(message.left.get(name), str):
        return (Text(message.text(name)),)
    parts: list[hub.Part] = []
    for block in message.inners(name):
        kind = block.needed_text("type")
        if kind not in _READERS:
            block.lose(kind)
            block.left = {}
            continue
        parts.append(_READERS[kind](block))
        block.end()
    return tuple(parts)


def _read_text(block: Fields) -> Text:
    block.neutral("citations", [])
    return Text(block.needed_text("text"), read_mark(block))


def _read_image(block: Fields) -> Image:
    source = block.needed_inner("source")
    kind, cache = source.needed_text("type"), read_mark(block)
    block.neutral("transformations", {})
    if kind == "url":
        image = Image(url=source.needed_text("url"), cache=cache)
    elif kind == "base64":
        data, media_type = source.needed_text("data"), source.needed_text("media_type")
        image = Image(data=data, media_type=media_type, cache=cache)
    else:
        image = Image(data="")
        source.lose(kind)
        source.left = {}
    source.end()
    return image


def _read_document(block: Fields) -> Document:
    source = block.needed_inner("source")
    kind, cache, name = source.needed_text("type"), read_mark(block), block.text("title")
    citations = block.loosely("citations")
    citations.neutral("enabled", False)
    citations.end()
    if kind == "url":
        document = Document(url=source.needed_text("url"), name=name, cache=cache)
    elif kind == "base64":
        data, media_type = source.needed_text("data"), source.needed_text("media_type")
        document = Document(data=data, media_type=media_type, name=name, cache=cache)
    else:
        document = Document(data="")
        source.lose(kind)
        source.left = {}
    source.end()
    return document


def _read_call(block: Fields) -> ToolCall:
    block.value("caller")
    return ToolCall(
        id=block.needed_text("id"),
        name=block.needed_text("name"),
        arguments=as_text(block.mapping("input") or {}),
        cache=read_mark(block),
    )


def _read_result(block: Fields) -> ToolResult:
    content = read_blocks(block, "content")
    return ToolResult(
        call_id=block.needed_text("tool_use_id"),
        content=tuple(p for p in content if isinstance(p, Text | Image | Document)),
        failed=block.flag("is_error") or False,
        cache=read_mark(block),
    )


_READERS = {
    "text": _read_text,
    "image": _read_image,
    "document": _read_document,
    "tool_use": _read_call,
    "tool_result": _read_result,
    "thinking": lambda block: Thinking(
        text=block.text("thinking"), signature=block.text("signature")
    ),
    "redacted_thinking": lambda block: Thinking(redacted=block.needed_text("data")),
}


def write_blocks(turn: Turn, where: str) -> Any:
    """Return a turn's content: a plain string where it is nothing else."""
    if len(turn.parts) == 1 and isinstance(first := turn.parts[0], Text) and not first.cache:
        return first.text
    return [_block(said, turn.role, where) for said in turn.parts]


def _block(said: hub.Part, role: str, where: str) -> dict[str, Any]:
    user = role == hub.USER
    if isinstance(said, ToolCall) and not user:
        arguments = as_object(said.arguments, f"{where}: arguments of {said.name}")
        return mark(_write_call(said, arguments), said.cache)
    if isinstance(said, ToolResult) and user:
        content: Any = [part(p) for p in said.content]
        if len(content) == 1 and list(content[0]) == ["type", "text"]:
            content = content[0]["text"]
        body: dict[str, Any] = {"type": "tool_result", "tool_use_id": _call_id(said.call_id)}
        body |= {"content": content} | ({"is_error": True} if said.failed else {})
        return mark(body, said.cache)
    if isinstance(said, Thinking) and not user:
        return _write_thinking(said)
    if isinstance(said, Text) or (user and isinstance(said, Image | Document)):
        return part(said)
    raise refused(where, ANTHROPIC_MESSAGES, f"takes no such content from the {role}")


def _write_call(call: ToolCall, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"type": "tool_use", "id": _call_id(call.id), "name": call.name, "input": arguments}


def _call_id(id: str) -> str:
    return fitting_id(id, _CALL_ID, 32)


def _write_thinking(said: Thinking) -> dict[str, Any]:
    if said.redacted:
        return {"type": "redacted_thinking", "data": said.redacted}
    return {"type": "thinking", "thinking": said.text, "signature": said.signature}


def part(media: hub.Media | Text) -> dict[str, Any]:
    """Return a block of content."""
    if isinstance(media, Text):
        return mark({"type": "text", "text": media.text}, media.cache)
    image = isinstance(media, Image)
    kind = "image" if image else "document"
    if isinstance(media, Image) and media.detail:
        raise refused(f"{kind}.detail", ANTHROPIC_MESSAGES, "has no such field")
    if media.url is None:
        data = {"type": "base64", "media_type": media.media_type, "data": media.data}
        body: dict[str, Any] = {"type": kind, "source": data}
    elif media.url.startswith(("http://", "https://")):
        body = {"type": kind, "source": {"type": "url", "url": media.url}}
    else:
        raise refused(kind, ANTHROPIC_MESSAGES, f"takes only http(s) links, not {media.url}")
    if isinstance(media, Document) and media.name:
        body["title"] = media.name
    return mark(body, media.cache)


# ----------------------------------------------------------------------------------------- answers

_FINISHES = {
    hub.STOP: "end_turn",
    hub.LENGTH: "max_tokens",
    hub.TOOL_CALLS: "tool_use",
    hub.REFUSED: "refusal",
}
_ENDS = {word: finish for finish, word in _FINISHES.items()} | {
    "stop_sequence": hub.STOP,
    "model_context_window_exceeded": hub.LENGTH,
}


def read_answer(body: dict[str, Any]) -> Answer:
    """Read a message; what it says beside its answer is of no use to others."""
    found = Fields(body, [])
    parts = read_blocks(found, "content")
    finish = _ENDS.get(found.text("stop_reason"), hub.STOP)
    parts, finish = unforced(parts, finish)
    usage = found.inner("usage")
    return Answer(
        id=found.text("id"),
        model=found.text("model"),
        parts=parts,
        refusal=found.loosely("stop_details").text("explanation"),
        finish=finish,
        usage=_read_usage(usage) if usage is not None else None,
    )


def _read_usage(found: Fields) -> hub.Usage:
    cached = found.count("cache_read_input_tokens")
    written = found.count("cache_creation_input_tokens")
    return hub.Usage(
        input_tokens=found.count("input_tokens") + cached + written,
        output_tokens=found.count("output_tokens"),
        cached_tokens=cached,
        cache_written_tokens=written,
        reasoning_tokens=found.loosely("output_tokens_details").count("thinking_tokens"),
    )


def write_answer(answer: Answer) -> dict[str, Any]:
    """Return a message."""
    said = blocks(answer, part, _write_thinking, _write_call)
    refusal = {"type": "refusal", "category": None, "explanation": answer.refusal or None}
    body: dict[str, Any] = {
        "id": answer.id,
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": said,
        "stop_reason": _FINISHES[answer.finish],
        "stop_sequence": None,
        "stop_details": refusal if answer.finish == hub.REFUSED else None,
    }
    usage = answer.usage or hub.Usage()  # the vendor's clients insist on it
    body["usage"] = {
        "input_tokens": uncached(usage),
        "cache_creation_input_tokens": usage.cache_written_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
    }
    return body
