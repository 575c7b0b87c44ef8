"""What the fake of Mistral takes as a request, and what it answers to one."""

import json
from typing import Any

CHAT_FIELDS = frozenset(
    [
        "model",
        "messages",
        "temperature",
        "top_p",
        "max_tokens",
        "stop",
        "random_seed",
        "metadata",
        "response_format",
        "tools",
        "tool_choice",
        "presence_penalty",
        "frequency_penalty",
        "n",
        "prediction",
        "parallel_tool_calls",
        "prompt_mode",
        "reasoning_effort",
        "safe_prompt",
        "guardrails",
        "stream",
        "prompt_cache_key",
        "service_tier",
    ]
)
EMBED_FIELDS = frozenset(
    ["model", "input", "metadata", "output_dimension", "output_dtype", "encoding_format"]
)
ROLES = ("system", "user", "assistant", "tool")

#: What a row that asks for a failure gets: status, type, code, message. Sources: see
#: tests/wire/test_mistral.py. The words of `refused` and of an account without money are guessed.
ROW_ERRORS: dict[str, tuple[int, str, str | None, str]] = {
    "rate_limited": (429, "rate_limited", "1300", "Rate limit exceeded"),
    "server": (500, "internal_server_error", "1000", "Service unavailable."),
    "invalid_media": (
        400,
        "invalid_request_file",
        "3310",
        "File could not be fetched from url 'https://example.org/a.png'",
    ),
    "too_long": (
        400,
        "invalid_request_error",
        None,
        "Prompt contains 40687 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
    ),
    "invalid_request": (
        400,
        "invalid_request_message_order",
        "3230",
        "Expected last role User or Tool (or Assistant with prefix True) for serving but got system",
    ),
    "refused": (403, "guardrail_violation", None, "The request was blocked by a guardrail."),
    "account": (401, "unauthorized", None, "Unauthorized"),
}


def wrong_in(body: dict[str, Any]) -> str:
    """Return what the vendor's schema says against a request body; empty: nothing."""
    known = EMBED_FIELDS if "input" in body else CHAT_FIELDS
    if odd := body.keys() - known:
        return f"{min(odd)}: Extra inputs are not permitted"
    if "input" in body:
        return ""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        return "messages: List should have at least 1 item"
    if any(message.get("role") not in ROLES for message in messages):
        return "messages: Input tag found using 'role' does not match any of the expected tags"
    if not 0 <= (body.get("temperature") or 0) <= 1.5:
        return "temperature: Input should be less than or equal to 1.5"
    if (body.get("max_tokens") or 0) < 0:
        return "max_tokens: Input should be greater than or equal to 0"
    return ""


def said(status: int, kind: str, code: str | None, words: str) -> dict[str, Any]:
    return {
        "object": "error",
        "message": words,
        "type": kind,
        "param": None,
        "code": code,
        "raw_status_code": status,
    }


def chat(text: str, model: str, finish: str = "stop") -> dict[str, Any]:
    message = {"role": "assistant", "content": text, "tool_calls": None, "prefix": False}
    return {
        "id": "cmpl-1",
        "object": "chat.completion",
        "model": model,
        "created": 1_788_379_763,
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {
            "prompt_tokens": 5,
            "completion_tokens": 3,
            "total_tokens": 8,
            "prompt_tokens_details": {"cached_tokens": 2},
        },
    }


def embedding(asked: Any, model: str) -> dict[str, Any]:
    texts = asked if isinstance(asked, list) else [asked]
    data = [
        {"object": "embedding", "embedding": [0.5, float(n)], "index": n}
        for n, _ in enumerate(texts)
    ]
    usage = {"prompt_tokens": 4, "completion_tokens": 0, "total_tokens": 4}
    return {"id": "embd-1", "object": "list", "model": model, "data": data, "usage": usage}


def line(n: int, name: str, status: int, body: dict[str, Any]) -> bytes:
    shown: Any = body if status == 200 else json.dumps(body)
    told = {
        "id": f"batch-0a1b2c3d-4e5f6a7b-{n}",
        "custom_id": name,
        "response": {"status_code": status, "body": shown},
        "error": None,
    }
    return json.dumps(told).encode()
