"""Links of a table, followed: fetched within bounds, or only looked at; never to private places."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import aiohttp
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from batchmill.errors import InvalidRow
from batchmill.ports import Clock
from batchmill.rows.addresses import BarredError, is_public, sockets_for
from batchmill.rows.kinds import MEDIA_BYTES_MAX, kind_of

HOPS_MAX: Final = 5
#: Enough of a file to tell its kind.
HEAD_BYTES: Final = 1024
LOOKS_AT_ONCE: Final = 16

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_GONE = frozenset({404, 410})
_PASSING = frozenset({408, 425, 429})
#: What a server shows in the place of a picture that it has no more.
_PAGES = frozenset({"text/html", "application/xhtml+xml", "application/json"})
_NO_HOST = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much, and how long."""

    size_bytes: int = MEDIA_BYTES_MAX
    connect_s: float = 10.0
    fetch_s: float = 60.0  #: one try, with all its redirects
    pauses_s: tuple[float, ...] = (1.0, 5.0)  #: before each further try, where one may help
    look_s: float = 15.0  #: one link
    looks_s: float = 180.0  #: all of one call; what is not looked at by then counts as there


class _Nothing(Exception):
    """Nothing came of it; the words say why."""

    def __init__(self, words: str, *, again: bool = False, gone: bool = False) -> None:
        super().__init__(words)
        self.again = again  #: it may be different in a moment
        self.gone = gone  #: it will not be


class OpenWeb:
    """`ports.Web` over aiohttp: cookies, proxies and names of this machine play no part."""

    def __init__(
        self,
        clock: Clock,
        *,
        allow_private: bool = False,
        bounds: Bounds | None = None,
        allowed: Callable[[str], bool] = is_public,
    ) -> None:
        self._clock = clock
        self._bounds = bounds or Bounds()
        self._sockets = None if allow_private else sockets_for(allowed)

    @contextmanager
    def fetching(self) -> Iterator[Callable[[str], bytes]]:
        """Lend a blocking way to fetch links; see `ports.Web`."""
        lent = _Lent(self)
        try:
            yield lent.fetch
        finally:
            lent.close()

    async def gone(self, links: Collection[str]) -> set[str]:
        """Return the links that certainly lead to no picture or document any more."""
        found: set[str] = set()
        todo = iter(set(links))

        async def look(session: aiohttp.ClientSession) -> None:
            for link in todo:
                if await self._is_gone(session, link):
                    found.add(link)

        with suppress(TimeoutError):
            async with (
                self.session() as session,
                asyncio.timeout(self._bounds.looks_s),
                asyncio.TaskGroup() as group,
            ):
                for _ in range(min(LOOKS_AT_ONCE, len(links))):
                    group.create_task(look(session))
        return found

    async def fetch(self, session: aiohttp.ClientSession, link: str) -> bytes:
        """Return what *link* leads to, after up to three tries; raise `InvalidRow` with words."""
        pauses = iter(self._bounds.pauses_s)
        while True:
            try:
                async with asyncio.timeout(self._bounds.fetch_s):
                    return await self._body(session, link)
            except TimeoutError:
                nothing = _Nothing(f"does not arrive within {self._bounds.fetch_s:g} s", again=True)
            except _Nothing as error:
                nothing = error
            pause_s = next(pauses, None) if nothing.again else None
            if pause_s is None:
                raise InvalidRow(str(nothing)) from nothing
            await self._clock.sleep(pause_s)

    def session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=ThreadedResolver(),
                socket_factory=self._sockets,
            ),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._bounds.connect_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            # Some servers answer nobody who does not say a name.
            headers={"user-agent": "batchmill", "accept-encoding": "identity"},
        )

    async def _body(self, session: aiohttp.ClientSession, link: str) -> bytes:
        most = self._bounds.size_bytes
        async with _opened(session, "GET", link) as response:
            if response.status != 200:
                again = response.status in _PASSING or response.status >= 500
                raise _Nothing(f"its server answers {_words(response.status)}", again=again)
            body = bytearray()
            if (response.content_length or 0) <= most:
                async for chunk in response.content.iter_chunked(1 << 16):
                    body += chunk
                    if len(body) > most:
                        break
                else:
                    return bytes(body)
            raise _Nothing(f"is larger than {most / (1 << 20):g} MiB. Make it smaller")

    async def _is_gone(self, session: aiohttp.ClientSession, link: str) -> bool:
        try:
            async with asyncio.timeout(self._bounds.look_s):
                try:
                    async with _opened(session, "HEAD", link) as response:
                        if response.status == 200 and _is_media(response.content_type):
                            return False
                except _Nothing as error:
                    if not error.again:
                        return error.gone
                # Many servers refuse HEAD, or answer it at random: only a GET is believed.
                return await self._shows_none(session, link)
        except TimeoutError:
            return False
        except _Nothing as error:
            return error.gone

    async def _shows_none(self, session: aiohttp.ClientSession, link: str) -> bool:
        wanted = {"range": f"bytes=0-{HEAD_BYTES - 1}"}
        async with _opened(session, "GET", link, wanted) as response:
            if response.status not in (200, 206):
                return response.status in _GONE
            if response.content_type not in _PAGES:
                return False
            head = b""
            async for chunk in response.content.iter_chunked(HEAD_BYTES):
                head += chunk
                if len(head) >= HEAD_BYTES:
                    break
            return kind_of(head) is None


