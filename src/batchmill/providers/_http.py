"""Where the HTTP client's errors end and ours begin: *not sent* is known, all else is *silent*."""

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Final, NoReturn

import aiohttp
from yarl import URL

from batchmill.errors import InvalidSetting, NotSent, ProviderSilent
from batchmill.ports import Answer, Clock, Upload

CONNECT_S: Final = 10.0
#: Leave an idle connection before the other side does (uvicorn and vLLM close after 5 s): a body
#: sent into a connection that is just being closed is lost in silence, and silence costs money.
KEEPALIVE_S: Final = 4.0
READ_BYTES: Final = 1 << 20
HEADER_BYTES_MAX: Final = 1 << 16
#: An answer that is not streamed is held in memory. The largest of the real ones are a live answer
#: to a request of 32 MiB, and the rows of a batch that come inside its object.
ANSWER_BYTES_MAX: Final = 256 << 20


@dataclass(slots=True)
class _Sending:
    """The witness of one call."""

    send_before: float | None
    left: bool = False  #: the headers are on their way, or may be


class AiohttpClient:
    """The one client behind `ports.Http`. Never repeats a call, never follows a redirect."""

    def __init__(self, clock: Clock, *, connect_s: float = CONNECT_S) -> None:
        self._clock = clock
        self._connect_s = connect_s
        self._session: aiohttp.ClientSession | None = None

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | Upload | None = None,
        timeout_s: float,
        idle_timeout_s: float | None = None,
        send_before: float | None = None,
    ) -> Answer:
        """
        Make one call and return the whole answer, whatever its status; see `ports.Http`.

        `NotSent`: provably nothing left this machine, also when `Clock.awake()` has passed
        *send_before* at the moment the headers would be written. `ProviderSilent`: anything else
        that is no answer, the expiry of a timeout included.
        """
        sending = _Sending(send_before)
        data, sized = body, {}
        try:
            async with asyncio.timeout(idle_timeout_s or timeout_s) as limit:
                if isinstance(body, Upload):
                    sized = {"content-length": str(body.size_bytes)}
                    data = _watched(body, limit, timeout_s, idle_timeout_s)
                async with self._opened().request(
                    method,
                    _address(url),
                    headers={**headers, **sized},
                    data=data,
                    allow_redirects=False,
                    trace_request_ctx=sending,
                ) as response:
                    found = {name.lower(): value for name, value in response.headers.items()}
                    return Answer(response.status, found, await _whole(response))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            _translate(error, method, url, sent=sending.left, timeout_s=timeout_s)

    @asynccontextmanager
    async def download(
        self, method: str, url: str, *, headers: Mapping[str, str], idle_timeout_s: float
    ) -> AsyncIterator["_Arriving"]:
        """Ask for a body that is read as it comes; see `ports.Http`."""
        sending = _Sending(None)
        silence = aiohttp.ClientTimeout(
            total=None, sock_connect=self._connect_s, sock_read=idle_timeout_s
        )
        call = self._opened().request(
            method,
            _address(url),
            headers=headers,
            allow_redirects=False,
            timeout=silence,
            trace_request_ctx=sending,
        )
        try:
            response = await call
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            _translate(error, method, url, sent=sending.left, timeout_s=idle_timeout_s)
        try:
            yield _Arriving(response, f"{method} {_place(url)}", idle_timeout_s)
        finally:
            response.close()  # a body that was not read to its end is not worth waiting for

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            trace = aiohttp.TraceConfig()
            trace.on_request_headers_sent.append(self._leaving)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_S),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_s),
                trace_configs=[trace],
                cookie_jar=aiohttp.DummyCookieJar(),
                read_bufsize=READ_BYTES,
                max_line_size=HEADER_BYTES_MAX,
                max_field_size=HEADER_BYTES_MAX,
            )
            # It would repeat a GET whose connection was dropped; no public knob (aiohttp 3.14).
            self._session._retry_connection = False  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        return self._session

    async def _leaving(
        self,
        session: aiohttp.ClientSession,
        context: SimpleNamespace,
        params: aiohttp.TraceRequestHeadersSentParams,
    ) -> None:
        # aiohttp calls this before it writes the first byte (http_writer.write_headers, 3.14).
        sending: _Sending = context.trace_request_ctx
        if sending.send_before is not None and self._clock.awake() >= sending.send_before:
            raise NotSent("it was too late to send it: this process was held up for too long")
        sending.left = True


