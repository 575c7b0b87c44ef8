"""
What is promised of every vendor's batch lane, each against a strict stand-in of that vendor.

`docs/providers.md` shows the outcome of each as a table; what a vendor's own protocol rules out is
skipped with the reason that stands there. Here: a batch is bought once, and all of it collected.
"""

import asyncio

import pytest
from tests.providers.vendor_town import (
    ROWS,
    VendorTown,
    all_well,
    ended_shard,
    promise,
    unless_ruled_out,
)

from batchmill.core.failure import Failure
from batchmill.core.shard import State

# -- creating calls are sent once -------------------------------------------------------------------


@promise("1", "a table comes back answered, and was bought once")
async def test_a_table_comes_back_answered(town: VendorTown) -> None:
    await all_well(town, await town.batch())

    assert len(town.vendor.ours) == 1
    assert town.vendor.calls["create"] == 1


@promise("1", "a lost answer is looked up, never asked for again")
@pytest.mark.parametrize("how", ["lost", "hung"])
async def test_a_lost_answer_is_looked_up(town: VendorTown, how: str) -> None:
    getattr(town.vendor.weather, how)["create"] = 1

    await all_well(town, await town.batch())

    assert town.vendor.calls["create"] == 1


@promise("1", "a 5xx may have been a yes")
@pytest.mark.parametrize("status", [500, 502, 503, 504, 529, 408])
async def test_a_5xx_may_have_been_a_yes(town: VendorTown, status: int) -> None:
    town.vendor.weather.after["create"] = [status]

    await all_well(town, await town.batch())

    assert town.vendor.calls["create"] == 1


@promise("1", "what a 5xx or a dropped call did not buy is offered again after a look")
@pytest.mark.parametrize("how", ["dropped", "instead"])
async def test_what_was_not_bought_is_offered_again_after_a_look(
    town: VendorTown, how: str
) -> None:
    weather = town.vendor.weather
    if how == "dropped":
        weather.dropped["create"] = 1
    else:
        weather.instead["create"] = [500]

    await all_well(town, await town.batch())

    assert town.vendor.calls["list"] >= 1
    assert town.vendor.calls["create"] == 2


@promise("1", "a 404 right after a create is not 'not created'")
async def test_a_404_right_after_a_create_proves_nothing(town: VendorTown) -> None:
    town.vendor.weather.not_found = 3

    await all_well(town, await town.batch())

    assert len(town.vendor.ours) == 1


@promise("1", "a list that lags by a minute is waited for")
async def test_a_list_that_lags_is_waited_for(town: VendorTown) -> None:
    town.vendor.weather.lost["create"] = 1
    town.vendor.weather.listing_lag_s = 55.0

    await all_well(town, await town.batch())

    assert len(town.vendor.ours) == 1


@promise("1", "what is no list does not say that a batch is not there")
@pytest.mark.parametrize("body", [b"", b"null", b'{"error":{"message":"hm"}}', b"<html>ok</html>"])
async def test_what_is_no_list_proves_nothing(town: VendorTown, body: bytes) -> None:
    town.vendor.weather.lost["create"] = 1
    town.vendor.weather.odd["list"] = [body, body]

    await all_well(town, await town.batch())

    assert town.vendor.calls["create"] == 1


@promise("1", "clocks that differ by hours hide nothing")
@pytest.mark.parametrize("ahead_s", [-7200.0, 7200.0])
async def test_clocks_that_differ_hide_nothing(town: VendorTown, ahead_s: float) -> None:
    ours = town.clock.now
    town.vendor.now = lambda: ours() - ahead_s
    town.vendor.weather.lost["create"] = 1

    await all_well(town, await town.batch())

    assert town.vendor.calls["create"] == 1


@promise("1", "other people's batches in the list are never adopted, cancelled or deleted")
async def test_other_peoples_batches_are_left_alone(town: VendorTown) -> None:
    theirs = [town.vendor.stranger(ROWS), town.vendor.stranger(ROWS + 1)]
    town.vendor.weather.lost["create"] = 1
    batch = await town.batch()
    await town.until(batch, lambda shards: shards[0].state is State.SUBMITTING)
    theirs.append(town.vendor.stranger(ROWS))

    await all_well(town, batch)

    assert not any(sold.cancelled for sold in theirs)
    assert all(sold in town.vendor.sold for sold in theirs)


@promise("1", "two workers on one shard buy it once")
async def test_two_workers_buy_once(town: VendorTown) -> None:
    batch = await town.batch()
    await town.until(batch, lambda shards: shards[0].ref is not None)
    shard_id = (await town.store.shards(batch.id))[0].id

    pair = [town.worker(name).advance(shard_id) for name in ("a", "b")]
    await asyncio.gather(*pair, return_exceptions=True)

    await all_well(town, batch)
    assert len(town.vendor.ours) == 1


# -- every terminal state is collected ----------------------------------------------------------------


