"""
OpenAI's Responses.

Source: the types of the vendor's SDK 3.54 (`responses/response_create_params`). Requests that lean
on what the vendor has kept (an earlier response, a conversation, a stored prompt) go nowhere else.
"""

from collections.abc import Iterator
from typing import Any

from batchmill.core.request import OPENAI_RESPONSES
from batchmill.errors import InvalidRequest
from batchmill.wire import hub
from batchmill.wire.dialects import _shape
from batchmill.wire.dialects._fields import Fields, lacks, refused
from batchmill.wire.dialects._responses import read_answer, write_answer, write_call
from batchmill.wire.dialects.openai_chat import NAMELESS, check_samples, link_of, read_image
from batchmill.wire.hub import (
    Chat,
    Document,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
)

MAX_TOKENS = (("max_output_tokens",),)

_LACKS = ("top_k", "stop", "seed", "frequency_penalty", "presence_penalty", "thinking_tokens")
_SYSTEM = ("system", "developer")


def read_request(body: dict[str, Any], lost: list[str]) -> Chat:
    """Read a body; add to *lost* what no other vendor could be told."""
    found = Fields(body, lost)
    found.neutral("stream", False)
    found.neutral("background", False)
    found.neutral("service_tier", "auto", "default")
    found.neutral("truncation", "disabled")
    found.neutral("include", [])
    # Where the vendor keeps the answer, and how long it caches: neither changes an answer.
    for name in ("store", "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options"):
        found.value(name)
    system, turns = _read_input(found)
    schema, json = _read_format(found)
    reasoning = found.loosely("reasoning")
    chat = Chat(
        model=found.text("model"),
        system=system,
        turns=turns,
        tools=tuple(map(_read_tool, found.inners("tools"))),
        tool_choice=_read_choice(found),
        parallel_tools=found.flag("parallel_tool_calls"),
        schema=schema,
        json=json,
        max_tokens=found.whole("max_output_tokens"),
        temperature=found.number("temperature"),
        top_p=found.number("top_p"),
        effort=reasoning.one_of("effort", hub.EFFORTS),
        user=found.text("user") or found.text("safety_identifier"),
        metadata=found.labels("metadata"),
    )
    reasoning.end()
    found.end()
    return chat


def _read_input(found: Fields) -> tuple[tuple[Text, ...], tuple[Turn, ...]]:
    system: list[Text] = []
    turns: list[Turn] = []
    if found.has("instructions"):
        system.append(Text(found.text("instructions")))
    if isinstance(found.left.get("input"), str):
        return tuple(system), (Turn(hub.USER, (Text(found.text("input")),)),)
    if not found.has("input"):
        raise InvalidRequest("input: is missing.")
    for item in found.inners("input"):
        role = item.left.get("role")
        if role in _SYSTEM:
            if turns:  # the vendor may like it there; no other one does
                item.lose("role")
            system.extend(part for part in _message(item) if isinstance(part, Text))
        else:
            turns.append(_read_item(item))
        item.end()
    return tuple(system), hub.joined(turns)


def _message(item: Fields) -> tuple[hub.Part, ...]:
    for name in ("type", "role", "id", "status", "phase"):
        item.value(name)
    if isinstance(item.left.get("content"), str):
        return (Text(item.text("content")),)
    return tuple(map(_read_part, item.inners("content")))


def _read_item(item: Fields) -> Turn:
    kind = item.left.get("type") or "message"
    if kind == "message":
        role = item.one_of("role", (hub.USER, hub.ASSISTANT))
        return Turn(role or hub.USER, _message(item))
    item.value("type")
    item.value("status")
    if kind == "function_call":
        item.value("id")
        call = ToolCall(
            id=item.needed_text("call_id"),
            name=item.needed_text("name"),
            arguments=item.needed_text("arguments"),
        )
        return Turn(hub.ASSISTANT, (call,))
    if kind == "function_call_output":
        item.value("id")
        call_id = item.needed_text("call_id")
        if isinstance(item.left.get("output"), str):
            content = [Text(item.text("output"))]
        else:
            parts = map(_read_part, item.inners("output"))
            content = [p for p in parts if isinstance(p, Text | hub.Image | Document)]
        return Turn(hub.USER, (ToolResult(call_id=call_id, content=tuple(content)),))
    item.left = {}
    item.lose(str(kind))
    return Turn(hub.ASSISTANT, ())


def _read_part(found: Fields) -> hub.Part:
    found.value("prompt_cache_breakpoint")
    kind = found.needed_text("type")
    part: hub.Part = Text("")
    if kind in {"input_text", "output_text", "text"}:
        found.neutral("annotations", [])
        found.neutral("logprobs", [])
        part = Text(found.needed_text("text"))
    elif kind == "input_image" and found.has("image_url"):
        part = read_image(found.text("image_url"), found.text("detail"))
    elif kind == "input_file" and (found.has("file_data") or found.has("file_url")):
        part = _read_file(found)
    else:
        found.lose(kind)
        found.left = {}
    found.end()
    return part


def _read_file(found: Fields) -> Document:
    name = found.text("filename")
    name = "" if name == NAMELESS else name
    found.neutral("detail", "auto")
    if found.has("file_url"):
        return Document(url=found.text("file_url"), name=name)
    data = hub.data_url(found.text("file_data"))
    if data is None:
        raise found.wrong("file_data", "a base64 data: URL", "it")
    return Document(data=data[1], media_type=data[0], name=name)


def _read_tool(tool: Fields) -> Tool:
    if tool.text("type") != "function":
        tool.lose("type")
        return Tool(name="")
    found = Tool(
        name=tool.needed_text("name"),
        description=tool.text("description"),
        parameters=tool.mapping("parameters"),
        strict=tool.flag("strict") is not False,  # the default here, and only here
    )
    tool.end()
    return found


