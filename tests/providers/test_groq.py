"""What is particular to Groq: windows of up to a week, and a list that has no pages."""

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.fakes.groq import FakeGroq
from tests.providers.openai_family import Desk, desk

from batchmill.core.failure import Failure
from batchmill.core.shard import Accepted, NotThere
from batchmill.providers.groq import window_of

House = tuple[Desk, FakeGroq]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    fake = FakeGroq()
    async with desk("groq", tmp_path, fake=fake) as opened:
        yield opened, fake
    assert fake.complaints == []
    assert fake.unknown == []


async def test_a_batch_is_bought_and_collected(house: House) -> None:
    at, fake = house

    results = await at.answers("one", "fail server", "two")

    assert [r.answer for r in results] == ["one", None, "two"]
    assert results[1].failure is Failure.SERVER
    assert fake.sold[0].facts["window"] == "24h"


@pytest.mark.parametrize(
    ("hours", "window"),
    [(None, "24h"), (1, "24h"), (24, "24h"), (47, "24h"), (48, "2d"), (100, "4d"), (9999, "7d")],
)
async def test_the_window_is_as_long_as_the_client_waits(
    house: House, hours: int | None, window: str
) -> None:
    at, fake = house
    wait_s = None if hours is None else hours * 3600.0

    assert window_of(wait_s) == window
    await at.bought(at.offer("a", window_s=wait_s))

    assert fake.sold[0].facts["window"] == window


async def test_a_list_that_repeats_itself_is_read_to_its_end(house: House) -> None:
    at, fake = house
    offer = await at.bought(at.offer("a"))
    for _ in range(150):
        fake.stranger(1)
    looked_for = dataclasses.replace(offer, upstream_id=None)

    found = await at.provider.find(looked_for)
    other = await at.provider.find(dataclasses.replace(looked_for, shard_id="batch_x-9", ref="f"))

    assert found == Accepted(offer.upstream_id or "")
    assert other == NotThere()
    assert fake.calls["list"] == 3


async def test_the_live_lane_answers(tmp_path: Path) -> None:
    async with desk("groq", tmp_path, lane="live", fake=FakeGroq()) as at:
        [result] = await at.answers("hello")
    assert result.answer == "hello"
