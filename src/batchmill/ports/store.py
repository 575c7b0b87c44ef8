"""The control plane, and whose turn it is to work on it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from batchmill.core.batch import Batch
from batchmill.core.limits import Range
from batchmill.core.shard import Event, Shard


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

    async def record(
        self, before: Shard, event: Event, at: float, *, hold: str = "", account: str = ""
    ) -> Shard:
        """
        Append *event* and save where it leads; with *hold*, hold the batch as well.

        *account*: nothing else that is submitted to it may be in doubt meanwhile. `InDoubt` is
        raised if something is; the place is free again once the shard has left `submitting`, or a
        look-up has answered.
        """
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

    async def upstream_ids(self, provider: str, besides: str) -> list[str]:
        """Return the upstream ids that are certainly those of other shards than *besides*."""
        ...

    async def in_flight(self, provider: str) -> list[Shard]:
        """Return the shards that this provider has, or may have, and has not ended."""
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


class Engine(Protocol):
    """What makes it move."""

    async def run(self, until: Callable[[], bool]) -> None:
        """Advance whatever is due, until told to stop."""
        ...
