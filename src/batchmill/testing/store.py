"""A store in memory with the promises of the real ones, and a place to crash around every write."""

from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field, fields, replace

from batchmill.core.batch import Batch
from batchmill.core.limits import Range
from batchmill.core.shard import Event, Shard, State, advance, next_command
from batchmill.errors import Conflict, IllegalTransition, InDoubt, Overtaken
from batchmill.ports import Logged
from batchmill.store.lost import not_found

Pause = Callable[[str], Awaitable[None]]


@dataclass(slots=True)
class Disk:
    """What survives a crash. Auditors read it; nobody but `MemoryStore` writes it."""

    batches: dict[str, Batch] = field(default_factory=dict[str, Batch])
    ranges: dict[str, tuple[Range, ...]] = field(default_factory=dict[str, tuple[Range, ...]])
    shards: dict[str, Shard] = field(default_factory=dict[str, Shard])
    planned: dict[str, Shard] = field(default_factory=dict[str, Shard])  #: before their first event
    logs: dict[str, list[Logged]] = field(default_factory=dict[str, list[Logged]])
    strays: dict[tuple[str, str], float] = field(default_factory=dict[tuple[str, str], float])
    doubts: dict[str, str] = field(default_factory=dict[str, str])  #: account -> shard

    def snapshot(self, *, logs: bool = True) -> Hashable:
        """Return everything that is stored as one hashable value; equal states give equal ones."""
        lines = (
            (shard_id, tuple((line.version, line.at, repr(line.event)) for line in log))
            for shard_id, log in self.logs.items()
        )
        return (
            # What never changes after `create` need not be compared.
            tuple((b.id, b.version, b.cancel_wanted, b.held) for b in self.batches.values()),
            tuple(_hashable(shard) for shard in self.shards.values()),
            tuple(lines) if logs else (),
            tuple(self.strays.items()),
            tuple(self.doubts.items()),
        )


