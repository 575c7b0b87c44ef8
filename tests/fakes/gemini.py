"""Google's Gemini API on loopback: files, batches, models, at `/v1` and `/v1beta`."""

import json
from collections.abc import Callable, Iterable
from typing import Any

from aiohttp import web
from tests.fakes import _google as google
from tests.fakes._gemini_files import GeminiFiles, time
from tests.fakes.vendor import FakeVendor, Sold, failure_in, operation

INLINE_BYTES_MAX = 20 << 20
V = "{v:v1beta|v1}"
TYPE = "type.googleapis.com/google.ai.generativelanguage.v1main."


class FakeGemini(GeminiFiles):
    name = "gemini"
    model = "gemini-2.5-flash"

    def __init__(self) -> None:
        super().__init__()
        self.options = {"input": "file"}
        self.stated = ""  #: in place of the batch's real state
        self.output_place = "both"  #: or "metadata", or "response"
        self.keys_echoed = True  #: inline answers carry the key of their request

    def routes(self) -> Iterable[web.RouteDef]:
        model, batch, file = "{model:[^/:]+}", "{id:[^/:]+}", "{id:[^/:]+}"
        return [
            web.post(f"/upload/{V}/files", self.upload),
            web.get(f"/{V}/files", self.list_files),
            web.get(f"/{V}/files/{file}", self.get_file),
            web.delete(f"/{V}/files/{file}", self.delete_file),
            web.get(f"/{V}/files/{file}:download", self.download),
            web.get(f"/download/{V}/files/{file}:download", self.download),
            web.get(f"/elsewhere/{file}", self.elsewhere),
            web.post(f"/{V}/models/{model}:batchGenerateContent", self.create),
            web.post(f"/{V}/models/{model}:asyncBatchEmbedContent", self.create),
            web.get(f"/{V}/batches", self.list_batches),
            web.get(f"/{V}/batches/{batch}", self.get),
            web.post(f"/{V}/batches/{batch}:cancel", self.cancel),
            web.delete(f"/{V}/batches/{batch}", self.delete_batch),
            web.get(f"/{V}/models", self.models),
            web.post(f"/{V}/models/{model}:generateContent", self.live),
            web.post(f"/{V}/models/{model}:embedContent", self.live),
        ]

    def body(self, text: str) -> dict[str, Any]:
        return {"contents": [{"role": "user", "parts": [{"text": text}]}]}

    def text_of(self, body: dict[str, Any]) -> str:
        contents = body["contents"] if "contents" in body else [body["content"]]
        return contents[-1]["parts"][-1]["text"]

    def batch_id(self) -> str:
        return f"batches/{self.token()}"

    # -- batches ----------------------------------------------------------------------------------

    @operation("create")
    async def create(self, request: web.Request) -> web.StreamResponse:
        if barred := self.barred(request):
            return barred
        model = request.match_info["model"]
        if not model.startswith("gemini-"):
            return self._no_model(request, model, "batchGenerateContent")
        if request.content_type != "application/json":
            return self.error(400, "Expected application/json.")
        if (request.content_length or 0) > INLINE_BYTES_MAX:
            return self.error(400, "Request payload size exceeds the limit: 20971520 bytes.")
        found = await request.json()
        batch = google.spelled(found.get("batch", {}))
        known = {"displayName", "inputConfig", "webhookConfig", "priority", "model"}
        if set(found) != {"batch"} or set(batch) - known:
            return self.error(400, f"Invalid JSON payload received: {sorted(batch)}.")
        embeds = request.path.endswith("asyncBatchEmbedContent")
        given = google.spelled(batch["inputConfig"])
        if "fileName" in given:
            if refused := self.no_file(given["fileName"]):
                return refused
            rows = _rows_of(self.files[given["fileName"]])
        else:
            rows = _inline_rows(given["requests"]["requests"])
            for n, body in enumerate(rows.values()):
                if words := _unknown(body, embeds):
                    place = f"'batch.input_config.requests.requests[{n}].request'"
                    words = f"Invalid JSON payload received. {words} at {place}: Cannot find field."
                    return self.error(400, words)
        sold = Sold(self.batch_id(), batch.get("displayName", ""), rows, self.now())
        sold.facts = {"model": model, "embeds": embeds, "file": given.get("fileName")}
        self.sold.append(sold)
        return web.json_response(self._told(sold))

    def _no_model(self, request: web.Request, model: str, verb: str) -> web.Response:
        version = request.match_info["v"]
        return self.error(
            404,
            f"models/{model} is not found for API version {version}, or is not supported for "
            f"{verb}. Call ListModels to see the list of available models.",
        )

    @operation("get")
    async def get(self, request: web.Request) -> web.StreamResponse:
        if barred := self.barred(request):
            return barred
        sold = self.looked_at(f"batches/{request.match_info['id']}")
        if sold is None or sold.facts.get("deleted"):
            return self.error(404, "Requested entity was not found.")
        return web.json_response(self._told(sold, whole=True))

    @operation("list")
    async def list_batches(self, request: web.Request) -> web.StreamResponse:
        if barred := self.barred(request):
            return barred
        if unknown := set(request.query) - {"pageSize", "pageToken"}:
            return self.error(400, f"Unknown name {min(unknown)!r}: cannot bind it.")
        size = min(int(request.query.get("pageSize", 50)), 100)
        start = int(request.query.get("pageToken") or 0)
        there = [sold for sold in self.listed() if not sold.facts.get("deleted")]
        page: dict[str, Any] = {
            "operations": [self._told(sold) for sold in there[start : start + size]]
        }
        if start + size < len(there):
            page["nextPageToken"] = str(start + size)
        return web.json_response(page)

    @operation("cancel")
    async def cancel(self, request: web.Request) -> web.StreamResponse:
        if barred := self.barred(request):
            return barred
        name = f"batches/{request.match_info['id']}"
        sold = next((s for s in self.sold if s.id == name), None)
        if sold is None:
            return self.error(404, "Requested entity was not found.")
        if sold.ended:
            return self.error(400, "The batch has ended already and cannot be cancelled.")
        sold.cancelled = True
        return web.json_response({})

    @operation("delete")
    async def delete_batch(self, request: web.Request) -> web.StreamResponse:
        if barred := self.barred(request):
            return barred
        name = f"batches/{request.match_info['id']}"
        sold = next((s for s in self.sold if s.id == name), None)
        if sold is None or sold.facts.get("deleted"):
            return self.error(404, "Requested entity was not found.")
        sold.facts["deleted"] = True
        return web.json_response({})

    def _told(self, sold: Sold, *, whole: bool = False) -> dict[str, Any]:
        """Return a batch as its vendor tells it; its list leaves inline answers out."""
        state = _STATES[self.ending_of(sold)] if sold.ended else "RUNNING"
        metadata: dict[str, Any] = {
            "@type": f"{TYPE}GenerateContentBatch",
            "name": sold.id,
            "model": f"models/{sold.facts.get('model', self.model)}",
            "displayName": sold.mark,
            "createTime": time(sold.at),
            "updateTime": time(self.now()),
            "state": self.stated or f"BATCH_STATE_{state}",
            "batchStats": self._stats(sold),
        }
        found: dict[str, Any] = {"name": sold.id, "metadata": metadata}
        if not sold.ended:
            return found
        metadata["endTime"] = time(self.now())
        found["done"] = True
        if state == "FAILED":
            found["error"] = self._why(sold)
        elif state == "CANCELLED" and not self.lines(sold):
            found["error"] = {"code": 1, "message": "The operation was cancelled."}
        elif state != "EXPIRED":
            output = self._output(sold, whole)
            if self.output_place in ("both", "metadata"):
                metadata["output"] = output
            if self.output_place in ("both", "response"):
                found["response"] = {"@type": f"{TYPE}GenerateContentBatchOutput", **output}
        return found

    def _output(self, sold: Sold, whole: bool) -> dict[str, Any]:
        if sold.facts.get("file"):
            return {"responsesFile": f"files/batch-{sold.id.removeprefix('batches/')}"}
        place = "inlinedEmbedContentResponses" if sold.facts.get("embeds") else "inlinedResponses"
        if not whole:
            return {}
        lines = self.lines(sold)
        return {place: {"inlinedResponses": [self._inline(line) for line in lines]}}

    def _inline(self, line: dict[str, Any]) -> dict[str, Any]:
        rest = {name: value for name, value in line.items() if name != "key"}
        return {**rest, "metadata": {"key": line["key"]}} if self.keys_echoed else rest

    def lines(self, sold: Sold) -> list[dict[str, Any]]:
        return self.told(sold, lambda: self._results(sold))

    def _why(self, sold: Sold) -> dict[str, Any]:
        words = self.refusal_of(sold) or next(iter(self.weather.bad_lines.values()), "")
        if found := google.ROW_ERRORS.get(words):
            return google.rpc(*found)
        return google.rpc(400, words) if words else google.rpc(500, "Internal error encountered.")

    def _stats(self, sold: Sold) -> dict[str, str]:
        count = len(sold.requests)
        if not sold.ended:
            return {"requestCount": str(count), "pendingRequestCount": str(count)}
        lines = self.lines(sold)
        failed = sum("error" in line for line in lines)
        found = {"requestCount": str(count), "successfulRequestCount": str(len(lines) - failed)}
        return {**found, "failedRequestCount": str(failed)} if failed else found

    def _results(self, sold: Sold) -> list[dict[str, Any]]:
        if self.ending_of(sold) == "expired":
            return []  # nothing of it can be had (the guide, 2026)
        lines = [self._line(sold, key) for key in self.run_rows(sold)]
        lines = lines[self.weather.missing :]
        lines += lines[: self.weather.duplicated]
        answer = google.answer("not yours", self.model)
        foreign = range(self.weather.foreign)
        return lines + [{"key": f"theirs-{n}", "response": answer} for n in foreign]

    def _line(self, sold: Sold, key: str) -> dict[str, Any]:
        body, embeds = sold.requests[key], sold.facts.get("embeds", False)
        if words := _unknown(body, embeds):
            return {"key": key, "error": google.rpc(400, f"{words}: Cannot find field.")}
        status, said = self._answered(self.text_of(body), embeds)
        if status == 200:
            return {"key": key, "response": said}
        error = said["error"]
        return {"key": key, "error": google.rpc(status, error["message"])}

    def _answered(self, text: str, embeds: bool) -> tuple[int, dict[str, Any]]:
        """Return status and body of the answer to a prompt."""
        failure = failure_in(text)
        if failure in google.ROW_ERRORS:
            status, words = google.ROW_ERRORS[failure]
            return status, google.status(status, words)
        if embeds:
            return 200, google.vector(text)
        finish = google.STOPPED.get(failure or "", "STOP")
        return 200, google.answer(text, self.model, finish)

    # -- models -----------------------------------------------------------------------------------

    @operation("probe")
    async def models(self, request: web.Request) -> web.StreamResponse:
        if barred := self.barred(request):
            return barred
        return web.json_response({"models": [{"name": f"models/{self.model}"}]})

    @operation("live")
    async def live(self, request: web.Request) -> web.StreamResponse:
        if barred := self.barred(request):
            return barred
        model, embeds = request.match_info["model"], request.path.endswith("embedContent")
        if not model.startswith("gemini-"):
            return self._no_model(request, model, request.path.rpartition(":")[2])
        body = await request.json()
        if words := _unknown(body, embeds):
            return self.error(400, f"Invalid JSON payload received. {words}: Cannot find field.")
        status, said = self._answered(self.text_of(body), embeds)
        return web.json_response(said, status=status)


_STATES = {
    "completed": "SUCCEEDED",
    "expired": "EXPIRED",
    "cancelled": "CANCELLED",
    "failed": "FAILED",
}


def _rows_of(data: bytes) -> dict[str, dict[str, Any]]:
    found = [json.loads(line) for line in data.splitlines() if line.strip()]
    return {row["key"]: row["request"] for row in found}


def _inline_rows(requests: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        (row.get("metadata") or {}).get("key", f"#{n}"): row["request"]
        for n, row in enumerate(requests)
    }


def _unknown(body: dict[str, Any], embeds: bool) -> str:
    known = google.EMBED_FIELDS if embeds else google.FIELDS
    unknown = sorted(name for name in body if google.camel(name) not in known)
    return f'Unknown name "{unknown[0]}"' if unknown else ""


FAKE: Callable[[], FakeVendor] = FakeGemini
