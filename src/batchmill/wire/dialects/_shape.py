"""What the chat completions of OpenAI and of Mistral have in common: messages, tools, answers."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from batchmill.errors import InvalidRequest
from batchmill.wire import hub
from batchmill.wire.dialects._answers import read_usage, write_usage
from batchmill.wire.dialects._fields import Fields, as_text, refused
from batchmill.wire.hub import Answer, Chat, Text, Thinking, Tool, ToolCall, ToolChoice, Turn

#: What the tokens of the two sides are called.
TOKENS = ("prompt", "completion")


@dataclass(frozen=True, slots=True)
class Ways:
    """Where the two differ."""

    dialect: str
    part: Callable[[hub.Media | Text], dict[str, Any]]
    read_part: Callable[[Fields], hub.Part]
    required: str  #: what "a tool must be called" is called
    call_id: Callable[[str], str] = str
    system_roles: tuple[str, ...] = ("system",)


# ---------------------------------------------------------------------------------------- requests


def read_chat(found: Fields, ways: Ways, **own: Any) -> Chat:
    """Read the fields that both have; *own* are those that are called otherwise, or are alone."""
    system, turns = read_messages(found, ways)
    schema, json = read_format(found)
    chat = Chat(
        model=found.text("model"),
        system=system,
        turns=turns,
        tools=read_tools(found),
        tool_choice=read_tool_choice(found),
        parallel_tools=found.flag("parallel_tool_calls"),
        schema=schema,
        json=json,
        temperature=found.number("temperature"),
        top_p=found.number("top_p"),
        stop=found.texts("stop"),
        frequency_penalty=found.number("frequency_penalty"),
        presence_penalty=found.number("presence_penalty"),
        effort=found.one_of("reasoning_effort", hub.EFFORTS),
        metadata=found.labels("metadata"),
        **own,
    )
    found.end()
    return chat


def write_chat(chat: Chat, ways: Ways, **own: Any) -> dict[str, Any]:
    """Return a body; *own* are the fields that are called otherwise, or are alone there."""
    body: dict[str, Any] = {"model": chat.model, "messages": write_messages(chat, ways)}
    if chat.schema is not None:
        named = write_schema(chat.schema)
        body["response_format"] = {"type": "json_schema", "json_schema": named}
    elif chat.json:
        body["response_format"] = {"type": "json_object"}
    if chat.tools:
        body["tools"] = list(map(write_tool, chat.tools))
    if chat.tool_choice is not None:
        body["tool_choice"] = write_tool_choice(chat.tool_choice, ways)
    if chat.stop:
        body["stop"] = list(chat.stop)
    said: dict[str, Any] = {
        **own,
        "parallel_tool_calls": chat.parallel_tools,
        "temperature": chat.temperature,
        "top_p": chat.top_p,
        "frequency_penalty": chat.frequency_penalty,
        "presence_penalty": chat.presence_penalty,
        "reasoning_effort": chat.effort or None,
        "metadata": dict(chat.metadata) or None,
    }
    return body | {name: value for name, value in said.items() if value is not None}


# ---------------------------------------------------------------------------------------- messages


def read_messages(body: Fields, ways: Ways) -> tuple[tuple[Text, ...], tuple[Turn, ...]]:
    """Return the system texts and the turns of `messages`."""
    system: list[Text] = []
    turns: list[Turn] = []
    if not body.has("messages"):
        raise InvalidRequest("messages: is missing.")
    for message in body.inners("messages"):
        role = message.needed_text("role")
        if role in ways.system_roles:
            if turns:  # the vendor may like it there; no other one does
                message.lose("role")
            system.extend(_texts(message, ways))
        elif role == hub.USER:
            turns.append(Turn(hub.USER, _content(message, ways)))
        elif role == hub.ASSISTANT:
            turns.append(Turn(hub.ASSISTANT, _said(message, ways)))
        elif role == "tool":
            turns.append(Turn(hub.USER, (_given_back(message, ways),)))
        else:
            message.lose("role")
            continue
        message.end()
    return tuple(system), hub.joined(turns)


def _content(message: Fields, ways: Ways) -> tuple[hub.Part, ...]:
    content = message.left.get("content")
    if isinstance(content, str):
        message.value("content")
        return (Text(content),)
    parts: list[hub.Part] = []
    for part in message.inners("content"):
        parts.append(ways.read_part(part))
        part.end()
    return tuple(parts)


def _texts(message: Fields, ways: Ways) -> list[Text]:
    found = _content(message, ways)
    texts = [part for part in found if isinstance(part, Text)]
    if len(texts) != len(found):
        raise InvalidRequest(f"{message.where('content')}: expected nothing but text.")
    return texts


def _said(message: Fields, ways: Ways) -> tuple[hub.Part, ...]:
    message.neutral("refusal", "")
    message.neutral("prefix", False)
    message.neutral("annotations", [])
    return (*_content(message, ways), *_calls(message))


def _calls(message: Fields) -> Iterable[ToolCall]:
    for call in message.inners("tool_calls"):
        if call.text("type") not in {"", "function"}:
            call.lose("type")
            continue
        call.value("index")
        function = call.needed_inner("function")
        arguments = function.value("arguments")
        yield ToolCall(
            id=call.text("id"),
            name=function.needed_text("name"),
            arguments=arguments if isinstance(arguments, str) else as_text(arguments or {}),
        )
        function.end()
        call.end()


def _given_back(message: Fields, ways: Ways) -> hub.ToolResult:
    message.value("name")
    content = _texts(message, ways)
    return hub.ToolResult(call_id=message.text("tool_call_id"), content=tuple(content))


def write_messages(chat: Chat, ways: Ways) -> list[dict[str, Any]]:
    """Return the messages of a chat."""
    messages: list[dict[str, Any]] = []
    if chat.system:
        messages.append({"role": "system", "content": _written(chat.system, ways)})
    for index, turn in enumerate(chat.turns):
        where = f"messages[{index}]"
        if turn.role == hub.ASSISTANT:
            messages.append(_assistant(turn, where, ways))
        else:
            messages.extend(_user(turn, where, ways))
    return messages


def _written(parts: Sequence[hub.Media | Text], ways: Ways) -> str | list[dict[str, Any]]:
    if len(parts) == 1 and isinstance(parts[0], Text):
        return parts[0].text
    return [ways.part(part) for part in parts]


def _user(turn: Turn, where: str, ways: Ways) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    parts: list[hub.Media | Text] = []
    for part in turn.parts:
        if isinstance(part, hub.ToolResult):
            if parts:
                raise refused(where, ways.dialect, "takes no tool result after other content")
            messages.append(_result(part, where, ways))
        elif isinstance(part, Text | hub.Image | hub.Document):
            parts.append(part)
        else:
            raise refused(where, ways.dialect, "takes no such content from a user")
    if parts or not messages:
        messages.append({"role": "user", "content": _written(parts, ways)})
    return messages


def _result(part: hub.ToolResult, where: str, ways: Ways) -> dict[str, Any]:
    if part.failed:
        raise refused(f"{where}.is_error", ways.dialect, "cannot say that a tool failed")
    if not all(isinstance(p, Text) for p in part.content):
        raise refused(where, ways.dialect, "takes nothing but text from a tool")
    content = _written(part.content, ways)
    return {"role": "tool", "tool_call_id": ways.call_id(part.call_id), "content": content}


def _assistant(turn: Turn, where: str, ways: Ways) -> dict[str, Any]:
    texts: list[Text] = []
    calls: list[dict[str, Any]] = []
    for part in turn.parts:
        if isinstance(part, Text) and not calls:
            texts.append(part)
        elif isinstance(part, ToolCall):
            calls.append(_call(part, ways))
        elif isinstance(part, Text):
            raise refused(where, ways.dialect, "has no words after a tool call")
        elif isinstance(part, Thinking):
            raise refused(f"{where}.thinking", ways.dialect, "takes no thoughts of earlier answers")
        else:
            raise refused(where, ways.dialect, "takes no such content from an assistant")
    message: dict[str, Any] = {"role": "assistant"}
    if texts or not calls:
        message["content"] = _written(texts, ways)
    if calls:
        message["tool_calls"] = calls
    return message


def _call(call: ToolCall, ways: Ways) -> dict[str, Any]:
    return {
        "id": ways.call_id(call.id),
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }


# ------------------------------------------------------------------------------- tools and schemas


def read_tools(body: Fields) -> tuple[Tool, ...]:
    return tuple(map(_tool, body.inners("tools")))


def _tool(tool: Fields) -> Tool:
    if tool.text("type") not in {"", "function"}:
        tool.lose("type")
        tool.left = {}
        return Tool(name="")
    function = tool.needed_inner("function")
    found = Tool(
        name=function.needed_text("name"),
        description=function.text("description"),
        parameters=function.mapping("parameters"),
        strict=function.flag("strict"),
    )
    function.end()
    tool.end()
    return found


def write_tool(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    if tool.parameters is not None:
        function["parameters"] = tool.parameters
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def read_tool_choice(body: Fields) -> ToolChoice | None:
    choice = body.left.get("tool_choice")
    if choice is None:
        return None
    if isinstance(choice, str):
        kind = body.one_of("tool_choice", ("auto", "none", "required", "any"))
        return ToolChoice("required" if kind == "any" else kind)
    found = body.needed_inner("tool_choice")
    function = found.inner("function")
    if function is None:
        found.end()
        return None
    found.one_of("type", ("function",))
    named = ToolChoice("one", function.needed_text("name"))
    function.end()
    found.end()
    return named


def write_tool_choice(choice: ToolChoice, ways: Ways) -> str | dict[str, Any]:
    if choice.kind == "one":
        return {"type": "function", "function": {"name": choice.name}}
    return ways.required if choice.kind == "required" else choice.kind


def read_format(body: Fields) -> tuple[hub.Schema | None, bool]:
    """Return the schema of `response_format`, and whether it is any JSON."""
    wanted = body.inner("response_format")
    if wanted is None:
        return None, False
    kind = wanted.one_of("type", ("text", "json_object", "json_schema"))
    if kind != "json_schema":
        wanted.end()
        return None, kind == "json_object"
    found = wanted.needed_inner("json_schema")
    schema = read_schema(found)
    wanted.end()
    return schema, False


def read_schema(found: Fields) -> hub.Schema:
    schema = hub.Schema(
        name=found.text("name") or "answer",
        schema=found.mapping("schema") or {},
        strict=found.flag("strict") or False,
    )
    found.end()
    return schema


def write_schema(schema: hub.Schema) -> dict[str, Any]:
    return {"name": schema.name, "strict": schema.strict, "schema": dict(schema.schema)}


# ----------------------------------------------------------------------------------------- answers

_FINISHES = {
    hub.STOP: "stop",
    hub.LENGTH: "length",
    hub.TOOL_CALLS: "tool_calls",
    hub.REFUSED: "content_filter",
}
_ENDS = {word: finish for finish, word in _FINISHES.items()} | {
    "function_call": hub.TOOL_CALLS,
    "model_length": hub.LENGTH,
}


def read_answer(body: dict[str, Any], ways: Ways) -> Answer:
    """Read a chat completion; what it says beside its answer is of no use to others."""
    found = Fields(body, [])
    choice = next(found.inners("choices"), None)
    if choice is None:
        raise InvalidRequest("choices: the answer has none.")
    message = choice.loosely("message")
    thoughts = message.text("reasoning_content") or message.text("reasoning")
    parts: list[hub.Part] = [Thinking(text=thoughts)] if thoughts else []
    parts.extend(part for part in _content(message, ways) if part != Text(""))
    parts.extend(_calls(message))
    refusal = message.text("refusal")
    finish = _ENDS.get(choice.text("finish_reason"), hub.STOP)
    usage = found.inner("usage")
    return Answer(
        id=found.text("id"),
        model=found.text("model"),
        parts=tuple(parts),
        refusal=refusal,
        finish=hub.REFUSED if refusal else finish,
        usage=read_usage(usage, *TOKENS) if usage is not None else None,
        created=found.count("created") or None,
    )


def write_answer(answer: Answer, ways: Ways) -> dict[str, Any]:
    texts = [part.text for part in answer.parts if isinstance(part, Text)]
    calls = [_call(part, ways) for part in answer.parts if isinstance(part, ToolCall)]
    thoughts = [part.text for part in answer.parts if isinstance(part, Thinking) and part.text]
    message: dict[str, Any] = {"role": "assistant", "content": "".join(texts) if texts else None}
    if thoughts:
        message["reasoning_content"] = "".join(thoughts)
    if calls:
        message["tool_calls"] = calls
    message["refusal"] = answer.refusal or None
    finish = "stop" if answer.refusal else _FINISHES[answer.finish]
    body: dict[str, Any] = {
        "id": answer.id,
        "object": "chat.completion",
        "created": answer.created or 0,
        "model": answer.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
    }
    if answer.usage is not None:
        body["usage"] = write_usage(answer.usage, *TOKENS)
    return body
