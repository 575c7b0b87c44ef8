"""The one client: what was provably not sent, and what may have been."""

import asyncio
import inspect
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import client_exceptions, web

from batchmill.errors import InvalidSetting, NotSent, ProviderSilent
from batchmill.providers import _http
from batchmill.providers._http import AiohttpClient

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class FixedClock:
    at = 100.0

    def now(self) -> float:
        return self.at

    def awake(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("a client does not wait")


@pytest.fixture
async def client() -> AsyncIterator[AiohttpClient]:
    made = AiohttpClient(FixedClock())
    yield made
    await made.aclose()


@asynccontextmanager
async def raw_server(script: Script) -> AsyncIterator[str]:
    """A server that reads a request's headers and then does whatever the script says."""
    calls: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                calls.append(await reader.readuntil(b"\r\n\r\n"))
                await script(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
    assert len(calls) <= 1, "a call was repeated"


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


async def ask(client: AiohttpClient, url: str, method: str = "POST", **more: Any):
    return await client.request(
        method, url, headers={"x-a": "b"}, body=b"{}", **({"timeout_s": 5.0} | more)
    )


async def test_what_is_escaped_in_an_address_goes_out_as_it_was_signed(client: AiohttpClient):
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.raw_path)
        return web.Response()

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    path = "/job/arn%3Aaws%3Ajob%2Fabc?after=2026-01-01T00%3A00%3A00Z&q=a%2Bb"
    await ask(client, f"http://127.0.0.1:{runner.addresses[0][1]}{path}")
    await runner.cleanup()

    assert seen == [path]


async def test_an_answer_comes_back_whole_with_lower_case_headers(client: AiohttpClient):
    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 429 Busy\r\nRetry-After: 7\r\nContent-Length: 3\r\n\r\nno!")

    async with raw_server(script) as url:
        answer = await ask(client, url)
    assert (answer.status, answer.body, answer.headers["retry-after"]) == (429, b"no!", "7")


async def test_a_redirect_is_an_answer_and_not_followed(client: AiohttpClient):
    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 307 Go\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")

    async with raw_server(script) as url:
        assert (await ask(client, url)).status == 307


async def test_a_refused_connection_was_not_sent(client: AiohttpClient):
    with pytest.raises(NotSent, match="connection refused"):
        await ask(client, f"http://127.0.0.1:{closed_port()}/v1")


async def test_a_host_that_does_not_exist_was_not_sent(client: AiohttpClient, monkeypatch: Any):
    def nobody(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    with pytest.raises(NotSent, match="no such host: gpu1"):
        await ask(client, "http://gpu1:8000/v1")


async def test_a_connection_that_is_never_accepted_was_not_sent():
    client = AiohttpClient(FixedClock(), connect_s=0.1)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        waiting: list[socket.socket] = []
        for _ in range(4):  # fill the backlog
            other = socket.socket()
            other.setblocking(False)
            other.connect_ex(address)
            waiting.append(other)
        with pytest.raises(NotSent):
            await ask(client, f"http://127.0.0.1:{address[1]}/")
        for other in waiting:
            other.close()
    await client.aclose()


async def test_a_call_that_comes_too_late_does_not_leave(client: AiohttpClient):
    heard: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(b"headers")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with raw_server(script) as url:
        with pytest.raises(NotSent, match="too late"):
            await ask(client, url, send_before=100.0)
        assert not heard
        assert (await ask(client, url, send_before=100.5)).status == 200


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x16\x03\x01garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf an ans",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope",
    ],
    ids=["dropped", "garbage", "half headers", "half body", "half chunk", "bad gzip"],
)
async def test_whatever_is_no_answer_after_sending_is_silent_and_never_repeated(
    client: AiohttpClient, method: str, answer: bytes
):
    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with raw_server(script) as url:
        with pytest.raises(ProviderSilent, match="sent, then"):
            await ask(client, url, method)


async def test_a_connection_reset_after_sending_is_silent(client: AiohttpClient):
    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with raw_server(script) as url:
        with pytest.raises(ProviderSilent):
            await ask(client, url)


async def test_a_hang_is_silent_when_its_time_is_over(client: AiohttpClient):
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await reader.readexactly(1000)

    async with raw_server(script) as url:
        with pytest.raises(ProviderSilent, match=r"no answer within 0\.1 s"):
            await ask(client, url + "/v1/x?key=secret", timeout_s=0.1)


async def test_messages_never_hold_the_query(client: AiohttpClient):
    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with raw_server(script) as url:
        with pytest.raises(ProviderSilent) as told:
            await ask(client, url + "/v1/x?key=secret")
    assert "secret" not in str(told.value)


async def test_cancelling_closes_the_connection(client: AiohttpClient):
    called, closed = asyncio.Event(), asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        called.set()
        while await reader.read(100):
            pass
        closed.set()

    async with raw_server(script) as url:
        call = asyncio.create_task(ask(client, url))
        await called.wait()
        call.cancel()
        async with asyncio.timeout(2):
            await closed.wait()
        with pytest.raises(asyncio.CancelledError):
            await call


@pytest.mark.parametrize("url", ["", "gpu1:8000/v1", "ftp://x/y", "http://", "http://:80/"])
async def test_a_url_that_is_none_is_a_setting_to_be_mended(client: AiohttpClient, url: str):
    with pytest.raises(InvalidSetting, match="base_url"):
        await ask(client, url)


def every_error_class() -> list[type[BaseException]]:
    found = inspect.getmembers(client_exceptions, inspect.isclass)
    return [c for _, c in found if issubclass(c, aiohttp.ClientError)]


def instance_of(cls: type[BaseException]) -> BaseException:
    """Made without its constructor, whose arguments are aiohttp's own affair."""
    return cls.__new__(cls)


@pytest.mark.parametrize("cls", every_error_class(), ids=lambda c: c.__name__)
@pytest.mark.parametrize("sent", [True, False])
def test_every_error_of_the_client_has_a_place_in_ours(
    cls: type[Any], sent: bool, monkeypatch: Any
):
    monkeypatch.setattr(_http, "reason", lambda error: type(error).__name__)
    with pytest.raises((NotSent, ProviderSilent, InvalidSetting)) as told:
        _http._translate(instance_of(cls), "POST", "http://x/y", sent=sent, timeout_s=1.0)
    if told.type is not InvalidSetting:
        assert told.type is (ProviderSilent if sent else NotSent)


@pytest.mark.parametrize(
    "error", [OSError(), TimeoutError(), ssl.SSLError(), ValueError("x"), ConnectionResetError()]
)
def test_a_reason_is_never_empty(error: Exception):
    assert _http.reason(error)


async def test_a_file_is_downloaded_through_a_redirect(tmp_path: Any):
    async def moved(_: web.Request) -> web.Response:
        raise web.HTTPFound("/real")

    async def real(_: web.Request) -> web.Response:
        return web.Response(body=b"x" * 1_000_000)

    app = web.Application()
    app.router.add_get("/file", moved)
    app.router.add_get("/real", real)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    heard: list[tuple[int, int | None]] = []
    await _http.download(f"{url}/file", tmp_path / "f", idle_s=5, heard=lambda *a: heard.append(a))
    with pytest.raises(NotSent, match="404"):
        await _http.download(f"{url}/no", tmp_path / "g", idle_s=5, heard=lambda *_: None)
    await runner.cleanup()
    assert (tmp_path / "f").stat().st_size == 1_000_000
    assert heard[-1] == (1_000_000, 1_000_000)
