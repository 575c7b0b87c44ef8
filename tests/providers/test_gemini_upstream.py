"""How Gemini's batches are looked for, waited for and fetched, where the way there is odd."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.fakes.gemini import FakeGemini
from tests.providers.google_family import answers, offer
from tests.providers.openai_family import Desk, desk

from batchmill.core.shard import CannotTell, NotThere
from batchmill.errors import ProviderBusy, ProviderSilent
from batchmill.providers import gemini as provider

House = tuple[Desk, FakeGemini]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    fake = FakeGemini()
    async with desk("gemini", tmp_path, fake=fake) as opened:
        yield opened, fake
    assert fake.unknown == []


async def test_the_list_is_read_as_far_as_it_proves_something(house: House) -> None:
    at, fake = house
    now = at.clock.now()
    for n in range(250):
        fake.stranger(1, at=now - 300_000 + n)
    ready = await at.prepared(offer(at, "one"))

    assert await at.provider.find(ready) == NotThere()
    newest_first = fake.calls["list"]
    fake.sold.reverse()  # the oldest first: now only the end of the list proves anything
    fake.calls.clear()
    assert await at.provider.find(ready) == NotThere()

    assert newest_first == 1
    assert fake.calls["list"] == 3


async def test_a_list_without_end_proves_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    at, fake = house
    monkeypatch.setattr(provider, "PAGES_MAX", 1)
    for _ in range(150):
        fake.stranger(1)

    assert isinstance(await at.provider.find(await at.prepared(offer(at, "one"))), CannotTell)


async def test_states_nobody_knows_are_shown_and_waited_for(house: House) -> None:
    at, fake = house
    fake.weather.polls = 5
    bought = await at.bought(offer(at, "one"))

    fake.stated = "BATCH_STATE_DREAMING"
    dreaming = await at.provider.check(bought)
    fake.stated = "JOB_STATE_PARTIALLY_SUCCEEDED"
    partial = await at.provider.check(bought)

    assert not dreaming.ended
    assert dreaming.progress.note == "gemini says: BATCH_STATE_DREAMING"
    assert partial.ended


async def test_a_long_wait_in_the_queue_is_told(house: House) -> None:
    at, fake = house
    fake.weather.polls, fake.stated = 5, "BATCH_STATE_PENDING"
    bought = await at.bought(offer(at, "one"))
    fresh = await at.provider.check(bought)

    fake.sold[0].at -= 30 * 3600
    long = await at.provider.check(bought)

    assert fresh.progress.note == ""
    assert long.progress.note == "not begun for 30 h; gemini gives it up in 18 h"


async def test_a_proxy_with_a_path_of_its_own_is_kept_to(tmp_path: Path) -> None:
    class Behind(FakeGemini):
        """What it calls itself is not where we find it."""

        @property
        def base_url(self) -> str:
            return f"{self.host}/a/proxy"

        def routes(self) -> Any:
            return [route(f"/a/proxy{one.path}", one) for one in super().routes()]

    def route(path: str, one: Any) -> web.RouteDef:
        return web.RouteDef(one.method, path, one.handler, one.kwargs)

    fake = Behind()
    async with desk("gemini", tmp_path, fake=fake) as at:
        assert [r.answer for r in await answers(at, "one")] == ["one"]
    assert fake.unknown == []


async def test_a_download_may_lead_elsewhere_once(house: House) -> None:
    at, fake = house
    fake.redirects = True

    assert [r.answer for r in await answers(at, "one")] == ["one"]


async def test_a_torn_download_is_fetched_again_and_a_new_one_may_be_late(house: House) -> None:
    at, fake = house
    bought = await at.ended(offer(at, *("word " * 50 for _ in range(50))))
    fake.weather.torn = 1
    fake.weather.instead["content"] = [404]

    with pytest.raises(ProviderBusy):
        await at.results(bought)
    with pytest.raises(ProviderSilent):
        await at.results(bought)
    assert len(await at.results(bought)) == 50
