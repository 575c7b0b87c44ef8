"""
The doors of the house: everything the service needs from outside, as protocols.

Streams travel in chunks (sequences of some thousand requests or results): at ten million rows the
price of an `async for` step is paid per chunk, not per row.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from batchmill.core.batch import Batch, Recipe, Source
from batchmill.core.limits import Limits, Range
from batchmill.core.outcome import Result
from batchmill.core.request import Request
from batchmill.core.shard import Accepted, CannotTell, Event, NotThere, Progress, Shard, Tally


class Clock(Protocol):
    """Time, and waiting."""

    def now(self) -> float:
        """Return unix seconds; may jump when the machine's clock is set."""
        ...

    def awake(self) -> float:
        """Return seconds that only grow and go on while the machine is suspended (leases)."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class Random(Protocol):
    def random(self) -> float:
        """Return a float in [0, 1)."""
        ...


class Ids(Protocol):
    def batch(self) -> str:
        """Return a new batch id: `batch_`, then letters and digits that sort by time."""
        ...

    def token(self) -> str:
        """Return a short unguessable word, `[a-z0-9]+`."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back over HTTP, whole. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Http(Protocol):
    """The one client. It never repeats a call and never follows a redirect."""

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        timeout_s: float,
        send_before: float | None = None,
    ) -> Answer:
        """
        Raise `NotSent`, or `ProviderSilent` where the other side may have acted.

        *send_before* (`Clock.awake`) is looked at once more, just before the headers are written.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A shard as its provider sees it. Every verb takes one."""

    shard_id: str  #: the mark to leave upstream, in metadata, display name or client token
    dialect: str
    url: str  #: of the request lines, e.g. /v1/chat/completions
    model: str
    count: int
    requests: Callable[[], AsyncIterator[Sequence[Request]]]  #: from the start at each call
    window_s: float | None = None  #: how long the client is still willing to wait
    ref: str | None = None  #: what `prepare` returned
    upstream_id: str | None = None
    submitted_at: float | None = None  #: the first creating call was not before this
    strangers: tuple[str, ...] = ()  #: upstream ids that are certainly not ours
    send_before: float = 0.0  #: `Clock.awake()`; a creating call must not leave later than this


@dataclass(frozen=True, slots=True)
class Checked:
    """The answer to `check`."""

    ended: bool
    progress: Progress = Progress()


Found = Accepted | NotThere | CannotTell


class Provider(Protocol):
    """
    Somebody who takes a shard now and gives its results later.

    Providers translate. They never retry, sleep, or know about batches. Errors leave as
    `ProviderError`s; an answer that is not a clear yes or a clear no is `ProviderSilent`.
    """

    async def prepare(self, offer: Offer) -> str:
        """Do what can be repeated and costs nothing, most often the upload; return its ref."""
        ...

    async def submit(self, offer: Offer) -> str:
        """Make the one creating call, marked with the shard's id; return the upstream id."""
        ...

    async def find(self, offer: Offer) -> Found:
        """Say whether the provider has a batch with this shard's mark."""
        ...

    async def check(self, offer: Offer) -> Checked: ...

    async def cancel(self, offer: Offer) -> None:
        """Ask the provider to stop. Saying it twice, or too late, is no error."""
        ...

    def results(self, offer: Offer) -> AsyncIterator[Sequence[Result]]:
        """Yield every line the provider has, in any order, with the custom_ids we sent."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Supplier:
    """A provider, opened for one lane, with what the service must know to treat it well."""

    provider: Provider
    limits: Limits
    poll_s: float
    timeout_s: float  #: of a creating or control call
    find_after_s: float  #: wait after a lease has ended before a look-up


#: Return who is meant by (provider, lane); raise `UserError` when it cannot be used here and now.
Suppliers = Callable[[str, str], Supplier]


@dataclass(frozen=True, slots=True)
class Logged:
    """One line of a shard's log."""

    version: int
    at: float  #: unix seconds; informs, orders nothing
    event: Event


