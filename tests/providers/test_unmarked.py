"""Vendors whose batches carry no mark: no odd list and no wrong clock has anything bought twice."""

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from tests.fakes import fake as new_fake
from tests.fakes.vendor import FakeVendor
from tests.providers.openai_family import Desk, desk

from batchmill.core.request import ANTHROPIC_MESSAGES, OPENAI_CHAT
from batchmill.core.shard import Accepted, CannotTell, NotThere
from batchmill.errors import ProviderBroke, ProviderBusy, ProviderGone, ProviderRefused
from batchmill.ports import Offer

DIALECTS = {"anthropic": ANTHROPIC_MESSAGES, "openrouter": OPENAI_CHAT}
HOUR = 3600.0

NO_LISTS = {
    "nothing": b"",
    "braces": b"{}",
    "error": b'{"error": {"code": 502, "message": "upstream"}}',
    "null": b'{"data": null, "has_more": false}',
    "object": b'{"data": {}, "has_more": false}',
    "nulls": b'{"data": [null], "has_more": false}',
    "nameless": b'{"data": [{"status": "completed"}], "has_more": false}',
    "array": b"[]",
    "html": b"<html>Please sign in</html>",
}


@pytest.fixture(params=sorted(DIALECTS))
def vendor(request: pytest.FixtureRequest) -> FakeVendor:
    made = new_fake(request.param)
    made.weather.polls = 1_000
    return made


