"""Answers of OpenAI's Responses: a list of items, where a chat completion has one message."""

from collections.abc import Iterator
from typing import Any

from batchmill.wire import hub
from batchmill.wire.dialects._answers import read_usage, write_usage
from batchmill.wire.dialects._fields import Fields
from batchmill.wire.hub import Answer, Text, Thinking, ToolCall


def write_call(call: ToolCall) -> dict[str, Any]:
    named = {"call_id": call.id, "name": call.name, "arguments": call.arguments}
    return {"type": "function_call", **named}


def read_answer(body: dict[str, Any]) -> Answer:
    """Read a response; what it says beside its answer is of no use to others."""
    found = Fields(body, [])
    parts: list[hub.Part] = []
    refusal = ""
    for item in found.inners("output"):
        kind = item.text("type")
        if kind == "reasoning":
            summary = [part.text("text") for part in item.inners("summary")]
            parts.extend(Thinking(text=text) for text in summary if text)
        elif kind == "function_call":
            arguments = item.text("arguments")
            call_id, name = item.text("call_id"), item.text("name")
            parts.append(ToolCall(id=call_id, name=name, arguments=arguments))
        elif kind == "message":
            for said in item.inners("content"):
                refusal = refusal or said.text("refusal")
                if text := said.text("text"):
                    parts.append(Text(text))
    reason = found.loosely("incomplete_details").text("reason")
    finish = hub.TOOL_CALLS if any(isinstance(p, ToolCall) for p in parts) else hub.STOP
    if refusal or reason == "content_filter":
        finish = hub.REFUSED
    elif found.text("status") == "incomplete":
        finish = hub.LENGTH
    usage = found.inner("usage")
    return Answer(
        id=found.text("id"),
        model=found.text("model"),
        parts=tuple(parts),
        refusal=refusal,
        finish=finish,
        usage=read_usage(usage, "input", "output") if usage is not None else None,
        created=found.count("created_at") or None,
    )


def write_answer(answer: Answer) -> dict[str, Any]:
    """Return a response."""
    reason = {hub.LENGTH: "max_output_tokens", hub.REFUSED: "content_filter"}.get(answer.finish)
    reason = None if answer.refusal else reason
    status = "incomplete" if reason else "completed"
    body: dict[str, Any] = {
        "id": answer.id,
        "object": "response",
        "created_at": answer.created or 0,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": reason} if reason else None,
        "model": answer.model,
        "output": list(_output(answer, status)),
        # Of the request; whoever knows it better says so.
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }
    if answer.usage is not None:
        body["usage"] = write_usage(answer.usage, "input", "output")
    return body


def _output(answer: Answer, status: str) -> Iterator[dict[str, Any]]:
    for index, said in enumerate(answer.parts):
        mark = f"{answer.id}_{index}"
        if isinstance(said, Thinking) and said.text:
            summary = [{"type": "summary_text", "text": said.text}]
            yield {"type": "reasoning", "id": f"rs_{mark}", "summary": summary}
        elif isinstance(said, ToolCall):
            yield {**write_call(said), "id": f"fc_{mark}", "status": "completed"}
        elif isinstance(said, Text):
            yield _said(mark, status, {"type": "output_text", "text": said.text, "annotations": []})
    if answer.refusal:
        yield _said(answer.id, status, {"type": "refusal", "refusal": answer.refusal})


def _said(mark: str, status: str, content: dict[str, Any]) -> dict[str, Any]:
    message = {"type": "message", "id": f"msg_{mark}", "status": status, "role": "assistant"}
    return {**message, "content": [content]}
