"""What the fakes of OpenAI's Files and Batches have in common: routes, objects, files of results."""

import json
from collections.abc import Iterable
from typing import Any, ClassVar

from aiohttp import web
from tests.fakes import _openai_rows as rows
from tests.fakes._forms import parts
from tests.fakes._openai_strict import odd_create, odd_form
from tests.fakes.vendor import FakeVendor, Sold, failure_in, jsonl, operation

MARK = "batchmill_shard"
STAMPS = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")
CANCELLABLE = ("validating", "in_progress", "finalizing", "cancelling", "cancelled")


class FakeFilesAndBatches(FakeVendor):
    """Subclasses say where it is, who may come in, and what is different."""

    roots: ClassVar[tuple[str, ...]] = ("/v1",)
    endpoints: ClassVar[tuple[str, ...]] = (
        "/v1/chat/completions",
        "/v1/responses",
        "/v1/embeddings",
    )
    windows: ClassVar[tuple[str, ...]] = ("24h",)
    rows_max: ClassVar[int] = 50_000
    file_has_kind: ClassVar[bool] = False  #: whether the part of a form must tell what it is
    expiry_s: ClassVar[tuple[int, int]] = (3600, 2_592_000)

    def __init__(self) -> None:
        super().__init__()
        self.models = [self.model]
        self.names: dict[str, str] = {}  #: file id -> the name it was uploaded under
        self.result_files: dict[str, bytes] = {}  #: what nobody has deleted

    # -- what a subclass may change -------------------------------------------------------------

    def may_enter(self, request: web.Request) -> bool:
        return request.headers.get("authorization") == f"Bearer {self.key}"

    def file_object(self, file_id: str, data: bytes) -> dict[str, Any]:
        return {
            "id": file_id,
            "object": "file",
            "bytes": len(data),
            "created_at": int(self.now()),
            "filename": self.names.get(file_id, f"{file_id}.jsonl"),
            "purpose": "batch_output" if file_id in self.result_files else "batch",
            "status": "processed",
            "expires_at": None,
            "status_details": None,
        }

    def batch_object(self, sold: Sold) -> dict[str, Any]:
        status = self.status_of(sold)
        facts = sold.facts
        output, errors = self.told(sold, lambda: self._results(sold)) if sold.ended else ("", "")
        counts = facts.get("counts", (0, 0)) if sold.ended else (0, 0)
        failed_early = status in ("validating", "failed")
        stamps = {f"{name}_at": None for name in STAMPS} | {f"{status}_at": int(self.now())}
        stamps.pop("validating_at", None)
        return {
            "id": sold.id,
            "object": "batch",
            "endpoint": facts.get("endpoint", self.endpoints[0]),
            "model": None if failed_early else self.model,
            "errors": self._errors(sold) if status == "failed" else None,
            "input_file_id": facts.get("input_file_id", f"file-of-{sold.id}"),
            "completion_window": facts.get("window", "24h"),
            "status": status,
            "output_file_id": output or None,
            "error_file_id": errors or None,
            "created_at": int(sold.at),
            "expires_at": int(sold.at) + 86_400,
            **stamps,
            "request_counts": {
                "total": 0 if failed_early else len(sold.requests),
                "completed": counts[0],
                "failed": counts[1],
            },
            "metadata": facts.get("metadata"),
        }

    def error(self, status: int, message: str = "", code: str = "") -> web.Response:
        words = {
            401: "Incorrect API key provided: sk-t**t.",
            429: "Rate limit reached for requests",
        }
        codes = {401: "invalid_api_key", 429: "rate_limit_exceeded"}
        kind = "server_error" if status >= 500 else "invalid_request_error"
        said = message or words.get(status) or f"It is {status} today."
        return web.json_response(
            rows.envelope(said, code or codes.get(status), kind), status=status
        )

    # -- what it is -----------------------------------------------------------------------------

    def routes(self) -> Iterable[web.RouteDef]:
        for root in self.roots:
            yield web.post(f"{root}/files", self.upload)
            yield web.get(f"{root}/files", self.list_files)
            yield web.get(f"{root}/files/{{id}}", self.get_file)
            yield web.get(f"{root}/files/{{id}}/content", self.content)
            yield web.delete(f"{root}/files/{{id}}", self.delete)
            yield web.post(f"{root}/batches", self.create)
            yield web.get(f"{root}/batches", self.list_batches)
            yield web.get(f"{root}/batches/{{id}}", self.get)
            yield web.post(f"{root}/batches/{{id}}/cancel", self.cancel)
            yield web.get(f"{root}/models", self.probe)
            for url in rows.FIELDS:
                yield web.post(f"{root}{url}", self.live)

    def body(self, text: str) -> dict[str, Any]:
        return {"model": self.model, "messages": [{"role": "user", "content": text}]}

    def text_of(self, body: dict[str, Any]) -> str:
        return rows.text_of(body)

    async def weathered(self, name: str, request: web.Request, respond: Any) -> web.StreamResponse:
        if (refused := self.at_the_door(request)) is not None:
            self.calls[name] += 1
            self.asked.append(f"{request.method} {request.path_qs}")
            await request.read()
            return refused
        return await super().weathered(name, request, respond)

    def at_the_door(self, request: web.Request) -> web.Response | None:
        return None if self.may_enter(request) else self.error(401)

    def refuse(self, message: str, code: str = "", status: int = 400) -> web.Response:
        """Refuse what no client of ours should ever say, and remember it."""
        self.complaints.append(message)
        return self.error(status, message, code)

    # -- files ----------------------------------------------------------------------------------

    @operation("upload")
    async def upload(self, request: web.Request) -> web.StreamResponse:
        found = parts(request.headers.get("content-type", ""), await request.read())
        if found is None:
            return self.refuse("Could not parse multipart form.")
        if (wrong := odd_form(found, self.expiry_s)) is not None:
            return self.refuse(*wrong)
        file = found[-1]
        if self.file_has_kind and not file.kind:
            words = "The file has no or an empty content type specified."
            return self.refuse(words, "invalidPayload")
        file_id = f"file-{self.token()}"
        self.files[file_id] = file.data
        self.names[file_id] = file.filename or ""
        return web.json_response(self.file_object(file_id, file.data))

    @operation("file")
    async def get_file(self, request: web.Request) -> web.StreamResponse:
        return await self.file_there(request)

    async def file_there(self, request: web.Request) -> web.StreamResponse:
        file_id = request.match_info["id"]
        data = self.files.get(file_id, self.result_files.get(file_id))
        if data is None:
            return self._no_such_file(file_id)
        return web.json_response(self.file_object(file_id, data))

    @operation("files")
    async def list_files(self, request: web.Request) -> web.StreamResponse:
        held = {**self.files, **self.result_files}
        found = [self.file_object(file_id, data) for file_id, data in held.items()]
        if purpose := request.query.get("purpose"):
            found = [file for file in found if file["purpose"] == purpose]
        if request.query.get("order", "desc") == "desc":
            found.reverse()
        return self._page(found, request, 10_000, 10_000)

    @operation("content")
    async def content(self, request: web.Request) -> web.StreamResponse:
        file_id = request.match_info["id"]
        data = self.files.get(file_id, self.result_files.get(file_id))
        if data is None:
            return self._no_such_file(file_id)
        return await self.sent(request, data, "application/octet-stream")

    @operation("delete")
    async def delete(self, request: web.Request) -> web.StreamResponse:
        file_id = request.match_info["id"]
        if self.files.pop(file_id, None) is None and self.result_files.pop(file_id, None) is None:
            return self._no_such_file(file_id)
        return web.json_response({"id": file_id, "object": "file", "deleted": True})

    def _no_such_file(self, file_id: str) -> web.Response:
        return self.error(404, f"No such File object: {file_id}")

    # -- batches --------------------------------------------------------------------------------

    @operation("create")
    async def create(self, request: web.Request) -> web.StreamResponse:
        return await self.created(request)

    async def created(self, request: web.Request) -> web.StreamResponse:
        if not request.headers.get("content-type", "").startswith("application/json"):
            return self.refuse("Unsupported content type.", status=415)
        wanted: dict[str, Any] = json.loads(await request.read())
        if (wrong := odd_create(wanted, self.endpoints, self.windows)) is not None:
            return self.refuse(*wrong)
        data = self.files.get(wanted["input_file_id"])
        lines = [line for _, line in rows.requests(data or b"") if line is not None]
        asked = {line.get("custom_id", ""): line.get("body") or {} for line in lines}
        metadata = wanted.get("metadata") or {}
        sold = Sold(self.batch_id(), metadata.get(MARK, ""), asked, self.now())
        sold.facts = {**wanted, "window": wanted["completion_window"], "metadata": metadata or None}
        sold.facts["complaints"] = self._complaints(wanted, data)
        self.sold.append(sold)
        return web.json_response(self.batch_object(sold))

    def _complaints(self, wanted: dict[str, Any], data: bytes | None) -> list[dict[str, Any]]:
        file_id = wanted["input_file_id"]
        if data is None:
            words = f"Cannot find file {file_id}, or organization org-x does not have access to it."
            return [rows.told("invalid_request", words, None, "file_id")]
        if data.count(b"\n") > self.rows_max:
            words = f"The file holds more than {self.rows_max} requests."
            return [rows.told("too_many_tasks", words, None)]
        return rows.complaints(data, wanted["endpoint"], self.models)

    @operation("list")
    async def list_batches(self, request: web.Request) -> web.StreamResponse:
        return self._page([self.batch_object(s) for s in self.listed()], request, 20, 100)

    def _page(
        self, found: list[dict[str, Any]], request: web.Request, limit: int, most: int
    ) -> web.Response:
        limit = int(request.query.get("limit", limit))
        if not 1 <= limit <= most:
            return self.refuse("Invalid 'limit'.", "integer_out_of_range")
        if after := request.query.get("after"):
            ids = [one["id"] for one in found]
            found = found[ids.index(after) + 1 :] if after in ids else []
        page = found[:limit]
        ends = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {}
        return web.json_response(
            {"object": "list", "data": page, "has_more": len(found) > limit, **ends}
        )

    @operation("get")
    async def get(self, request: web.Request) -> web.StreamResponse:
        sold = self.looked_at(request.match_info["id"])
        if sold is None:
            return self._no_such_batch(request.match_info["id"])
        return web.json_response(self.batch_object(sold))

    @operation("cancel")
    async def cancel(self, request: web.Request) -> web.StreamResponse:
        sold = next((one for one in self.sold if one.id == request.match_info["id"]), None)
        if sold is None:
            return self._no_such_batch(request.match_info["id"])
        if (status := self.status_of(sold)) not in CANCELLABLE:
            return self.error(409, f"Cannot cancel a batch with status '{status}'.")
        sold.cancelled = True
        return web.json_response(self.batch_object(sold))

    def _no_such_batch(self, batch_id: str) -> web.Response:
        return self.error(404, f"No batch found with id '{batch_id}'.")

    def status_of(self, sold: Sold) -> str:
        if sold.ended:
            return self.ending_of(sold)
        if sold.cancelled:
            return "cancelling"
        return "in_progress" if sold.polls else "validating"

    def ending_of(self, sold: Sold) -> str:
        refused = sold.facts.get("complaints") and not sold.cancelled
        return "failed" if refused else super().ending_of(sold)

    def _errors(self, sold: Sold) -> dict[str, Any]:
        found = list(sold.facts.get("complaints") or [])
        if not found:
            bad = {
                n: words for n, words in self.weather.bad_lines.items() if n <= len(sold.requests)
            }
            found = [rows.told("invalid_request", words, n, "body") for n, words in bad.items()]
        if words := self.refusal_of(sold):
            found = [rows.told(self.code_of(words), words, None)]
        return {"object": "list", "data": found}

    def code_of(self, words: str) -> str:
        """Return the code that goes with the vendor's words about a whole batch."""
        said = words.lower()
        if "token limit" in said or "enqueued" in said:
            return "token_limit_exceeded"
        if "quota" in said or "billing" in said:
            return "insufficient_quota"
        return "model_not_found" if "model" in said else "invalid_request"

    # -- results --------------------------------------------------------------------------------

    def _results(self, sold: Sold) -> tuple[str, str]:
        """Make the files of an ended batch; return the ids of output and errors."""
        ending = self.ending_of(sold)
        if ending == "failed":
            return "", ""
        url = sold.facts.get("endpoint", self.endpoints[0]).removeprefix("/v1")
        ran = self.run_rows(sold)
        good: list[bytes] = []
        bad: list[bytes] = []
        for name in ran:
            line = self._line(name, url, sold.requests[name])
            if line is not None:
                (
                    good if line["response"] and line["response"]["status_code"] == 200 else bad
                ).append(json.dumps(line).encode())
        if ending in ("expired", "cancelled"):
            why = "expired" if ending == "expired" else "canceled"
            unrun = [name for name in sold.requests if name not in set(ran)]
            bad += [json.dumps(self._unrun(name, why)).encode() for name in unrun]
        sold.facts["counts"] = (len(good), len(bad))
        good = self.odd(good, lambda n: json.dumps(self._foreign(n, url)).encode())
        return self.kept(good), self.kept(bad)

    def kept(self, lines: list[bytes]) -> str:
        if not lines:
            return ""
        file_id = f"file-{self.token()}"
        self.result_files[file_id] = jsonl(lines)
        return file_id

    def _line(self, name: str, url: str, body: dict[str, Any]) -> dict[str, Any] | None:
        failure = failure_in(self.text_of(body))
        if failure == "missing":
            return None
        if failure in rows.UNRUN:
            return self._unrun(name, failure)
        status, said = rows.answer(url, body)
        told = {"status_code": status, "request_id": self.token(), "body": said}
        return {
            "id": f"batch_req_{self.token()}",
            "custom_id": name,
            "response": told,
            "error": None,
        }

    def _unrun(self, name: str, why: str) -> dict[str, Any]:
        code, message = rows.UNRUN[why]
        error = {"code": code, "message": message}
        return {
            "id": f"batch_req_{self.token()}",
            "custom_id": name,
            "response": None,
            "error": error,
        }

    def _foreign(self, n: int, url: str) -> dict[str, Any] | None:
        return self._line(f"theirs-{n}", url, self.body(f"say {n}"))

    # -- live -----------------------------------------------------------------------------------

    @operation("live")
    async def live(self, request: web.Request) -> web.StreamResponse:
        body: dict[str, Any] = json.loads(await request.read())
        return self.answered(request.path, body)

    def answered(self, path: str, body: dict[str, Any]) -> web.Response:
        url = next(url for url in rows.FIELDS if path.endswith(url))
        if body.get("model") not in self.models:
            words = (
                f"The model `{body.get('model')}` does not exist or you do not have access to it."
            )
            return self.error(404, words, "model_not_found")
        status, said = rows.answer(url, body)
        return web.json_response(said, status=status)

    @operation("probe")
    async def probe(self, request: web.Request) -> web.StreamResponse:
        models = [{"id": name, "object": "model", "created": 1} for name in self.models]
        return web.json_response({"object": "list", "data": models})
