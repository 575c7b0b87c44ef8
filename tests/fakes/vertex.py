"""Google Cloud's Vertex on loopback: batch prediction jobs, their bucket, live answers, and OAuth."""

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from tests.fakes import _google as google
from tests.fakes._bigquery import DATASET, BigQuery
from tests.fakes._storage import Storage
from tests.fakes.vendor import FakeVendor, Sold, failure_in, jsonl, operation

V = "{v:v1beta1|v1}"
PROJECT, LOCATION, NUMBER = "proj", "us-central1", "123"
JOB_FIELDS = {"displayName", "model", "inputConfig", "outputConfig", "labels", "modelParameters"}
FIELDS = google.FIELDS - {"model", "store", "serviceTier"} | {"labels"}
MODELS = ("publishers/google/models/gemini-", "projects/")


class FakeVertex(BigQuery, Storage):
    name = "vertex"
    key = "ya29.test"
    model = "gemini-2.5-flash"

    def __init__(self) -> None:
        super().__init__()
        self.tokens = {self.key}  #: that are good
        self.granted: list[dict[str, str]] = []  #: what was shown for a token
        self.stated = ""  #: in place of the job's real state
        self.labels_echoed = True
        self.grants: Callable[[dict[str, str]], str | None] = lambda _: "ya29.granted"

    def routes(self) -> Iterable[web.RouteDef]:
        project = "projects/{project}/locations/{location}"
        jobs = f"/{V}/{project}/batchPredictionJobs"
        return [
            *self.storage_routes(),
            *self.bigquery_routes(),
            web.post("/token", self.token_for),
            web.get("/computeMetadata/v1/instance/service-accounts/default/token", self.machine),
            web.post(jobs, self.create),
            web.get(jobs, self.list_jobs),
            web.get(jobs + "/{id:[^/:]+}", self.get),
            web.post(jobs + "/{id:[^/:]+}:cancel", self.cancel),
            web.delete(jobs + "/{id:[^/:]+}", self.delete_job),
            web.post(
                f"/{V}/{project}/publishers/google/models/{{model}}:generateContent", self.live
            ),
        ]

    async def up(self) -> None:
        await super().up()
        self.options = {
            "project": PROJECT,
            "bucket": f"gs://{self.bucket}/some/where",
            "storage_url": f"{self.host}/storage",
            "bigquery_url": self.host,
        }

    def body(self, text: str) -> dict[str, Any]:
        return {"contents": [{"role": "user", "parts": [{"text": text}]}]}

    def text_of(self, body: dict[str, Any]) -> str:
        return body["contents"][-1]["parts"][-1]["text"]

    def error(self, status: int, message: str = "", code: str = "") -> web.Response:
        return google.response(status, message)

    def batch_id(self) -> str:
        number = self._luck.randrange(10**18, 10**19)
        return f"projects/{NUMBER}/locations/{LOCATION}/batchPredictionJobs/{number}"

    def barred(self, request: web.Request) -> web.Response | None:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind == "Bearer" and token in self.tokens:
            return None
        return self.error(401, "Request had invalid authentication credentials.")

    def _elsewhere(self, request: web.Request) -> web.Response | None:
        if barred := self.barred(request):
            return barred
        project, location = request.match_info["project"], request.match_info["location"]
        if project not in (PROJECT, NUMBER) or location != LOCATION:
            return self.error(403, f"Permission denied on resource project {project}.")
        return None

    async def token_for(self, request: web.Request) -> web.Response:
        shown = {name: str(value) for name, value in (await request.post()).items()}
        self.granted.append(shown)
        token = self.grants(shown)
        if token is None:
            words = {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
            return web.json_response(words, status=400)
        self.tokens.add(token)
        found = {"access_token": token, "expires_in": 3599, "token_type": "Bearer"}
        return web.json_response(found)

    async def machine(self, request: web.Request) -> web.Response:
        if request.headers.get("metadata-flavor") != "Google":
            return web.Response(status=403)
        self.granted.append({"metadata-flavor": "Google"})
        return web.json_response({"access_token": self.key, "expires_in": 3599})

    # -- jobs -------------------------------------------------------------------------------------

    @operation("create")
    async def create(self, request: web.Request) -> web.StreamResponse:
        if stopped := self._elsewhere(request):
            return stopped
        job = await request.json()
        if words := _refused(job):
            return self.error(400, words)
        if not job["model"].startswith(MODELS):
            no_access = "was not found or your project does not have access to it."
            return self.error(404, f"Publisher Model `{job['model']}` {no_access}")
        uri, rows = self._input(job["inputConfig"])
        if rows is None:
            return self.error(400, f"The input {uri} does not exist or cannot be read.")
        sold = Sold(self.batch_id(), job["displayName"], rows, self.now())
        sold.facts = {"job": job}
        self.sold.append(sold)
        return web.json_response(self._told(sold))

    def _input(self, given: dict[str, Any]) -> tuple[str, dict[str, dict[str, Any]] | None]:
        """Return the address of the input, and its rows; None where there is none."""
        if "bigquerySource" in given:
            uri = given["bigquerySource"]["inputUri"]
            table = self.tables.get(uri)
            return uri, None if table is None else _named([json.loads(r["request"]) for r in table])
        [uri] = given["gcsSource"]["uris"]
        data = self.files.get(uri.removeprefix(f"gs://{self.bucket}/"))
        return uri, None if data is None else _rows_of(data)

    @operation("get")
    async def get(self, request: web.Request) -> web.StreamResponse:
        if stopped := self._elsewhere(request):
            return stopped
        sold = self.looked_at(self._id(request))
        if sold is None or sold.facts.get("deleted"):
            return self.error(404, "The BatchPredictionJob does not exist.")
        return web.json_response(self._told(sold))

    def _id(self, request: web.Request) -> str:
        number = request.match_info["id"]
        return f"projects/{NUMBER}/locations/{LOCATION}/batchPredictionJobs/{number}"

    @operation("list")
    async def list_jobs(self, request: web.Request) -> web.StreamResponse:
        if stopped := self._elsewhere(request):
            return stopped
        there = [sold for sold in self.listed() if not sold.facts.get("deleted")]
        if wanted := request.query.get("filter"):
            name, _, value = wanted.partition("=")
            if name != "display_name" or not value.startswith('"') or not value.endswith('"'):
                return self.error(400, f"Invalid filter: {wanted}")
            there = [sold for sold in there if sold.mark == value.strip('"')]
        size = min(int(request.query.get("pageSize", 50)), 100)
        start = int(request.query.get("pageToken") or 0)
        page: dict[str, Any] = {}
        if found := [self._told(sold) for sold in there[start : start + size]]:
            page["batchPredictionJobs"] = found
        if start + size < len(there):
            page["nextPageToken"] = str(start + size)
        return web.json_response(page)

    @operation("cancel")
    async def cancel(self, request: web.Request) -> web.StreamResponse:
        if stopped := self._elsewhere(request):
            return stopped
        sold = next((s for s in self.sold if s.id == self._id(request)), None)
        if sold is None:
            return self.error(404, "The BatchPredictionJob does not exist.")
        if sold.ended:
            return self.error(400, "The job is in a terminal state and cannot be cancelled.")
        sold.cancelled = True
        return web.json_response({})

    async def delete_job(self, request: web.Request) -> web.Response:
        if stopped := self._elsewhere(request):
            return stopped
        sold = next((s for s in self.sold if s.id == self._id(request)), None)
        if sold is None or not sold.ended:
            return self.error(400 if sold else 404, "Only jobs that have ended can be deleted.")
        sold.facts["deleted"] = True
        return web.json_response({"name": f"projects/{NUMBER}/operations/1", "done": True})

    def _told(self, sold: Sold) -> dict[str, Any]:
        state = _STATES[self.ending_of(sold)] if sold.ended else "RUNNING"
        found: dict[str, Any] = {
            "name": sold.id,
            "displayName": sold.mark,
            **{k: v for k, v in sold.facts.get("job", {}).items() if k.endswith("Config")},
            "model": sold.facts.get("job", {}).get("model", "publishers/google/models/other"),
            "state": self.stated or f"JOB_STATE_{state}",
            "createTime": _time(sold.at),
            "startTime": _time(sold.at),
            "updateTime": _time(self.now()),
        } | sold.facts.get("says", {})
        if not sold.ended:
            return found
        lines = self._lines(sold)
        failed = sum(bool(line["status"]) for line in lines)
        found["completionStats"] = {
            "successfulCount": str(len(lines) - failed),
            "failedCount": str(failed),
            "incompleteCount": "-1",
        }
        found.setdefault("endTime", _time(self.now()))
        if state == "FAILED":
            found["error"] = self._why(sold)
        if lines and sold.ours:
            found["outputInfo"] = self._place(sold)
        return found

    def _place(self, sold: Sold) -> dict[str, str]:
        wanted = sold.facts["job"]["outputConfig"]
        if "bigqueryDestination" in wanted:
            return {"bigqueryOutputTable": wanted["bigqueryDestination"]["outputUri"]}
        return {"gcsOutputDirectory": f"gs://{self.bucket}/{_output(sold)}"}

    def _why(self, sold: Sold) -> dict[str, Any]:
        words = self.refusal_of(sold) or next(iter(self.weather.bad_lines.values()), "")
        if found := google.ROW_ERRORS.get(words):
            return google.rpc(*found)
        return google.rpc(400, words) if words else google.rpc(500, "Internal error.")

    # -- results ----------------------------------------------------------------------------------

    def settle(self) -> None:
        """Write the results of jobs that have ended, in two files."""
        for sold in self.ours:
            if sold.ended and not sold.facts.get("written"):
                sold.facts["written"] = True
                lines = self._lines(sold)
                place = self._place(sold)
                if table := place.get("bigqueryOutputTable"):
                    self.tables[table] = [_row(line) for line in lines]
                    continue
                half = len(lines) // 2
                for n, some in enumerate((lines[:half], lines[half:])):
                    if some:
                        self.written[f"{_output(sold)}/predictions_{n:05d}.jsonl"] = jsonl(some)

    def _lines(self, sold: Sold) -> list[dict[str, Any]]:
        return self.told(sold, lambda: self._results(sold))

    def _results(self, sold: Sold) -> list[dict[str, Any]]:
        lines = [self._line(sold.requests[name]) for name in self.run_rows(sold)]
        lines = lines[self.weather.missing :]
        lines += lines[: self.weather.duplicated]
        for n in range(self.weather.foreign):
            theirs = self.body("not yours") | {"labels": {"batchmill": f"theirs-{n}"}}
            lines.append(self._line(theirs))
        return lines

    def _line(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return a row as Vertex writes it: what was asked, and what came of it."""
        status, said = self._answered(body)
        request = body if self.labels_echoed else {k: v for k, v in body.items() if k != "labels"}
        line = {"status": "", "processed_time": _time(self.now()), "request": request}
        if status == 200:
            return line | {"response": said}
        name = "Bad Request" if status == 400 else f"{google.NAMES[status][1]} error occurred"
        return line | {"status": f"{name}: {json.dumps(said)}", "response": {}}

    def _answered(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if words := _odd(body):
            return 400, google.status(400, words)
        failure = failure_in(self.text_of(body))
        if failure in google.ROW_ERRORS:
            status, words = google.ROW_ERRORS[failure]
            return status, google.status(status, words)
        finish = google.STOPPED.get(failure or "", "STOP")
        return 200, google.answer(self.text_of(body), self.model, finish)

    @operation("live")
    async def live(self, request: web.Request) -> web.StreamResponse:
        if stopped := self._elsewhere(request):
            return stopped
        status, said = self._answered(await request.json())
        return web.json_response(said, status=status)


_STATES = {
    "completed": "SUCCEEDED",
    "expired": "EXPIRED",
    "cancelled": "CANCELLED",
    "failed": "FAILED",
}


def _output(sold: Sold) -> str:
    prefix = sold.facts["job"]["outputConfig"]["gcsDestination"]["outputUriPrefix"]
    folder = prefix.partition("://")[2].partition("/")[2]
    return f"{folder}/prediction-model-2026-01-01T00:00:00.000000Z"


def _refused(job: dict[str, Any]) -> str:
    """Return why Vertex takes no such job; empty where it does."""
    if unknown := set(job) - JOB_FIELDS:
        return f'Invalid JSON payload received. Unknown name "{min(unknown)}": Cannot find field.'
    if missing := {"displayName", "model", "inputConfig", "outputConfig"} - set(job):
        return f"Missing required field: {min(missing)}."
    given, wanted = job["inputConfig"], job["outputConfig"]
    kinds = {given.get("instancesFormat"), wanted.get("predictionsFormat")}
    if kinds == {"bigquery"}:
        uris = [given.get("bigquerySource", {}).get("inputUri", "")]
        uris.append(wanted.get("bigqueryDestination", {}).get("outputUri", ""))
        ours = all(uri.startswith(f"{DATASET}.") for uri in uris)
        return "" if ours else f"Expected two tables of {DATASET}."
    if kinds != {"jsonl"}:
        return "Expected the format jsonl."
    uris = given.get("gcsSource", {}).get("uris", [])
    prefix = wanted.get("gcsDestination", {}).get("outputUriPrefix", "")
    if len(uris) != 1 or not uris[0].startswith("gs://") or not prefix.startswith("gs://"):
        return "Expected one gs:// address each for input and output."
    return ""


def _odd(body: dict[str, Any]) -> str:
    if unknown := sorted(name for name in body if google.camel(name) not in FIELDS):
        return f'Invalid JSON payload received. Unknown name "{unknown[0]}": Cannot find field.'
    if any(turn.get("role") not in ("user", "model") for turn in body.get("contents", [])):
        return "Please use a valid role: user, model."
    return "" if body.get("contents") else "Unable to submit request: it must include contents."


def _rows_of(data: bytes) -> dict[str, dict[str, Any]]:
    return _named([json.loads(line)["request"] for line in data.splitlines() if line.strip()])


def _row(line: dict[str, Any]) -> dict[str, Any]:
    """Return a line as a row of a table: what is JSON there is text here."""
    label = line["request"].get("labels", {}).get("batchmill")
    texts = {name: json.dumps(line[name]) for name in ("request", "response")}
    return {"key": label, "status": line["status"], "processed_time": "now", **texts}


def _named(found: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    names = [row.get("labels", {}).get("batchmill", f"#{n}") for n, row in enumerate(found)]
    return dict(zip(names, found, strict=True))


def _time(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).isoformat().replace("+00:00", "Z")


FAKE: Callable[[], FakeVendor] = FakeVertex