async def _whole(response: aiohttp.ClientResponse) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > ANSWER_BYTES_MAX:
            raise ValueError(f"more than {ANSWER_BYTES_MAX >> 20} MiB, the most one may have")
    return b"".join(chunks)


class _Arriving:
    """`ports.Download` over a response of aiohttp."""

    def __init__(self, response: aiohttp.ClientResponse, call: str, idle_timeout_s: float) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self._response = response
        self._call = call
        self._idle_timeout_s = idle_timeout_s

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes; a body that ends before its length is `ProviderSilent`."""
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            silent = isinstance(error, TimeoutError)
            why = f"nothing more for {self._idle_timeout_s:g} s" if silent else reason(error)
            raise ProviderSilent(f"{self._call}: the body broke off: {why}") from error


async def _watched(
    upload: Upload, limit: asyncio.Timeout, timeout_s: float, idle_timeout_s: float | None
) -> AsyncIterator[bytes]:
    """Pass an upload on; with *idle_timeout_s* each chunk that leaves moves the limit."""
    loop = asyncio.get_running_loop()
    async for chunk in upload.chunks():
        yield chunk
        if idle_timeout_s is not None:
            limit.reschedule(loop.time() + idle_timeout_s)
    if idle_timeout_s is not None:
        limit.reschedule(loop.time() + max(timeout_s, idle_timeout_s))


def _translate(
    error: Exception, method: str, url: str, *, sent: bool, timeout_s: float
) -> NoReturn:
    """Raise our error for theirs. The witness decides, not the class: classes are ambiguous."""
    if isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
        raise InvalidSetting(f"{url!r} is not a usable http(s) URL; look at base_url.") from error
    if sent:
        why = (
            f"no answer within {timeout_s:g} s"
            if isinstance(error, TimeoutError)
            else reason(error)
        )
        raise ProviderSilent(f"{method} {_place(url)}: sent, then {why}") from error
    raise NotSent(reason(error)) from error


def _address(url: str) -> str | URL:
    """Return what goes out letter by letter: what was escaped may be signed in that very form."""
    if "%" in url and url.isascii() and url.isprintable() and " " not in url:
        with contextlib.suppress(ValueError):
            return URL(url, encoded=True)  # else yarl writes %3A in a path as a colon
    return url


def _place(url: str) -> str:
    parsed = URL(url)
    return f"{parsed.host}{parsed.path}"  # without the query: it may hold a key


def reason(error: BaseException) -> str:
    """Return the few words a person needs about a network error."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"no such host: {error.host}"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"its certificate is not valid here: {error.certificate_error}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the connection was closed without an answer"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the connection broke in the middle of the answer"
    if isinstance(error, aiohttp.ClientResponseError):
        return f"something that is not HTTP: {error.message}"
    if isinstance(error, TimeoutError):
        return "no connection in time"
    number = error.errno if isinstance(error, OSError) else None
    if number is not None and number in errno.errorcode and not isinstance(error, socket.gaierror):
        return os.strerror(number).lower()
    return str(error) or type(error).__name__


async def download(
    url: str, path: Path, *, idle_s: float, heard: Callable[[int, int | None], None]
) -> None:
    """
    Fetch a public file to *path*, following redirects and the machine's proxy settings.

    *heard* is told the bytes so far and in all. Raises `NotSent` with the reason: fetching a file
    is free, so it never matters how far it got.
    """
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=idle_s)
    try:
        async with (
            aiohttp.ClientSession(
                timeout=timeout, trust_env=True, auto_decompress=False
            ) as session,
            session.get(url, headers={"accept-encoding": "identity"}) as response,
        ):
            if response.status != 200:
                raise NotSent(f"{_place(url)} answers {response.status} {response.reason}")
            done = 0
            with path.open("wb") as file:
                async for chunk in response.content.iter_chunked(1 << 18):
                    file.write(chunk)
                    done += len(chunk)
                    heard(done, response.content_length)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise NotSent(f"{_place(url)}: {reason(error)}") from error
