"""Somebody who knows what the simulated vendor sold, and holds the promises against it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from batchmill.core.batch import FINISHED, Batch, count, status
from batchmill.core.failure import POLICIES, Failure, Patience
from batchmill.core.outcome import Outcome, Result
from batchmill.core.request import row_of
from batchmill.core.rowset import NO_ROWS
from batchmill.core.shard import (
    Collected,
    Postponed,
    Shard,
    State,
    Submitting,
    Tidied,
    rebuild,
)
from batchmill.ports import Logged, Offer
from batchmill.providers._sim_shelf import MemoryShelf, Sale
from batchmill.providers.sim import SimProvider
from batchmill.service.advance import ENDINGS
from batchmill.testing.rows import Shelves
from batchmill.testing.store import Disk


class Broken(AssertionError):
    """A promise of the house was broken."""


@dataclass(slots=True, kw_only=True)
class World:
    """Everything that survives a crash, and what the auditor must know to judge it."""

    disk: Disk
    shelf: MemoryShelf
    shelves: Shelves
    provider: SimProvider  #: asked only for what it answered
    patience: Patience
    asked: list[Shard] = field(default_factory=list[Shard])  #: shards a person asked for
    wished: set[str] = field(default_factory=set[str])  #: batches that were to stop at some time
    alarms_allowed: bool = False  #: a wrong provisional adoption, or a documented residual
    doubles_allowed: bool = False  #: the residual: a freeze between the lease and the wire


@dataclass(slots=True)
class Errand:
    """One walk through `advance`, and what the auditor notices on the way."""

    shard_id: str
    started: int  #: step of the scheduler
    started_at: float
    heard: str = ""  #: the upstream id that `submit` returned
    settled: bool = False  #: before it began
    account: bool = False  #: the provider said that the account may not do that


class Watch:
    """Looks on while a life is lived: what must hold at every moment."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._batches: dict[str, Batch] = {}
        self._shards = 0
        self._held: dict[str, int] = {}  # since which step
        self._last_held: dict[str, int] = {}
        self._cancelled: dict[str, int] = {}

    def look(self, step: int) -> None:
        disk = self._world.disk
        if len(disk.shards) != self._shards or any(
            self._batches.get(id) is not batch for id, batch in disk.batches.items()
        ):
            self._shards = len(disk.shards)
            for batch in disk.batches.values():
                self._look_at(batch, step)

    def _look_at(self, batch: Batch, step: int) -> None:
        self._batches[batch.id] = batch
        if batch.held:
            self._held.setdefault(batch.id, step)
            self._last_held[batch.id] = step
        elif self._held.pop(batch.id, None) is not None:
            self._last_held[batch.id] = step
        if batch.cancel_wanted:
            self._cancelled.setdefault(batch.id, step)
            self._world.wished.add(batch.id)
        else:
            self._cancelled.pop(batch.id, None)
        seen = NO_ROWS
        for shard in _of(self._world.disk, batch.id):
            if shard.state is not State.SETTLED:
                _promise(not seen & shard.rows, f"{shard.id} shares rows with an unsettled shard")
                seen |= shard.rows

    def offering(self, errand: Errand) -> None:
        """Judge the moment in which a shard is offered for money."""
        batch = self._batch_of(errand)
        before = errand.started
        _promise(self._held.get(batch.id, before) >= before, f"{errand.shard_id}: offered on hold")
        _promise(
            self._cancelled.get(batch.id, before) >= before,
            f"{errand.shard_id}: offered after the cancel",
        )
        late = batch.deadline is not None and errand.started_at >= batch.deadline
        _promise(not late, f"{errand.shard_id}: offered after the deadline")

    def cancelling(self, shard_id: str, upstream_id: str) -> None:
        sale = self._world.shelf.book.get(upstream_id)
        ours = sale is not None and sale.shard_id == shard_id
        _promise(ours, f"{shard_id}: cancelled {upstream_id}, which is not its own")

    def tidying(self, shard_id: str) -> None:
        state = self._world.disk.shards[shard_id].state
        _promise(state is State.SETTLED, f"{shard_id}: tidied up while it was {state}")

    def ended(self, errand: Errand) -> None:
        """Judge an errand that came to its end without having been overtaken."""
        disk = self._world.disk
        shard, batch = disk.shards[errand.shard_id], self._batch_of(errand)
        if errand.heard:
            known = {shard.upstream_id, *(u for s, u in disk.strays if s == shard.id)}
            known |= set(shard.strangers)
            _promise(errand.heard in known, f"{shard.id}: dropped the paid id {errand.heard}")
        settled_now = errand.settled is False and shard.state is State.SETTLED
        bad = settled_now and Failure.ACCOUNT in shard.tally.failed
        stopped = batch.id in self._world.wished or batch.deadline is not None
        if errand.account or (bad and not stopped):
            held = self._last_held.get(batch.id, -1) >= errand.started or batch.id in self._held
            if errand.account or not self._world.asked:
                _promise(held, f"{shard.id}: the account was refused, and its batch was not held")

    def _batch_of(self, errand: Errand) -> Batch:
        disk = self._world.disk
        return disk.batches[disk.shards[errand.shard_id].batch_id]


