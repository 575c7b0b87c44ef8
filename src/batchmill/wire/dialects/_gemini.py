"""Contents and answers of Gemini: parts, calls that may have no id, and blocks for safety."""

from typing import Any

from batchmill.core.request import GEMINI_GENERATE
from batchmill.errors import InvalidRequest
from batchmill.wire import hub
from batchmill.wire.dialects._fields import Fields, as_arguments, as_object, as_text, refused
from batchmill.wire.dialects._links import media_type_of
from batchmill.wire.hub import (
    Answer,
    Chat,
    Document,
    Image,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Turn,
)

_ROLES = {"user": hub.USER, "model": hub.ASSISTANT, "function": hub.USER, "": hub.USER}


class _Calls:
    """Calls of a conversation: where they have no id, results belong to them by name and order."""

    def __init__(self) -> None:
        self._open: list[tuple[str, str]] = []  # (name, id)
        self._count = 0

    def called(self, name: str, id: str) -> str:
        self._count += 1
        id = id or f"call_{self._count}"
        self._open.append((name, id))
        return id

    def answered(self, name: str, id: str, where: str) -> str:
        for known in self._open:
            if known[1] == id or (not id and known[0] == name):
                self._open.remove(known)
                return known[1]
        if id:
            return id
        raise InvalidRequest(f"{where}: answers no call of {name!r}.")


def read_contents(found: Fields) -> tuple[Turn, ...]:
    """Read the turns of a conversation."""
    if not found.has("contents"):
        raise InvalidRequest("contents: is missing.")
    if isinstance(found.left["contents"], dict):  # one may stand without its array
        found.left["contents"] = [found.left["contents"]]
    calls = _Calls()
    turns: list[Turn] = []
    for content in found.inners("contents"):
        role = content.one_of("role", tuple(filter(None, _ROLES)))
        parts = tuple(_read_part(said, calls) for said in content.inners("parts"))
        turns.append(Turn(_ROLES[role], parts))
        content.end()
    return hub.joined(turns)


def _read_part(said: Fields, calls: _Calls) -> hub.Part:
    part: hub.Part | None = None
    if said.has("text"):
        text = said.text("text")
        if said.flag("thought"):
            part = Thinking(text=text, signature=said.text("thoughtSignature"))
        else:
            part = Text(text)
    elif (data := said.inner("inlineData")) is not None:
        part = _media(data.needed_text("mimeType"), None, data.needed_text("data"))
        data.value("displayName")
        data.end()
    elif (file := said.inner("fileData")) is not None:
        part = _media(file.text("mimeType"), file.needed_text("fileUri"), None)
        file.value("displayName")
        file.end()
    elif (call := said.inner("functionCall")) is not None:
        name = call.needed_text("name")
        arguments = as_text(call.mapping("args") or {})
        part = ToolCall(id=calls.called(name, call.text("id")), name=name, arguments=arguments)
        call.end()
    elif (result := said.inner("functionResponse")) is not None:
        part = _read_result(result, calls)
        result.end()
    said.end()
    return Text("") if part is None else part


def _media(media_type: str, url: str | None, data: str | None) -> Image | Document:
    if media_type == "application/pdf":
        return Document(url=url, data=data)
    return Image(url=url, data=data, media_type=media_type)


def _read_result(result: Fields, calls: _Calls) -> ToolResult:
    call_id = calls.answered(result.needed_text("name"), result.text("id"), result.path)
    given = result.mapping("response") or {}
    for key in ("output", "error"):
        if list(given) == [key] and isinstance(given[key], str):
            content = (Text(given[key]),)
            return ToolResult(call_id=call_id, content=content, failed=key == "error")
    return ToolResult(call_id=call_id, content=(Text(as_text(given)),))


def write_contents(chat: Chat) -> list[dict[str, Any]]:
    """Return the turns of a conversation."""
    names = {
        said.id: said.name
        for turn in chat.turns
        for said in turn.parts
        if isinstance(said, ToolCall)
    }
    return [
        {
            "role": "model" if turn.role == hub.ASSISTANT else "user",
            "parts": [_written(said, turn.role, f"contents[{n}]", names) for said in turn.parts],
        }
        for n, turn in enumerate(chat.turns)
    ]


def _written(said: hub.Part, role: str, where: str, names: dict[str, str]) -> dict[str, Any]:
    if isinstance(said, ToolResult):
        if said.call_id not in names:
            raise InvalidRequest(f"{where}: answers no call with the id {said.call_id!r}.")
        if not all(isinstance(p, Text) for p in said.content):
            raise refused(where, GEMINI_GENERATE, "takes nothing but text from a tool")
        text = "".join(p.text for p in said.content if isinstance(p, Text))
        response = {"error" if said.failed else "output": text}
        named = {"id": said.call_id, "name": names[said.call_id]}
        return {"functionResponse": {**named, "response": response}}
    if isinstance(said, Text) or (role == hub.USER and isinstance(said, Image | Document)):
        return part(said)
    if role == hub.ASSISTANT and isinstance(said, ToolCall):
        return _called(said, as_object(said.arguments, f"{where}: arguments of {said.name}"))
    if role == hub.ASSISTANT and isinstance(said, Thinking) and not said.redacted:
        return _thought(said)
    raise refused(where, GEMINI_GENERATE, f"takes no such content from the {role}")


