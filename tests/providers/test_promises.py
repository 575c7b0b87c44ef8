"""
What is promised of every vendor's batch lane, each against a strict stand-in of that vendor.

`docs/providers.md` shows the outcome of each as a table; what a vendor's own protocol rules out is
skipped here with the reason that stands there.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests import fakes
from tests.fakes.vendor import Sold
from tests.providers.vendor_town import ROWS, VendorTown

from batchmill import providers
from batchmill.core.batch import Batch, count
from batchmill.core.failure import Failure
from batchmill.core.shard import Collected, Shard, State
from batchmill.errors import ProviderError

VENDORS = [name for name in fakes.names() if "batch" in providers.spec(name).lanes]

#: What a vendor's protocol rules out: (vendor, test) -> why.
RULED_OUT: dict[tuple[str, str], str] = {
    ("anthropic", "refused"): "a bad row fails alone: params are looked at row by row",
    ("gemini", "expired"): "an expired batch returns nothing",
    ("openrouter", "cancelled"): "a batch cannot be cancelled",
    ("openrouter", "expired"): "results come with completion only",
    ("vertex", "foreign"): "rows come back with their request, not with a name",
}

promise = pytest.mark.promise


@pytest.fixture(params=VENDORS)
async def town(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[VendorTown]:
    async with VendorTown(fakes.fake(request.param), tmp_path) as made:
        yield made


def unless_ruled_out(town: VendorTown, what: str) -> None:
    if why := RULED_OUT.get((town.vendor.name, what)):
        pytest.skip(why)


async def all_well(town: VendorTown, batch: Batch) -> None:
    """Finish the batch: every row answered, and bought once."""
    counts = await town.finished(batch)
    assert counts.succeeded == batch.rows
    assert set(town.bought().values()) == {1}
    assert len(town.bought()) == batch.rows
    answers = await town.rows_of(batch)
    assert {row: result.answer for row, result in answers.items()} == {
        row: f"say {row}" for row in range(batch.rows)
    }


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


async def ended_shard(town: VendorTown, batch: Batch) -> Shard:
    """Return the first shard as it is once it is settled."""
    await town.until(batch, lambda shards: shards[0].state is State.SETTLED)
    return (await town.store.shards(batch.id))[0]


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


@promise("2", "rows fail one by one, each in its class")
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


# -- a refused batch -------------------------------------------------------------------------------


@promise("3", "the line a vendor names fails alone, the others are offered again")
async def test_a_named_line_fails_alone(town: VendorTown) -> None:
    unless_ruled_out(town, "refused")
    town.vendor.weather.ending = "failed"
    town.vendor.weather.bad_lines = {3: "Missing required parameter: 'messages'."}
    batch = await town.batch()

    shard = await ended_shard(town, batch)

    if Failure.INVALID_REQUEST not in shard.tally.failed:
        pytest.skip("it names no lines: they are found by halving")
    assert list(shard.tally.failed[Failure.INVALID_REQUEST]) == [2]
    assert len(shard.tally.failed[Failure.NOT_RUN]) == ROWS - 1
    town.vendor.weather.ending, town.vendor.weather.bad_lines = "completed", {}
    assert (await town.finished(batch)).succeeded == ROWS - 1
    assert len(town.vendor.ours) == 2


@promise("3", "where no line is named, halving finds it; an accepted half is never sold again")
async def test_halving_finds_the_bad_row(town: VendorTown) -> None:
    unless_ruled_out(town, "refused")
    poison = "say poison"

    def refuse(sold: Sold) -> str:
        texts = [town.vendor.text_of(body) for body in sold.requests.values()]
        return "A request in this batch is not valid." if poison in texts else ""

    town.vendor.weather.refuse_if = refuse
    prompts = [f"say {n}" for n in range(ROWS)]
    prompts[5] = poison
    batch = await town.batch(*prompts)

    counts = await town.finished(batch)

    assert counts.succeeded == ROWS - 1
    assert counts.errored == 1
    assert set(town.bought().values()) == {1}, "an innocent row was run twice"
    creates = town.vendor.calls["create"]
    assert creates <= 2 * 3 + 1, f"{creates} creates for eight rows"


# -- limits and accounts -----------------------------------------------------------------------------


@promise("4", "a full queue holds a shard, and never fails a batch")
async def test_a_full_queue_holds_a_shard(town: VendorTown) -> None:
    town.vendor.weather.instead["create"] = [429, 429]

    await all_well(town, await town.batch())

    assert len(town.vendor.ours) == 1
    assert town.vendor.calls["create"] == 3


@promise("6", "a shard that is refused as too large is cut again")
async def test_a_shard_that_is_too_large_is_cut_again(town: VendorTown) -> None:
    town.vendor.weather.instead["create"] = [413]
    batch = await town.batch()

    await all_well(town, batch)

    assert sorted(len(sold.requests) for sold in town.vendor.ours) == [ROWS // 2, ROWS // 2]


@promise("8", "a wrong key holds the batch with the vendor's own words; mended, it goes on")
@pytest.mark.parametrize("status", [401, 403])
async def test_a_wrong_key_holds_the_batch(town: VendorTown, status: int) -> None:
    for operation in ("create", "upload"):
        town.vendor.weather.instead[operation] = [status]
    batch = await town.batch()

    for _ in range(2):  # where files are uploaded first, that is what a wrong key stops
        with pytest.raises(AssertionError, match="held"):
            await town.finished(batch)
        assert not town.vendor.ours
        held = (await town.store.batch(batch.id)).held
        assert town.vendor.name in held
        assert not town.vendor.key or town.vendor.key not in held
        await town.store.release(batch.id)
        if not any(town.vendor.weather.instead[name] for name in ("create", "upload")):
            break
        if not town.vendor.calls["upload"]:
            break
    await all_well(town, batch)


# -- afterwards ------------------------------------------------------------------------------------


@promise("7", "uploads are deleted once the results are safe")
async def test_uploads_are_deleted_once_results_are_safe(town: VendorTown) -> None:
    batch = await town.batch()
    await town.until(batch, lambda shards: shards[0].state is State.COLLECTING)
    before = dict(town.vendor.files)

    await all_well(town, batch)

    assert not town.vendor.files, f"left upstream of {list(before)}"


@promise("7", "what shall be kept upstream is left there")
async def test_what_shall_be_kept_upstream_is_left_there(town: VendorTown) -> None:
    town.keep_upstream = True
    batch = await town.batch()

    await all_well(town, batch)

    assert town.vendor.calls["delete"] == 0


@promise("7", "trouble with tidying up harms no batch")
async def test_trouble_with_tidying_up_harms_no_batch(town: VendorTown) -> None:
    town.vendor.weather.instead["delete"] = [500, 403]

    await all_well(town, await town.batch())


@promise("2", "results stay the same however often they are fetched")
async def test_results_can_be_fetched_twice(town: VendorTown) -> None:
    batch = await town.batch()
    await town.until(batch, lambda shards: shards[0].state is State.COLLECTING)
    shard = (await town.store.shards(batch.id))[0]
    offer = await town.worker()._offer(shard, batch)
    provider = town.supplier(town.vendor.name, "batch").provider

    once, twice = [
        sorted((r for chunk in [c async for c in provider.results(offer)] for r in chunk), key=str)
        for _ in range(2)
    ]

    assert once == twice
    assert {r.custom_id for r in once} == {f"{shard.id}-{row}" for row in range(ROWS)}


@promise("8", "the free call tells a good key from a bad one")
async def test_the_free_call_tells_a_good_key(town: VendorTown) -> None:
    provider = town.supplier(town.vendor.name, "batch").provider

    assert await provider.probe()

    town.vendor.weather.instead["probe"] = [401]
    town.vendor.weather.instead["list"] = [401]
    with pytest.raises(ProviderError):
        await provider.probe()


@promise("2", "usage and the model that answered are told")
async def test_usage_is_told(town: VendorTown) -> None:
    batch = await town.batch()
    await town.finished(batch)

    shards = await town.store.shards(batch.id)
    assert sum(s.tally.usage.output_tokens for s in shards) > 0
    assert count(batch, shards).usage.input_tokens > 0
    assert all(result.model for result in (await town.rows_of(batch)).values())
    assert any(isinstance(line.event, Collected) for line in await town.store.log(shards[0].id))
