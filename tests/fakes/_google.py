"""What both of Google's fakes say: errors in Google's words, and answers of its models."""

from typing import Any

from aiohttp import web

NAMES = {
    400: (3, "INVALID_ARGUMENT"),
    401: (16, "UNAUTHENTICATED"),
    403: (7, "PERMISSION_DENIED"),
    404: (5, "NOT_FOUND"),
    408: (4, "DEADLINE_EXCEEDED"),
    409: (6, "ALREADY_EXISTS"),
    413: (3, "INVALID_ARGUMENT"),
    429: (8, "RESOURCE_EXHAUSTED"),
    499: (1, "CANCELLED"),
    500: (13, "INTERNAL"),
    503: (14, "UNAVAILABLE"),
    504: (4, "DEADLINE_EXCEEDED"),
}

#: What a row fails with, by class: HTTP status, words. Those of a class that is no error but an
#: answer stand below.
ROW_ERRORS = {
    "rate_limited": (
        429,
        "You exceeded your current quota, please check your plan and billing details.",
    ),
    "quota": (429, "The number of enqueued tokens exceeds the limit for batches of this model."),
    "server": (503, "The model is overloaded. Please try again later."),
    "invalid_media": (400, "Unable to process input image. Please retry."),
    "too_long": (
        400,
        "The input token count (1200293) exceeds the maximum number of tokens allowed (1048576).",
    ),
    "invalid_request": (400, "Invalid value at 'generation_config.temperature': 9"),
    "account": (403, "This API method requires billing to be enabled. Please enable billing."),
    "canceled": (499, "The operation was cancelled."),
    "expired": (504, "The batch expired before this request was run."),
}
STOPPED = {
    "truncated": "MAX_TOKENS",
    "refused": "SAFETY",
    "schema": "MALFORMED_FUNCTION_CALL",
}

FIELDS = frozenset(
    {
        "model",
        "contents",
        "systemInstruction",
        "tools",
        "toolConfig",
        "safetySettings",
        "generationConfig",
        "cachedContent",
        "serviceTier",
        "store",
    }
)
EMBED_FIELDS = frozenset({"model", "content", "taskType", "title", "outputDimensionality"})


def status(http: int, message: str = "", details: list[Any] | None = None) -> dict[str, Any]:
    """Return the error of an HTTP answer."""
    name = NAMES.get(http, (2, "UNKNOWN"))[1]
    return {"error": {"code": http, "message": message or name, "status": name}} | (
        {"error": {"code": http, "message": message, "status": name, "details": details}}
        if details
        else {}
    )


def rpc(http: int, message: str) -> dict[str, Any]:
    """Return the error of a row or a job: a `google.rpc.Status`."""
    return {"code": NAMES.get(http, (2, ""))[0], "message": message}


def response(http: int, message: str = "", details: list[Any] | None = None) -> web.Response:
    return web.json_response(status(http, message, details), status=http)


def camel(name: str) -> str:
    """Return a field's other spelling: proto's JSON takes both."""
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


def spelled(found: dict[str, Any]) -> dict[str, Any]:
    return {camel(name): value for name, value in found.items()}


def answer(text: str, model: str, finish: str = "STOP") -> dict[str, Any]:
    words = len(text.split())
    return {
        "candidates": [
            {
                "content": {"parts": [{"text": text}], "role": "model"},
                "finishReason": finish,
                "index": 0,
            }
        ],
        "usageMetadata": {
            "promptTokenCount": words,
            "candidatesTokenCount": words,
            "totalTokenCount": 2 * words,
        },
        "modelVersion": model,
        "responseId": "r-1",
    }


def vector(text: str) -> dict[str, Any]:
    return {
        "embedding": {"values": [float(len(text)), 0.5, -0.25]},
        "usageMetadata": {"promptTokenCount": len(text.split())},
    }
