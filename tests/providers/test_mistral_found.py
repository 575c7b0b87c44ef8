"""How Mistral's jobs are found again, and when they are believed to be gone."""

from dataclasses import replace
from typing import Any

import pytest
from tests.fakes.mistral import FakeMistral
from tests.providers.openai_family import SHARD, Desk, shop_at

from batchmill.core.request import MISTRAL_CHAT
from batchmill.core.shard import Accepted, NotThere
from batchmill.errors import ProviderBroke, ProviderBusy, ProviderGone
from batchmill.ports import Offer
from batchmill.providers import _listing, mistral
from batchmill.providers.mistral import MARK


@pytest.fixture
async def vendor() -> FakeMistral:
    return FakeMistral()


shop = shop_at("mistral")


def offer(shop: Desk, *texts: str, **more: Any) -> Offer:
    return shop.offer(*texts, dialect=MISTRAL_CHAT, **more)


@pytest.mark.parametrize("knows", [True, False])
async def test_a_job_is_found_by_its_mark_whether_or_not_the_list_minds_a_filter(
    shop: Desk, vendor: FakeMistral, knows: bool
) -> None:
    vendor.knows_filter = knows
    bought = await shop.bought(offer(shop, "a"))
    for _ in range(205):  # newer, and more than fits on two pages
        vendor.stranger(1)

    assert await shop.provider.find(bought) == Accepted(bought.upstream_id or "")
    assert await shop.provider.find(offer(shop, "a", shard_id="batch_x-0002")) == NotThere()
    assert (MARK, SHARD) in vendor.listings[0]
    assert not any("created_after" in dict(asked) for asked in vendor.listings)


@pytest.mark.parametrize("tells_total", [True, False])
async def test_pages_smaller_than_asked_for_are_turned_all_the_same(
    shop: Desk, vendor: FakeMistral, tells_total: bool
) -> None:
    vendor.page_max, vendor.tells_total = 3, tells_total
    bought = await shop.bought(offer(shop, "a"))
    for _ in range(10):
        vendor.stranger(1)
    vendor.knows_filter = False

    assert await shop.provider.find(bought) == Accepted(bought.upstream_id or "")


async def test_an_empty_page_of_a_list_that_counts_jobs_proves_nothing(
    shop: Desk, vendor: FakeMistral, monkeypatch: pytest.MonkeyPatch
) -> None:
    bought = await shop.bought(offer(shop, "a"))
    empty = {"data": [], "object": "list", "total": 5}

    async def page(*_: Any, **__: Any) -> _listing.Page:
        return _listing.Page([], empty, 0.0)

    monkeypatch.setattr(mistral, "page_of", page)

    with pytest.raises(ProviderBroke):
        await shop.provider.find(bought)


async def test_a_list_that_never_ends_proves_nothing(shop: Desk, vendor: FakeMistral) -> None:
    bought = await shop.bought(offer(shop, "a"))
    vendor.page_max, vendor.knows_filter, vendor.turns_pages = 1, False, False
    vendor.stranger(1)

    with pytest.raises(ProviderBroke):
        await shop.provider.find(bought)


async def test_a_job_without_metadata_is_found_by_its_input_file(
    shop: Desk, vendor: FakeMistral
) -> None:
    bought = await shop.bought(offer(shop, "a"))
    vendor.sold[0].facts["asked"].pop("metadata")

    assert await shop.provider.find(bought) == Accepted(bought.upstream_id or "")
    assert await shop.provider.find(replace(bought, ref="")) == NotThere()


async def test_another_shards_mark_counts_more_than_our_file(
    shop: Desk, vendor: FakeMistral
) -> None:
    bought = await shop.bought(offer(shop, "a"))
    vendor.sold[0].facts["asked"]["metadata"] = {MARK: "batch_y-0001"}

    assert await shop.provider.find(bought) == NotThere()


async def test_a_404_right_after_the_create_or_the_end_proves_nothing(
    shop: Desk, vendor: FakeMistral
) -> None:
    bought = await shop.ended(offer(shop, "a"))
    vendor.weather.not_found = 1
    with pytest.raises(ProviderBusy):
        await shop.provider.check(bought)
    vendor.weather.instead["content"] = [404]
    with pytest.raises(ProviderBusy):
        await shop.results(bought)

    assert (await shop.results(bought))[0].answer == "a"


async def test_a_job_that_is_gone_is_gone_only_where_the_list_agrees(
    shop: Desk, vendor: FakeMistral
) -> None:
    bought = await shop.bought(offer(shop, "a"))
    old = replace(bought, submitted_at=shop.clock.now() - 4000.0)
    vendor.weather.not_found = 1
    with pytest.raises(ProviderBusy):
        await shop.provider.check(replace(old, submitted_at=shop.clock.now() - 3000.0))
    vendor.sold.clear()
    with pytest.raises(ProviderGone):
        await shop.provider.check(old)