def audit(world: World) -> Counter[str]:
    """Hold a finished life against every promise; return what it was made of, counted."""
    for batch in world.disk.batches.values():
        shards = _of(world.disk, batch.id)
        _every_shard_settled_once(world, shards)
        _every_row_has_one_outcome(world, batch, shards)
        _tried_again_as_promised(world, batch, shards)
    world.shelf.discarded.clear()  # the auditor may look at what its owner has removed
    _sold_once_and_kept(world)
    if not world.alarms_allowed:
        _promise(not world.disk.strays, f"an alarm for nothing: {list(world.disk.strays)}")
    return _made_of(world)


def _every_shard_settled_once(world: World, shards: Sequence[Shard]) -> None:
    disk = world.disk
    for shard in shards:
        _promise(shard.state is State.SETTLED, f"{shard.id} never settled: {shard}")
        log = disk.logs[shard.id]
        versions = [line.version for line in log]
        _promise(versions == list(range(1, len(log) + 1)), f"{shard.id}: versions {versions}")
        again = rebuild(disk.planned[shard.id], (line.event for line in log))
        _promise(again == shard, f"{shard.id}: its log tells another story")
        settled_by = next(n for n, line in enumerate(log) if isinstance(line.event, ENDINGS))
        after = [line.event for line in log[settled_by + 1 :]]
        _promise(
            all(isinstance(event, Tidied | Postponed) for event in after),
            f"{shard.id}: something happened after it was settled: {after}",
        )
        _promise(not shard.untidy, f"{shard.id}: something of it was left upstream")


def _every_row_has_one_outcome(world: World, batch: Batch, shards: Sequence[Shard]) -> None:
    first = [row for shard in shards if shard.attempt == 1 for row in shard.rows]
    _promise(sorted(first) == list(range(batch.rows)), f"{batch.id}: first offers are {first}")
    outcomes: Counter[Outcome] = Counter()
    failures: Counter[Failure] = Counter()
    for row in range(batch.rows):
        last = [shard for shard in shards if row in shard.rows][-1]
        outcome, failure = _final(world, last, row)
        outcomes[outcome] += 1
        if failure is not None:
            failures[failure] += 1
    counts = count(batch, shards)
    told = (counts.succeeded, counts.errored, counts.canceled, counts.expired, counts.pending)
    found = tuple(outcomes[o] for o in Outcome)
    _promise(told == (*found, 0), f"{batch.id}: counts say {told}, the rows {found}")
    _promise(dict(counts.failures) == dict(failures), f"{batch.id}: {counts.failures} {failures}")
    word = status(batch, shards)
    _promise(word in FINISHED, f"{batch.id} is finished, and yet {word}")


def _final(world: World, shard: Shard, row: int) -> tuple[Outcome, Failure | None]:
    classes = [f for f, rows in shard.tally.failed.items() if row in rows]
    _promise(len(classes) <= 1, f"{shard.id}: row {row} failed as {classes}")
    failure = classes[0] if classes else None
    if not shard.kept:
        _promise(failure is not None, f"{shard.id}: row {row} has no outcome")
        return Outcome(POLICIES[classes[0]].called), failure
    kept = world.shelves.kept.get((shard.batch_id, shard.kept), {})
    _promise(set(kept) == set(shard.rows), f"{shard.id}: kept {sorted(kept)} of {shard.rows}")
    result = kept[row]
    _promise(result.failure == failure, f"{shard.id}: row {row} is {result}, tallied {failure}")
    good = result.outcome is Outcome.SUCCEEDED
    _promise(good == (failure is None), f"{shard.id}: row {row} is {result}")
    return result.outcome if failure is None else Outcome(POLICIES[failure].called), failure


def _tried_again_as_promised(world: World, batch: Batch, shards: Sequence[Shard]) -> None:
    asked = {id(shard) for shard in world.asked}
    for shard in shards:
        by_wish = id(world.disk.planned[shard.id]) in asked
        for row in shard.rows:
            before = [s for s in shards if s.n < shard.n and row in s.rows]
            if not before:
                _promise(shard.attempt == 1, f"{shard.id}: row {row} was never offered before")
                continue
            failure = _failure_of(before[-1], row)
            _promise(failure is not None, f"{shard.id}: row {row} had succeeded already")
            if failure is Failure.NOT_RUN and not by_wish:
                smaller = len(shard.rows) < len(before[-1].rows)
                _promise(smaller, f"{shard.id}: as many rows as in the batch that was refused")
            if not by_wish and failure is not None:
                end = _end_of(world, before[-1]).event
                _promise(
                    isinstance(end, Collected) or failure is Failure.NOT_RUN,
                    f"{shard.id}: row {row} was offered again, unasked, after {end}",
                )
                _promise(
                    _allowed(world.patience, before, row, failure),
                    f"{shard.id}: row {row} was offered again after too many {failure}",
                )
    for row in range(batch.rows):
        held_it = [s for s in shards if row in s.rows]
        failure = _failure_of(held_it[-1], row)
        if failure is not None and not _excused(world, batch, held_it[-1]):
            _promise(
                not _allowed(world.patience, held_it, row, failure),
                f"{held_it[-1].id}: row {row} was given up after its first {failure}",
            )


