"""
Gemini's generateContent.

Source: the types of the vendor's SDK 3.4, its captured requests, and the pages "file input methods"
and "thinking" of ai.google.dev (read 2026-11-28). Names may be written with underscores, as the
vendor takes both. Its own type names of schemas (`STRING`) become those of JSON Schema.
"""

from collections.abc import Mapping
from typing import Any

from batchmill.core.request import GEMINI_GENERATE
from batchmill.errors import InvalidRequest
from batchmill.wire import hub
from batchmill.wire.dialects import _models
from batchmill.wire.dialects._fields import Fields, lacks
from batchmill.wire.dialects._gemini import (
    part,
    read_answer,
    read_contents,
    write_answer,
    write_contents,
)
from batchmill.wire.hub import Chat, Text, Tool, ToolChoice

MAX_TOKENS = (("generationConfig", "maxOutputTokens"), ("generation_config", "max_output_tokens"))

_LACKS = ("parallel_tools", "user", "metadata")
_JSON = "application/json"

#: Thinking budgets for an effort, where a model has no levels: those of the vendor's own
#: OpenAI-compatible endpoint (ai.google.dev, "openai", read 2026-11-28).
_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576}
_LEVELS = ("minimal", "low", "medium", "high", "xhigh")


def read_request(body: dict[str, Any], lost: list[str]) -> Chat:
    """Read a body; add to *lost* what no other vendor could be told."""
    found = Fields(body, lost, camel=True)
    config = found.loosely("generationConfig")
    config.neutral("candidateCount", 1)
    config.neutral("responseModalities", ["TEXT"])
    config.neutral("responseLogprobs", False)
    effort, thinking_tokens = _read_thinking(config)
    schema, json = _read_format(config)
    top_k = config.whole("topK")
    chat = Chat(
        model=found.text("model").removeprefix("models/"),
        system=_read_system(found),
        turns=read_contents(found),
        tools=_read_tools(found),
        tool_choice=_read_choice(found),
        schema=schema,
        json=json,
        max_tokens=config.whole("maxOutputTokens"),
        temperature=config.number("temperature"),
        top_p=config.number("topP"),
        top_k=top_k,
        stop=config.texts("stopSequences"),
        seed=config.whole("seed"),
        frequency_penalty=config.number("frequencyPenalty"),
        presence_penalty=config.number("presencePenalty"),
        effort=effort,
        thinking_tokens=thinking_tokens,
    )
    config.end()
    found.end()
    return chat


def _read_system(found: Fields) -> tuple[Text, ...]:
    if isinstance(found.left.get("systemInstruction"), str):
        return (Text(found.text("systemInstruction")),)
    system = found.loosely("systemInstruction")
    system.value("role")
    texts: list[Text] = []
    for said in system.inners("parts"):
        texts.append(Text(said.needed_text("text")))
        said.end()
    system.end()
    return tuple(texts)


def _read_tools(found: Fields) -> tuple[Tool, ...]:
    tools: list[Tool] = []
    for group in found.inners("tools"):
        for function in group.inners("functionDeclarations"):
            schema = function.mapping("parametersJsonSchema")
            older = function.mapping("parameters")
            tools.append(
                Tool(
                    name=function.needed_text("name"),
                    description=function.text("description"),
                    parameters=_json_schema(older) if schema is None else schema,
                )
            )
            function.end()
        group.end()
    return tuple(tools)


def _read_choice(found: Fields) -> ToolChoice | None:
    outer = found.inner("toolConfig")
    if outer is None:
        return None
    config = outer.inner("functionCallingConfig")
    outer.end()
    if config is None:
        return None
    mode = config.text("mode").lower()
    names = config.texts("allowedFunctionNames")
    config.end()
    if mode == "any" and len(names) == 1:
        return ToolChoice("one", names[0])
    if names or mode not in {"auto", "any", "none", ""}:
        config.lose("allowedFunctionNames" if names else "mode")
    return ToolChoice({"any": "required", "none": "none"}.get(mode, "auto"))


def _read_format(config: Fields) -> tuple[hub.Schema | None, bool]:
    kind = config.text("responseMimeType")
    schema = config.mapping("responseJsonSchema")
    older = config.mapping("responseSchema")
    if schema is None and older is not None:
        schema = _json_schema(older)
    if kind not in {"", "text/plain", _JSON}:
        config.lose("responseMimeType")
    if kind != _JSON:
        if schema is not None:  # the vendor minds it for JSON only; whoever wrote it wanted more
            config.lose("responseSchema" if older is not None else "responseJsonSchema")
        return None, False
    return (None, True) if schema is None else (hub.Schema(schema=schema), False)


