"""How a batch is found again that nothing marks: by time and size, proven by its results."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.fakes.anthropic import FakeAnthropic
from tests.providers.anthropic_house import HOUR, House, open_house
from tests.providers.openai_family import desk

from batchmill.core.request import ANTHROPIC_MESSAGES
from batchmill.core.shard import Accepted, CannotTell, NotThere
from batchmill.errors import ProviderBusy, ProviderSilent


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path) as opened:
        yield opened


async def test_a_lost_batch_is_adopted_provisionally_until_its_results_prove_it(
    house: House,
) -> None:
    house.fake.weather.lost["create"] = 1
    offer = await house.at.prepared(house.offer())
    with pytest.raises(ProviderSilent):
        await house.at.provider.submit(offer)

    found = await house.at.provider.find(offer)
    house.fake.sold[0].ended = True
    later = await house.at.provider.find(offer)

    assert found == Accepted(house.fake.sold[0].id, provisional=True)
    assert later == Accepted(house.fake.sold[0].id)
    assert house.fake.calls["create"] == 1


async def test_batches_of_other_people_are_never_taken_for_ours(house: House) -> None:
    now = house.at.clock.now()
    house.fake.stranger(3, at=now - 49 * HOUR)  # older than our call, by whatever clock
    house.fake.stranger(4)  # of another size
    ended = house.fake.stranger(3)  # its results name other rows
    ended.ended = True
    known = house.fake.stranger(3)
    offer = await house.at.prepared(house.offer(strangers=(known.id,)))

    assert await house.at.provider.find(offer) == NotThere()


async def test_of_several_that_may_be_it_none_is_taken_before_results_tell(house: House) -> None:
    house.fake.weather.polls = 5
    offer = await house.bought()
    stranger = house.fake.stranger(3)

    doubtful = await house.at.provider.find(offer)
    house.fake.sold[0].ended = True
    proven = await house.at.provider.find(offer)
    house.fake.sold[0].ended = False
    stranger.ended = True
    alone = await house.at.provider.find(offer)

    assert isinstance(doubtful, CannotTell)
    assert proven == Accepted(house.fake.sold[0].id)
    assert alone == Accepted(house.fake.sold[0].id, provisional=True)


async def test_the_list_is_read_as_far_back_as_the_call(house: House) -> None:
    offer = await house.bought()
    for _ in range(230):
        house.fake.stranger(2)

    found = await house.at.provider.find(offer)

    assert found == Accepted(house.fake.sold[0].id, provisional=True)
    assert house.fake.calls["list"] == 3


class Slow(FakeAnthropic):
    """Its clock is ten minutes behind ours."""

    def now(self) -> float:
        return super().now() - 600.0


async def test_a_clock_that_goes_wrong_hides_no_paid_batch(tmp_path: Path) -> None:
    fake = Slow()
    async with desk("anthropic", tmp_path, fake=fake) as at:
        offer = await at.bought(at.offer(bodies=[fake.body("a")], dialect=ANTHROPIC_MESSAGES))

        found = await at.provider.find(offer)

    assert found == Accepted(fake.sold[0].id, provisional=True)


async def test_a_look_up_without_an_answer_is_no_answer(house: House) -> None:
    offer = await house.bought()
    house.fake.weather.instead["list"] = [529]

    with pytest.raises(ProviderBusy):
        await house.at.provider.find(offer)
