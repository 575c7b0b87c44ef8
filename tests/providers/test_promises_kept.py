"""
What is promised of every vendor's batch lane: refusals, limits, keys, and what is left upstream.

See `test_promises.py` for the others, and `docs/providers.md` for the outcome of all.
"""

import pytest
from tests.fakes.vendor import Sold
from tests.providers.vendor_town import (
    ROWS,
    VendorTown,
    all_well,
    ended_shard,
    promise,
    unless_ruled_out,
)

from batchmill.core.batch import count
from batchmill.core.failure import Failure
from batchmill.core.shard import Collected, State
from batchmill.errors import ProviderError

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


@promise("key", "a wrong key holds the batch with the vendor's own words; mended, it goes on")
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


@promise("key", "the free call tells a good key from a bad one")
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
