"""Which batches of OpenRouter are taken for ours: what is found, believed to be gone, or deleted."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes.openrouter import FakeOpenRouter
from tests.providers.openai_family import Desk, desk, shop_at
from tests.providers.vendor_town import ROWS, VendorTown, all_well

from batchmill.core.shard import Accepted, CannotTell, NotOurs, NotThere, State
from batchmill.errors import ProviderBusy, ProviderGone


@pytest.fixture
async def vendor() -> FakeOpenRouter:
    return FakeOpenRouter()


shop = shop_at("openrouter")


async def test_a_lone_batch_that_still_works_is_adopted_provisionally(
    shop: Desk, vendor: FakeOpenRouter
) -> None:
    bought = await shop.bought(shop.offer("a", "b"))
    vendor.stranger(3)

    found = await shop.provider.find(bought)

    assert found == Accepted(bought.upstream_id or "", provisional=True)


async def test_of_several_that_still_work_nobody_can_tell(
    shop: Desk, vendor: FakeOpenRouter
) -> None:
    bought = await shop.bought(shop.offer("a", "b"))
    stranger = vendor.stranger(2)

    assert isinstance(await shop.provider.find(bought), CannotTell)

    known = replace(bought, strangers=(stranger.id,))
    assert isinstance(await shop.provider.find(known), Accepted)


async def test_what_is_completed_is_proven_or_ruled_out_by_its_own_rows(
    shop: Desk, vendor: FakeOpenRouter
) -> None:
    bought = await shop.ended(shop.offer("a", "b"))
    for _ in range(3):
        vendor.stranger(2).ended = True

    assert await shop.provider.find(bought) == Accepted(bought.upstream_id or "")
    other = replace(bought, shard_id="batch_x-0002")
    assert await shop.provider.find(other) == NotThere()


async def test_what_ended_without_results_is_passed_over_unless_it_names_a_row_of_ours(
    shop: Desk, vendor: FakeOpenRouter
) -> None:
    stranger = vendor.stranger(1)
    stranger.ended, vendor.weather.ending = True, "expired"
    offer = shop.offer("a", submitted_at=shop.clock.now())
    assert await shop.provider.find(offer) == NotThere()

    bad = shop.offer(bodies=[{"messages": []}])
    bought = await shop.ended(bad)
    assert await shop.provider.find(bought) == Accepted(bought.upstream_id or "")


async def test_what_is_older_than_our_first_call_is_not_ours(
    shop: Desk, vendor: FakeOpenRouter
) -> None:
    now = shop.clock.now()
    vendor.stranger(1, at=now - 180_000.0)  # no clock is off by so much
    for _ in range(250):
        vendor.stranger(2, at=now)

    assert await shop.provider.find(shop.offer("a", submitted_at=now)) == NotThere()
    assert vendor.calls["list"] == 3


async def test_a_404_right_after_the_create_proves_nothing(
    shop: Desk, vendor: FakeOpenRouter
) -> None:
    bought = await shop.bought(shop.offer("a"))
    vendor.weather.not_found = 2
    with pytest.raises(ProviderBusy):
        await shop.provider.check(bought)
    old = replace(bought, submitted_at=shop.clock.now() - 3000.0)
    with pytest.raises(ProviderBusy, match="listed"):
        await shop.provider.check(old)
    vendor.sold.clear()
    with pytest.raises(ProviderGone):
        await shop.provider.check(old)


async def test_what_is_ours_is_deleted_and_nothing_else(
    vendor: FakeOpenRouter, tmp_path: Path
) -> None:
    async with desk("openrouter", tmp_path, fake=vendor) as shop:
        bought = await shop.ended(shop.offer("a"))
        stranger = vendor.stranger(1)
        stranger.ended = True
        failed = vendor.stranger(1)
        failed.ended = failed.cancelled = True

        # Another process knows an id and nothing else: the rows have to prove it.
        for upstream_id in (stranger.id, failed.id):
            await shop.provider.tidy(replace(bought, upstream_id=upstream_id))
        assert vendor.calls["delete"] == 0

        shop.provider._made.clear()  # pyright: ignore[reportAttributeAccessIssue]
        await shop.provider.tidy(bought)
        await shop.provider.tidy(bought)

    assert [sold.facts.get("deleted", False) for sold in vendor.sold] == [True, False, False]


async def test_a_batch_of_this_process_is_deleted_however_it_ended(
    shop: Desk, vendor: FakeOpenRouter
) -> None:
    vendor.weather.ending = "expired"
    bought = await shop.ended(shop.offer("a"))

    await shop.provider.tidy(bought)

    assert vendor.sold[0].facts["deleted"]


async def test_a_strangers_batch_that_fails_is_not_taken_for_ours(
    vendor: FakeOpenRouter, tmp_path: Path
) -> None:
    vendor.weather.dropped["create"] = 1
    vendor.weather.refuse_if = lambda sold: "" if sold.ours else "Their row is bad."
    async with VendorTown(vendor, tmp_path) as town:
        batch = await town.batch()
        await town.until(batch, lambda shards: shards[0].state is State.SUBMITTING)
        vendor.stranger(ROWS)

        await all_well(town, batch)

        [shard] = await town.store.shards(batch.id)
        events = [type(line.event) for line in await town.store.log(shard.id)]
        assert NotOurs in events
        assert len(vendor.ours) == 1
