"""What OpenAI-shaped vendors say of single requests: answers, errors, and complaints about lines."""

import json
from collections.abc import Iterable
from typing import Any

from tests.fakes.vendor import failure_in

#: What the vendor answers to a row that asks for a failure: status, code, type, message. Sources:
#: its page of error codes, and threads of people who met them.
ROW_ERRORS: dict[str, tuple[int, str | None, str, str]] = {
    "rate_limited": (
        429,
        "rate_limit_exceeded",
        "tokens",
        "Rate limit reached for a-model on tokens per min (TPM): Limit 30000, Used 29500.",
    ),
    "server": (
        500,
        None,
        "server_error",
        "The server had an error while processing your request. Sorry about that!",
    ),
    "invalid_media": (
        400,
        "invalid_image_url",
        "invalid_request_error",
        "Failed to download image from https://example.org/a.png. Image URL may be invalid.",
    ),
    "too_long": (
        400,
        "context_length_exceeded",
        "invalid_request_error",
        "This model's maximum context length is 128000 tokens. Your messages resulted in 150010.",
    ),
    "invalid_request": (
        400,
        "invalid_type",
        "invalid_request_error",
        "Invalid type for 'temperature': expected a decimal, but got a string instead.",
    ),
    "account": (
        429,
        "insufficient_quota",
        "insufficient_quota",
        "You exceeded your current quota, please check your plan and billing details.",
    ),
}
#: Rows that never ran: in the error file, without a response.
UNRUN = {
    "expired": (
        "batch_expired",
        "This request could not be executed before the completion window expired.",
    ),
    "canceled": ("batch_cancelled", "This request was not executed: its batch was cancelled."),
}
CHAT_FIELDS = frozenset(
    {
        "model",
        "messages",
        "temperature",
        "top_p",
        "n",
        "stop",
        "max_tokens",
        "max_completion_tokens",
        "seed",
        "tools",
        "tool_choice",
        "response_format",
        "reasoning_effort",
        "frequency_penalty",
        "presence_penalty",
        "logprobs",
        "top_logprobs",
        "logit_bias",
        "user",
        "metadata",
        "store",
        "service_tier",
        "parallel_tool_calls",
        "verbosity",
        "stream",
        "prompt_cache_key",
    }
)
RESPONSES_FIELDS = frozenset(
    {
        "model",
        "input",
        "instructions",
        "temperature",
        "top_p",
        "max_output_tokens",
        "tools",
        "tool_choice",
        "text",
        "reasoning",
        "metadata",
        "store",
        "user",
        "service_tier",
        "parallel_tool_calls",
        "truncation",
        "include",
        "stream",
        "previous_response_id",
        "prompt_cache_key",
    }
)
EMBEDDINGS_FIELDS = frozenset({"model", "input", "encoding_format", "dimensions", "user"})
FIELDS = {
    "/chat/completions": ("messages", CHAT_FIELDS),
    "/responses": ("input", RESPONSES_FIELDS),
    "/embeddings": ("input", EMBEDDINGS_FIELDS),
}

Answer = tuple[int, dict[str, Any]]


