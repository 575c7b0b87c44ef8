"""
A vendor on loopback: what all fakes have in common, namely weather, a book of sales, and strictness.

A fake is written from the vendor's pages and held to what the official SDKs really send: each SDK
must get through its whole batch flow against it. It refuses what the vendor refuses. A test sets
its `weather`, and reads in `sold` what was really bought.
"""

import asyncio
import contextlib
import json
import random
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from aiohttp import web

Respond = Callable[[web.Request], Awaitable[web.StreamResponse]]

#: The operations that every fake has, by whatever path. `upload`, `content` and `delete` only where
#: the vendor has files of its own.
OPERATIONS = ("upload", "create", "get", "list", "cancel", "content", "delete", "live", "probe")


@dataclass
class Weather:
    """What goes wrong; keys are operations. A count is used up call by call."""

    dropped: Counter[str] = field(default_factory=Counter[str])  #: closed, nothing is done
    lost: Counter[str] = field(default_factory=Counter[str])  #: done, and the answer is lost
    hung: Counter[str] = field(default_factory=Counter[str])  #: done, and never answered
    #: Statuses answered in place of doing it, in turn.
    instead: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    #: Not done, and answered 200 with these bodies, in turn.
    odd: defaultdict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    #: Done, and then answered with these all the same.
    after: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    listing_lag_s: float = 0.0  #: how long a new batch stays out of the list
    not_found: int = 0  #: the next so many `get`s of a batch that is there answer 404
    polls: int = 1  #: a batch is in progress for so many `get`s
    ending: str = "completed"  #: also: expired, cancelled, failed
    run: float = 1.0  #: share of the rows that were run when it expired or was cancelled
    bad_lines: dict[int, str] = field(default_factory=dict[int, str])  #: ending failed: by line
    refusal: str = ""  #: ending failed: why the whole batch was refused, where no line is named
    refuse_if: Callable[["Sold"], str] | None = None  #: the same, asked of each new batch

    shuffled: bool = True
    torn: int = 0  #: the next so many downloads of results break off inside a line
    duplicated: int = 0  #: so many lines come twice
    foreign: int = 0  #: so many lines are of rows we never sent
    missing: int = 0  #: so many rows are in no file


@dataclass
class Sold:
    """One upstream batch, as the vendor has it in its books."""

    id: str
    mark: str  #: whatever the vendor lets a client write on it; empty where there is nothing
    requests: dict[str, dict[str, Any]]  #: by the name the request travels under, in order
    at: float  #: unix seconds
    ours: bool = True  #: False: other people's, in the same account
    polls: int = 0
    cancelled: bool = False
    ended: bool = False
    facts: dict[str, Any] = field(default_factory=dict[str, Any])  #: the fake's own
    #: What was told of the rows, once it ended: every fetch tells the same.
    told: Any = None


def operation(name: str) -> Callable[[Any], Any]:
    """Mark a handler as what the vendor does at *name*: the weather strikes there."""

    def mark(respond: Any) -> Any:
        async def weathered(self: "FakeVendor", request: web.Request) -> web.StreamResponse:
            return await self.weathered(name, request, respond)

        return weathered

    return mark


