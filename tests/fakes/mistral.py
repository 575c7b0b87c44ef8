"""
Mistral on loopback: files, batch jobs, and its live endpoints.

Written from the vendor's pages, held to what its SDK sends, and to what a third party wrote down of
real jobs (2026-09-02 and 2026-09-04): lines are looked at when they are uploaded, a job may answer
404 right after it was made, the bodies of failed rows are JSON in a text, and neither missing nor
repeated custom_ids are refused.
"""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from aiohttp import web
from tests.fakes._mistral_files import MistralFiles
from tests.fakes._mistral_rows import ROW_ERRORS, chat, embedding, line, said, wrong_in
from tests.fakes.vendor import Sold, failure_in, jsonl, operation

ENDPOINTS = (
    "/v1/chat/completions",
    "/v1/embeddings",
    "/v1/fim/completions",
    "/v1/moderations",
    "/v1/chat/moderations",
    "/v1/ocr",
    "/v1/classifications",
    "/v1/chat/classifications",
    "/v1/conversations",
    "/v1/audio/transcriptions",
)
CREATE_FIELDS = frozenset(
    ["endpoint", "input_files", "requests", "model", "agent_id", "metadata", "timeout_hours"]
)
LIST_FIELDS = frozenset(
    [
        "page",
        "page_size",
        "model",
        "agent_id",
        "created_after",
        "created_by_me",
        "status",
        "order_by",
    ]
)
STATUSES = {
    "completed": "SUCCESS",
    "failed": "FAILED",
    "expired": "TIMEOUT_EXCEEDED",
    "cancelled": "CANCELLED",
}