class MemoryStore:
    """
    `ports.Store` without a database.

    Every method awaits *pause* once before its effect and once after it, with its own name
    (`store.record`): whoever drives the coroutines may crash or interleave there, and nowhere else.
    Stores over one *disk* are processes over one database.
    """

    def __init__(self, pause: Pause | None = None, disk: Disk | None = None) -> None:
        self._pause = pause or _go_on
        self.disk = disk if disk is not None else Disk()

    def snapshot(self, *, logs: bool = True) -> Hashable:
        """Return everything that is stored as one hashable value; *logs* may be left out."""
        return self.disk.snapshot(logs=logs)

    # -- batches ------------------------------------------------------------------------------

    async def create(self, batch: Batch, ranges: Sequence[Range], shards: Sequence[Shard]) -> None:
        await self._pause("store.create")
        if batch.id in self.disk.batches:
            raise Conflict(f"there is a batch {batch.id} already")
        self._check_new(shards)
        self.disk.batches[batch.id] = batch
        self.disk.ranges[batch.id] = tuple(sorted(ranges, key=lambda r: r.n))
        self._add(shards)
        await self._pause("store.create")

    async def batch(self, batch_id: str) -> Batch:
        await self._pause("store.batch")
        found = self._batch(batch_id)
        await self._pause("store.batch")
        return found

    async def batches(self) -> list[Batch]:
        await self._pause("store.batches")
        found = sorted(self.disk.batches.values(), key=lambda b: (b.created_at, b.id), reverse=True)
        await self._pause("store.batches")
        return found

    async def ranges(self, batch_id: str) -> list[Range]:
        await self._pause("store.ranges")
        found = list(self.disk.ranges.get(batch_id, ()))
        await self._pause("store.ranges")
        return found

    async def wish_cancel(self, batch_id: str) -> None:
        await self._pause("store.wish_cancel")
        batch = self._batch(batch_id)
        if not batch.cancel_wanted:
            # A wish changes what may be planned, so whoever is planning now decides anew.
            self.disk.batches[batch_id] = replace(
                batch, cancel_wanted=True, version=batch.version + 1
            )
        await self._pause("store.wish_cancel")

    async def release(self, batch_id: str) -> None:
        await self._pause("store.release")
        self._hold(batch_id, "")
        await self._pause("store.release")

    # -- shards -------------------------------------------------------------------------------

    async def shard(self, shard_id: str) -> tuple[Shard, Batch]:
        await self._pause("store.shard")
        shard = self._shard(shard_id)
        found = shard, self._batch(shard.batch_id)
        await self._pause("store.shard")
        return found

    async def shards(self, batch_id: str) -> list[Shard]:
        await self._pause("store.shards")
        found = sorted(
            (s for s in self.disk.shards.values() if s.batch_id == batch_id), key=lambda s: s.n
        )
        await self._pause("store.shards")
        return found

    async def planned(self, shard_id: str) -> Shard:
        """Return the shard as it was before its first event: with the log, all of its life."""
        await self._pause("store.planned")
        self._shard(shard_id)
        found = self.disk.planned[shard_id]
        await self._pause("store.planned")
        return found

    async def log(self, shard_id: str) -> list[Logged]:
        await self._pause("store.log")
        found = list(self.disk.logs.get(shard_id, ()))
        await self._pause("store.log")
        return found

    async def moved_at(self, batch_id: str) -> float | None:
        await self._pause("store.moved_at")
        found = max(
            (
                log[-1].at
                for shard_id, log in self.disk.logs.items()
                if log and self.disk.shards[shard_id].batch_id == batch_id
            ),
            default=None,
        )
        await self._pause("store.moved_at")
        return found

    async def record(
        self, before: Shard, event: Event, at: float, *, hold: str = "", account: str = ""
    ) -> Shard:
        await self._pause("store.record")
        after = self._advanced(before, event)
        self._doubt(before, after, account)
        self._save(after, event, at)
        if hold:
            self._hold(before.batch_id, hold)
        await self._pause("store.record")
        return after

    async def settle(
        self,
        before: Shard,
        event: Event,
        at: float,
        batch: Batch,
        sequel: Sequence[Shard],
        hold: str,
    ) -> Shard:
        await self._pause("store.settle")
        after = self._advanced(before, event)
        if after.state is not State.SETTLED:
            raise IllegalTransition(f"{before.id}: {type(event).__name__} does not settle it")
        self._check_plan(batch)
        self._check_new(sequel)
        self._doubt(before, after)
        self._save(after, event, at)
        self._grow(batch)
        self._add(sequel)
        if hold:
            self._hold(batch.id, hold)
        await self._pause("store.settle")
        return after

    async def replan(self, batch: Batch, shards: Sequence[Shard]) -> None:
        await self._pause("store.replan")
        self._check_plan(batch)
        self._check_new(shards)
        self._grow(batch)
        wished = self.disk.batches[batch.id]
        self.disk.batches[batch.id] = replace(wished, cancel_wanted=False)
        self._add(shards)
        await self._pause("store.replan")

    async def upstream_ids(self, provider: str, besides: str) -> list[str]:
        await self._pause("store.upstream_ids")
        others = (s for s in self.disk.shards.values() if s.id != besides)
        known = (s for s in others if s.provider == provider and not s.provisional)
        found = [s.upstream_id for s in known if s.upstream_id is not None]
        await self._pause("store.upstream_ids")
        return found

    async def in_flight(self, provider: str) -> list[Shard]:
        await self._pause("store.in_flight")
        under_way = (State.SUBMITTING, State.IN_PROGRESS, State.CANCELLING)
        known = (s for s in self.disk.shards.values() if s.provider == provider)
        found = [s for s in known if s.state in under_way]
        await self._pause("store.in_flight")
        return found

    # -- time, and alarms ---------------------------------------------------------------------

    async def due(self, now: float) -> list[str]:
        await self._pause("store.due")
        ready = (s for s in self.disk.shards.values() if self._is_due(s, now))
        found = [shard.id for shard in sorted(ready, key=lambda s: (s.due_at, s.id))]
        await self._pause("store.due")
        return found

    async def next_due(self, now: float) -> float | None:
        await self._pause("store.next_due")
        found = min(
            (
                moment
                for shard in self.disk.shards.values()
                if not self._is_due(shard, now)
                for moment in (shard.due_at, self._batch(shard.batch_id).deadline)
                if moment is not None and moment > now and self._is_due(shard, moment)
            ),
            default=None,
        )
        await self._pause("store.next_due")
        return found

    async def stray(self, shard_id: str, upstream_id: str, at: float) -> None:
        await self._pause("store.stray")
        self._shard(shard_id)
        self.disk.strays.setdefault((shard_id, upstream_id), at)
        await self._pause("store.stray")

    async def strays(self, batch_id: str) -> list[tuple[str, str]]:
        await self._pause("store.strays")
        known = self.disk.shards
        mine = [key for key in self.disk.strays if known[key[0]].batch_id == batch_id]
        mine.sort(key=lambda key: (self.disk.strays[key], known[key[0]].n, key[1]))
        await self._pause("store.strays")
        return mine

    # -- what every method stands on: no await below, so each effect is whole ---------------------

    def _batch(self, batch_id: str) -> Batch:
        if batch_id not in self.disk.batches:
            raise not_found("batch", batch_id, self.disk.batches)
        return self.disk.batches[batch_id]

    def _shard(self, shard_id: str) -> Shard:
        if shard_id not in self.disk.shards:
            raise not_found("shard", shard_id, self.disk.shards)
        return self.disk.shards[shard_id]

    def _is_due(self, shard: Shard, now: float) -> bool:
        batch = self.disk.batches[shard.batch_id]
        late = batch.deadline is not None and now >= batch.deadline
        wanted, held = batch.cancel_wanted, bool(batch.held)
        return next_command(shard, now, cancel_wanted=wanted, held=held, late=late) is not None

    def _advanced(self, before: Shard, event: Event) -> Shard:
        after = advance(before, event)
        stored = self.disk.shards.get(before.id)
        if stored is None or stored.version != before.version:
            raise Overtaken(f"{before.id}: it is no longer version {before.version}")
        return after

    def _save(self, after: Shard, event: Event, at: float) -> None:
        self.disk.shards[after.id] = after
        self.disk.logs[after.id].append(Logged(after.version, at, event))

    def _doubt(self, before: Shard, after: Shard, account: str = "") -> None:
        doubts = self.disk.doubts
        if account and after.state is State.SUBMITTING:
            if account in doubts and before.state is State.PLANNED:
                raise InDoubt(f"{before.id}: another submission to {account} is in doubt")
            doubts.setdefault(account, before.id)
        elif before.state is State.SUBMITTING:
            for name in [a for a, shard_id in doubts.items() if shard_id == before.id]:
                del doubts[name]

    def _check_plan(self, batch: Batch) -> None:
        stored = self.disk.batches.get(batch.id)
        if stored is None or stored.version != batch.version:
            raise Overtaken(f"{batch.id}: its plan is no longer version {batch.version}")

    def _grow(self, batch: Batch) -> None:
        stored = self.disk.batches[batch.id]
        self.disk.batches[batch.id] = replace(stored, version=stored.version + 1)

    def _check_new(self, planned: Sequence[Shard]) -> None:
        for shard in planned:
            if shard.id in self.disk.shards:
                raise Conflict(f"there is a shard {shard.id} already")

    def _add(self, planned: Sequence[Shard]) -> None:
        for shard in planned:
            self.disk.shards[shard.id] = self.disk.planned[shard.id] = shard
            self.disk.logs[shard.id] = []

    def _hold(self, batch_id: str, words: str) -> None:
        self.disk.batches[batch_id] = replace(self._batch(batch_id), held=words)


async def _go_on(_: str) -> None:
    """Pause nowhere."""


def _hashable(shard: Shard) -> Hashable:
    # A tally holds a dict, which has no hash; everything else of a shard has one.
    tally = shard.tally
    failed = tuple(sorted(tally.failed.items()))
    rest = (tally.succeeded, tally.usage, tally.cost_usd, tally.foreign, tally.duplicate)
    return *(getattr(shard, f.name) for f in fields(shard) if f.name != "tally"), failed, rest