class Store(Protocol):
    """
    Small facts. Every method is one transaction; what has returned survives a crash.

    `Overtaken` is raised when the version that was read is no longer the one stored.
    """

    async def create(
        self, batch: Batch, ranges: Sequence[Range], shards: Sequence[Shard]
    ) -> None: ...

    async def batch(self, batch_id: str) -> Batch:
        """Raise `NotFound` with the nearest ids where there is none."""
        ...

    async def batches(self) -> list[Batch]:
        """Return all batches, newest first."""
        ...

    async def ranges(self, batch_id: str) -> list[Range]: ...

    async def shard(self, shard_id: str) -> tuple[Shard, Batch]:
        """Return a shard and its batch, read in one transaction."""
        ...

    async def shards(self, batch_id: str) -> list[Shard]:
        """Return the batch's shards in order of their number."""
        ...

    async def log(self, shard_id: str) -> list[Logged]: ...

    async def moved_at(self, batch_id: str) -> float | None:
        """Return when the newest event of any of the batch's shards was recorded."""
        ...

    async def record(self, before: Shard, event: Event, at: float, *, hold: str = "") -> Shard:
        """Append *event* and save where it leads; with *hold*, hold the batch as well."""
        ...

    async def settle(
        self,
        before: Shard,
        event: Event,
        at: float,
        batch: Batch,
        sequel: Sequence[Shard],
        hold: str,
    ) -> Shard:
        """
        Record an event that settles the shard and insert its successors, all or nothing.

        Guarded by the versions of the shard *and* of the batch, which grows by one.
        """
        ...

    async def replan(self, batch: Batch, shards: Sequence[Shard]) -> None:
        """
        Insert shards a person asked for; guarded by the batch's version, which grows by one.

        Whoever asks for more has taken back a former wish to stop.
        """
        ...

    async def wish_cancel(self, batch_id: str) -> None: ...

    async def release(self, batch_id: str) -> None:
        """End a hold."""
        ...

    async def due(self, now: float) -> list[str]:
        """
        Return ids of the shards for which something can be done now, the longest waiting first.

        Those whose `due_at` has come, and those that a cancel or a deadline concerns; without the
        planned ones of held batches.
        """
        ...

    async def next_due(self, now: float) -> float | None:
        """Return when the next shard becomes due; None when nothing is waiting for time."""
        ...

    async def stray(self, shard_id: str, upstream_id: str, at: float) -> None:
        """Note a second upstream batch for one shard: an alarm, shown until somebody looks."""
        ...

    async def strays(self, batch_id: str) -> list[tuple[str, str]]:
        """Return (shard id, upstream id) of every alarm."""
        ...


class Turn(Protocol):
    """The right to be the one who works on a store. Free the moment its holder's process dies."""

    async def take(self) -> bool:
        """Try to become, or stay, the worker; say whether we are. Cheap; asked again and again."""
        ...

    async def give_up(self) -> None: ...

    async def last_seen(self) -> tuple[bool, float | None]:
        """Return whether a worker is alive now, and when one was last seen (unix seconds)."""
        ...


class Blobs(Protocol):
    """Files by key (`batches/x/requests/00001.jsonl`), in a folder or a bucket. Blocking calls."""

    def create(self, key: str) -> AbstractContextManager[BinaryIO]:
        """Open for writing. Visible whole, on leaving; nothing remains after an error."""
        ...

    def open(self, key: str) -> AbstractContextManager[BinaryIO]:
        """Open for reading; raise `StorageTrouble` where it is not there."""
        ...

    def exists(self, key: str) -> bool: ...

    def list(self, prefix: str) -> list[str]: ...

    def delete(self, prefix: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutting:
    """A table, cut: what `create` needs to know about it."""

    source: Source
    rows: int
    ranges: tuple[Range, ...]
    size_bytes: int  #: of all bodies
    first_body: bytes = b""  #: what the first row became, to be looked at before anything is spent


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Results made safe: the name of their segments, and what they say."""

    name: str
    tally: Tally
    ours: bool = True  #: False: not one custom_id was of this shard


class Rows(Protocol):
    """The data plane as the service sees it: segments of requests and of results."""

    def cut(
        self,
        batch_id: str,
        recipe: Recipe,
        source: Source,
        limits: Limits,
        progress: Callable[[int], None] = ...,
    ) -> Cutting:
        """
        Render every row and write the request segments. Blocking; memory is a few chunks.

        Raises `InvalidTable`, `InvalidRow` or `InvalidRecipe` before anything is spent, and then
        leaves nothing behind. *progress* hears the number of rows done.
        """
        ...

    def requests(
        self, batch: Batch, ranges: Sequence[Range], shard: Shard
    ) -> AsyncIterator[Sequence[Request]]:
        """Yield the shard's requests in row order, under the shard's custom_ids."""
        ...

    async def keep(
        self,
        batch: Batch,
        ranges: Sequence[Range],
        shard: Shard,
        name: str,
        results: AsyncIterator[Sequence[Result]],
    ) -> Kept:
        """
        Judge and write results as segments, one for each origin range, called *name*.

        Every row of the shard gets exactly one: a second line is counted as duplicate, a foreign
        one as foreign, a row without one becomes `errored/missing`. Visible only once complete.
        """
        ...

    def adopt(self, batch_id: str) -> None:
        """Note that the batch is on record: its segments are no draft any more."""
        ...

    def drop(self, batch_id: str) -> None:
        """Remove every segment of a batch that was never created."""
        ...


class Engine(Protocol):
    """What makes it move."""

    async def run(self, until: Callable[[], bool]) -> None:
        """Advance whatever is due, until told to stop."""
        ...


__all__ = [
    "Answer",
    "Blobs",
    "Checked",
    "Clock",
    "Cutting",
    "Engine",
    "Found",
    "Http",
    "Ids",
    "Kept",
    "Logged",
    "Offer",
    "Provider",
    "Random",
    "Rows",
    "Store",
    "Supplier",
    "Suppliers",
    "Turn",
]