def _json_schema(schema: Any) -> Any:
    """Turn the vendor's own form of a schema into JSON Schema."""
    if isinstance(schema, list):
        return list(map(_json_schema, schema))
    if not isinstance(schema, Mapping):
        return schema
    found: dict[str, Any] = {}
    order = schema.get("propertyOrdering") or schema.get("property_ordering")
    for name, value in schema.items():
        if name == "properties" and isinstance(value, Mapping):
            first = [key for key in order if key in value] if isinstance(order, list) else []
            found[name] = {key: _json_schema(value[key]) for key in dict.fromkeys([*first, *value])}
        elif name == "type" and isinstance(value, str):
            found[name] = value.lower()
        elif name not in {"nullable", "propertyOrdering", "property_ordering"}:
            found["anyOf" if name == "any_of" else name] = _json_schema(value)
    if schema.get("nullable") and "type" in found:
        found["type"] = [found["type"], "null"]
    return found


def _read_thinking(config: Fields) -> tuple[str, int | None]:
    thinking = config.loosely("thinkingConfig")
    thinking.value("includeThoughts")  # whether they are shown
    level = thinking.text("thinkingLevel").lower().removeprefix("thinking_level_")
    budget = thinking.whole("thinkingBudget")
    if level not in {"", "unspecified", *hub.EFFORTS}:
        raise thinking.wrong("thinkingLevel", "one of " + ", ".join(_LEVELS), level)
    thinking.end()
    # -1 lets the model decide, which is what it does anyhow.
    return level.removeprefix("unspecified"), None if budget == -1 else budget


# ----------------------------------------------------------------------------------------- writing


def write_request(chat: Chat) -> dict[str, Any]:
    """Return the body; raise `InvalidRequest` naming what cannot be said in it."""
    lacks(chat, GEMINI_GENERATE, _LACKS)
    body: dict[str, Any] = {}
    if chat.system:
        body["systemInstruction"] = {"parts": list(map(part, chat.system))}
    body["contents"] = write_contents(chat)
    if chat.tools:
        body["tools"] = [{"functionDeclarations": list(map(_write_tool, chat.tools))}]
    if (choice := chat.tool_choice) is not None:
        modes = {"auto": "AUTO", "none": "NONE", "required": "ANY", "one": "ANY"}
        said: dict[str, Any] = {"mode": modes[choice.kind]}
        if choice.kind == "one":
            said["allowedFunctionNames"] = [choice.name]
        body["toolConfig"] = {"functionCallingConfig": said}
    if config := _config(chat):
        body["generationConfig"] = config
    return body


def _write_tool(tool: Tool) -> dict[str, Any]:
    if tool.strict:
        raise InvalidRequest(f"tools.{tool.name}.strict: {GEMINI_GENERATE} has no such field.")
    body: dict[str, Any] = {"name": tool.name}
    if tool.description:
        body["description"] = tool.description
    if tool.parameters is not None:
        body["parametersJsonSchema"] = tool.parameters
    return body


def _config(chat: Chat) -> dict[str, Any]:
    said: dict[str, Any] = {
        "maxOutputTokens": chat.max_tokens,
        "temperature": chat.temperature,
        "topP": chat.top_p,
        "topK": chat.top_k,
        "stopSequences": list(chat.stop) or None,
        "seed": chat.seed,
        "frequencyPenalty": chat.frequency_penalty,
        "presencePenalty": chat.presence_penalty,
        "responseMimeType": _JSON if chat.json or chat.schema is not None else None,
        "responseJsonSchema": None if chat.schema is None else dict(chat.schema.schema),
        "thinkingConfig": _thinking(chat) or None,
    }
    return {name: value for name, value in said.items() if value is not None}


def _thinking(chat: Chat) -> dict[str, Any]:
    effort, budget = chat.effort, chat.thinking_tokens
    said: dict[str, Any] = {}
    if effort and _models.gemini_has_levels(chat.model):
        if effort not in _LEVELS:
            words = f"{chat.model} knows {', '.join(_LEVELS)}, not {effort!r}"
            raise InvalidRequest(f"reasoning_effort: {words}.")
        said["thinkingLevel"] = effort.upper()
    elif effort:
        if effort not in _BUDGETS:
            words = f"{chat.model} knows {', '.join(_BUDGETS)}, not {effort!r}"
            raise InvalidRequest(f"reasoning_effort: {words}.")
        budget = _BUDGETS[effort] if budget is None else budget
    if budget is not None:
        said["thinkingBudget"] = budget
    return said


__all__ = ["MAX_TOKENS", "part", "read_answer", "read_request", "write_answer", "write_request"]
