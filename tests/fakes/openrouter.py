"""
OpenRouter on loopback: batches with their requests in the creating call, and its live endpoints.

Written from the vendor's pages (as of 2026-09), from what third parties wrote down of real calls
(2026-08-29, 2026-09-04, 2026-09-28), and from what its SDK 1.3.84 sends and demands.
"""

import json
from collections.abc import Iterable
from datetime import datetime
from email.utils import formatdate
from typing import Any

from aiohttp import web
from tests.fakes.vendor import FakeVendor, Sold, failure_in, operation

ENDPOINTS = ("/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/embeddings")
CREATE_FIELDS = ("endpoint", "model", "callback_url", "completion_window", "provider", "requests")
LIST_FIELDS = frozenset(["limit", "after", "status", "created_after", "created_before"])
TERMINAL = ("completed", "failed", "expired", "cancelled")
REQUESTS_MAX = 5_000

#: What a row that asks for a failure gets: status, `error_type`, message. From the page "Errors and
#: debugging", but for the words in which it leaves us alone.
ROW_ERRORS: dict[str, tuple[int, str, str]] = {
    "rate_limited": (429, "rate_limit_exceeded", "Rate limit exceeded"),
    "server": (502, "provider_unavailable", "Provider disconnected mid-stream"),
    "refused": (400, "content_policy_violation", "The input was flagged by a content filter"),
    "invalid_media": (400, "image_download_failed", "Could not download the image"),
    "too_long": (
        400,
        "context_length_exceeded",
        "This endpoint's maximum context length is 32768 tokens. However, you requested about 42832",
    ),
    "invalid_request": (400, "invalid_prompt", "A message has an unsupported role"),
    "account": (402, "payment_required", "Insufficient credits"),
}