@promise("2", "expired: what was run is kept, the rest is offered again")
async def test_an_expired_batch_keeps_what_was_run(town: VendorTown) -> None:
    unless_ruled_out(town, "expired")
    town.vendor.weather.ending, town.vendor.weather.run = "expired", 0.5
    batch = await town.batch()

    shard = await ended_shard(town, batch)

    assert shard.tally.succeeded == ROWS // 2
    assert set(shard.tally.failed) <= {Failure.EXPIRED, Failure.MISSING}
    town.vendor.weather.ending = "completed"
    assert (await town.finished(batch)).succeeded == ROWS
    again = town.vendor.ours[1]
    assert len(again.requests) == ROWS // 2


@promise("2", "cancelled: what was run is kept, the rest is canceled")
async def test_a_cancelled_batch_keeps_what_was_run(town: VendorTown) -> None:
    unless_ruled_out(town, "cancelled")
    town.vendor.weather.run, town.vendor.weather.polls = 0.5, 3
    batch = await town.batch()
    await town.until(batch, lambda shards: shards[0].state is State.IN_PROGRESS)

    await town.store.wish_cancel(batch.id)
    counts = await town.finished(batch)

    assert town.vendor.ours[0].cancelled
    assert counts.succeeded == ROWS // 2
    assert counts.succeeded + counts.unsuccessful == ROWS
    assert set(counts.failures) <= {Failure.CANCELED, Failure.MISSING}


@promise("5", "rows fail one by one, each in its class, in the vendor's own words")
async def test_rows_fail_in_their_classes(town: VendorTown) -> None:
    asked = [Failure.SERVER, Failure.REFUSED, Failure.TOO_LONG, Failure.INVALID_REQUEST]
    asked += [Failure.TRUNCATED, Failure.INVALID_MEDIA, Failure.RATE_LIMITED]
    batch = await town.batch(*(f"fail {failure}" for failure in asked), "say 7")

    shard = await ended_shard(town, batch)

    found = {row: f for f, rows in shard.tally.failed.items() for row in rows}
    wrong = {asked[row]: f for row, f in found.items() if asked[row] is not f}
    assert not wrong, "a class was told by other words"
    assert len(found) >= 5, "most vendors have words for most classes"
    kept = town.shelves.kept[batch.id, shard.kept]
    assert all(result.detail for row, result in kept.items() if row in found)
    assert kept[7].answer == "say 7"


@promise("2", "an all-failed batch is collected like any other")
async def test_a_batch_of_which_every_row_failed_is_collected(town: VendorTown) -> None:
    batch = await town.batch(*["fail invalid_request"] * 3)

    counts = await town.finished(batch)

    assert counts.failures == {Failure.INVALID_REQUEST: 3}


@promise("2", "results that come twice, or not at all, leave each row one outcome")
async def test_results_that_come_twice_or_not_at_all(town: VendorTown) -> None:
    town.vendor.weather.duplicated, town.vendor.weather.missing = 2, 1
    batch = await town.batch()

    shard = await ended_shard(town, batch)

    assert shard.tally.succeeded == ROWS - 1
    assert {f: len(rows) for f, rows in shard.tally.failed.items()} == {Failure.MISSING: 1}
    assert shard.tally.duplicate == 2
    town.vendor.weather.missing = 0
    assert (await town.finished(batch)).succeeded == ROWS


@promise("2", "foreign lines are counted and kept aside")
async def test_foreign_lines_are_kept_aside(town: VendorTown) -> None:
    unless_ruled_out(town, "foreign")
    town.vendor.weather.foreign = 3
    batch = await town.batch()

    shard = await ended_shard(town, batch)

    assert shard.tally.foreign == 3
    assert shard.tally.succeeded == ROWS


@promise("2", "a passing 404 long after the end gives nothing up")
@pytest.mark.parametrize("operation", ["get", "content"])
async def test_a_passing_404_gives_nothing_up(town: VendorTown, operation: str) -> None:
    batch = await town.batch()
    await town.until(batch, lambda shards: shards[0].state is State.COLLECTING)
    town.clock.leapt_s += 7200.0
    town.vendor.weather.instead[operation] = [404]

    await all_well(town, batch)

    assert town.vendor.calls["create"] == 1


@promise("2", "a download that breaks off in a line is fetched again, never half used")
async def test_a_torn_download_is_fetched_again(town: VendorTown) -> None:
    town.vendor.weather.torn = 2
    batch = await town.batch()
    await town.until(batch, lambda shards: shards[0].state is State.COLLECTING)
    shard = (await town.store.shards(batch.id))[0]
    worker = town.worker()

    torn = await worker.advance(shard.id)

    if town.vendor.weather.torn < 2:  # results that come inside the batch object cannot be torn
        assert torn.state is State.COLLECTING
        assert not [key for key in town.shelves.kept if key[0] == batch.id]
    await all_well(town, batch)
