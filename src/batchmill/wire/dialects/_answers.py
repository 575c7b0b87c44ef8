"""What the answers of several dialects have in common: counts of tokens, blocks, a forced tool."""

from collections.abc import Callable
from typing import Any

from batchmill.wire import hub
from batchmill.wire.dialects._fields import Fields, as_arguments
from batchmill.wire.hub import Answer, Text, Thinking, ToolCall


def read_usage(found: Fields, asked: str, given: str) -> hub.Usage:
    """Read counts as OpenAI tells them; *asked* and *given* are its words for the two sides."""
    taken = found.loosely(f"{asked}_tokens_details")
    made = found.loosely(f"{given}_tokens_details")
    return hub.Usage(
        input_tokens=found.count(f"{asked}_tokens"),
        output_tokens=found.count(f"{given}_tokens"),
        cached_tokens=taken.count("cached_tokens"),
        cache_written_tokens=taken.count("cache_write_tokens"),
        reasoning_tokens=made.count("reasoning_tokens"),
    )


def write_usage(usage: hub.Usage, asked: str, given: str) -> dict[str, Any]:
    """Return counts as OpenAI tells them."""
    return {
        f"{asked}_tokens": usage.input_tokens,
        f"{asked}_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_written_tokens,
        },
        f"{given}_tokens": usage.output_tokens,
        f"{given}_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def uncached(usage: hub.Usage) -> int:
    """Return what was read anew: Claude's counts have the cache beside it, not in it."""
    return max(0, usage.input_tokens - usage.cached_tokens - usage.cache_written_tokens)


def unforced(parts: tuple[hub.Part, ...], finish: str) -> tuple[tuple[hub.Part, ...], str]:
    """Return the input of the tool that keeps an answer to its schema as the answer it is."""
    if [p.name for p in parts if isinstance(p, ToolCall)] != [hub.ANSWER_TOOL]:
        return parts, finish
    parts = tuple(Text(p.arguments) if isinstance(p, ToolCall) else p for p in parts)
    return parts, hub.STOP if finish == hub.TOOL_CALLS else finish


def blocks(
    answer: Answer,
    text: Callable[[Text], dict[str, Any]],
    thinking: Callable[[Thinking], dict[str, Any]],
    call: Callable[[ToolCall, dict[str, Any]], dict[str, Any]],
) -> list[dict[str, Any]]:
    """Return what an answer says, block by block."""
    found: list[dict[str, Any]] = []
    for said in answer.parts:
        if isinstance(said, ToolCall):
            found.append(call(said, as_arguments(said.arguments)))
        elif isinstance(said, Thinking):
            found.append(thinking(said))
        elif isinstance(said, Text):
            found.append(text(said))
    return found
