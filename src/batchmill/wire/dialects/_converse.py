"""Blocks of content and answers of Bedrock's Converse."""

import re
from dataclasses import replace
from typing import Any

from batchmill.core.request import BEDROCK_CONVERSE
from batchmill.wire import hub
from batchmill.wire.dialects._answers import blocks, uncached, unforced
from batchmill.wire.dialects._fields import (
    Fields,
    as_object,
    as_text,
    fitting_id,
    refused,
)
from batchmill.wire.dialects._links import media_type_of
from batchmill.wire.hub import Answer, Document, Image, Text, Thinking, ToolCall, ToolResult, Turn

_CALL_ID = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")

#: What a document may be called: the vendor refuses other characters, two spaces, and no name.
_NAME = re.compile(r"[^a-zA-Z0-9 ()\[\]-]+")
_NAMELESS = "document"

_IMAGES = {f"image/{kind}": kind for kind in ("png", "jpeg", "gif", "webp")}


def cache_point(cache: str) -> list[dict[str, Any]]:
    """Return the block that marks the end of what is cached, if it is marked."""
    if not cache:
        return []
    return [{"cachePoint": {"type": "default"} | ({"ttl": cache} if cache != "5m" else {})}]


def read_blocks(message: Fields, name: str) -> tuple[hub.Part, ...]:
    """Read content; a cache point marks the block before it."""
    parts: list[hub.Part] = []
    for block in message.inners(name):
        if (point := block.inner("cachePoint")) is not None:
            ttl = point.text("ttl") or hub.CACHE_5M
            if parts and not isinstance(last := parts[-1], Thinking):
                parts[-1] = replace(last, cache=ttl)
        elif (part := _read_block(block)) is not None:
            parts.append(part)
        block.end()
    return tuple(parts)


def _read_block(block: Fields) -> hub.Part | None:
    if block.has("text"):
        return Text(block.text("text"))
    if (found := block.inner("image")) is not None:
        kind = found.needed_text("format")
        url, data = _read_source(found)
        return Image(url=url, data=data, media_type=f"image/{kind}")
    if (found := block.inner("document")) is not None:
        return _read_document(found)
    if (found := block.inner("toolUse")) is not None:
        call_id, name = found.needed_text("toolUseId"), found.needed_text("name")
        call = ToolCall(id=call_id, name=name, arguments=as_text(found.mapping("input") or {}))
        found.end()
        return call
    if (found := block.inner("toolResult")) is not None:
        return _read_result(found)
    if (found := block.inner("reasoningContent")) is not None:
        text = found.loosely("reasoningText")
        return Thinking(
            text=text.text("text"),
            signature=text.text("signature"),
            redacted=found.text("redactedContent"),
        )
    return None


def _read_source(found: Fields) -> tuple[str | None, str | None]:
    source = found.needed_inner("source")
    data = source.text("bytes")
    place = source.inner("s3Location")
    url = None
    if place is not None:
        url = place.needed_text("uri")
        place.end()
    source.end()
    found.end()
    return url, None if place is not None else data


def _read_document(found: Fields) -> Document:
    kind, name = found.text("format"), found.text("name")
    if kind not in {"", "pdf"}:
        found.lose("format")
    url, data = _read_source(found)
    return Document(url=url, data=data, name="" if name == _NAMELESS else name)


def _read_result(found: Fields) -> ToolResult:
    content: list[Text | Image | Document] = []
    for block in found.inners("content"):
        if block.has("json"):
            content.append(Text(as_text(block.value("json"))))
        elif isinstance(part := _read_block(block), Text | Image | Document):
            content.append(part)
        block.end()
    failed = found.one_of("status", ("success", "error")) == "error"
    call_id = found.needed_text("toolUseId")
    found.end()
    return ToolResult(call_id=call_id, content=tuple(content), failed=failed)


def write_blocks(turn: Turn, where: str) -> list[dict[str, Any]]:
    """Return a turn's content."""
    blocks: list[dict[str, Any]] = []
    for said in turn.parts:
        blocks.append(_block(said, turn.role, where))
        if not isinstance(said, Thinking):
            blocks.extend(cache_point(said.cache))
    return blocks