def _called(call: ToolCall, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"functionCall": {"id": call.id, "name": call.name, "args": arguments}}


def _thought(said: Thinking) -> dict[str, Any]:
    signature = {"thoughtSignature": said.signature} if said.signature else {}
    return {"text": said.text, "thought": True, **signature}


def part(media: hub.Media | Text) -> dict[str, Any]:
    """Return a part of a content."""
    if isinstance(media, Text):
        return {"text": media.text}
    if isinstance(media, Image) and media.detail:
        raise refused("image.detail", GEMINI_GENERATE, "has no such field")
    if media.url is None:
        return {"inlineData": {"mimeType": media.media_type, "data": media.data}}
    kind = media_type_of(media)
    if not kind:
        words = f"wants to know the kind of {media.url}, which does not end in it"
        raise refused("image", GEMINI_GENERATE, words)
    if not media.url.startswith(("http://", "https://", "gs://")):
        raise refused("image", GEMINI_GENERATE, f"takes only https and gs:// links: {media.url}")
    return {"fileData": {"mimeType": kind, "fileUri": media.url}}


# ----------------------------------------------------------------------------------------- answers

_FINISHES = {hub.STOP: "STOP", hub.TOOL_CALLS: "STOP", hub.LENGTH: "MAX_TOKENS"}
_SAFETY = "SAFETY"
_REFUSALS = (
    _SAFETY,
    "RECITATION",
    "LANGUAGE",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_RECITATION",
    "MODEL_ARMOR",
)


def read_answer(body: dict[str, Any]) -> Answer:
    """Read a response; what it says beside its answer is of no use to others."""
    found = Fields(body, [], camel=True)
    candidate = next(found.inners("candidates"), None) or Fields({}, [])
    calls = _Calls()
    content = candidate.loosely("content")
    said = (_read_part(part, calls) for part in content.inners("parts"))
    parts = tuple(part for part in said if part != Text(""))
    reason = candidate.text("finishReason")
    finish, refusal = hub.STOP, ""
    if any(isinstance(p, ToolCall) for p in parts):
        finish = hub.TOOL_CALLS
    if reason == "MAX_TOKENS":
        finish = hub.LENGTH
    elif reason in _REFUSALS:
        finish = hub.REFUSED
        refusal = candidate.text("finishMessage") or ("" if reason == _SAFETY else reason)
    feedback = found.loosely("promptFeedback")
    if blocked := feedback.text("blockReason"):
        finish, refusal = hub.REFUSED, feedback.text("blockReasonMessage") or blocked
    usage = found.inner("usageMetadata")
    return Answer(
        id=found.text("responseId"),
        model=found.text("modelVersion"),
        parts=parts,
        refusal=refusal,
        finish=finish,
        usage=_read_usage(usage) if usage is not None else None,
    )


def _read_usage(found: Fields) -> hub.Usage:
    thoughts = found.count("thoughtsTokenCount")
    return hub.Usage(
        input_tokens=found.count("promptTokenCount") + found.count("toolUsePromptTokenCount"),
        output_tokens=found.count("candidatesTokenCount") + thoughts,
        cached_tokens=found.count("cachedContentTokenCount"),
        reasoning_tokens=thoughts,
    )


def write_answer(answer: Answer) -> dict[str, Any]:
    """Return a response."""
    parts: list[dict[str, Any]] = []
    for said in answer.parts:
        if isinstance(said, Text):
            parts.append({"text": said.text})
        elif isinstance(said, ToolCall):
            parts.append(_called(said, as_arguments(said.arguments)))
        elif isinstance(said, Thinking) and not said.redacted:
            parts.append(_thought(said))
    candidate: dict[str, Any] = {
        "content": {"role": "model", "parts": parts},
        "finishReason": _FINISHES.get(answer.finish, _SAFETY),
        "index": 0,
    }
    if answer.refusal:
        candidate["finishMessage"] = answer.refusal
    body: dict[str, Any] = {
        "candidates": [candidate],
        "modelVersion": answer.model,
        "responseId": answer.id,
    }
    if (usage := answer.usage) is not None:
        body["usageMetadata"] = {
            "promptTokenCount": usage.input_tokens,
            "candidatesTokenCount": max(0, usage.output_tokens - usage.reasoning_tokens),
            "thoughtsTokenCount": usage.reasoning_tokens,
            "cachedContentTokenCount": usage.cached_tokens,
            "totalTokenCount": usage.input_tokens + usage.output_tokens,
        }
    return body
