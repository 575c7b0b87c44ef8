"""Which rows go where next: first offers, and what becomes of the rows that failed. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from batchmill.core.batch import Batch
from batchmill.core.failure import POLICIES, Failure, Hold, Patience
from batchmill.core.limits import Range
from batchmill.core.rowset import NO_ROWS, RowSet, compact, row_range
from batchmill.core.shard import Event, Refused, Shard, State, Vanished

#: What the results of rows are called that nobody was ever offered.
LEFT_OUT: Final = "left-out"


def shard_id_of(batch_id: str, n: int) -> str:
    return f"{batch_id}-{n:04d}"


def lane_for(lane: str, rows: int, requests_min: int) -> str:
    """Return the lane of so many rows: too few for an upstream batch go through the live lane."""
    return "live" if lane == "batch" and rows < requests_min else lane


def first_shards(
    batch: Batch, ranges: Iterable[Range], requests_min: int = 1, left_out: RowSet = NO_ROWS
) -> list[Shard]:
    """Return one shard for each range of the freshly cut table, without the rows *left_out*."""
    return [
        Shard(
            id=shard_id_of(batch.id, r.n),
            batch_id=batch.id,
            n=r.n,
            provider=batch.provider,
            lane=lane_for(batch.lane, len(rows), requests_min),
            rows=rows,
        )
        for r in ranges
        if (rows := compact(row_range(r.start, r.count) - left_out))
    ]


def too_few(ranges: Iterable[Range], requests_min: int, left_out: RowSet = NO_ROWS) -> int:
    """Return how many rows of a freshly cut table are too few for a batch, and go live."""
    counts = (len(row_range(r.start, r.count) - left_out) for r in ranges)
    return sum(count for count in counts if lane_for("batch", count, requests_min) == "live")


def left_out_shard(batch: Batch, ranges: Sequence[Range], rows: RowSet) -> Shard:
    """Return the shard of the rows that nobody is offered; it settles as it is made."""
    n = max(r.n for r in ranges) + 1
    return Shard(
        id=shard_id_of(batch.id, n),
        batch_id=batch.id,
        n=n,
        provider=batch.provider,
        lane=batch.lane,
        rows=compact(rows),
        state=State.SETTLED,
    )


def times_failed(
    rows: RowSet, failure: Failure, shards: Iterable[Shard]
) -> list[tuple[int, RowSet]]:
    """Split *rows* by how often each has failed in this class so far: (times, rows), ascending."""
    by_times: dict[int, RowSet] = {0: rows}
    for shard in shards:
        again = shard.tally.failed.get(failure, NO_ROWS) & rows
        if not again:
            continue
        after: dict[int, RowSet] = {}
        for times, group in by_times.items():
            after[times] = after.get(times, NO_ROWS) | (group - again)
            after[times + 1] = after.get(times + 1, NO_ROWS) | (group & again)
        by_times = after
    return [(times, group) for times, group in sorted(by_times.items()) if group]


@dataclass(frozen=True, slots=True)
class Sequel:
    """What follows from a settled shard: new shards, and perhaps a hold on the whole batch."""

    shards: tuple[Shard, ...] = ()
    hold: str = ""


def sequel(
    batch: Batch,
    settled: Shard,
    event: Event,
    others: Sequence[Shard],
    patience: Patience,
    now: float,
    *,
    requests_min: int = 1,
    final: RowSet = NO_ROWS,
) -> Sequel:
    """
    Decide what becomes of the rows of a shard that *event* has just settled.

    Rows that may be tried again go into one new shard for each wait, soonest first; the rest is
    final, as are the *final* ones whatever their class allows. What was refused as a whole is cut
    in halves. *others* are the batch's other shards, settled or not: they are the rows' history.
    """
    stop = batch.cancel_wanted or (batch.deadline is not None and now >= batch.deadline)
    failed = settled.tally.failed
    hold = _hold(failed, settled.note)
    # A refusal of the whole shard repeats itself; a vanished one was paid for: only with consent.
    hopeless = isinstance(event, Refused | Vanished) and not hold
    if stop or (hopeless and Failure.NOT_RUN not in failed):
        return Sequel()
    waits: dict[float, RowSet] = {}
    for failure, rows in failed.items():
        if failure is Failure.NOT_RUN:
            continue
        rows = rows - final
        for times, group in times_failed(rows, failure, (*others, settled)):
            if patience.allows(failure, times):
                wait_s = patience.backoff_s(failure, times)
                waits[wait_s] = waits.get(wait_s, NO_ROWS) | group
    again = [(now, part) for part in _apart(failed.get(Failure.NOT_RUN, NO_ROWS), settled)]
    again += [(now + wait_s, rows) for wait_s, rows in sorted(waits.items())]
    n = max((s.n for s in others), default=0)
    first = max(n, settled.n) + 1
    shards = (
        _again(settled, first + i, rows, due_at, requests_min)
        for i, (due_at, rows) in enumerate(again)
    )
    return Sequel(tuple(shards), hold)


def _apart(rows: RowSet, settled: Shard) -> list[RowSet]:
    """
    Return the rows that were refused for the sake of others, in shards that hold fewer of those.

    Where the ones at fault are known, the rest stays together; where nobody is named, one half of
    the rows may be innocent, and is parted from the other.
    """
    if len(rows) < len(settled.rows) or len(rows) < 2:
        return [rows] if rows else []
    half = rows[: len(rows) // 2]
    return [half, rows - half]


def retry(
    shards: Sequence[Shard],
    failed: Mapping[Failure, RowSet],
    classes: Iterable[Failure],
    now: float,
    max_tokens: int | None = None,
    requests_min: int = 1,
) -> list[Shard]:
    """
    Return new shards for the finally failed rows of *classes*, as a person asked for them.

    One for each shard they were last offered in, so that every one of them fits upstream.
    """
    wanted = NO_ROWS
    for failure in classes:
        wanted |= failed.get(failure, NO_ROWS)
    found: list[Shard] = []
    first = max((s.n for s in shards), default=0) + 1
    for shard in sorted(shards, key=lambda s: -s.n):
        if shard.kept == LEFT_OUT:  # there is nothing that could be sent
            wanted -= shard.rows
        elif rows := shard.rows & wanted:
            again = _again(shard, first + len(found), rows, now, requests_min)
            found.append(replace(again, max_tokens=max_tokens or shard.max_tokens))
            wanted -= rows
    return found


def _again(before: Shard, n: int, rows: RowSet, due_at: float, requests_min: int) -> Shard:
    return Shard(
        id=shard_id_of(before.batch_id, n),
        batch_id=before.batch_id,
        n=n,
        provider=before.provider,
        lane=lane_for(before.lane, len(rows), requests_min),
        rows=compact(rows),
        attempt=before.attempt + 1,
        max_tokens=before.max_tokens,
        due_at=due_at,
    )


def _hold(failed: Mapping[Failure, RowSet], words: str) -> str:
    for failure, rows in failed.items():
        if rows and POLICIES[failure].hold is Hold.BATCH:
            return words or POLICIES[failure].hint
    return ""
