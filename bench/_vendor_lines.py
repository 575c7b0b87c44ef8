"""Request bodies and result lines of every dialect, as short as a vendor has them, and of 4 KB."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from batchmill.core import request as asked
from batchmill.core.request import Request
from batchmill.wire import anthropic, bedrock, gemini, mistral, openai, openrouter

SHARD = "batch_x-0001"
SHORT, LONG = 300, 4096
_SAID = (
    "A stainless steel bottle of 750 ml, \u201cmatte\u201d black:\n dishwasher safe, with a lid. "
)
_ROW = b"~ROW~"

Parse = Callable[[bytes], Any]
Render = Callable[[Request], bytes]


@dataclass(frozen=True)
class Kind:
    """One dialect at one vendor: what is asked, what comes back, and who reads and writes it."""

    name: str
    body: Callable[[str], dict[str, Any]]
    line: Callable[[str], dict[str, Any]]
    parse: Parse
    render: Render

    def request(self, size: int) -> bytes:
        return _of_size(self.body, size)

    def result_line(self, size: int) -> bytes:
        return _of_size(self.line, size)

    def result_lines(self, size: int, rows: int) -> list[bytes]:
        line = self.result_line(size)
        return [line.replace(_ROW, self._id(row)) for row in range(rows)]

    def _id(self, row: int) -> bytes:
        return b"R%010d" % row if self.name.startswith("bedrock") else f"{SHARD}-{row}".encode()

    def requests(self, size: int, rows: int) -> list[Request]:
        body = self.request(size)
        return [Request(f"{SHARD}-{row}", body) for row in range(rows)]

    def write_file(self, path: Path, size: int, size_bytes: int) -> int:
        """Write a result file of about *size_bytes*; return how many rows it has."""
        head, tail = self.result_line(size).split(_ROW)
        row = written = 0
        with path.open("wb") as file:
            while written < size_bytes:
                ids = map(self._id, range(row, row + 1000))
                written += file.write(b"".join(head + one + tail + b"\n" for one in ids))
                row += 1000
        return row


def _of_size(make: Callable[[str], dict[str, Any]], size: int) -> bytes:
    """Return what *make* says around a text, of about *size* bytes; or as short as it can be."""

    def dumped(text: str) -> bytes:
        return json.dumps(make(text), separators=(",", ":"), ensure_ascii=False).encode()

    room = max(size - len(dumped("")), 12)
    return dumped((_SAID * (room // 80 + 1))[: max(8, room - room // 20)])


def _messages(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def _chat_body(text: str) -> dict[str, Any]:
    return {"model": "gpt-4o-mini", "messages": _messages(text), "max_tokens": 100}


def _chat(text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    return {
        "id": "chatcmpl-123",
        "object": "chat.completion",
        "created": 1711652795,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 22, "completion_tokens": 9, "total_tokens": 31},
        "system_fingerprint": "fp_123",
    }


def _responses(text: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": []}
    message = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant"}
    return {
        "id": "resp_1",
        "object": "response",
        "status": "completed",
        "model": "gpt-4o-mini-2024-07-18",
        "output": [{**message, "content": [part]}],
        "usage": {"input_tokens": 22, "output_tokens": 9, "total_tokens": 31},
    }


def _embedding(text: str) -> dict[str, Any]:
    vector = [round(0.0123456 * (n % 7 - 3.5), 8) for n in range(max(1, len(text) // 12))]
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": vector}],
        "model": "text-embedding-3-small",
        "usage": {"prompt_tokens": 22, "total_tokens": 22},
    }


def _openai_line(answer: Callable[[str], dict[str, Any]], text: str) -> dict[str, Any]:
    response = {"status_code": 200, "request_id": "req_123", "body": answer(text)}
    return {
        "id": "batch_req_123",
        "custom_id": _ROW.decode(),
        "response": response,
        "error": None,
    }


def _claude_body(text: str) -> dict[str, Any]:
    return {"model": "claude-haiku-4-5", "max_tokens": 100, "messages": _messages(text)}


def _claude(text: str) -> dict[str, Any]:
    return {
        "id": "msg_123",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-4-5-20251001",
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 22, "output_tokens": 9},
    }


def _claude_line(text: str) -> dict[str, Any]:
    return {
        "custom_id": _ROW.decode(),
        "result": {"type": "succeeded", "message": _claude(text)},
    }


def _google_body(text: str) -> dict[str, Any]:
    contents = [{"role": "user", "parts": [{"text": text}]}]
    return {"contents": contents, "generationConfig": {"maxOutputTokens": 100}}


def _google(text: str) -> dict[str, Any]:
    content = {"role": "model", "parts": [{"text": text}]}
    return {
        "candidates": [{"content": content, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {
            "promptTokenCount": 22,
            "candidatesTokenCount": 9,
            "totalTokenCount": 31,
        },
        "modelVersion": "gemini-2.5-flash-lite",
    }


def _vertex_line(text: str) -> dict[str, Any]:
    request = _google_body("Describe it.") | {"labels": {"batchmill": _ROW.decode()}}
    return {"status": "", "request": request, "response": _google(text)}


def _mistral_line(text: str) -> dict[str, Any]:
    response = {"status_code": 200, "body": _chat(text)}
    return {"id": "batch-1-2", "custom_id": _ROW.decode(), "response": response, "error": None}


def _nova_body(text: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": [{"text": text}]}]
    return {"messages": messages, "inferenceConfig": {"maxTokens": 100}}


def _nova(text: str) -> dict[str, Any]:
    return {
        "output": {"message": {"role": "assistant", "content": [{"text": text}]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": 22, "outputTokens": 9, "totalTokens": 31},
    }


def _record(answer: Callable[[str], dict[str, Any]], echo: object, text: str) -> dict[str, Any]:
    return {"modelInput": echo, "modelOutput": answer(text), "recordId": _ROW.decode()}


def _openai_kind(
    dialect: str, body: Callable[[str], dict[str, Any]], answer: Callable[[str], dict[str, Any]]
) -> Kind:
    return Kind(
        f"openai {dialect.partition('.')[2]}",
        body,
        partial(_openai_line, answer),
        lambda line: openai.parse_result_line(line, dialect),
        lambda request: openai.render_request_line(request, asked.DIALECTS[dialect].url),
    )


def _bedrock_kind(
    name: str,
    dialect: str,
    body: Callable[[str], dict[str, Any]],
    answer: Callable[[str], dict[str, Any]],
) -> Kind:
    return Kind(
        f"bedrock {name}",
        body,
        partial(_record, answer, body("Describe it.")),
        lambda line: bedrock.parse_record(line, dialect, SHARD),
        lambda request: bedrock.render_record(request, dialect),
    )


def kinds() -> Iterator[Kind]:
    """Yield every dialect that a batch lane speaks."""
    yield _openai_kind(asked.OPENAI_CHAT, _chat_body, _chat)
    yield _openai_kind(
        asked.OPENAI_RESPONSES, lambda text: {"model": "gpt-4o-mini", "input": text}, _responses
    )
    yield _openai_kind(
        asked.OPENAI_EMBEDDINGS,
        lambda text: {"model": "text-embedding-3-small", "input": text},
        _embedding,
    )
    yield Kind(
        "anthropic",
        _claude_body,
        _claude_line,
        anthropic.parse_result_line,
        anthropic.render_request,
    )
    yield Kind(
        "gemini",
        _google_body,
        lambda text: {"key": _ROW.decode(), "response": _google(text)},
        lambda line: gemini.parse_line(line, asked.GEMINI_GENERATE),
        gemini.render_line,
    )
    yield Kind(
        "vertex",
        _google_body,
        _vertex_line,
        lambda line: gemini.parse_vertex_line(line, asked.GEMINI_GENERATE),
        gemini.render_vertex_line,
    )
    yield Kind(
        "mistral",
        _chat_body,
        _mistral_line,
        lambda line: mistral.parse_result_line(line, asked.MISTRAL_CHAT),
        mistral.render_request_line,
    )
    yield _bedrock_kind("converse", asked.BEDROCK_CONVERSE, _nova_body, _nova)
    yield _bedrock_kind("claude", asked.ANTHROPIC_MESSAGES, _claude_body, _claude)
    yield Kind(
        "openrouter",
        _chat_body,
        partial(_openai_line, _chat),
        lambda line: openrouter.parse_item(line, asked.OPENAI_CHAT),
        lambda request: openrouter.render_item(request, "gpt-4o-mini", "openai/gpt-4o-mini:batch"),
    )


def kind(vendor: str) -> Kind:
    """Return the kind that is streamed for a vendor: the first of its dialects."""
    return next(one for one in kinds() if one.name.split()[0] == vendor)
