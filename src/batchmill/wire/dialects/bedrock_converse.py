"""
Bedrock's Converse.

Source: the service model `bedrock-runtime` in botocore 1.44. Bytes are base64 in JSON; media come
from S3 or with the request, never from the web. Fields of a single model
(`additionalModelRequestFields`) belong to that model and go nowhere else.
"""

from dataclasses import replace
from typing import Any

from batchmill.core.request import BEDROCK_CONVERSE
from batchmill.errors import InvalidRequest
from batchmill.wire import hub
from batchmill.wire.dialects import _models
from batchmill.wire.dialects._converse import (
    cache_point,
    part,
    read_answer,
    read_blocks,
    write_answer,
    write_blocks,
)
from batchmill.wire.dialects._fields import Fields, as_object, as_text, lacks
from batchmill.wire.dialects.closing import closed_schema
from batchmill.wire.hub import Chat, Text, Tool, ToolChoice, Turn

MAX_TOKENS = (("inferenceConfig", "maxTokens"),)

_LACKS = (
    "top_k",
    "seed",
    "frequency_penalty",
    "presence_penalty",
    "parallel_tools",
    "thinking_tokens",
    "user",
)


def read_request(body: dict[str, Any], lost: list[str]) -> Chat:
    """Read a body; add to *lost* what no other vendor could be told."""
    found = Fields(body, lost)
    config = found.loosely("inferenceConfig")
    output = found.loosely("outputConfig")
    tools, choice = _read_tools(found)
    if not found.has("messages"):
        raise InvalidRequest("messages: is missing.")
    turns: list[Turn] = []
    for message in found.inners("messages"):
        role = message.needed_text("role")
        if role not in {hub.USER, hub.ASSISTANT}:
            raise message.wrong("role", "user or assistant", role)
        turns.append(Turn(role, read_blocks(message, "content")))
        message.end()
    chat = Chat(
        model=found.text("modelId"),
        system=tuple(p for p in read_blocks(found, "system") if isinstance(p, Text)),
        turns=hub.joined(turns),
        tools=tools,
        tool_choice=choice,
        schema=_read_format(output),
        max_tokens=config.whole("maxTokens"),
        temperature=config.number("temperature"),
        top_p=config.number("topP"),
        stop=config.texts("stopSequences"),
        effort=output.one_of("effort", hub.EFFORTS),
        metadata=found.labels("requestMetadata"),
    )
    for inner in (config, output, found):
        inner.end()
    forced = ToolChoice("one", hub.ANSWER_TOOL)
    if choice == forced and [tool.name for tool in tools] == [hub.ANSWER_TOOL]:
        schema = hub.Schema(schema=tools[0].parameters or {})
        return replace(chat, tools=(), tool_choice=None, schema=schema)
    return chat


def _read_tools(found: Fields) -> tuple[tuple[Tool, ...], ToolChoice | None]:
    config = found.loosely("toolConfig")
    tools: list[Tool] = []
    for item in config.inners("tools"):
        if (point := item.inner("cachePoint")) is not None:
            if tools:
                tools[-1] = replace(tools[-1], cache=point.text("ttl") or hub.CACHE_5M)
            continue
        if (tool := item.inner("toolSpec")) is not None:
            schema = tool.loosely("inputSchema")
            tools.append(
                Tool(
                    name=tool.needed_text("name"),
                    description=tool.text("description"),
                    parameters=schema.mapping("json"),
                    strict=tool.flag("strict"),
                )
            )
            tool.end()
        item.end()
    choice = None
    if (said := config.inner("toolChoice")) is not None:
        if (named := said.inner("tool")) is not None:
            choice = ToolChoice("one", named.needed_text("name"))
        else:
            choice = ToolChoice("required" if said.value("any") is not None else "auto")
            said.value("auto")
        said.end()
    config.end()
    return tuple(tools), choice


