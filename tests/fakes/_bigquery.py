"""As much of BigQuery as a provider needs: tables of one dataset, loaded, read and deleted."""

import json
from collections import Counter
from typing import Any

from aiohttp import web
from tests.fakes.vendor import FakeVendor, operation

DATASET = "bq://proj.their_data"
ROOT = "/bigquery/v2/projects/{project}"
COLUMNS = ("status", "key", "request", "response", "processed_time")


class BigQuery(FakeVendor):
    """Tables by their address, as lists of rows; a load takes a few looks until it is done."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: dict[str, list[dict[str, Any]]] = {}
        self.load_looks = 0  #: so many looks find a load still running
        self.load_error = ""
        self.page_rows = 500
        self.cells_cut = 0  #: rows come back with so many columns less
        self._looks: Counter[str] = Counter()
        self._loads: dict[str, dict[str, Any]] = {}

    def bigquery_routes(self) -> list[web.RouteDef]:
        table = ROOT + "/datasets/{dataset}/tables/{table}"
        return [
            web.post(f"/upload{ROOT}/jobs", self.load),
            web.get(ROOT + "/jobs/{job}", self.get_load),
            web.get(table, self.get_table),
            web.get(table + "/data", self.get_rows),
            web.delete(table, self.delete_table),
        ]

    def barred(self, request: web.Request) -> web.Response | None:
        raise NotImplementedError

    def settle(self) -> None:
        raise NotImplementedError

    @operation("upload")
    async def load(self, request: web.Request) -> web.StreamResponse:
        if barred := self.barred(request):
            return barred
        if request.query.get("uploadType") != "multipart":
            return self.error(400, "Expected uploadType=multipart.")
        if request.content_type != "multipart/related":
            return self.error(400, "Expected multipart/related.")
        start, data = _parts(await request.read(), request.headers["content-type"])
        job = json.loads(start)
        wanted = job["configuration"]["load"]
        place = wanted["destinationTable"]
        uri = f"bq://{place['projectId']}.{place['datasetId']}.{place['tableId']}"
        if not uri.startswith(f"{DATASET}."):
            return self.error(404, f"Not found: Dataset {place['projectId']}:{place['datasetId']}")
        if wanted["sourceFormat"] != "NEWLINE_DELIMITED_JSON":
            return self.error(400, "Expected lines of JSON.")
        fields = {field["name"] for field in wanted["schema"]["fields"]}
        rows = [json.loads(line) for line in data.splitlines() if line.strip()]
        assert all(row.keys() == fields for row in rows)
        reference = {**job["jobReference"], "location": "europe-west4"}
        self._loads[reference["jobId"]] = {"uri": uri, "rows": rows}
        return web.json_response({"jobReference": reference, "status": {"state": "PENDING"}})

    async def get_load(self, request: web.Request) -> web.Response:
        if barred := self.barred(request):
            return barred
        job = request.match_info["job"]
        if request.query.get("location") != "europe-west4" or job not in self._loads:
            return self.error(404, f"Not found: Job {job}")
        self._looks[job] += 1
        if self._looks[job] <= self.load_looks:
            return web.json_response({"status": {"state": "RUNNING"}})
        status: dict[str, Any] = {"state": "DONE"}
        if self.load_error:
            status["errorResult"] = {"reason": "accessDenied", "message": self.load_error}
        elif (rows := self._loads[job].pop("rows", None)) is not None:
            self.tables[self._loads[job]["uri"]] = rows
        return web.json_response({"status": status})

    def _uri(self, request: web.Request) -> str:
        found = request.match_info
        return f"bq://{found['project']}.{found['dataset']}.{found['table']}"

    def _no_table(self, request: web.Request) -> web.Response | None:
        if barred := self.barred(request):
            return barred
        self.settle()
        if self._uri(request) in self.tables:
            return None
        return self.error(404, f"Not found: Table {self._uri(request)}")

    async def get_table(self, request: web.Request) -> web.Response:
        if refused := self._no_table(request):
            return refused
        fields = [{"name": name, "type": "STRING"} for name in COLUMNS]
        return web.json_response({"schema": {"fields": fields}})

    @operation("content")
    async def get_rows(self, request: web.Request) -> web.StreamResponse:
        if refused := self._no_table(request):
            return refused
        wanted = request.query["selectedFields"].split(",")
        named = [name for name in COLUMNS if name in wanted]
        size = min(int(request.query["maxResults"]), self.page_rows)
        start = int(request.query.get("pageToken") or 0)
        rows = self.tables[self._uri(request)]
        some = rows[start : start + size]
        page: dict[str, Any] = {"totalRows": str(len(rows))}
        if some:
            told = named[: len(named) - self.cells_cut]
            page["rows"] = [{"f": [{"v": row.get(name)} for name in told]} for row in some]
        if start + size < len(rows):
            page["pageToken"] = str(start + size)
        return web.json_response(page)

    @operation("delete")
    async def delete_table(self, request: web.Request) -> web.StreamResponse:
        if refused := self._no_table(request):
            return refused
        del self.tables[self._uri(request)]
        return web.Response(status=204)


def _parts(body: bytes, kind: str) -> list[bytes]:
    """Return the contents of the parts of a body (RFC 2387)."""
    boundary = kind.partition("boundary=")[2].encode()
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary)
    assert pieces[0] == b""
    assert pieces[-1].startswith(b"--")
    return [piece.partition(b"\r\n\r\n")[2] for piece in pieces[1:-1]]
