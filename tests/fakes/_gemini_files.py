"""The half of Gemini's fake that keeps files: uploads in pieces, results to be fetched."""

import re
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from tests.fakes import _google as google
from tests.fakes.vendor import FakeVendor, Sold, jsonl, operation

GRANULARITY = 256 << 10
FILE_NAME = re.compile(r"files/[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")


class GeminiFiles(FakeVendor):
    """Files by name, uploaded by the resumable protocol; result files belong to their batch."""

    key = "AIza-test"

    def __init__(self) -> None:
        super().__init__()
        self.redirects = False  #: downloads are elsewhere
        self._uploads: dict[str, dict[str, Any]] = {}

    def error(self, status: int, message: str = "", code: str = "") -> web.Response:
        return google.response(status, message)

    def lines(self, sold: Sold) -> list[dict[str, Any]]:
        raise NotImplementedError

    def barred(self, request: web.Request) -> web.Response | None:
        key = request.headers.get("x-goog-api-key") or request.query.get("key")
        if key == self.key:
            return None
        if key is None:
            return self.error(403, "Method doesn't allow unregistered callers.")
        reason = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
        words = "API key not valid. Please pass a valid API key."
        return google.response(400, words, [reason])

    @operation("upload")
    async def upload(self, request: web.Request) -> web.StreamResponse:
        if upload_id := request.query.get("upload_id"):
            return await self._piece(request, upload_id)  # the address is its own key
        if barred := self.barred(request):
            return barred
        headers = request.headers
        if headers.get("X-Goog-Upload-Protocol") != "resumable":
            return self.error(400, "Only the resumable protocol is supported.")
        if headers.get("X-Goog-Upload-Command") != "start":
            return self.error(400, "Expected the command start.")
        about = google.spelled((await request.json())["file"])
        if unknown := set(about) - {"name", "displayName", "mimeType", "sizeBytes"}:
            return self.error(400, f"Unknown name {min(unknown)!r} at 'file'.")
        name = about.get("name") or f"files/{self.token(12)}"
        if not FILE_NAME.fullmatch(name):
            return self.error(400, f"{name} is no name of a file: 40 of [a-z0-9-] at most.")
        if name in self.files:
            return self.error(409, f"ALREADY_EXISTS: {name}")
        size = int(headers["X-Goog-Upload-Header-Content-Length"])
        upload_id = self.token()
        self._uploads[upload_id] = {"name": name, "size": size, "data": b"", "about": about}
        place = f"{self.host}/upload/v1beta/files?upload_id={upload_id}&upload_protocol=resumable"
        told = {"X-Goog-Upload-Status": "active", "X-Goog-Upload-URL": place}
        return web.Response(headers=told)

    async def _piece(self, request: web.Request, upload_id: str) -> web.Response:
        found, data = self._uploads.get(upload_id), await request.read()
        if found is None:
            return self.error(404, "No such upload.")
        commands = request.headers.get("X-Goog-Upload-Command", "").replace(" ", "").split(",")
        if int(request.headers.get("X-Goog-Upload-Offset", -1)) != len(found["data"]):
            return self.error(400, "The offset is not where the upload stands.")
        if commands == ["upload"] and len(data) % GRANULARITY:
            return self.error(400, "A piece must be a multiple of 262144 bytes.")
        found["data"] += data
        if "finalize" not in commands:
            return web.Response(headers={"X-Goog-Upload-Status": "active"})
        if len(found["data"]) != found["size"]:
            return self.error(400, f"{len(found['data'])} bytes came, {found['size']} announced.")
        if found["name"] in self.files:
            return self.error(409, f"ALREADY_EXISTS: {found['name']}")
        self.files[found["name"]] = found["data"]
        told = {"file": self._file(found["name"])}
        return web.json_response(told, headers={"X-Goog-Upload-Status": "final"})

    def _file(self, name: str) -> dict[str, Any]:
        return {
            "name": name,
            "mimeType": "application/jsonl",
            "sizeBytes": str(len(self.files[name])),
            "createTime": time(self.now()),
            "updateTime": time(self.now()),
            "expirationTime": time(self.now() + 48 * 3600),
            "sha256Hash": "AAA=",
            "uri": f"{self.host}/v1beta/{name}",
            "state": "ACTIVE",
            "source": "UPLOADED",
        }

    async def list_files(self, request: web.Request) -> web.Response:
        if barred := self.barred(request):
            return barred
        return web.json_response({"files": [self._file(name) for name in self.files]})

    async def get_file(self, request: web.Request) -> web.Response:
        name = f"files/{request.match_info['id']}"
        if barred := self.barred(request) or self.no_file(name):
            return barred
        return web.json_response(self._file(name))

    @operation("delete")
    async def delete_file(self, request: web.Request) -> web.StreamResponse:
        name = f"files/{request.match_info['id']}"
        if barred := self.barred(request):
            return barred
        batch = self._batch_of(name)
        if batch is not None:
            batch.facts["forgotten"] = True
            return web.json_response({})
        if refused := self.no_file(name):
            return refused
        del self.files[name]
        return web.json_response({})

    def no_file(self, name: str) -> web.Response | None:
        if not FILE_NAME.fullmatch(name):
            return self.error(400, "The id of a file has at most 40 characters.")
        if name in self.files:
            return None
        words = f"You do not have permission to access the File {name[6:]} or it may not exist."
        return self.error(403, words)

    def _batch_of(self, name: str) -> Sold | None:
        found = (s for s in self.sold if name == f"files/batch-{s.id.removeprefix('batches/')}")
        return next((s for s in found if s.ended and not s.facts.get("forgotten")), None)

    @operation("content")
    async def download(self, request: web.Request) -> web.StreamResponse:
        if barred := self.barred(request):
            return barred
        if request.query.get("alt") != "media":
            return self.error(400, "Expected alt=media.")
        if self.redirects:
            place = f"/elsewhere/{request.match_info['id']}"
            return web.Response(status=302, headers={"Location": place})
        return await self._content(request)

    async def elsewhere(self, request: web.Request) -> web.StreamResponse:
        return await self._content(request)

    async def _content(self, request: web.Request) -> web.StreamResponse:
        name = f"files/{request.match_info['id']}"
        sold = self._batch_of(name)
        if sold is None:
            return self.error(404, "Requested entity was not found.")
        lines = self.lines(sold)
        return await self.sent(request, jsonl(lines), "application/octet-stream")


def time(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).isoformat().replace("+00:00", "Z")
