"""Anthropic on loopback: Message Batches, Messages and models, in both of its API's versions."""

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from typing import Any

from aiohttp import web
from tests.fakes import _anthropic_rows as rows
from tests.fakes.vendor import FakeVendor, Sold, failure_in, jsonl, operation

VERSIONS = ("2023-06-01", "2026-10-21")
ROWS_MAX = 100_000
BYTES_MAX = 256_000_000
CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
PAGED = {"limit", "after_id", "before_id"}
KINDS = ("succeeded", "errored", "canceled", "expired")
BATCHES = "/v1/messages/batches"


class FakeAnthropic(FakeVendor):
    """An account whose batches carry no mark: only their age, their size, and their results."""

    name = "anthropic"
    model = "claude-haiku-4-5"

    def __init__(self) -> None:
        super().__init__()
        self.headers: list[tuple[str, dict[str, str]]] = []  #: method and path, what came with it
        self.archived = False  #: results are older than 29 days
        self.results_at: str | None = None  #: another address that results_url names

    def routes(self) -> Iterable[web.RouteDef]:
        yield web.post(BATCHES, self.create)
        yield web.get(BATCHES, self.list)
        yield web.get(f"{BATCHES}/{{id}}", self.get)
        yield web.post(f"{BATCHES}/{{id}}/cancel", self.cancel)
        yield web.get(f"{BATCHES}/{{id}}/results", self.content)
        yield web.delete(f"{BATCHES}/{{id}}", self.delete)
        yield web.post("/v1/messages", self.live)
        yield web.get("/v1/models", self.probe)

    def body(self, text: str) -> dict[str, Any]:
        messages = [{"role": "user", "content": text}]
        return {"model": self.model, "max_tokens": 64, "messages": messages}

    def text_of(self, body: dict[str, Any]) -> str:
        return rows.text_of(body)

    def batch_id(self) -> str:
        return f"msgbatch_01{self.token(22)}"

    def error(self, status: int, message: str = "", code: str = "") -> web.Response:
        _, said = rows.envelope(status, message or f"It is {status} today.")
        if code:
            said["error"]["details"] = {"error_code": code}
        answer = web.json_response(said, status=status, headers={"request-id": said["request_id"]})
        if status == 429:
            answer.headers["retry-after"] = "1"
        return answer

    def refuse(self, message: str) -> web.Response:
        """Refuse what no client of ours should ever say, and remember it."""
        self.complaints.append(message)
        return self.error(400, message)

    # -- the door -------------------------------------------------------------------------------

    async def weathered(self, name: str, request: web.Request, respond: Any) -> web.StreamResponse:
        headers = {key.lower(): value for key, value in request.headers.items()}
        self.headers.append((f"{request.method} {request.path}", headers))
        if (refused := self._at_the_door(request, headers)) is not None:
            self.calls[name] += 1
            self.asked.append(f"{request.method} {request.path_qs}")
            await request.read()
            return refused
        return await super().weathered(name, request, respond)

    def _at_the_door(self, request: web.Request, headers: dict[str, str]) -> web.Response | None:
        if headers.get("anthropic-version") not in VERSIONS:
            return self.refuse("anthropic-version: header is required, in a known version")
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        if self.key not in (headers.get("x-api-key"), bearer):
            return self.error(401, "invalid x-api-key")
        query = set(request.query) - {"beta"}
        if query - (PAGED if request.method == "GET" else set()):
            return self.refuse(f"Unknown query parameters: {sorted(query)}")
        return None

    # -- batches --------------------------------------------------------------------------------

    @operation("create")
    async def create(self, request: web.Request) -> web.StreamResponse:
        data = await request.read()
        if len(data) > BYTES_MAX:
            return self.error(413, "Request exceeds the maximum size")
        if request.content_length != len(data):
            return self.refuse("a body of unknown length")
        if not request.headers.get("content-type", "").startswith("application/json"):
            return self.refuse("Unsupported content type.")
        if wrong := odd_create(data):
            return self.refuse(wrong)
        asked = {one["custom_id"]: one["params"] for one in json.loads(data)["requests"]}
        sold = Sold(self.batch_id(), "", asked, self.now())
        sold.facts["version"] = request.headers["anthropic-version"]
        if words := self.refusal_of(sold):
            return self.error(400, words)  # there is no batch that fails as a whole later
        self.sold.append(sold)
        return web.json_response(self.batch_object(sold))

    @operation("get")
    async def get(self, request: web.Request) -> web.StreamResponse:
        sold = self.looked_at(request.match_info["id"])
        if sold is None or "deleted" in sold.facts:
            return self._none_such()
        return web.json_response(self.batch_object(sold))

    @operation("list")
    async def list(self, request: web.Request) -> web.StreamResponse:
        limit = int(request.query.get("limit", 20))
        if not 1 <= limit <= 1000:
            return self.refuse("limit: Input should be between 1 and 1000")
        found = sorted(self._kept(self.listed()), key=lambda sold: -sold.at)
        for sold in found:  # a batch that nobody asks for by its id goes on as well
            sold.polls += sold.ours and "after_id" not in request.query
            sold.ended = sold.ended or sold.polls > self.weather.polls
        ids = [sold.id for sold in found]
        if (after := request.query.get("after_id")) in ids:
            found = found[ids.index(after) + 1 :]
        page = [self.batch_object(sold) for sold in found[:limit]]
        return web.json_response(
            {
                "data": page,
                "has_more": len(found) > limit,
                "first_id": page[0]["id"] if page else None,
                "last_id": page[-1]["id"] if page else None,
            },
            headers={"date": formatdate(self.now(), usegmt=True)},
        )

    @operation("cancel")
    async def cancel(self, request: web.Request) -> web.StreamResponse:
        sold = self._sold(request)
        if sold is None:
            return self._none_such()
        if await request.read():
            return self.refuse("a cancel has no body")
        if sold.ended:
            return self.error(400, f"Batch {sold.id} cannot be canceled: it has ended.")
        sold.cancelled = True
        return web.json_response(self.batch_object(sold))

    @operation("content")
    async def content(self, request: web.Request) -> web.StreamResponse:
        sold = self._sold(request)
        if sold is None or not sold.ended or self.archived:
            return self._none_such()
        return await self.sent(request, jsonl(self._lines(sold)), "application/x-jsonl")

    @operation("delete")
    async def delete(self, request: web.Request) -> web.StreamResponse:
        sold = self._sold(request)
        if sold is None:
            return self._none_such()
        if not sold.ended:
            return self.error(400, f"Batch {sold.id} cannot be deleted: it is still processing.")
        sold.facts["deleted"] = True
        return web.json_response({"id": sold.id, "type": "message_batch_deleted"})

    def _sold(self, request: web.Request) -> Sold | None:
        return next(
            (one for one in self._kept(self.sold) if one.id == request.match_info["id"]), None
        )

    def _kept(self, found: Iterable[Sold]) -> Iterable[Sold]:
        return (sold for sold in found if "deleted" not in sold.facts)

    def _none_such(self) -> web.Response:
        return self.error(404, "Not found")

    def batch_object(self, sold: Sold) -> dict[str, Any]:
        counts = dict.fromkeys(("processing", *KINDS), 0)
        if sold.ended:
            for line in self._told(sold):
                counts[line["result"]["type"]] += 1
            counts["errored"] += len(sold.requests) - sum(counts.values())
        else:  # nothing is told before the end
            counts["processing"] = len(sold.requests)
        created = datetime.fromtimestamp(sold.at, UTC)
        own = f"{self.host}{BATCHES}/{sold.id}/results"
        later = stamp(created + timedelta(days=29))
        return {
            "id": sold.id,
            "type": "message_batch",
            "processing_status": self._status(sold),
            "request_counts": counts,
            "created_at": stamp(created),
            "expires_at": stamp(created + timedelta(hours=24)),
            "ended_at": stamp(created + timedelta(seconds=1)) if sold.ended else None,
            "cancel_initiated_at": stamp(created) if sold.cancelled else None,
            "archived_at": later if sold.ended and self.archived else None,
            "results_url": (self.results_at or own) if sold.ended and not self.archived else None,
        }

    def _status(self, sold: Sold) -> str:
        if sold.ended:
            return "ended"
        return "canceling" if sold.cancelled else "in_progress"

    def ending_of(self, sold: Sold) -> str:
        """There is no failed batch: what is wrong with a request is said in its own result."""
        ending = super().ending_of(sold)
        return "completed" if ending == "failed" else ending

    # -- results --------------------------------------------------------------------------------

    def _told(self, sold: Sold) -> Any:
        return self.told(sold, lambda: self._results(sold))

    def _lines(self, sold: Sold) -> Any:
        return self.odd(
            [json.dumps(line).encode() for line in self._told(sold)],
            lambda n: json.dumps(self._line(f"theirs-{n}", self.body("theirs"), "")).encode(),
        )

    def _results(self, sold: Sold) -> Any:
        ran = self.run_rows(sold)
        kind = "expired" if self.ending_of(sold) == "expired" else "canceled"
        names = list(sold.requests)
        bad = {names[n - 1]: said for n, said in self.weather.bad_lines.items() if n <= len(names)}
        lines = [
            self._line(name, sold.requests[name], bad.get(name, ""), sold.facts.get("version"))
            for name in ran
            if failure_in(self.text_of(sold.requests[name])) != "missing"
        ]
        unrun = set(sold.requests) - set(ran)
        lines += [{"custom_id": name, "result": {"type": kind}} for name in names if name in unrun]
        return lines

    def _line(
        self, name: str, body: dict[str, Any], bad: str, version: str | None = None
    ) -> dict[str, Any]:
        failure = failure_in(self.text_of(body))
        if failure in rows.UNRUN:
            return {"custom_id": name, "result": {"type": failure}}
        status, said = rows.answer(body, self.model, version or VERSIONS[0], batch=True)
        if bad:
            status, said = rows.envelope(400, bad)
        if status == 200:
            return {"custom_id": name, "result": {"type": "succeeded", "message": said}}
        return {"custom_id": name, "result": {"type": "errored", "error": said}}

    # -- live -----------------------------------------------------------------------------------

    @operation("live")
    async def live(self, request: web.Request) -> web.StreamResponse:
        body: dict[str, Any] = json.loads(await request.read())
        version = request.headers["anthropic-version"]
        status, said = rows.answer(body, self.model, version, batch=False)
        return web.json_response(said, status=status)

    @operation("probe")
    async def probe(self, request: web.Request) -> web.StreamResponse:
        model = {
            "type": "model",
            "id": self.model,
            "display_name": "Claude Haiku 4.5",
            "created_at": "2025-10-01T00:00:00Z",
            "lifecycle": "active",
        }
        ends = {"first_id": self.model, "last_id": self.model}
        return web.json_response({"data": [model], "has_more": False, **ends})