def _read_choice(found: Fields) -> ToolChoice | None:
    if isinstance(found.left.get("tool_choice"), str):
        return ToolChoice(found.one_of("tool_choice", ("auto", "none", "required")))
    choice = found.inner("tool_choice")
    if choice is None:
        return None
    if choice.text("type") != "function":
        choice.lose("type")
        return None
    named = ToolChoice("one", choice.needed_text("name"))
    choice.end()
    return named


def _read_format(found: Fields) -> tuple[hub.Schema | None, bool]:
    text = found.loosely("text")
    wanted = text.inner("format")
    text.end()
    if wanted is None:
        return None, False
    kind = wanted.one_of("type", ("text", "json_object", "json_schema"))
    if kind == "json_schema":
        return _shape.read_schema(wanted), False
    wanted.end()
    return None, kind == "json_object"


# ----------------------------------------------------------------------------------------- writing


def write_request(chat: Chat) -> dict[str, Any]:
    """Return the body; raise `InvalidRequest` naming what cannot be said in it."""
    lacks(chat, OPENAI_RESPONSES, _LACKS)
    check_samples(chat, ("temperature", "top_p"))
    body: dict[str, Any] = {"model": chat.model}
    items: list[dict[str, Any]] = []
    if len(chat.system) == 1:
        body["instructions"] = chat.system[0].text
    elif chat.system:
        items.append({"role": "system", "content": list(map(part, chat.system))})
    for index, turn in enumerate(chat.turns):
        items.extend(_written(turn, f"input[{index}]"))
    body["input"] = _short(items)
    if chat.max_tokens is not None:
        body["max_output_tokens"] = chat.max_tokens
    if chat.schema is not None:
        body["text"] = {"format": {"type": "json_schema", **_shape.write_schema(chat.schema)}}
    elif chat.json:
        body["text"] = {"format": {"type": "json_object"}}
    if chat.tools:
        body["tools"] = list(map(_write_tool, chat.tools))
    if (choice := chat.tool_choice) is not None:
        named = {"type": "function", "name": choice.name}
        body["tool_choice"] = named if choice.kind == "one" else choice.kind
    said: dict[str, Any] = {
        "parallel_tool_calls": chat.parallel_tools,
        "temperature": chat.temperature,
        "top_p": chat.top_p,
        "reasoning": {"effort": chat.effort} if chat.effort else None,
        "user": chat.user or None,
        "metadata": dict(chat.metadata) or None,
    }
    return body | {name: value for name, value in said.items() if value is not None}


def _short(items: list[dict[str, Any]]) -> Any:
    """Return the plain string that one text of a user may be."""
    if len(items) == 1 and items[0].get("role") == "user":
        content = items[0]["content"]
        if len(content) == 1 and content[0]["type"] == "input_text":
            return content[0]["text"]
    return items


def _written(turn: Turn, where: str) -> Iterator[dict[str, Any]]:
    """Yield the items of a turn, in its order: content that stands together is one message."""
    content: list[dict[str, Any]] = []
    assistant = turn.role == hub.ASSISTANT
    for said in (*turn.parts, None):
        if isinstance(said, Text) and assistant:
            content.append({"type": "output_text", "text": said.text})
            continue
        if isinstance(said, Text | hub.Image | Document) and not assistant:
            content.append(part(said))
            continue
        if content:
            plain = assistant and len(content) == 1
            yield {"role": turn.role, "content": content[0]["text"] if plain else content}
            content = []
        if isinstance(said, ToolCall) and assistant:
            yield write_call(said)
        elif isinstance(said, ToolResult) and not assistant:
            yield _write_result(said, where)
        elif isinstance(said, Thinking):
            words = "takes no thoughts of earlier answers"
            raise refused(f"{where}.thinking", OPENAI_RESPONSES, words)
        elif said is not None:
            raise refused(where, OPENAI_RESPONSES, f"takes no such content from a {turn.role}")


def _write_result(result: ToolResult, where: str) -> dict[str, Any]:
    if result.failed:
        raise refused(f"{where}.is_error", OPENAI_RESPONSES, "cannot say that a tool failed")
    content = result.content
    plain = len(content) == 1 and isinstance(content[0], Text)
    output = content[0].text if plain and isinstance(content[0], Text) else list(map(part, content))
    return {"type": "function_call_output", "call_id": result.call_id, "output": output}


def _write_tool(tool: Tool) -> dict[str, Any]:
    required = {"parameters": tool.parameters, "strict": tool.strict or False}
    return {"type": "function", **_shape.write_tool(tool)["function"], **required}


def part(media: hub.Media | Text) -> dict[str, Any]:
    """Return a part of a user's message."""
    if isinstance(media, Text):
        return {"type": "input_text", "text": media.text}
    if isinstance(media, Document):
        file = {"type": "input_file"}
        if media.url is not None:
            if not media.url.startswith(("http://", "https://")):
                words = f"takes only http(s) links, not {media.url}"
                raise refused("document", OPENAI_RESPONSES, words)
            return file | ({"filename": media.name} if media.name else {}) | {"file_url": media.url}
        url = f"data:{media.media_type};base64,{media.data}"
        return file | {"filename": media.name or NAMELESS, "file_data": url}
    image = {"type": "input_image", "image_url": link_of(media, OPENAI_RESPONSES)}
    return image | ({"detail": media.detail} if media.detail else {})


__all__ = ["MAX_TOKENS", "part", "read_answer", "read_request", "write_answer", "write_request"]