@pytest.fixture
async def shop(vendor: FakeVendor, tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk(vendor.name, tmp_path, fake=vendor) as made:
        yield made


def offered(shop: Desk, vendor: FakeVendor, **more: Any) -> Offer:
    bodies = [vendor.body(f"say {n}") for n in range(3)]
    return shop.offer(bodies=bodies, dialect=DIALECTS[vendor.name], **more)


def lists(vendor: FakeVendor, *bodies: bytes) -> None:
    """Have the next lists answered with these bodies."""
    left, weathered = list(bodies), vendor.weathered

    async def odd(name: str, request: web.Request, respond: Any) -> web.StreamResponse:
        if name != "list" or not left:
            return await weathered(name, request, respond)
        vendor.calls[name] += 1
        return web.Response(body=left.pop(0), content_type="application/json")

    vendor.weathered = odd


# -- what is no list ------------------------------------------------------------------------------


@pytest.mark.parametrize("body", NO_LISTS.values(), ids=NO_LISTS)
async def test_what_is_no_list_does_not_say_that_a_batch_is_not_there(
    shop: Desk, vendor: FakeVendor, body: bytes
) -> None:
    bought = await shop.bought(offered(shop, vendor))
    lists(vendor, body)

    with pytest.raises(ProviderBroke):
        await shop.provider.find(bought)

    found = await shop.provider.find(bought)
    assert found == Accepted(bought.upstream_id or "", provisional=True)


@pytest.mark.parametrize("body", NO_LISTS.values(), ids=NO_LISTS)
async def test_what_is_no_list_confirms_no_404(shop: Desk, vendor: FakeVendor, body: bytes) -> None:
    bought = await shop.bought(offered(shop, vendor))
    old = replace(bought, submitted_at=shop.clock.now() - HOUR)
    vendor.weather.not_found = 1
    lists(vendor, body)

    with pytest.raises(ProviderBroke):
        await shop.provider.check(old)


async def test_an_empty_list_is_one(shop: Desk, vendor: FakeVendor) -> None:
    offer = offered(shop, vendor, submitted_at=shop.clock.now())
    assert await shop.provider.find(offer) == NotThere()


async def test_a_list_that_is_not_there_is_a_setting_and_no_answer(
    shop: Desk, vendor: FakeVendor
) -> None:
    bought = await shop.bought(offered(shop, vendor))
    vendor.weather.instead["list"] = [404, 404]
    vendor.weather.not_found = 1

    with pytest.raises(ProviderRefused):
        await shop.provider.find(bought)
    with pytest.raises((ProviderBusy, ProviderRefused)):
        await shop.provider.check(replace(bought, submitted_at=shop.clock.now() - HOUR))


# -- lists without an end -------------------------------------------------------------------------


async def test_a_list_that_goes_in_circles_is_left_and_proves_nothing(
    shop: Desk, vendor: FakeVendor
) -> None:
    pages = [
        msgspec.json.encode(
            {"data": [{"id": name, "created_at": None}], "has_more": True, "last_id": name}
        )
        for name in ("batch-a", "batch-b")
    ]
    lists(vendor, *(pages * 50))
    known = ("batch-a", "batch-b")
    offer = offered(shop, vendor, submitted_at=shop.clock.now(), strangers=known)

    with pytest.raises(ProviderBroke, match="end"):
        await shop.provider.find(offer)

    assert vendor.calls["list"] == 3


async def test_a_list_that_says_there_is_more_and_not_where_proves_nothing(
    shop: Desk, vendor: FakeVendor
) -> None:
    lists(vendor, b'{"data": [], "has_more": true, "last_id": null}')

    with pytest.raises(ProviderBroke):
        await shop.provider.find(offered(shop, vendor, submitted_at=shop.clock.now()))


async def test_a_list_in_no_order_of_age_is_read_to_its_end(shop: Desk, vendor: FakeVendor) -> None:
    bought = await shop.bought(offered(shop, vendor))
    now = int(shop.clock.now())
    ours = {"id": bought.upstream_id, "created_at": now, "status": "in_progress"}
    old = {"id": "batch-old", "created_at": now - 400_000, "status": "completed"}
    newer = {"id": "batch-newer", "created_at": now - 300_000, "status": "completed"}
    pages = [
        {"data": [old, newer], "has_more": True, "last_id": "batch-newer"},
        {"data": [ours], "has_more": False, "last_id": bought.upstream_id},
    ]
    lists(vendor, *map(msgspec.json.encode, pages))

    found = await shop.provider.find(bought)

    assert found == Accepted(bought.upstream_id or "", provisional=True)


# -- clocks that are wrong ------------------------------------------------------------------------


@pytest.mark.parametrize("ahead_s", [-2 * HOUR, 90.0, 2 * HOUR, 400 * HOUR])
async def test_a_clock_that_is_wrong_all_the_time_hides_no_paid_batch(
    shop: Desk, vendor: FakeVendor, ahead_s: float
) -> None:
    vendor.now = lambda: time.time() - ahead_s
    bought = await shop.bought(offered(shop, vendor))

    found = await shop.provider.find(bought)

    assert found == Accepted(bought.upstream_id or "", provisional=True)


@pytest.mark.parametrize("ahead_s", [90.0, 2 * HOUR, 26 * HOUR])
async def test_a_clock_that_was_ahead_at_the_call_hides_no_paid_batch(
    shop: Desk, vendor: FakeVendor, ahead_s: float
) -> None:
    # The look-up waits until the clock, right again, shows when the lease ends.
    bought = await shop.bought(offered(shop, vendor))
    vendor.sold[0].at -= ahead_s

    found = await shop.provider.find(bought)
    vendor.sold[0].ended = True
    proven = await shop.provider.find(bought)

    assert found == Accepted(bought.upstream_id or "", provisional=True)
    assert proven == Accepted(bought.upstream_id or "")


async def test_a_call_in_the_vendors_future_hides_no_paid_batch(
    shop: Desk, vendor: FakeVendor
) -> None:
    bought = await shop.bought(offered(shop, vendor))
    early = replace(bought, submitted_at=shop.clock.now() + 400 * HOUR)

    found = await shop.provider.find(early)

    assert found == Accepted(bought.upstream_id or "", provisional=True)


async def test_of_those_that_may_be_it_the_nearest_in_time_is_taken_first(
    shop: Desk, vendor: FakeVendor
) -> None:
    bought = await shop.bought(offered(shop, vendor))
    now = shop.clock.now()
    older = [vendor.stranger(3, at=now - hours * HOUR) for hours in (2, 3)]
    vendor.sold.sort(key=lambda sold: sold.at)

    assert await shop.provider.find(bought) == Accepted(bought.upstream_id or "", provisional=True)

    ruled_out = replace(bought, strangers=(bought.upstream_id or "",))
    assert isinstance(await shop.provider.find(ruled_out), CannotTell)
    for sold in older:
        sold.ended = True
    assert await shop.provider.find(ruled_out) == NotThere()


async def test_what_is_ruled_out_once_is_not_read_again(shop: Desk, vendor: FakeVendor) -> None:
    for _ in range(3):
        vendor.stranger(3).ended = True
    offer = offered(shop, vendor, submitted_at=shop.clock.now())

    assert await shop.provider.find(offer) == NotThere()
    asked = len(vendor.asked)
    assert await shop.provider.find(offer) == NotThere()

    assert len(vendor.asked) == asked + 1


async def test_what_is_older_than_two_days_is_not_read(shop: Desk, vendor: FakeVendor) -> None:
    now = shop.clock.now()
    for n in range(250):
        vendor.sold.insert(0, vendor.stranger(3, at=now - 49 * HOUR - n))
        vendor.sold.pop()
    offer = offered(shop, vendor, submitted_at=now)

    assert await shop.provider.find(offer) == NotThere()
    assert vendor.calls["list"] == 1


async def test_a_404_is_believed_where_a_whole_list_agrees(shop: Desk, vendor: FakeVendor) -> None:
    bought = await shop.bought(offered(shop, vendor))
    old = replace(bought, submitted_at=shop.clock.now() - HOUR)
    vendor.sold.clear()

    with pytest.raises(ProviderGone):
        await shop.provider.check(old)