class _Lent:
    """Fetches for threads that block, on an event loop in a thread of its own."""

    def __init__(self, web: OpenWeb) -> None:
        self._web = web
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._session: aiohttp.ClientSession | None = None

    def fetch(self, link: str) -> bytes:
        return asyncio.run_coroutine_threadsafe(self._fetch(link), self._running()).result()

    async def _fetch(self, link: str) -> bytes:
        if self._session is None:
            self._session = self._web.session()
        return await self._web.fetch(self._session, link)

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:  # most tables need no link fetched, so the thread waits for the first
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name="batchmill-links", daemon=True
                )
                self._thread.start()
            return self._loop

    def close(self) -> None:
        """Break off what is still under way."""
        with self._lock:
            loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(self._end(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    async def _end(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        if self._session is not None:
            await self._session.close()


@asynccontextmanager
async def _opened(
    session: aiohttp.ClientSession, method: str, link: str, headers: dict[str, str] | None = None
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Ask for *link* and follow its redirects, each of them to a place that is allowed."""
    try:
        url = _usable(URL(link))
        for _ in range(HOPS_MAX + 1):
            async with session.request(
                method, url, headers=headers, allow_redirects=False
            ) as response:
                location = response.headers.get("location")
                if response.status not in _REDIRECTS or location is None:
                    yield response
                    return
                url = _usable(url.join(URL(location)))
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise _nothing(error) from error
    raise _Nothing(f"is redirected more than {HOPS_MAX} times")


def _usable(url: URL) -> URL:
    if url.scheme not in ("http", "https") or not url.host:
        raise _Nothing("leads to what is no http(s) link")
    return url


def _nothing(error: Exception) -> _Nothing:
    if isinstance(error, TimeoutError):
        return _Nothing("its server does not answer", again=True)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        number = error.os_error.errno
        if number in _NO_HOST:
            return _Nothing("there is no such host", gone=True)
        return _Nothing("its host cannot be looked up now", again=True)
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return _Nothing("its server's certificate is not valid here")
    if isinstance(error, aiohttp.ClientConnectorError):
        if isinstance(error.os_error, BarredError):
            return _Nothing(
                f"{error.os_error}. Where that is meant, set allow_private_links = true "
                "in batchmill.toml"
            )
        return _Nothing("its server cannot be connected to", again=True)
    if isinstance(error, aiohttp.InvalidURL | UnicodeError | ValueError):
        return _Nothing("is no usable link")
    return _Nothing("its server breaks off", again=True)


def _is_media(content_type: str) -> bool:
    return content_type.startswith("image/") or content_type == "application/pdf"


def _words(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
