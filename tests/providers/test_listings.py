"""A list proves that a batch is not there only where it is one, whole, and by the vendor's clock."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests import fakes
from tests.fakes.vendor import FakeVendor
from tests.providers.bedrock_house import HOUR
from tests.providers.openai_family import Desk, desk

from batchmill import providers
from batchmill.core.shard import Accepted, CannotTell, NotThere
from batchmill.errors import ProviderBroke, ProviderBusy
from batchmill.ports import Found, Offer
from batchmill.providers import _listing

VENDORS = ("openai", "azure", "groq", "mistral", "gemini", "vertex", "bedrock")
FIELDS = {
    "gemini": "operations",
    "vertex": "batchPredictionJobs",
    "bedrock": "invocationJobSummaries",
}
#: An empty list is left out by these, so `{}` is one.
LEAVE_OUT = tuple(FIELDS)
NO_LISTS = (
    "",
    '{"error":{"message":"Internal error","code":500}}',
    '{"FIELD":null}',
    '{"FIELD":{}}',
    '{"FIELD":"none"}',
    '{"FIELD":[null]}',
    '{"FIELD":[],"error":{"message":"some could not be read"}}',
)


@pytest.fixture(params=VENDORS)
async def at(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk(request.param, tmp_path, fake=fakes.fake(request.param)) as opened:
        yield opened


def house_of(at: Desk) -> FakeVendor:
    assert at.fake is not None
    return at.fake


def offer(at: Desk, count: int = 3) -> Offer:
    fake = house_of(at)
    spec = providers.spec(fake.name)
    dialect = spec.dialect(spec, "chat", fake.model)
    return at.offer(bodies=[fake.body(f"say {n}") for n in range(count)], dialect=dialect)


@contextmanager
def listing(fake: FakeVendor, body: str) -> Iterator[None]:
    """Answer every listing with *body*."""
    usual = fake.weathered

    async def weathered(name: str, request: web.Request, respond: Any) -> web.StreamResponse:
        if name == "list":
            said = body.replace("FIELD", FIELDS.get(fake.name, "data"))
            return web.Response(text=said, content_type="application/json")
        return await usual(name, request, respond)

    fake.weathered = weathered
    yield
    fake.weathered = usual


async def found(at: Desk, sought: Offer) -> Found | None:
    """Look for it; None where the vendor's answer is called broken."""
    try:
        return await at.provider.find(sought)
    except ProviderBroke:
        return None


@pytest.mark.parametrize("body", NO_LISTS)
async def test_what_is_no_list_never_proves_that_a_batch_is_not_there(at: Desk, body: str) -> None:
    bought = await at.bought(offer(at))

    with listing(house_of(at), body):
        told = await found(at, bought)

    assert told is None or isinstance(told, CannotTell)
    assert await at.provider.find(bought) == Accepted(bought.upstream_id or "")


@pytest.mark.parametrize("body", NO_LISTS)
async def test_what_is_no_list_never_confirms_that_a_batch_is_gone(at: Desk, body: str) -> None:
    bought = await at.bought(offer(at))
    old = replace(bought, submitted_at=at.clock.now() - 40 * 24 * HOUR)
    house_of(at).weather.not_found = 1

    with listing(house_of(at), body), pytest.raises((ProviderBroke, ProviderBusy)):
        await at.provider.check(old)


async def test_an_empty_object_is_an_empty_list_only_where_lists_are_left_out(at: Desk) -> None:
    ready = await at.prepared(offer(at))

    with listing(house_of(at), "{}"):
        told = await found(at, ready)

    assert told == (NotThere() if house_of(at).name in LEAVE_OUT else None)


@pytest.mark.parametrize("ahead_h", [-30, -2, 2, 30, 24 * 400])
async def test_a_clock_that_was_wrong_when_the_batch_was_made_hides_nothing(
    at: Desk, ahead_h: int
) -> None:
    bought = await at.bought(offer(at))
    for _ in range(120):  # newer ones, so that there is more than one page
        house_of(at).stranger(1)
    wrong = replace(bought, submitted_at=at.clock.now() + ahead_h * HOUR)

    assert await at.provider.find(wrong) == Accepted(bought.upstream_id or "")


@pytest.mark.parametrize("ahead_h", [-30, 30, 24 * 400])
async def test_a_clock_that_is_wrong_all_the_time_hides_nothing(
    at: Desk, ahead_h: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bought = await at.bought(offer(at))
    for _ in range(120):
        house_of(at).stranger(1)
    right = at.clock.now
    monkeypatch.setattr(type(at.clock), "now", lambda _: right() + ahead_h * HOUR)
    wrong = replace(bought, submitted_at=at.clock.now())

    assert await at.provider.find(wrong) == Accepted(bought.upstream_id or "")


def test_without_the_vendors_time_any_batch_may_be_ours() -> None:
    asked = Offer(
        shard_id="s", dialect="", url="", model="", count=1, requests=_none, submitted_at=5e8
    )
    silent = _listing.Page([], {}, 0.0)

    assert _listing.oldest(asked, 5e8, silent) == 0.0
    assert (
        _listing.oldest(replace(asked, submitted_at=None), 5e8, replace(silent, told_at=5e8)) == 0.0
    )
    assert 0.0 < _listing.oldest(asked, 5e8, replace(silent, told_at=5e8)) < 5e8 - 24 * HOUR


@pytest.mark.parametrize(
    ("times", "older"),
    [
        ([], False),
        ([3.0], False),
        ([3.0, 2.0], True),
        ([2.0, 3.0], False),
        ([3.0, 3.0], False),
        ([3.0, 2.0, 0.0], False),  # a time that is not told
        ([9.0, 2.0], False),
    ],
)
def test_a_page_is_past_ours_only_where_it_goes_from_new_to_old(
    times: list[float], older: bool
) -> None:
    assert _listing.all_older(times, 5.0) is older


async def _none() -> AsyncIterator[list[Any]]:
    for nothing in ():
        yield nothing
