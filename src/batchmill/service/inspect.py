"""Look at a batch: everything the front doors show, derived at the moment of asking."""

from collections.abc import Sequence
from dataclasses import dataclass

from batchmill.core import eta
from batchmill.core.batch import FINISHED, Batch, Counts, Status, count, status
from batchmill.core.shard import Shard, State
from batchmill.ports import Clock, Store, Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A batch as it stands."""

    batch: Batch
    status: Status
    counts: Counts
    shards: tuple[Shard, ...]
    elapsed_s: float
    answered: int  #: rows with an answer so far, also those still upstream
    rate: float | None  #: answered rows a second since the batch was made; None before the first
    eta: eta.Eta | None  #: None when there is nothing left to wait for
    strays: tuple[tuple[str, str], ...] = ()
    stalled_since: float | None = None  #: unix seconds; None while somebody works on it

    @property
    def finished(self) -> bool:
        return self.status in FINISHED

    @property
    def resting(self) -> bool:
        """Whether nothing of it is under way: whatever is not settled waits here."""
        return _resting(self.shards)

    @property
    def submitted(self) -> int:
        """How many shards a provider has, or has had."""
        return sum(1 for s in self.shards if s.upstream_id is not None)

    @property
    def waiting(self) -> int:
        """How many shards wait here and go nowhere without us."""
        return sum(1 for s in self.shards if s.state is State.PLANNED)


def _resting(shards: Sequence[Shard]) -> bool:
    return all(s.state in (State.PLANNED, State.SETTLED) for s in shards)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspector:
    clock: Clock
    store: Store
    turn: Turn

    async def view(self, batch_id: str) -> View:
        batch = await self.store.batch(batch_id)
        shards = tuple(await self.store.shards(batch_id))
        counts = count(batch, shards)
        word = status(batch, shards)
        now = self.clock.now()
        upstream = sum(
            s.progress.succeeded + s.progress.errored
            for s in shards
            if s.state in (State.IN_PROGRESS, State.CANCELLING, State.COLLECTING)
        )
        answered = min(counts.total, counts.total - counts.pending + upstream)
        finished = word in FINISHED
        moved_at = await self.store.moved_at(batch_id) or batch.created_at
        elapsed_s = max(0.0, (moved_at if finished else now) - batch.created_at)
        return View(
            batch=batch,
            status=word,
            counts=counts,
            shards=shards,
            elapsed_s=elapsed_s,
            answered=answered,
            rate=answered / elapsed_s if answered and elapsed_s > 0 else None,
            eta=None
            if finished or (batch.held and _resting(shards))
            else eta.plain(answered, counts.total, elapsed_s, batch.lane),
            strays=tuple(await self.store.strays(batch_id)),
            stalled_since=None if finished or await self._alive() else moved_at,
        )

    async def _alive(self) -> bool:
        alive, _ = await self.turn.last_seen()
        return alive
