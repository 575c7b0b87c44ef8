"""As much of Cloud Storage as obstore speaks to: objects of one bucket, by its XML API."""

import re
from urllib.parse import unquote
from xml.sax.saxutils import escape

from aiohttp import web
from tests.fakes.vendor import FakeVendor, operation

ETAG = {"ETag": '"e"', "Last-Modified": "Wed, 01 Jan 2025 00:00:00 GMT"}


class Storage(FakeVendor):
    """Clients' objects are `files`; what the vendor itself wrote are `written`."""

    bucket = "my-bucket"

    def __init__(self) -> None:
        super().__init__()
        self.written: dict[str, bytes] = {}
        self._parts: dict[str, dict[int, bytes]] = {}

    def storage_routes(self) -> list[web.RouteDef]:
        folder = "/storage/{bucket}"
        return [
            web.get(folder, self.list_objects),
            web.put(folder + "/{key:.+}", self.put_object),
            web.post(folder + "/{key:.+}", self.in_parts),
            web.get(folder + "/{key:.+}", self.get_object),
            web.delete(folder + "/{key:.+}", self.delete_object),
        ]

    def barred(self, request: web.Request) -> web.Response | None:
        raise NotImplementedError

    def settle(self) -> None:
        """Write what jobs that have ended leave behind."""

    def _stopped(self, request: web.Request) -> web.Response | None:
        if self.barred(request) is not None:
            return _xml("<Error><Code>AccessDenied</Code></Error>", 403)
        if request.match_info["bucket"] != self.bucket:
            words = "The specified bucket does not exist."
            return _xml(f"<Error><Code>NoSuchBucket</Code><Message>{words}</Message></Error>", 404)
        self.settle()
        return None

    async def list_objects(self, request: web.Request) -> web.Response:
        if stopped := self._stopped(request):
            return stopped
        prefix, found = request.query.get("prefix", ""), {**self.files, **self.written}
        rows = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(data)}</Size>"
            '<LastModified>2025-01-01T00:00:00.000Z</LastModified><ETag>"e"</ETag></Contents>'
            for key, data in sorted(found.items())
            if key.startswith(prefix)
        )
        return _xml(f"<ListBucketResult>{rows}</ListBucketResult>")

    @operation("upload")
    async def put_object(self, request: web.Request) -> web.StreamResponse:
        if stopped := self._stopped(request):
            return stopped
        data = await request.read()
        if upload := request.query.get("uploadId"):
            self._parts[upload][int(request.query["partNumber"])] = data
        else:
            self.files[_key(request)] = data
        return web.Response(headers=ETAG)

    async def in_parts(self, request: web.Request) -> web.Response:
        if stopped := self._stopped(request):
            return stopped
        if "uploads" in request.query:
            upload = self.token()
            self._parts[upload] = {}
            found = f"<UploadId>{upload}</UploadId>"
            return _xml(f"<InitiateMultipartUploadResult>{found}</InitiateMultipartUploadResult>")
        parts = self._parts.pop(request.query["uploadId"])
        self.files[_key(request)] = b"".join(parts[n] for n in sorted(parts))
        return _xml(
            '<CompleteMultipartUploadResult><ETag>"e"</ETag></CompleteMultipartUploadResult>'
        )

    @operation("content")
    async def get_object(self, request: web.Request) -> web.StreamResponse:
        if stopped := self._stopped(request):
            return stopped
        data = self.files.get(_key(request)) or self.written.get(_key(request))
        if data is None:
            return _no_key()
        if (wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))) is None:
            return await self._streamed(request, data)
        start, end = int(wanted[1]), int(wanted[2] or len(data) - 1)
        place = f"bytes {start}-{end}/{len(data)}"
        return web.Response(
            body=data[start : end + 1], status=206, headers={**ETAG, "Content-Range": place}
        )

    async def _streamed(self, request: web.Request, data: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers=ETAG)
        response.content_length = len(data)
        await response.prepare(request)
        if self.weather.torn > 0 and data:
            self.weather.torn -= 1
            await response.write(data[: len(data) * 2 // 3 - 3])
            assert request.transport is not None
            request.transport.abort()
            return response
        await response.write(data)
        await response.write_eof()
        return response

    @operation("delete")
    async def delete_object(self, request: web.Request) -> web.StreamResponse:
        if stopped := self._stopped(request):
            return stopped
        key = _key(request)
        if self.files.pop(key, None) is None and self.written.pop(key, None) is None:
            return _no_key()
        return web.Response(status=204)


def _key(request: web.Request) -> str:
    return unquote(request.match_info["key"])


def _xml(text: str, status: int = 200) -> web.Response:
    return web.Response(text=f'<?xml version="1.0"?>{text}', status=status, content_type="text/xml")


def _no_key() -> web.Response:
    words = "The specified key does not exist."
    return _xml(f"<Error><Code>NoSuchKey</Code><Message>{words}</Message></Error>", 404)