def stamp(at: datetime) -> str:
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")


def odd_create(data: bytes) -> str:
    """Return what is wrong with a creating call; the parameters are looked at only later."""
    try:
        wanted: Any = json.loads(data)
    except ValueError:
        return "The request body is not valid JSON"
    if not isinstance(wanted, dict) or set(wanted) != {"requests"}:
        return "requests: Field required, and no other is permitted"
    requests: Any = wanted["requests"]
    if not isinstance(requests, list) or not 1 <= len(requests) <= ROWS_MAX:
        return f"requests: List should have from 1 to {ROWS_MAX} items"
    seen: set[str] = set()
    for n, one in enumerate(requests):
        if not isinstance(one, dict) or set(one) != {"custom_id", "params"}:
            return f"requests.{n}: Field required: custom_id and params, and no other is permitted"
        if not isinstance(one["custom_id"], str) or not CUSTOM_ID.fullmatch(one["custom_id"]):
            return f"requests.{n}.custom_id: String should match pattern '{CUSTOM_ID.pattern}'"
        if not isinstance(one["params"], dict):
            return f"requests.{n}.params: Input should be an object"
        if one["custom_id"] in seen:
            return f"requests.{n}.custom_id: is not unique within the batch"
        seen.add(one["custom_id"])
    return ""


FAKE = FakeAnthropic