class FakeOpenRouter(FakeVendor):
    name = "openrouter"
    model = "openai/gpt-4o"

    def __init__(self) -> None:
        super().__init__()
        self.created: list[list[str]] = []  #: names of the members of each creating call, in order
        self.paged = False  #: whether results have pages of their own, and are not in the batch

    @property
    def base_url(self) -> str:
        return f"{self.host}/api/v1"

    def routes(self) -> Iterable[web.RouteDef]:
        return (
            web.post("/api/v1/batches", self.create),
            web.get("/api/v1/batches", self.list),
            web.get("/api/v1/batches/{id}", self.get),
            web.get("/api/v1/batches/{id}/results", self.results),
            web.delete("/api/v1/batches/{id}", self.delete),
            web.post("/api/v1/chat/completions", self.live),
            web.post("/api/v1/embeddings", self.live),
            web.get("/api/v1/key", self.probe),
        )

    def body(self, text: str) -> dict[str, Any]:
        return {"model": self.model, "messages": [{"role": "user", "content": text}]}

    def text_of(self, body: dict[str, Any]) -> str:
        found = body["input"] if "input" in body else body["messages"][-1]["content"]
        return found if isinstance(found, str) else json.dumps(found)

    def error(self, status: int, message: str = "", code: str = "") -> web.Response:
        words = message or {
            401: "No auth credentials found",
            402: "Insufficient credits. Add more using https://openrouter.ai/credits",
            404: "Not Found",
            429: "Rate limit exceeded",
        }.get(status, "Internal Server Error")
        said: dict[str, Any] = {"code": status, "message": words}
        if code:
            said["metadata"] = {"error_type": code}
        return web.json_response({"error": said}, status=status)

    # -- batches ------------------------------------------------------------------------------

    @operation("create")
    async def create(self, request: web.Request) -> web.StreamResponse:
        if (no := self._stranger(request)) is not None:
            return no
        if request.content_type != "application/json":
            return self.error(400, "Expected a JSON body")
        names: list[str] = []
        try:
            pairs = json.loads(await request.read(), object_pairs_hook=list)
            names = [name for name, _ in pairs]
            asked = json.loads(await request.read())
        except (ValueError, TypeError):
            return self.error(400, "expected a value but got something else")
        self.created.append(names)
        if (no := self._refused(names, asked)) is not None:
            return no
        requests = {row["custom_id"]: row["body"] for row in asked["requests"]}
        sold = Sold(f"batch-{int(self.now())}-{self.token(20)}", "", requests, self.now())
        sold.facts = {"endpoint": asked["endpoint"], "model": asked["model"]}
        self.sold.append(sold)
        return web.json_response(self.batch(sold), status=202)

    def _refused(self, names: list[str], asked: dict[str, Any]) -> web.Response | None:
        if odd := [name for name in names if name not in CREATE_FIELDS]:
            return self.error(400, f"Unrecognized key: {odd[0]}")
        for name in ("endpoint", "model", "requests"):
            if name not in names:
                return self.error(400, f"{name}: Invalid input: expected a value")
        if {"endpoint", "model", "callback_url"} & set(names[names.index("requests") :]):
            return self.error(400, "endpoint, model and callback_url must come before requests")
        if asked["endpoint"] not in ENDPOINTS:
            return self.error(400, "endpoint: Invalid option")
        if asked.get("completion_window", "24h") != "24h":
            return self.error(400, "completion_window: Invalid input: expected '24h'")
        if not asked["model"].endswith(":batch") or "no-such" in asked["model"]:
            words = f"Model '{asked['model']}' does not have a :batch endpoint."
            return self.error(400, f"HTTP 400: invalid batch inference job: {words}")
        rows = asked["requests"]
        if not isinstance(rows, list) or not 1 <= len(rows) <= REQUESTS_MAX:
            return self.error(413 if rows else 400, f"requests: 1 to {REQUESTS_MAX} are taken")
        return self._row_refused(rows, asked["model"])

    def _row_refused(self, rows: list[dict[str, Any]], model: str) -> web.Response | None:
        seen: set[str] = set()
        for n, row in enumerate(rows):
            if row.keys() != {"custom_id", "body"} or not isinstance(row["custom_id"], str):
                return self.error(400, "custom_id: Invalid input: expected string")
            if row["custom_id"] in seen:
                words = f"Request at line {n + 1} has a duplicate custom_id '{row['custom_id']}'"
                return self.error(422, words)
            seen.add(row["custom_id"])
            if row["body"].get("model", model) != model:
                return self.error(400, f"Request at line {n + 1} has another model than the batch")
        return None

    def complaint(self, sold: Sold) -> str:
        """Return why a batch fails after it was accepted; empty where it does not."""
        if said := self.refusal_of(sold):
            return said
        for n, (name, body) in enumerate(sold.requests.items(), 1):
            if (bad := self.weather.bad_lines.get(n)) and self.weather.ending == "failed":
                return f"Batch request '{name}' {bad}"
            if not body.get("messages") and not body.get("input"):
                return f"Batch request '{name}' has no messages"
            if body.get("max_tokens", 1) < 1:
                return (
                    f"Batch request '{name}' sets 'max_tokens' below 1; each batched request must "
                    "allow at least 1 output token."
                )
        return ""

    def ending_of(self, sold: Sold) -> str:
        if sold.ours and self.complaint(sold):
            return "failed"
        return super().ending_of(sold)

    def batch(self, sold: Sold) -> dict[str, Any]:
        """Return what is told of a batch without its results."""
        ending = self.ending_of(sold)
        status = ending if sold.ended else ("in_progress" if sold.polls else "validating")
        good, bad = 0, 0
        if sold.ended:
            good, bad = self._told(sold)[1:]
        if status == "failed":
            bad = len(sold.requests)
        error = {"message": self.complaint(sold) or "it failed"} if status == "failed" else None
        return {
            "id": sold.id,
            "object": "batch",
            "endpoint": sold.facts.get("endpoint", ENDPOINTS[0]),
            # Not the name it was asked for by (2026-09-04).
            "model": sold.facts.get("model", self.model).removesuffix(":batch") + "-20260101",
            "provider": "OpenAI",
            "completion_window": "24h",
            "status": status,
            "created_at": int(sold.at),
            "expires_at": int(sold.at) + 86_400,
            "finalized_at": int(self.now()) if sold.ended else None,
            "request_counts": {"total": len(sold.requests), "completed": good, "failed": bad},
            "usage": None,
            "results": None,
            "error": error,
        }

    def _told(self, sold: Sold) -> tuple[list[bytes], int, int]:
        return self.told(sold, lambda: self._tell(sold))

    def _tell(self, sold: Sold) -> tuple[list[bytes], int, int]:
        """Run what is run of a batch. Only of a completed one anything is told."""
        if self.ending_of(sold) != "completed":
            return [], 0, 0
        rows = [(name, *self.answer(sold.requests[name])) for name in self.run_rows(sold)]
        good = sum(status == 200 for _, status, _ in rows)
        items = [_item(n, *row) for n, row in enumerate(rows)]
        foreign = _chat("x", self.model)
        items = self.odd(items, lambda n: _item(n, f"foreign-{n}", 200, foreign))
        return items, good, len(rows) - good

    def answer(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Return status and body of the answer to one request."""
        text = self.text_of(body)
        failure = failure_in(text)
        if failure in ROW_ERRORS:
            status, kind, words = ROW_ERRORS[failure]
            said = {"code": status, "message": words, "metadata": {"error_type": kind}}
            return status, {"error": said}
        if "input" in body:
            vector = {"object": "embedding", "embedding": [0.5], "index": 0}
            usage = {"prompt_tokens": 4, "total_tokens": 4}
            answer = {"object": "list", "data": [vector], "model": self.model, "usage": usage}
            return 200, answer
        finish = "length" if failure == "truncated" else "stop"
        return 200, _chat(text, body.get("model", self.model), finish)

    @operation("get")
    async def get(self, request: web.Request) -> web.StreamResponse:
        if (no := self._stranger(request)) is not None:
            return no
        if (sold := self._there(self.looked_at(request.match_info["id"]))) is None:
            return self.error(404, f"Batch job {request.match_info['id']} not found.")
        batch = self.batch(sold)
        error = json.dumps(batch.pop("error")).encode()
        batch.pop("results", None)
        head = json.dumps(batch).encode()[:-1]
        if batch["status"] != "completed" or self.paged:
            data = head + b', "results": null, "error": ' + error + b"}"
            return web.Response(body=data, content_type="application/json")
        items = b",\n".join(self._told(sold)[0])
        data = head + b', "results": [' + items + b'], "error": ' + error + b"}"
        return await self.sent(request, data, "application/json")

    @operation("content")
    async def results(self, request: web.Request) -> web.StreamResponse:
        if (no := self._stranger(request)) is not None:
            return no
        sold = next((one for one in self.sold if one.id == request.match_info["id"]), None)
        if self._there(sold) is None or sold is None or not sold.ended or not self.paged:
            return self.error(404)
        items = self._told(sold)[0]
        start, limit = int(request.query.get("cursor", 0)), int(request.query.get("limit", 500))
        if not 1 <= limit <= 1000:
            return self.error(400, "limit: 1 to 1000")
        more = start + limit < len(items)
        tail = {"has_more": more, "next_cursor": str(start + limit) if more else None}
        page = b",".join(items[start : start + limit])
        data = b'{"object": "list", "data": [' + page + b"], " + json.dumps(tail).encode()[1:]
        return await self.sent(request, data, "application/json")

    @operation("list")
    async def list(self, request: web.Request) -> web.StreamResponse:
        if (no := self._stranger(request)) is not None:
            return no
        query = request.query
        if odd := query.keys() - LIST_FIELDS:
            return self.error(400, f"Unrecognized key: {min(odd)}")
        if not 1 <= (limit := int(query.get("limit", 20))) <= 100:
            return self.error(400, "limit: 1 to 100")
        found = [sold for sold in self.listed() if self._there(sold) is not None]
        for sold in found:  # time passes, whichever way one looks
            sold.polls += sold.ours and "after" not in query
            sold.ended = sold.ended or sold.polls > self.weather.polls
        if "created_after" in query:
            since = datetime.fromisoformat(query["created_after"]).timestamp()
            found = [sold for sold in found if sold.at > since]
        ids = [sold.id for sold in found]
        if (after := query.get("after")) is not None:
            if after not in ids:
                return self.error(400, "after: no such batch")
            found = found[ids.index(after) + 1 :]
        shown = [self.batch(sold) for sold in found[:limit]]
        page = {
            "object": "list",
            "data": shown,
            "first_id": shown[0]["id"] if shown else None,
            "last_id": shown[-1]["id"] if shown else None,
            "has_more": len(found) > limit,
        }
        return web.json_response(page, headers={"date": formatdate(self.now(), usegmt=True)})

    @operation("delete")
    async def delete(self, request: web.Request) -> web.StreamResponse:
        if (no := self._stranger(request)) is not None:
            return no
        sold = next((one for one in self.sold if one.id == request.match_info["id"]), None)
        if sold is None or self._there(sold) is None:
            return self.error(404)
        if not sold.ended:
            return self.error(409, "Only batches in a terminal status can be deleted.")
        sold.facts["deleted"] = True
        targets = {"openrouter": "deleted"}
        return web.json_response({"id": sold.id, "object": "batch", "deletion": targets})

    def _there(self, sold: Sold | None) -> Sold | None:
        return None if sold is None or sold.facts.get("deleted") else sold

    # -- live ---------------------------------------------------------------------------------

    @operation("live")
    async def live(self, request: web.Request) -> web.StreamResponse:
        if (no := self._stranger(request)) is not None:
            return no
        status, answer = self.answer(await request.json())
        # In a batch it is the batch that has a price, and not the row (SDK 1.3.84).
        answer.get("usage", {})["cost"] = 0.000225
        return web.json_response(answer, status=status)

    @operation("probe")
    async def probe(self, request: web.Request) -> web.StreamResponse:
        if (no := self._stranger(request)) is not None:
            return no
        return web.json_response({"data": {"label": "sk-or-…", "limit_remaining": 12.5}})

    def _stranger(self, request: web.Request) -> web.Response | None:
        right = request.headers.get("authorization") == f"Bearer {self.key}"
        return None if right else self.error(401)


def _chat(text: str, model: str, finish: str = "stop") -> dict[str, Any]:
    message = {"role": "assistant", "content": text, "refusal": None, "reasoning": None}
    choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
    choice["native_finish_reason"] = finish
    usage = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
    return {
        "id": "gen-batch-1",
        "object": "chat.completion",
        "created": 1_782_097_200,
        "model": model,
        "provider": "OpenAI",
        "system_fingerprint": None,
        "choices": [choice],
        "usage": usage,
    }


def _item(n: int, name: str, status: int, body: dict[str, Any]) -> bytes:
    """Return one result: a response or, for a row that failed, an error."""
    item: dict[str, Any] = {"id": f"batch_req_{n}", "custom_id": name}
    if status == 200:
        response = {"status_code": 200, "request_id": f"request_{n}", "body": body}
        return json.dumps({**item, "response": response, "error": None}).encode()
    said = body["error"]
    error = {
        "type": "invalid_request_error",
        "message": said["message"],
        "param": None,
        "error_type": said["metadata"]["error_type"],
    }
    return json.dumps({**item, "response": None, "error": error}).encode()


FAKE = FakeOpenRouter