class FakeMistral(MistralFiles):
    name = "mistral"
    model = "mistral-small-latest"

    def __init__(self) -> None:
        super().__init__()
        self.created: list[dict[str, Any]] = []  #: bodies of each creating call
        self.listings: list[list[tuple[str, str]]] = []  #: queries of each listing
        self.knows_filter = True  #: whether a list minds a filter by metadata
        self.turns_pages = True  #: whether a list minds the number of a page
        self.page_max = 100
        self.tells_total = True

    def routes(self) -> Iterable[web.RouteDef]:
        return (
            web.post("/v1/files", self.upload),
            web.get("/v1/files", self.file_list),
            web.get("/v1/files/{id}", self.file),
            web.delete("/v1/files/{id}", self.delete),
            web.get("/v1/files/{id}/content", self.content),
            web.get("/v1/files/{id}/url", self.signed_url),
            web.post("/v1/batch/jobs", self.create),
            web.get("/v1/batch/jobs", self.job_list),
            web.get("/v1/batch/jobs/{id}", self.get),
            web.delete("/v1/batch/jobs/{id}", self.job_delete),
            web.post("/v1/batch/jobs/{id}/cancel", self.cancel),
            web.post("/v1/chat/completions", self.live),
            web.post("/v1/embeddings", self.live),
            web.get("/v1/models", self.probe),
        )

    def body(self, text: str) -> dict[str, Any]:
        return {"model": self.model, "messages": [{"role": "user", "content": text}]}

    def text_of(self, body: dict[str, Any]) -> str:
        if "input" in body:
            found = body["input"]
            return found if isinstance(found, str) else " ".join(map(str, found))
        content = body["messages"][-1]["content"]
        if isinstance(content, str):
            return content
        return "".join(part.get("text", "") for part in content)

    def error(self, status: int, message: str = "", code: str = "") -> web.Response:
        if status == 401:
            return web.json_response({"detail": "Invalid API Key"}, status=401)
        if status in (403, 404):
            return web.json_response({"detail": message or "Not Found"}, status=status)
        if status == 422:
            return web.json_response({"detail": message or "Unprocessable"}, status=422)
        kind = {429: "rate_limited"}.get(status, "internal_server_error")
        words = message or {429: "Rate limit exceeded"}.get(status, "Service unavailable.")
        return web.json_response(said(status, kind, code or None, words), status=status)
        return web.json_response(said(status, kind, code or None, said), status=status)

    def batch_id(self) -> str:
        return self.uuid()

    # -- jobs ---------------------------------------------------------------------------------

    @operation("create")
    async def create(self, request: web.Request) -> web.StreamResponse:
        if (no := self._stranger(request)) is not None:
            return no
        if request.content_type != "application/json":
            return self.unprocessable("body", "", "Input should be a valid dictionary", "dict_type")
        asked = await request.json()
        self.created.append(asked)
        if (no := self._job_refused(asked)) is not None:
            return no
        rows = asked.get("requests") or [
            json.loads(one)
            for file_id in asked["input_files"]
            for one in self.files[file_id].splitlines()
        ]
        requests: dict[str, dict[str, Any]] = {}
        for n, row in enumerate(rows):
            name = row.get("custom_id")
            if name is None or name in requests:
                self.complaints.append(f"line {n + 1}: custom_id {name!r}")
            requests[name if name is not None else f"line {n}"] = row["body"]
        mark = (asked.get("metadata") or {}).get("batchmill_shard", "")
        sold = Sold(self.batch_id(), mark, requests, self.now())
        sold.facts = {"asked": asked}
        self.sold.append(sold)
        return web.json_response({**self.job(sold), "total_requests": 0})

    def _job_refused(self, asked: dict[str, Any]) -> web.Response | None:
        if odd := asked.keys() - CREATE_FIELDS:
            field = min(odd)
            return self.unprocessable(
                "body", field, "Extra inputs are not permitted", "extra_forbidden"
            )
        if asked.get("endpoint") not in ENDPOINTS:
            return self.unprocessable("body", "endpoint", "Input should be one of …", "enum")
        if bool(asked.get("input_files")) == bool(asked.get("requests")):
            return self.error(422, "Either input_files or requests must be given.")
        for file_id in asked.get("input_files") or []:
            if (no := self._no_uuid("input_files", file_id)) is not None:
                return no
            if file_id not in self.files:
                return self.error(404, "No files found for the given input file ids.")
        if len(asked.get("requests") or []) > 10_000:
            return self.unprocessable("body", "requests", "List should have ≤ 10000", "too_long")
        hours = asked.get("timeout_hours", 24)
        if not isinstance(hours, int) or not 1 <= hours <= 168:
            return self.unprocessable(
                "body", "timeout_hours", "Input should be ≥ 1", "greater_than_equal"
            )
        for key, value in (asked.get("metadata") or {}).items():
            if not 1 <= len(key) <= 32 or not isinstance(value, str) or not 1 <= len(value) <= 512:
                return self.unprocessable("body", "metadata", "too long", "string_too_long")
        if str(asked.get("model", self.model)).startswith("no-such"):
            return self.error(422, "You do not have access to the model")
        return None

    def job(self, sold: Sold, *, inline: bool = False) -> dict[str, Any]:
        """Return what is told of a job, as far as it is by now."""
        asked = sold.facts.get("asked", {})
        ending = self.ending_of(sold)
        status = "QUEUED" if sold.polls == 0 else "RUNNING"
        outputs, output_file, error_file, good, bad = None, None, None, 0, 0
        if sold.ended:
            status = STATUSES[ending]
            output_file, error_file, outputs, good, bad = self.told(sold, lambda: self._tell(sold))
        elif sold.cancelled:
            status = "CANCELLATION_REQUESTED"
        errors: list[dict[str, Any]] = []
        if sold.ended and ending == "failed":
            errors = [{"message": self.refusal_of(sold) or "Invalid input", "count": 1}]
        elif bad:
            errors = [{"message": "HTTP Error, status code: 400", "count": bad}]
        return {
            "id": sold.id,
            "object": "batch",
            "input_files": asked.get("input_files") or [],
            "metadata": asked.get("metadata"),
            "endpoint": asked.get("endpoint", ENDPOINTS[0]),
            "model": asked.get("model", self.model),
            "agent_id": None,
            "output_file": output_file,
            "error_file": error_file,
            "errors": errors,
            "outputs": outputs if inline else None,
            "status": status,
            "created_at": int(sold.at),
            "started_at": int(sold.at),
            "completed_at": int(self.now()) if sold.ended else None,
            "total_requests": len(sold.requests),
            "completed_requests": good + bad,
            "succeeded_requests": good,
            "failed_requests": bad,
        }

    def _tell(self, sold: Sold) -> tuple[str | None, str | None, list[Any], int, int]:
        """Run what is run of a job, and write its files."""
        good: list[bytes] = []
        bad: list[bytes] = []
        names = list(sold.requests)
        for name in self.run_rows(sold):
            status, body = self.answer(sold.requests[name], sold.facts.get("asked", {}))
            told = line(names.index(name), name, status, body)
            (good if status == 200 else bad).append(told)
        counts = len(good), len(bad)
        if good:
            good = self.odd(good, lambda n: line(n, f"foreign-{n}", 200, chat("x", "m")))
        files = [
            self.put(jsonl(lines), "results.jsonl", "batch_result", "mistral")["id"]
            if lines
            else None
            for lines in (good, bad)
        ]
        return files[0], files[1], [json.loads(told) for told in (*good, *bad)], *counts

    def answer(self, body: dict[str, Any], job: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Return status and body of the answer to one request."""
        text = self.text_of(body)
        failure = failure_in(text)
        model = job.get("model") or body.get("model") or self.model
        if failure == "truncated":
            return 200, chat(text, model, finish="length")
        if failure in ROW_ERRORS:
            status, kind, code, words = ROW_ERRORS[failure]
            return status, said(status, kind, code, words)
        if "input" in body:
            return 200, embedding(body["input"], model)
        return 200, chat(text, model)

    @operation("get")
    async def get(self, request: web.Request) -> web.StreamResponse:
        job_id = request.match_info["id"]
        no = self._stranger(request) or self._no_uuid("job_id", job_id)
        if no is not None:
            return no
        if (sold := self.looked_at(job_id)) is None:
            return self.error(404, "No batch job matches the given query.")
        return web.json_response(self.job(sold, inline=request.query.get("inline") == "true"))

    @operation("list")
    async def job_list(self, request: web.Request) -> web.StreamResponse:
        if (no := self._stranger(request)) is not None:
            return no
        query = request.query
        self.listings.append(list(query.items()))
        jobs = [self.job(sold) for sold in self.listed()]
        # Whatever is no name of its own is a filter by metadata (form-exploded, as the SDK sends).
        for name, value in query.items():
            if name not in LIST_FIELDS and self.knows_filter:
                jobs = [job for job in jobs if (job["metadata"] or {}).get(name) == value]
        if "created_after" in query:
            since = datetime.fromisoformat(query["created_after"]).timestamp()
            jobs = [job for job in jobs if job["created_at"] >= since]
        if wanted := query.getall("status", []):
            jobs = [job for job in jobs if job["status"] in wanted]
        if "model" in query:
            jobs = [job for job in jobs if job["model"] == query["model"]]
        size = min(int(query.get("page_size", 100)), self.page_max)
        page = int(query.get("page", 0)) if self.turns_pages else 0
        shown = jobs[page * size : (page + 1) * size]
        total = {"total": len(jobs)} if self.tells_total else {}
        return web.json_response({"data": shown, "object": "list", **total})

    @operation("cancel")
    async def cancel(self, request: web.Request) -> web.StreamResponse:
        job_id = request.match_info["id"]
        no = self._stranger(request) or self._no_uuid("job_id", job_id)
        if no is not None:
            return no
        sold = next((one for one in self.sold if one.id == job_id), None)
        if sold is None:
            return self.error(404, "No batch job matches the given query.")
        if sold.ended:
            return self.error(422, "The batch job has ended and cannot be cancelled.")
        sold.cancelled = True
        return web.json_response(self.job(sold))

    async def job_delete(self, request: web.Request) -> web.StreamResponse:
        if (no := self._stranger(request)) is not None:
            return no
        job_id = request.match_info["id"]
        return web.json_response({"id": job_id, "object": "batch", "deleted": True})

    # -- live ---------------------------------------------------------------------------------

    @operation("live")
    async def live(self, request: web.Request) -> web.StreamResponse:
        if (no := self._stranger(request)) is not None:
            return no
        body = await request.json()
        if wrong := wrong_in(body):
            return self.unprocessable("body", "", wrong, "value_error")
        if str(body.get("model")).startswith("no-such"):
            refusal = said(400, "invalid_model", "1500", f"Invalid model: {body['model']}")
            return web.json_response(refusal, status=400)
        status, answer = self.answer(body, {})
        return web.json_response(answer, status=status)

    @operation("probe")
    async def probe(self, request: web.Request) -> web.StreamResponse:
        if (no := self._stranger(request)) is not None:
            return no
        able = {"completion_chat": True, "function_calling": True, "vision": True}
        model = {"id": self.model, "object": "model", "owned_by": "mistralai", "type": "base"}
        return web.json_response({"object": "list", "data": [{**model, "capabilities": able}]})


FAKE = FakeMistral
