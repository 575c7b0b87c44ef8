"""
Anthropic's Messages, in the API version 2023-06-01.

Source: the types of the vendor's SDK 2.12 and its pages on structured outputs, effort and thinking
(read 2026-11-28). Which Claude wants what is in `_models`; `_claude` has blocks and answers.
"""

from dataclasses import replace
from typing import Any

from batchmill.core.request import ANTHROPIC_MESSAGES
from batchmill.errors import InvalidRequest
from batchmill.wire import hub
from batchmill.wire.dialects import _models
from batchmill.wire.dialects._claude import (
    mark,
    part,
    read_answer,
    read_blocks,
    read_mark,
    write_answer,
    write_blocks,
)
from batchmill.wire.dialects._fields import Fields, lacks
from batchmill.wire.dialects.closing import closed_schema
from batchmill.wire.hub import Chat, Text, Tool, ToolChoice, Turn

MAX_TOKENS = (("max_tokens",),)

#: The vendor wants to be told a limit. Enough for a long page, and every Claude takes it.
MAX_TOKENS_DEFAULT = 4096

_LACKS = ("seed", "frequency_penalty", "presence_penalty", "metadata")
_SAMPLING = ("temperature", "top_p", "top_k")


def read_request(body: dict[str, Any], lost: list[str]) -> Chat:
    """Read a body; add to *lost* what no other vendor could be told."""
    found = Fields(body, lost)
    found.neutral("stream", False)
    found.neutral("service_tier", "auto", "standard_only")
    metadata = found.loosely("metadata")
    config = found.loosely("output_config")
    effort, thinking_tokens = _read_thinking(found, config)
    choice, parallel = _read_choice(found)
    max_tokens = found.whole("max_tokens")
    if max_tokens is None:
        raise InvalidRequest("max_tokens: is missing.")
    chat = Chat(
        model=found.text("model"),
        system=_read_system(found),
        turns=_read_turns(found),
        tools=tuple(map(_read_tool, found.inners("tools"))),
        tool_choice=choice,
        parallel_tools=parallel,
        schema=_read_format(found, config),
        max_tokens=max_tokens,
        temperature=found.number("temperature"),
        top_p=found.number("top_p"),
        top_k=found.whole("top_k"),
        stop=found.texts("stop_sequences"),
        effort=effort,
        thinking_tokens=thinking_tokens,
        user=metadata.text("user_id"),
    )
    chat = _marked(chat, read_mark(found))
    metadata.end()
    config.end()
    found.end()
    return _without_answer_tool(chat)


def _read_system(found: Fields) -> tuple[Text, ...]:
    if isinstance(found.left.get("system"), str):
        return (Text(found.text("system")),)
    return tuple(p for p in read_blocks(found, "system") if isinstance(p, Text))


def _read_turns(found: Fields) -> tuple[Turn, ...]:
    if not found.has("messages"):
        raise InvalidRequest("messages: is missing.")
    turns: list[Turn] = []
    for message in found.inners("messages"):
        role = message.needed_text("role")
        if role == "system":  # newer Claudes take it in the middle; no other vendor does
            message.lose("role")
            continue
        if role not in {hub.USER, hub.ASSISTANT}:
            raise message.wrong("role", "user or assistant", role)
        turns.append(Turn(role, read_blocks(message, "content")))
        message.end()
    return hub.joined(turns)


def _read_tool(tool: Fields) -> Tool:
    if tool.text("type") not in {"", "custom"}:
        tool.lose("type")
        return Tool(name=tool.text("name"))
    tool.value("eager_input_streaming")
    found = Tool(
        name=tool.needed_text("name"),
        description=tool.text("description"),
        parameters=tool.mapping("input_schema"),
        strict=tool.flag("strict"),
        cache=read_mark(tool),
    )
    tool.end()
    return found