class FakeVendor:
    """Subclasses bring `routes`, `body`, `text_of`, `error` and the vendor's own objects."""

    name: ClassVar[str]  #: of the provider
    key: str = "sk-test"
    model: ClassVar[str] = "a-model"
    options: dict[str, object]  #: what `[providers.NAME]` needs beside base_url and key

    def __init__(self) -> None:
        self.options = {}
        self.weather = Weather()
        self.sold: list[Sold] = []
        self.files: dict[str, bytes] = {}  #: what clients have uploaded and nobody has deleted
        self.calls: Counter[str] = Counter()
        self.asked: list[str] = []  #: method and path of every call, for people
        self.unknown: list[str] = []  #: calls that the vendor does not have
        self.complaints: list[str] = []  #: what the vendor would have refused, in words
        self.host = ""
        self._runner: web.AppRunner | None = None
        self._luck = random.Random(7)
        self._hanging = asyncio.Event()

    # -- what a subclass says ---------------------------------------------------------------

    def routes(self) -> Iterable[web.RouteDef]:
        raise NotImplementedError

    def body(self, text: str) -> dict[str, Any]:
        """Return a request body in the dialect that the provider is given, asking *text*."""
        raise NotImplementedError

    def text_of(self, body: dict[str, Any]) -> str:
        """Return what a request body asks."""
        raise NotImplementedError

    def error(self, status: int, message: str = "", code: str = "") -> web.Response:
        """Return an error as the vendor says it."""
        raise NotImplementedError

    @property
    def base_url(self) -> str:
        """What a person writes into `base_url`."""
        return self.host

    # -- what a test does -------------------------------------------------------------------

    @property
    def ours(self) -> list[Sold]:
        return [sold for sold in self.sold if sold.ours]

    def stranger(self, count: int, *, at: float | None = None) -> Sold:
        """Put somebody else's batch of *count* rows into the account."""
        rows = {f"theirs-{n}": self.body(f"say {n}") for n in range(count)}
        sold = Sold(f"{self.batch_id()}", "theirs", rows, self.now() if at is None else at)
        sold.ours = False
        self.sold.append(sold)
        return sold

    def batch_id(self) -> str:
        return f"batch_{self.token()}"

    def token(self, letters: int = 24) -> str:
        return "".join(self._luck.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=letters))

    def now(self) -> float:
        import time

        return time.time()

    # -- what subclasses use ----------------------------------------------------------------

    def listed(self) -> list[Sold]:
        """Return what the list shows by now, newest first."""
        until = self.now() - self.weather.listing_lag_s
        return [sold for sold in reversed(self.sold) if not sold.ours or sold.at <= until]

    def looked_at(self, sold_id: str) -> Sold | None:
        """Return a batch as a `get` sees it, a step further each time; None: answer 404."""
        sold = next((one for one in self.sold if one.id == sold_id), None)
        if sold is None:
            return None
        if self.weather.not_found > 0:
            self.weather.not_found -= 1
            return None
        sold.polls += 1
        if sold.polls > self.weather.polls:
            sold.ended = True
        return sold

    def ending_of(self, sold: Sold) -> str:
        """Return how an ended batch ended."""
        if sold.cancelled:
            return "cancelled"
        if self.refusal_of(sold):
            return "failed"
        return self.weather.ending

    def refusal_of(self, sold: Sold) -> str:
        if self.weather.refuse_if is not None:
            return self.weather.refuse_if(sold)
        return self.weather.refusal

    def run_rows(self, sold: Sold) -> list[str]:
        """Return the names of the rows that were run, in the order of the results."""
        names = list(sold.requests)
        if self.ending_of(sold) == "failed":
            return []
        if self.ending_of(sold) in ("expired", "cancelled"):
            names = names[: int(len(names) * self.weather.run)]
        if self.weather.shuffled:
            self._luck.shuffle(names)
        return names

    def odd(self, lines: list[bytes], foreign: Callable[[int], bytes]) -> list[bytes]:
        """Return result lines as the weather has them: some twice, foreign, or not at all."""
        lines = lines[self.weather.missing :]
        lines += lines[: self.weather.duplicated]
        return lines + [foreign(n) for n in range(self.weather.foreign)]

    async def sent(self, request: web.Request, data: bytes, kind: str) -> web.StreamResponse:
        """Answer with a file of results, which may break off in the middle of a line."""
        response = web.StreamResponse(headers={"content-type": kind})
        response.content_length = len(data)
        await response.prepare(request)
        if self.weather.torn > 0 and data:
            self.weather.torn -= 1
            await response.write(data[: len(data) * 2 // 3 - 3])
            assert request.transport is not None
            request.transport.abort()
            return response
        for start in range(0, len(data), 1 << 16):
            await response.write(data[start : start + (1 << 16)])
        await response.write_eof()
        return response

    def told(self, sold: Sold, tell: Callable[[], Any]) -> Any:
        """Return what the vendor says of an ended batch's rows: the same at each fetch."""
        if sold.told is None:
            sold.told = tell()
        return sold.told

    # -- weather ------------------------------------------------------------------------------

    async def weathered(self, name: str, request: web.Request, respond: Any) -> web.StreamResponse:
        weather = self.weather
        self.calls[name] += 1
        self.asked.append(f"{request.method} {request.path_qs}")
        await request.read()  # a call that was lost had arrived whole
        if weather.dropped[name] > 0:
            weather.dropped[name] -= 1
            return self._closed(request)
        if weather.instead[name]:
            return self.error(weather.instead[name].pop(0))
        if weather.odd[name]:
            body = weather.odd[name].pop(0)
            return web.Response(body=body, content_type="application/json")
        response = await respond(self, request)
        if weather.after[name]:
            return self.error(weather.after[name].pop(0))
        if weather.lost[name] > 0:
            weather.lost[name] -= 1
            return self._closed(request)
        if weather.hung[name] > 0:
            weather.hung[name] -= 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hanging.wait(), 60)
        return response

    def _closed(self, request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    # -- the server ---------------------------------------------------------------------------

    async def up(self) -> None:
        app = web.Application(client_max_size=1 << 30)
        app.add_routes(self.routes())
        app.router.add_route("*", "/{rest:.*}", self._nothing_here)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.host = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def down(self) -> None:
        self._hanging.set()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _nothing_here(self, request: web.Request) -> web.Response:
        self.unknown.append(f"{request.method} {request.path_qs}")
        return self.error(404, f"Unknown request URL: {request.method} {request.path}.")


#: The class a row of `fail CLASS` fails with, in each vendor's own words; anything else is echoed.
FAIL = "fail "


def failure_in(text: str) -> str | None:
    """Return the failure class that a prompt asks for, e.g. `fail server`."""
    return text.removeprefix(FAIL).split()[0] if text.startswith(FAIL) else None


def jsonl(lines: Iterable[bytes | dict[str, Any]]) -> bytes:
    return b"".join(
        (line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines
    )
