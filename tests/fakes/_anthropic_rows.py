"""What Anthropic says of a single request: a message, or an error in its own words."""

from typing import Any

from tests.fakes.vendor import failure_in

#: Fields of Messages; the ones that the version 2026-10-21 has taken away stand apart.
FIELDS = frozenset(
    {
        "cache_control",
        "container",
        "context_management",
        "inference_geo",
        "max_tokens",
        "messages",
        "metadata",
        "model",
        "output_config",
        "service_tier",
        "stop_sequences",
        "stream",
        "system",
        "thinking",
        "tool_choice",
        "tools",
    }
)
SAMPLING = frozenset({"temperature", "top_k", "top_p"})
NEEDED = ("model", "max_tokens", "messages")

KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
#: What the vendor says to a row that asks for a failure: status and message. Sources: its page of
#: errors, and threads of people who met them (`tests/wire/test_anthropic_failures.py`).
ROW_ERRORS = {
    "rate_limited": (429, "This request would exceed your organization's rate limit."),
    "server": (529, "Overloaded"),
    "invalid_media": (400, "Could not process image"),
    "too_long": (400, "prompt is too long: 208310 tokens > 200000 maximum"),
    "invalid_request": (400, "messages.0.role: Input should be 'user' or 'assistant'"),
    "account": (
        400,
        (
            "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing "
            "to upgrade or purchase credits."
        ),
    ),
}
STOPS = {"truncated": "max_tokens", "refused": "refusal"}
UNRUN = ("expired", "canceled")

Answer = tuple[int, dict[str, Any]]


def envelope(status: int, message: str, request_id: str = "req_011CSHoEeqs5C35K2UUqR7Fy") -> Answer:
    error = {"type": KINDS.get(status, "api_error"), "message": message}
    return status, {"type": "error", "error": error, "request_id": request_id}


def text_of(body: dict[str, Any]) -> str:
    """Return what a request asks."""
    messages: Any = body.get("messages") or [{}]
    asked: Any = messages[-1].get("content", "")
    if isinstance(asked, list):
        asked = "".join(str(part.get("text", "")) for part in asked if isinstance(part, dict))
    return str(asked)


def answer(body: dict[str, Any], model: str, version: str, *, batch: bool) -> Answer:
    """Answer one request as Messages does, which in a batch is judged only now."""
    known = FIELDS if version > "2026" else FIELDS | SAMPLING
    if unknown := sorted(set(body) - known):
        return envelope(400, f"{unknown[0]}: Extra inputs are not permitted")
    for name in NEEDED:
        if name not in body:
            return envelope(400, f"{name}: Field required")
    if batch and body.get("stream"):
        return envelope(400, "stream: streaming is not supported in a batch")
    if body["model"] != model:
        return envelope(404, f"model: {body['model']}")
    text = text_of(body)
    failure = failure_in(text) or ""
    if failure in ROW_ERRORS:
        return envelope(*ROW_ERRORS[failure])
    return 200, message(body, text, STOPS.get(failure, "end_turn"), batch=batch)


def message(body: dict[str, Any], text: str, stop: str, *, batch: bool) -> dict[str, Any]:
    refused = {"type": "refusal", "category": "cyber", "explanation": None}
    return {
        "id": "msg_013Zva2CMHLNnXjNJJKqJ2EF",
        "type": "message",
        "role": "assistant",
        "model": f"{body['model']}-20251001",
        "content": [] if stop == "refusal" else [{"type": "text", "text": text}],
        "stop_reason": stop,
        "stop_sequence": None,
        "stop_details": refused if stop == "refusal" else None,
        "usage": {
            "input_tokens": 9,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 4,
            "output_tokens": 5,
            "service_tier": "batch" if batch else "standard",
        },
    }