def _read_choice(found: Fields) -> tuple[ToolChoice | None, bool | None]:
    choice = found.inner("tool_choice")
    if choice is None:
        return None, None
    kind = choice.needed_text("type")
    known = {"auto": "auto", "any": "required", "tool": "one", "none": "none"}
    if kind not in known:
        raise choice.wrong("type", "auto, any, tool or none", kind)
    single = choice.flag("disable_parallel_tool_use")
    name = choice.needed_text("name") if kind == "tool" else ""
    choice.end()
    return ToolChoice(known[kind], name), None if single is None else not single


def _read_format(found: Fields, config: Fields) -> hub.Schema | None:
    older = found.inner("output_format")
    wanted = config.inner("format") or older
    if wanted is None:
        return None
    wanted.one_of("type", ("json_schema",))
    schema = hub.Schema(schema=wanted.mapping("schema") or {})
    wanted.end()
    return schema


def _read_thinking(found: Fields, config: Fields) -> tuple[str, int | None]:
    effort = config.one_of("effort", hub.EFFORTS)
    thinking = found.inner("thinking")
    if thinking is None:
        return effort, None
    kind = thinking.needed_text("type")
    thinking.value("display")  # how much of the thoughts is shown
    budget = None
    if kind == "enabled":
        budget = thinking.whole("budget_tokens")
    elif kind == "disabled":
        effort = effort or "none"
    elif kind == "adaptive":
        effort = effort or "high"  # what it is where nothing is said
    else:
        thinking.lose("type")
    thinking.end()
    return effort, budget


def _marked(chat: Chat, cache: str) -> Chat:
    """Put a mark that is meant for the last block where it is meant."""
    if not cache or not chat.turns or not chat.turns[-1].parts:
        return chat
    *turns, last = chat.turns
    *parts, part = last.parts
    if isinstance(part, hub.Thinking):
        return chat
    marked = Turn(last.role, (*parts, replace(part, cache=part.cache or cache)))
    return replace(chat, turns=(*turns, marked))


def _without_answer_tool(chat: Chat) -> Chat:
    forced = ToolChoice("one", hub.ANSWER_TOOL)
    if chat.tool_choice != forced or [tool.name for tool in chat.tools] != [hub.ANSWER_TOOL]:
        return chat
    schema = hub.Schema(schema=chat.tools[0].parameters or {})
    return replace(chat, tools=(), tool_choice=None, schema=schema)


# ----------------------------------------------------------------------------------------- writing


def write_request(chat: Chat) -> dict[str, Any]:
    """Return the body; raise `InvalidRequest` naming what cannot be said in it."""
    lacks(chat, ANTHROPIC_MESSAGES, _LACKS)
    if chat.json and chat.schema is None:
        raise InvalidRequest(
            f"response_format: {ANTHROPIC_MESSAGES} has no JSON without a schema. Give one."
        )
    body: dict[str, Any] = {"model": chat.model}
    if len(chat.system) == 1 and not chat.system[0].cache:
        body["system"] = chat.system[0].text
    elif chat.system:
        body["system"] = list(map(part, chat.system))
    body["messages"] = [
        {"role": turn.role, "content": write_blocks(turn, f"messages[{index}]")}
        for index, turn in enumerate(chat.turns)
    ]
    if chat.tools:
        body["tools"] = list(map(_write_tool, chat.tools))
    _write_choice(body, chat)
    if chat.schema is not None:
        _write_schema(body, chat, chat.schema)
    _write_thinking(body, chat)
    _write_sampling(body, chat)
    if chat.stop:
        body["stop_sequences"] = list(chat.stop)
    if chat.user:
        body["metadata"] = {"user_id": chat.user}
    return body


def _write_tool(tool: Tool) -> dict[str, Any]:
    body: dict[str, Any] = {"name": tool.name}
    if tool.description:
        body["description"] = tool.description
    body["input_schema"] = {"type": "object"} if tool.parameters is None else tool.parameters
    if tool.strict is not None:
        body["strict"] = tool.strict
    return mark(body, tool.cache)