def _failure_of(shard: Shard, row: int) -> Failure | None:
    return next((f for f, rows in shard.tally.failed.items() if row in rows), None)


def _allowed(patience: Patience, before: Sequence[Shard], row: int, failure: Failure) -> bool:
    times = sum(row in s.tally.failed.get(failure, NO_ROWS) for s in before)
    limit = patience.again_max[failure]
    return limit is None or times <= limit


def _excused(world: World, batch: Batch, shard: Shard) -> bool:
    """Say whether a shard's failed rows are final whatever their class."""
    end = _end_of(world, shard)
    late = batch.deadline is not None and end.at >= batch.deadline
    return batch.id in world.wished or late or not isinstance(end.event, Collected)


def _end_of(world: World, shard: Shard) -> Logged:
    """Return the line of a shard's log that settled it."""
    return next(x for x in world.disk.logs[shard.id] if isinstance(x.event, ENDINGS))


def _sold_once_and_kept(world: World) -> None:
    sold = Counter(sale.shard_id for sale in _ours(world))
    for shard_id, times in sold.items():
        _promise(times == 1 or world.doubles_allowed, f"{shard_id} was bought {times} times")
    for sale in _ours(world):
        shard = world.disk.shards[sale.shard_id]
        asked_for = any(isinstance(x.event, Submitting) for x in world.disk.logs[shard.id])
        _promise(asked_for, f"{shard.id} was bought before anybody wrote down the intent")
        if shard.upstream_id != sale.upstream_id:
            _promise(world.doubles_allowed, f"{sale.upstream_id} was paid for, and forgotten")
        elif not shard.kept:
            gone = sale.upstream_id in world.shelf.gone
            _promise(gone, f"{shard.id}: paid for, and its results were never fetched")
        else:
            _kept_as_answered(world, sale, shard)


def _kept_as_answered(world: World, sale: Sale, shard: Shard) -> None:
    kept = world.shelves.kept[shard.batch_id, shard.kept]
    answered = _first_lines(world, sale, shard)
    for row in shard.rows:
        theirs, mine = answered.get(row), kept[row]
        if theirs is None:
            _promise(mine.failure is Failure.MISSING, f"{shard.id}: row {row} was made up: {mine}")
        elif theirs.failure is Failure.CANCELED:
            known = (Failure.CANCELED, Failure.EXPIRED)
            _promise(mine.failure in known, f"{shard.id}: row {row} was not run, kept {mine}")
        else:
            _promise(mine == theirs, f"{shard.id}: row {row}: paid for {theirs}, kept {mine}")


def _first_lines(world: World, sale: Sale, shard: Shard) -> Mapping[int, Result]:
    recipe = world.disk.batches[shard.batch_id].recipe
    found: dict[int, Result] = {}
    for chunk in world.provider.answered(sale, offer_of(shard, recipe.model, recipe.dialect)):
        for result in chunk:
            row = row_of(result.custom_id, shard.id)
            before = found.get(row) if row is not None else None
            better = before is not None and before.failure is not None and result.failure is None
            if row is not None and (before is None or better):
                found[row] = result
    return found


def offer_of(shard: Shard, model: str, dialect: str) -> Offer:
    """Return as much of an offer as it takes to ask the vendor what it answered."""

    async def requests() -> "Iterator[Sequence[object]]":  # never asked for
        raise AssertionError

    return Offer(
        shard_id=shard.id,
        dialect=dialect,
        url="",
        model=model,
        count=len(shard.rows),
        requests=requests,  # type: ignore[arg-type]
    )


def _ours(world: World) -> list[Sale]:
    return [s for s in world.shelf.book.values() if s.shard_id in world.disk.shards]


def _of(disk: Disk, batch_id: str) -> list[Shard]:
    return sorted((s for s in disk.shards.values() if s.batch_id == batch_id), key=lambda s: s.n)


def _made_of(world: World) -> Counter[str]:
    found: Counter[str] = Counter()
    for log in world.disk.logs.values():
        found.update(type(line.event).__name__ for line in log)
    for shard in world.disk.shards.values():
        found.update({f"row {f}": len(rows) for f, rows in shard.tally.failed.items()})
        found["row succeeded"] += shard.tally.succeeded
        found["foreign line"] += shard.tally.foreign
        found["duplicate line"] += shard.tally.duplicate
    for batch in world.disk.batches.values():
        found[f"batch {status(batch, _of(world.disk, batch.id))}"] += 1
    found["alarm"] += len(world.disk.strays)
    found["shard asked for by a person"] += len(world.asked)
    found["sold"] += len(_ours(world))
    found["sold twice (residual)"] += len(_ours(world)) - len({s.shard_id for s in _ours(world)})
    return found


def _promise(kept: bool, otherwise: str) -> None:
    if not kept:
        raise Broken(otherwise)
