"""The files of the fake of Mistral, and what it refuses whoever asks."""

import json
import re
import uuid
from typing import Any

from aiohttp import web
from tests.fakes._forms import parts
from tests.fakes._mistral_rows import wrong_in
from tests.fakes.vendor import FakeVendor, operation

FORM_FIELDS = frozenset(["purpose", "visibility", "expiry", "file"])


class MistralFiles(FakeVendor):
    def __init__(self) -> None:
        super().__init__()
        self.about: dict[str, dict[str, Any]] = {}  #: of each file that was ever there
        self.forms: list[dict[str, str]] = []  #: fields of each upload

    # -- files --------------------------------------------------------------------------------

    @operation("upload")
    async def upload(self, request: web.Request) -> web.StreamResponse:
        if (no := self._stranger(request)) is not None:
            return no
        found = parts(request.headers.get("content-type", ""), await request.read())
        if found is None:
            return self.unprocessable("body", "file", "Field required", "missing")
        form = {part.name: part for part in found}
        if odd := form.keys() - FORM_FIELDS:
            self.complaints.append(f"upload: unknown fields {sorted(odd)}")
        if "file" not in form or form["file"].filename is None:
            return self.unprocessable("body", "file", "Field required", "missing")
        fields = {name: part.data.decode() for name, part in form.items() if name != "file"}
        self.forms.append(fields)
        if fields.get("purpose") != "batch":
            return self.unprocessable("body", "purpose", "Input should be 'batch'", "enum")
        if fields.get("visibility", "workspace") not in ("workspace", "user"):
            return self.unprocessable("body", "visibility", "Input should be 'workspace'", "enum")
        data = form["file"].data
        if (no := self._looked_through(data)) is not None:
            return no
        return web.json_response(self.put(data, form["file"].filename, "batch_request", "upload"))

    def put(self, data: bytes, filename: str, sample: str, source: str) -> dict[str, Any]:
        """Keep a file; return what is told of it."""
        file_id = self.uuid()
        self.files[file_id] = data
        self.about[file_id] = {
            "id": file_id,
            "object": "file",
            "bytes": len(data),
            "created_at": int(self.now()),
            "filename": filename,
            "purpose": "batch",
            "sample_type": sample,
            "source": source,
            "num_lines": data.count(b"\n"),
            "mimetype": "application/jsonl",
            "signature": self.token(32),
            "expires_at": None,
            "visibility": "workspace",
        }
        return self.about[file_id]

    def _looked_through(self, data: bytes) -> web.Response | None:
        """Look at the lines of an upload, as the vendor does; None: they will do."""
        errors: list[dict[str, Any]] = []
        for number, line in enumerate(data.splitlines(), 1):
            try:
                body = json.loads(line)["body"]
                wrong = self.weather.bad_lines.get(number) or wrong_in(body)
            except (ValueError, KeyError, TypeError):
                words = "Invalid file format. Chat too large or missing. Format your file using"
                return self.error(422, f"{words} newline delimited JSON")
            if wrong:
                errors.append({"message": wrong, "line_number": number})
        if not errors:
            return None
        self.weather.bad_lines = {}  # whoever left them out is not refused again
        told = f"Found {len(errors)} errors in this file."
        refusal = {"detail": "Invalid file format.", "description": told, "errors": errors}
        return web.json_response(refusal, status=422)

    async def file_list(self, request: web.Request) -> web.StreamResponse:
        if (no := self._stranger(request)) is not None:
            return no
        there = [self.about[file_id] for file_id in self.files]
        size, page = int(request.query.get("page_size", 100)), int(request.query.get("page", 0))
        shown = there[page * size : (page + 1) * size]
        return web.json_response({"data": shown, "object": "list", "total": len(there)})

    async def file(self, request: web.Request) -> web.StreamResponse:
        no = self._stranger(request) or self._no_file(request)
        if no is not None:
            return no
        return web.json_response({**self.about[request.match_info["id"]], "deleted": False})

    async def signed_url(self, request: web.Request) -> web.StreamResponse:
        no = self._stranger(request) or self._no_file(request)
        if no is not None:
            return no
        if not 1 <= int(request.query.get("expiry", "24")) <= 168:
            return self.unprocessable("query", "expiry", "Input should be 1 to 168", "range")
        return web.json_response({"url": f"{self.host}/signed/{request.match_info['id']}"})

    @operation("delete")
    async def delete(self, request: web.Request) -> web.StreamResponse:
        no = self._stranger(request) or self._no_file(request)
        if no is not None:
            return no
        file_id = request.match_info["id"]
        del self.files[file_id]
        return web.json_response({"id": file_id, "object": "file", "deleted": True})

    @operation("content")
    async def content(self, request: web.Request) -> web.StreamResponse:
        no = self._stranger(request) or self._no_file(request)
        if no is not None:
            return no
        data = self.files[request.match_info["id"]]
        return await self.sent(request, data, "application/octet-stream")

    def _no_file(self, request: web.Request) -> web.Response | None:
        file_id = request.match_info["id"]
        if (no := self._no_uuid("file_id", file_id)) is not None:
            return no
        return None if file_id in self.files else self.error(404, "File not found.")

    # -- what it refuses ----------------------------------------------------------------------

    def _stranger(self, request: web.Request) -> web.Response | None:
        right = request.headers.get("authorization") == f"Bearer {self.key}"
        return None if right else self.error(401)

    def _no_uuid(self, field: str, value: str) -> web.Response | None:
        if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", str(value)):
            return None
        return self.unprocessable("path", field, "Input should be a valid UUID", "uuid_parsing")

    def unprocessable(self, place: str, field: str, words: str, kind: str) -> web.Response:
        loc = [place, field] if field else [place]
        detail = [{"loc": loc, "msg": words, "type": kind, "input": None}]
        return web.json_response({"detail": detail}, status=422)

    def uuid(self) -> str:
        return str(uuid.UUID(int=self._luck.getrandbits(128), version=4))