def _write_choice(body: dict[str, Any], chat: Chat) -> None:
    choice = chat.tool_choice
    if choice is None and chat.parallel_tools is None:
        return
    kinds = {"auto": "auto", "required": "any", "one": "tool", "none": "none"}
    kind = kinds[choice.kind] if choice is not None else "auto"
    said: dict[str, Any] = {"type": kind}
    if choice is not None and kind == "tool":
        said["name"] = choice.name
    if chat.parallel_tools is not None and kind != "none":
        said["disable_parallel_tool_use"] = not chat.parallel_tools
    body["tool_choice"] = said


def _write_schema(body: dict[str, Any], chat: Chat, schema: hub.Schema) -> None:
    if _models.claude_has_output_format(chat.model):
        wanted = {"type": "json_schema", "schema": closed_schema(schema.schema)}
        body["output_config"] = {"format": wanted}
        return
    if chat.tools:
        raise InvalidRequest(f"tools: {chat.model} keeps to a schema only where it has no tools.")
    words = "Give your answer as the input of this tool."
    parameters = {"input_schema": dict(schema.schema)}
    body["tools"] = [{"name": hub.ANSWER_TOOL, "description": words, **parameters}]
    body["tool_choice"] = {"type": "tool", "name": hub.ANSWER_TOOL}


def _write_thinking(body: dict[str, Any], chat: Chat) -> None:
    """Write the effort or the budget, and the limit of tokens, which has to be above a budget."""
    budget, effort = chat.thinking_tokens, chat.effort
    if budget and not _models.claude_has_budgets(chat.model):
        raise InvalidRequest(f"thinking_tokens: {chat.model} has efforts, and no budgets.")
    if effort == "none" or budget == 0:
        body["thinking"] = {"type": "disabled"}
        effort, budget = "", None
    if effort:
        efforts = _models.claude_efforts(chat.model)
        if efforts and effort not in efforts:
            raise InvalidRequest(
                f"reasoning_effort: {chat.model} knows {', '.join(efforts)}, not {effort!r}."
            )
        if efforts:
            body.setdefault("output_config", {})["effort"] = effort
            if _models.claude_adapts(chat.model) and budget is None:
                body["thinking"] = {"type": "adaptive"}
        else:
            budget = budget or _models.BUDGETS[effort]
    if budget:
        body["thinking"] = {"type": "enabled", "budget_tokens": budget}
    limit = chat.max_tokens
    if limit is not None and budget and limit <= budget:
        raise InvalidRequest(
            f"max_tokens: {limit} must be more than the {budget} tokens of thinking."
        )
    body["max_tokens"] = MAX_TOKENS_DEFAULT + (budget or 0) if limit is None else limit


def _write_sampling(body: dict[str, Any], chat: Chat) -> None:
    said = {name: getattr(chat, name) for name in _SAMPLING}
    said = {name: value for name, value in said.items() if value is not None}
    if said.get("temperature", 0) > 1:
        raise InvalidRequest(f"temperature: {ANTHROPIC_MESSAGES} takes 0 to 1.")
    if not _models.claude_samples(chat.model):
        said = {n: value for n, value in said.items() if n == "top_k" or value != 1}
        if said:
            raise InvalidRequest(f"{next(iter(said))}: {chat.model} takes none. Leave it out.")
    if _models.claude_samples_one(chat.model) and {"temperature", "top_p"} <= said.keys():
        # One of them may still say no more than what is so anyhow.
        usual = next((name for name in ("top_p", "temperature") if said[name] == 1), None)
        if usual is None:
            raise InvalidRequest(f"top_p: {chat.model} takes it or temperature, not both.")
        del said[usual]
    body.update(said)


__all__ = [
    "MAX_TOKENS",
    "part",
    "read_answer",
    "read_request",
    "write_answer",
    "write_request",
]
