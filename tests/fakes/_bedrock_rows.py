"""What Bedrock says to one record, in the words of Converse or of Anthropic's own API."""

import json
import re
from collections.abc import Callable
from typing import Any

from tests.fakes import _aws
from tests.fakes.vendor import failure_in

#: Older pages want exactly eleven letters and digits; whoever keeps to that is right everywhere.
_RECORD_ID = re.compile(r"[a-zA-Z0-9]{11}")
RECORDS_MAX = 50_000

#: (errorCode, errorMessage); the words are those of the threads named in tests/wire/test_bedrock.py
FAILURES = {
    "rate_limited": (429, "Too many requests, please wait before trying again."),
    "quota": (429, "Too many tokens per day, please wait before trying again."),
    "server": (500, "The system encountered an unexpected error. Try your request again."),
    "too_long": (400, "Input is too long for requested model."),
    "invalid_media": (400, "messages.0.content.0.image.source.bytes: Could not process image"),
    "invalid_request": (400, "max_tokens: must be greater than or equal to 1"),
    "account": (403, "You don't have access to the model with the specified model ID."),
}
_STOPS = {
    "refused": ("content_filtered", "refusal"),
    "truncated": ("max_tokens", "max_tokens"),
}
_MESSAGES = {"messages", "max_tokens", "anthropic_version"}
_MESSAGES_MAY = {
    "system",
    "temperature",
    "top_p",
    "top_k",
    "stop_sequences",
    "tools",
    "tool_choice",
    "thinking",
    "metadata",
    "anthropic_beta",
    "output_config",
    "output_format",
}


def body(text: str, model: str) -> dict[str, Any]:
    if "anthropic." in model:
        message = {"role": "user", "content": text}
        return {"model": model, "max_tokens": 64, "messages": [message]}
    return {
        "messages": [{"role": "user", "content": [{"text": text}]}],
        "inferenceConfig": {"maxTokens": 64},
    }


def text_of(given: dict[str, Any]) -> str:
    content = given["messages"][-1]["content"]
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def records(data: bytes, least: int) -> dict[str, dict[str, Any]]:
    """Read an input file; raise `ValueError` with why the job fails. modelInput is not looked at."""
    found: dict[str, dict[str, Any]] = {}
    for line in data.splitlines():
        record = json.loads(line)
        if set(record) != {"recordId", "modelInput"} or not isinstance(record["modelInput"], dict):
            raise ValueError("A record must hold recordId and modelInput")
        if _RECORD_ID.fullmatch(record["recordId"]) is None or record["recordId"] in found:
            raise ValueError(f"The recordId {record['recordId']} is not valid")
        found[record["recordId"]] = record["modelInput"]
    if len(found) < least:
        raise ValueError(
            f"The job contains {len(found)} records, less than the required minimum of {least}"
        )
    if len(found) > RECORDS_MAX:
        raise ValueError(f"The number of records exceeds the maximum of {RECORDS_MAX}")
    return found


def counts(lines: list[bytes]) -> dict[str, int]:
    errors = sum(b'"error"' in line for line in lines)
    return {
        "processedRecordCount": len(lines),
        "successRecordCount": len(lines) - errors,
        "errorRecordCount": errors,
    }


def manifest(lines: list[bytes]) -> dict[str, int]:
    """Return what lies beside an output file; what could not be told is 0."""
    done = counts(lines)
    tokens = {"inputTokenCount": 5, "outputTokenCount": 3}
    answered = {name: each * done["successRecordCount"] for name, each in tokens.items()}
    return {"totalRecordCount": len(lines), **done, **answered}


def answerer(kind: str) -> Callable[[str, dict[str, Any]], bytes]:
    """Return what makes the line of a record of a job of this modelInvocationType."""

    def answer(name: str, given: dict[str, Any]) -> bytes:
        found = outcome(kind, given, batch=True)
        return json.dumps({"recordId": name, "modelInput": given, **found}).encode()

    return answer


def outcome(kind: str, given: dict[str, Any], *, batch: bool = False) -> dict[str, Any]:
    """Return `modelOutput` or `error`."""
    if said := _complaint(kind, given, batch=batch):
        return {"error": {"errorCode": 400, "errorMessage": said}}
    text = text_of(given)
    asked = failure_in(text) or ""
    if asked in FAILURES:
        status, said = FAILURES[asked]
        return {"error": {"errorCode": status, "errorMessage": said}}
    in_converse, in_messages = _STOPS.get(asked, ("end_turn", "end_turn"))
    if kind == "Converse":
        return {"modelOutput": _converse(text, in_converse)}
    return {"modelOutput": _message(text, in_messages)}


def _complaint(kind: str, given: dict[str, Any], *, batch: bool) -> str:
    if kind == "Converse":
        if batch and "toolConfig" in given:
            return "toolConfig is not supported in batch inference"
        return _aws.complaint("bedrock-runtime", "Converse", given, besides="modelId")
    for name in sorted(_MESSAGES - set(given)):
        return f"{name}: Field required"
    for name in sorted(set(given) - _MESSAGES - _MESSAGES_MAY):
        return f"{name}: Extra inputs are not permitted"
    return ""


def _converse(text: str, stop: str) -> dict[str, Any]:
    return {
        "output": {"message": {"role": "assistant", "content": [{"text": text}]}},
        "stopReason": stop,
        "usage": {"inputTokens": 5, "outputTokens": 3, "totalTokens": 8},
        "metrics": {"latencyMs": 100},
    }


def _message(text: str, stop: str) -> dict[str, Any]:
    return {
        "model": "claude-haiku-4-5-20251001",
        "id": "msg_bdrk_01",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": text}],
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {"input_tokens": 5, "output_tokens": 3},
    }
