"""An S3 on loopback (moto's server, in a process of its own), and a door to it that has weather."""

import atexit
import contextlib
import functools
import io
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from aiohttp import ClientSession, web

if TYPE_CHECKING:
    from tests.fakes.vendor import FakeVendor

#: moto looks at no signature, but wants to see that there is one.
AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, "
    "SignedHeaders=host, Signature=0"
)
_starting = threading.Lock()
_PASSED_ON = ("content-type", "content-md5", "range", "x-amz-", "if-")


def server() -> str:
    """Return the address of this test process's S3; it starts once, and that takes seconds."""
    with _starting:
        return _server()


@functools.cache
def _server() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    moto = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(moto, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop() -> None:
        process.kill()
        process.wait()

    atexit.register(stop)
    for _ in range(600):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return f"http://127.0.0.1:{port}"
        assert process.poll() is None, "moto.server ended at once"
        time.sleep(0.1)
    raise AssertionError("moto.server does not answer")


def ask(method: str, path: str, data: bytes | None = None) -> bytes | None:
    """Make a call to S3 past the door, e.g. as somebody else; None: there is no such thing."""
    request = urllib.request.Request(server() + path, data, method=method)
    request.add_header("Authorization", AUTHORIZATION)
    request.add_header("Content-Type", "application/octet-stream")
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.read()
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 404:
            return None
        raise


class Door:
    """
    One bucket of moto's, at the address of a fake: there weather strikes, and keys are looked at.

    `FakeVendor.files` holds what clients have put into it; what a test takes out there is gone.
    """

    def __init__(self, vendor: "FakeVendor", bucket: str, key_id: str) -> None:
        self.bucket = bucket
        self._vendor = vendor
        self._key_id = key_id
        self._uploaded: set[str] = set()
        self._session: ClientSession | None = None

    def routes(self) -> Iterable[web.RouteDef]:
        yield web.route("*", f"/{self.bucket}", self._list)
        yield web.put(f"/{self.bucket}/{{key:.+}}", self._put)
        yield web.post(f"/{self.bucket}/{{key:.+}}", self._put)
        yield web.delete(f"/{self.bucket}/{{key:.+}}", self._delete)
        yield web.get(f"/{self.bucket}/{{key:.+}}", self._get)

    def up(self) -> None:
        ask("PUT", f"/{self.bucket}")

    async def down(self) -> None:
        if self._session is not None:
            await self._session.close()

    def object(self, key: str) -> bytes | None:
        """Return what lies at a key, as everybody in the account sees it."""
        self._sweep()
        return ask("GET", f"/{self.bucket}/{key}")

    def write(self, key: str, data: bytes) -> None:
        ask("PUT", f"/{self.bucket}/{key}", data)

    def delete(self, key: str) -> None:
        ask("DELETE", f"/{self.bucket}/{key}")

    def listed(self) -> list[str]:
        found = ask("GET", f"/{self.bucket}?list-type=2") or b""
        return [part.split("</Key>")[0] for part in found.decode().split("<Key>")[1:]]

    def _sweep(self) -> None:
        for key in [key for key in self._uploaded if key not in self._vendor.files]:
            ask("DELETE", f"/{self.bucket}/{key}")
            self._uploaded.discard(key)

    # -- what clients do ------------------------------------------------------------------------

    async def _list(self, request: web.Request) -> web.StreamResponse:
        self._sweep()
        if request.method == "POST" and "delete" in request.query:
            return await self._vendor.weathered("delete", request, self._pass_deletion)
        self._vendor.calls["objects"] += 1
        return await self._pass(self._vendor, request)

    async def _put(self, request: web.Request) -> web.StreamResponse:
        return await self._vendor.weathered("upload", request, self._pass_upload)

    async def _get(self, request: web.Request) -> web.StreamResponse:
        self._sweep()
        return await self._vendor.weathered("content", request, self._pass_content)

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        return await self._vendor.weathered("delete", request, self._pass_deletion)

    async def _pass_upload(self, vendor: "FakeVendor", request: web.Request) -> web.StreamResponse:
        response = await self._pass(vendor, request)
        part = request.method == "PUT" and "partNumber" in request.query
        key = request.match_info["key"]
        if response.status == 200 and not part and "uploads" not in request.query:
            vendor.files[key] = ask("GET", f"/{self.bucket}/{key}") or b""
            self._uploaded.add(key)
        return response

    async def _pass_deletion(
        self, vendor: "FakeVendor", request: web.Request
    ) -> web.StreamResponse:
        response = await self._pass(vendor, request)
        there = set(self.listed())
        for key in self._uploaded - there:
            vendor.files.pop(key, None)
            self._uploaded.discard(key)
        return response

    async def _pass_content(self, vendor: "FakeVendor", request: web.Request) -> web.StreamResponse:
        whole = await self._pass(vendor, request)
        data = whole.body
        torn = vendor.weather.torn > 0 and request.path.endswith(".out") and whole.status == 200
        if not torn or not isinstance(data, bytes) or not data:
            return whole
        vendor.weather.torn -= 1
        response = web.StreamResponse(headers=whole.headers)
        response.content_length = len(data)
        await response.prepare(request)
        await response.write(data[: len(data) * 2 // 3 - 3])
        assert request.transport is not None
        request.transport.abort()
        return response

    async def _pass(self, vendor: "FakeVendor", request: web.Request) -> web.Response:
        if f"Credential={self._key_id}/" not in request.headers.get("authorization", ""):
            return _refused("InvalidAccessKeyId", "The AWS Access Key Id does not exist.")
        if self._session is None:
            self._session = ClientSession(auto_decompress=False)
        async with self._session.request(
            request.method,
            server() + request.path_qs,
            headers={**_kept(request.headers), "Authorization": AUTHORIZATION},
            data=io.BytesIO(await request.read()),
        ) as answer:
            kept = {
                name: value
                for name, value in answer.headers.items()
                if name.lower() not in ("content-length", "transfer-encoding", "connection")
            }
            return web.Response(status=answer.status, headers=kept, body=await answer.read())


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower().startswith(_PASSED_ON)}


def _refused(code: str, message: str) -> web.Response:
    text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return web.Response(status=403, text=text, content_type="application/xml")