def _block(said: hub.Part, role: str, where: str) -> dict[str, Any]:
    user = role == hub.USER
    if isinstance(said, ToolCall) and not user:
        arguments = as_object(said.arguments, f"{where}: arguments of {said.name}")
        return _write_call(said, arguments)
    if isinstance(said, ToolResult) and user:
        content = [part(p) for p in said.content]
        status = {"status": "error"} if said.failed else {}
        named = {"toolUseId": _call_id(said.call_id), "content": content}
        return {"toolResult": named | status}
    if isinstance(said, Thinking) and not user:
        return _write_thinking(said)
    if isinstance(said, Text) or (user and isinstance(said, Image | Document)):
        return part(said)
    raise refused(where, BEDROCK_CONVERSE, f"takes no such content from the {role}")


def _call_id(id: str) -> str:
    return fitting_id(id, _CALL_ID, 32)


def _write_call(call: ToolCall, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"toolUse": {"toolUseId": _call_id(call.id), "name": call.name, "input": arguments}}


def _write_thinking(said: Thinking) -> dict[str, Any]:
    if said.redacted:
        return {"reasoningContent": {"redactedContent": said.redacted}}
    signature = {"signature": said.signature} if said.signature else {}
    return {"reasoningContent": {"reasoningText": {"text": said.text, **signature}}}


def part(media: hub.Media | Text) -> dict[str, Any]:
    """Return a block of content."""
    if isinstance(media, Text):
        return {"text": media.text}
    if isinstance(media, Image):
        if media.detail:
            raise refused("image.detail", BEDROCK_CONVERSE, "has no such field")
        kind = media_type_of(media)
        if kind not in _IMAGES:
            raise refused("image", BEDROCK_CONVERSE, f"takes {', '.join(_IMAGES)}, not {kind!r}")
        return {"image": {"format": _IMAGES[kind], "source": _source(media)}}
    name = " ".join(_NAME.sub(" ", media.name).split())[:200] or _NAMELESS
    return {"document": {"format": "pdf", "name": name, "source": _source(media)}}


def _source(media: Image | Document) -> dict[str, Any]:
    if media.url is None:
        return {"bytes": media.data}
    if not media.url.startswith("s3://"):
        words = f"takes no link but to S3: {media.url}"
        raise refused("image" if isinstance(media, Image) else "document", BEDROCK_CONVERSE, words)
    return {"s3Location": {"uri": media.url}}


# ----------------------------------------------------------------------------------------- answers

_FINISHES = {
    hub.STOP: "end_turn",
    hub.LENGTH: "max_tokens",
    hub.TOOL_CALLS: "tool_use",
    hub.REFUSED: "content_filtered",
}
_ENDS = {word: finish for finish, word in _FINISHES.items()} | {
    "stop_sequence": hub.STOP,
    "guardrail_intervened": hub.REFUSED,
    "model_context_window_exceeded": hub.LENGTH,
}


def read_answer(body: dict[str, Any]) -> Answer:
    """Read a response; it names neither itself nor its model."""
    found = Fields(body, [])
    message = found.loosely("output").loosely("message")
    parts = read_blocks(message, "content")
    finish = _ENDS.get(found.text("stopReason"), hub.STOP)
    parts, finish = unforced(parts, finish)
    usage = found.inner("usage")
    return Answer(
        parts=parts, finish=finish, usage=_read_usage(usage) if usage is not None else None
    )


def _read_usage(found: Fields) -> hub.Usage:
    cached, written = found.count("cacheReadInputTokens"), found.count("cacheWriteInputTokens")
    return hub.Usage(
        input_tokens=found.count("inputTokens") + cached + written,
        output_tokens=found.count("outputTokens"),
        cached_tokens=cached,
        cache_written_tokens=written,
    )


def write_answer(answer: Answer) -> dict[str, Any]:
    """Return a response; the vendor's words of refusal are text here."""
    content = blocks(answer, part, _write_thinking, _write_call)
    if answer.refusal:
        content.append({"text": answer.refusal})
    usage = answer.usage or hub.Usage()  # the vendor's clients insist on it
    return {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": _FINISHES[answer.finish],
        "usage": {
            "inputTokens": uncached(usage),
            "outputTokens": usage.output_tokens,
            "totalTokens": usage.input_tokens + usage.output_tokens,
            "cacheReadInputTokens": usage.cached_tokens,
            "cacheWriteInputTokens": usage.cache_written_tokens,
        },
        "metrics": {"latencyMs": 0},
    }