def envelope(message: str, code: str | None, kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def text_of(body: dict[str, Any]) -> str:
    """Return what a chat, responses or embeddings request asks."""
    asked: Any = body.get("input")
    if "messages" in body:
        asked = body["messages"][-1]["content"]
    if isinstance(asked, list) and asked and isinstance(asked[-1], dict):
        asked = asked[-1].get("content", asked)
    if isinstance(asked, list):
        asked = "".join(part if isinstance(part, str) else part.get("text", "") for part in asked)
    return str(asked)


def answer(url: str, body: dict[str, Any]) -> Answer:
    """Answer one request as the live API does; *url* without its version."""
    wanted, known = FIELDS[url]
    if unknown := sorted(set(body) - known):
        return 400, envelope(f"Unknown parameter: '{unknown[0]}'.", "unknown_parameter")
    if wanted not in body:
        return 400, envelope(
            f"Missing required parameter: '{wanted}'.", "missing_required_parameter"
        )
    text = text_of(body)
    failure = failure_in(text) or ""
    if failure in ROW_ERRORS:
        status, code, kind, message = ROW_ERRORS[failure]
        return status, envelope(message, code, kind)
    if url == "/embeddings":
        return 200, embedded(body, text)
    return 200, (chat if url == "/chat/completions" else response)(body, text, failure)


def chat(body: dict[str, Any], text: str, failure: str = "") -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
    if failure == "refused":
        message |= {"content": None, "refusal": "I'm sorry, I can't assist with that."}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": f"{body['model']}-2026-08-07",
        "choices": [
            {
                "index": 0,
                "message": message,
                "logprobs": None,
                "finish_reason": "length" if failure == "truncated" else "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 9,
            "completion_tokens": 5,
            "total_tokens": 14,
            "prompt_tokens_details": {"cached_tokens": 4},
            "completion_tokens_details": {"reasoning_tokens": 2},
        },
        "system_fingerprint": "fp_1",
    }


def response(body: dict[str, Any], text: str, failure: str = "") -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": []}
    if failure == "refused":
        part = {"type": "refusal", "refusal": "I'm sorry, I can't assist with that."}
    cut = failure == "truncated"
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": f"{body['model']}-2026-08-07",
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "output": [
            {"id": "msg_1", "type": "message", "role": "assistant", "content": [part]},
        ],
        "usage": {
            "input_tokens": 9,
            "input_tokens_details": {"cached_tokens": 4},
            "output_tokens": 5,
            "output_tokens_details": {"reasoning_tokens": 2},
            "total_tokens": 14,
        },
    }


def embedded(body: dict[str, Any], text: str) -> dict[str, Any]:
    vector = {"object": "embedding", "index": 0, "embedding": [0.5, float(len(text))]}
    usage = {"prompt_tokens": 3, "total_tokens": 3}
    return {"object": "list", "data": [vector], "model": body["model"], "usage": usage}


# -- the lines of a batch file -------------------------------------------------------------------


def told(code: str, message: str, line: int | None, param: str | None = None) -> dict[str, Any]:
    return {"code": code, "message": message, "param": param, "line": line}


def requests(data: bytes) -> Iterable[tuple[int, dict[str, Any] | None]]:
    """Yield (number from 1, object) of each line; None for what is no JSON object."""
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        try:
            found: Any = json.loads(line)
        except ValueError:
            found = None
        yield number, found if isinstance(found, dict) else None


def complaints(data: bytes, endpoint: str, models: Iterable[str]) -> list[dict[str, Any]]:
    """Return what the vendor's validation says of a file, line by line."""
    found: list[dict[str, Any]] = []
    seen: set[str] = set()
    wanted = FIELDS[endpoint.removeprefix("/v1")][0]
    for number, line in requests(data):
        if line is None:
            words = "This line is not parseable as valid JSON."
            found.append(told("invalid_json_line", words, number))
            continue
        missing = [name for name in ("custom_id", "method", "url", "body") if name not in line]
        if missing:
            words = f"Missing required parameter: '{missing[0]}'."
            found.append(told("missing_required_parameter", words, number, missing[0]))
            continue
        if line["custom_id"] in seen:
            words = "The custom_id for this request is a duplicate of another request. "
            words += "The custom_id parameter must be unique for each request in a batch."
            found.append(told("duplicate_custom_id", words, number, "custom_id"))
        seen.add(line["custom_id"])
        if line["url"] != endpoint:
            words = "The URL provided for this request does not match the batch endpoint."
            found.append(told("invalid_url", words, number, "url"))
        body = line["body"]
        if "model" not in body:
            found.append(
                told("invalid_request", "Model parameter is required.", number, "body.model")
            )
        elif body["model"] not in models:
            words = f"The provided model '{body['model']}' is not supported by the Batch API."
            found.append(told("model_not_found", words, number, "body.model"))
        elif body.get("stream"):
            words = "Chat Completions: Streaming is not supported in the Batch API."
            found.append(told("streaming_unsupported", words, number, "body.stream"))
        elif wanted not in body:
            words = f"{wanted.title()} parameter is required."
            found.append(told("invalid_request", words, number, f"body.{wanted}"))
    return found