def _read_format(output: Fields) -> hub.Schema | None:
    wanted = output.inner("textFormat")
    if wanted is None:
        return None
    wanted.one_of("type", ("json_schema",))
    structure = wanted.needed_inner("structure")
    named = structure.needed_inner("jsonSchema")
    name = named.text("name") or "answer"
    schema = as_object(named.needed_text("schema"), named.where("schema"))
    for inner in (named, structure, wanted):
        inner.end()
    return hub.Schema(schema=schema, name=name)


# ----------------------------------------------------------------------------------------- writing


def write_request(chat: Chat) -> dict[str, Any]:
    """Return the body; raise `InvalidRequest` naming what cannot be said in it."""
    lacks(chat, BEDROCK_CONVERSE, _LACKS)
    if chat.json and chat.schema is None:
        raise InvalidRequest(f"response_format: {BEDROCK_CONVERSE} has no JSON without a schema.")
    body: dict[str, Any] = {}
    if chat.system:
        blocks = [[part(text), *cache_point(text.cache)] for text in chat.system]
        body["system"] = [block for pair in blocks for block in pair]
    body["messages"] = [
        {"role": turn.role, "content": write_blocks(turn, f"messages[{index}]")}
        for index, turn in enumerate(chat.turns)
    ]
    config: dict[str, Any] = {
        "maxTokens": chat.max_tokens,
        "temperature": chat.temperature,
        "topP": chat.top_p,
        "stopSequences": list(chat.stop) or None,
    }
    if config := {name: value for name, value in config.items() if value is not None}:
        body["inferenceConfig"] = config
    if tools := _tool_config(chat):
        body["toolConfig"] = tools
    output = _output_config(chat)
    if output:
        body["outputConfig"] = output
    if chat.metadata:
        body["requestMetadata"] = dict(chat.metadata)
    return body


def _forced(chat: Chat) -> bool:
    """Say whether the model keeps to a schema only by a forced tool."""
    return chat.schema is not None and not _models.claude_has_output_format(chat.model)


def _tool_config(chat: Chat) -> dict[str, Any]:
    if _forced(chat) and chat.schema is not None:
        if chat.tools:
            words = f"{chat.model} keeps to a schema only where it has no tools"
            raise InvalidRequest(f"tools: {words}.")
        words = "Give your answer as the input of this tool."
        tool = Tool(name=hub.ANSWER_TOOL, description=words, parameters=chat.schema.schema)
        named = {"tool": {"name": hub.ANSWER_TOOL}}
        return {"tools": [_write_tool(tool)], "toolChoice": named}
    config: dict[str, Any] = {}
    if not chat.tools and chat.tool_choice is not None:
        raise InvalidRequest("tool_choice: there are no tools to choose from.")
    if chat.tools:
        blocks = [[_write_tool(tool), *cache_point(tool.cache)] for tool in chat.tools]
        config["tools"] = [block for pair in blocks for block in pair]
    if (choice := chat.tool_choice) is not None:
        if choice.kind == "none":
            raise InvalidRequest(f"tool_choice: {BEDROCK_CONVERSE} cannot forbid its tools.")
        kinds = {"auto": {"auto": {}}, "required": {"any": {}}}
        config["toolChoice"] = kinds.get(choice.kind, {"tool": {"name": choice.name}})
    return config


def _write_tool(tool: Tool) -> dict[str, Any]:
    body: dict[str, Any] = {"name": tool.name}
    if tool.description:
        body["description"] = tool.description
    body["inputSchema"] = {"json": tool.parameters or {"type": "object"}}
    if tool.strict is not None:
        body["strict"] = tool.strict
    return {"toolSpec": body}


def _output_config(chat: Chat) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if chat.schema is not None and not _forced(chat):
        schema = chat.schema.schema
        if "claude" in chat.model:
            schema = closed_schema(schema)
        named = {"name": chat.schema.name, "schema": as_text(schema)}
        config["textFormat"] = {"type": "json_schema", "structure": {"jsonSchema": named}}
    if chat.effort:
        config["effort"] = chat.effort
    return config


__all__ = ["MAX_TOKENS", "part", "read_answer", "read_request", "write_answer", "write_request"]
