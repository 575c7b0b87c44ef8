"""What can be said of a batch follows from its shards."""

from dataclasses import replace
from decimal import Decimal

import pytest

from batchmill.core.batch import FINISHED, Batch, Recipe, Source, Status, count, status
from batchmill.core.failure import Failure
from batchmill.core.outcome import Usage
from batchmill.core.rowset import row_range, rows_of
from batchmill.core.shard import Shard, State, Tally

BATCH = Batch(
    id="b",
    created_at=0.0,
    provider="sim",
    lane="batch",
    recipe=Recipe(model="echo"),
    source=Source(url="t.csv", format="csv"),
    rows=10,
)


def shard(n: int, state: State, start: int = 0, **changes: object) -> Shard:
    facts: dict[str, object] = {"rows": row_range(start, 5), "state": state}
    return Shard(
        id=f"b-{n:04d}",
        batch_id="b",
        n=n,
        provider="sim",
        lane="batch",
        **{**facts, **changes},  # type: ignore[arg-type]
    )


def settled(
    n: int, start: int = 0, failed: dict[Failure, list[int]] | None = None, **more: object
) -> Shard:
    tally = Tally(failed={f: rows_of(r) for f, r in (failed or {}).items()})
    return shard(n, State.SETTLED, start, tally=tally, upstream_id=f"up-{n}", **more)


@pytest.mark.parametrize(
    ("states", "word"),
    [
        ([State.PLANNED, State.PLANNED], Status.IN_PROGRESS),
        ([State.SUBMITTING, State.SETTLED], Status.IN_PROGRESS),
        ([State.IN_PROGRESS, State.COLLECTING], Status.IN_PROGRESS),
        ([State.COLLECTING, State.SETTLED], Status.FINALIZING),
        ([State.SETTLED, State.SETTLED], Status.COMPLETED),
        ([], Status.COMPLETED),
    ],
)
def test_the_status_is_a_word_for_the_states(states: list[State], word: Status) -> None:
    shards = [shard(n, s, n * 5, upstream_id="u") for n, s in enumerate(states)]
    assert status(replace(BATCH, rows=5 * len(states)), shards) == word


def test_a_wish_to_stop_shows_until_it_has_come_true() -> None:
    wished = replace(BATCH, cancel_wanted=True)
    assert status(wished, [settled(1), shard(2, State.CANCELLING, 5)]) == Status.CANCELLING
    stopped = settled(2, 5, {Failure.CANCELED: [8, 9]})
    assert status(wished, [settled(1), stopped]) == Status.CANCELLED


def test_a_cancel_that_came_too_late_leaves_a_completed_batch() -> None:
    assert (
        status(replace(BATCH, cancel_wanted=True), [settled(1), settled(2, 5)]) == Status.COMPLETED
    )


def test_rows_that_ran_out_of_time_make_it_expired() -> None:
    assert status(BATCH, [settled(1), settled(2, 5, {Failure.EXPIRED: [9]})]) == Status.EXPIRED
    never = settled(2, 5, {Failure.DEADLINE: [5, 6, 7, 8, 9]})
    assert status(BATCH, [settled(1), never]) == Status.EXPIRED


def test_a_batch_nobody_took_has_failed() -> None:
    refused = [
        shard(n, State.SETTLED, s, tally=Tally(failed={Failure.INVALID_REQUEST: row_range(s, 5)}))
        for n, s in ((1, 0), (2, 5))
    ]
    assert status(BATCH, refused) == Status.FAILED


def test_a_batch_whose_every_row_failed_is_still_completed() -> None:
    ran = [
        settled(1, 0, {Failure.SCHEMA: [0, 1, 2, 3, 4]}),
        settled(2, 5, {Failure.SCHEMA: [5, 6, 7, 8, 9]}),
    ]
    assert status(BATCH, ran) == Status.COMPLETED


def test_every_row_is_counted_exactly_once() -> None:
    shards = [
        settled(1, 0, {Failure.SERVER: [1, 2], Failure.EXPIRED: [3], Failure.CANCELED: [4]}),
        shard(2, State.IN_PROGRESS, 5),
        shard(3, State.IN_PROGRESS, rows=rows_of([1]), attempt=2, upstream_id="up-3"),
    ]
    counts = count(BATCH, shards)
    assert (counts.succeeded, counts.errored, counts.expired, counts.canceled) == (1, 1, 1, 1)
    assert counts.pending == 6
    assert counts.total == 10 == counts.succeeded + counts.unsuccessful + counts.pending
    assert counts.failures == {Failure.SERVER: 1, Failure.EXPIRED: 1, Failure.CANCELED: 1}
    assert counts.retried == 1


def test_an_attempt_is_what_a_provider_has_had() -> None:
    first = settled(1, 0, {Failure.SERVER: [1, 2], Failure.ACCOUNT: [3]})
    planned = shard(2, State.PLANNED, rows=rows_of([1, 2, 3]), attempt=2)
    assert count(BATCH, [first, planned]).retried == 0
    taken = replace(planned, state=State.IN_PROGRESS, upstream_id="up-2")
    assert count(BATCH, [first, taken]).retried == 2


def test_tokens_and_cost_are_summed_over_attempts() -> None:
    first = replace(settled(1), tally=Tally(usage=Usage(10, 5), cost_usd=Decimal("0.10")))
    second = replace(settled(2, 5), tally=Tally(usage=Usage(1, 2), cost_usd=Decimal("0.02")))
    counts = count(BATCH, [first, second])
    assert counts.usage == Usage(11, 7)
    assert counts.cost_usd == Decimal("0.12")
    assert count(BATCH, [settled(1)]).cost_usd is None


def test_the_four_endings_are_the_finished_ones() -> None:
    assert {Status.COMPLETED, Status.FAILED, Status.EXPIRED, Status.CANCELLED} == FINISHED
