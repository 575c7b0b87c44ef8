"""What is bought from a vendor is priced on its way in, and adds up in the receipt."""

import asyncio
from pathlib import Path

import pytest
from tests.fakes import fake
from tests.fakes.vendor import FakeVendor

from batchmill.core import price as prices
from batchmill.core.batch import Recipe
from batchmill.rows.read import describe
from batchmill.service.create import Wish
from batchmill.service.receipt import receipt
from batchmill.settings import load
from batchmill.wiring import House, open_house

NOW = 1.8e9  # when the table had batch prices

SETTINGS = """
[retry]
wait_s = 0.05

[providers.openai]
base_url = "{url}"
poll_s = 0.05
find_after_s = 0
"""


async def bought(house: House, folder: Path, model: str, lane: str):
    (folder / "t.csv").write_text("title\na\nb\nc\n")
    wish = Wish(
        batch_id=house.ids.batch(),
        provider="openai",
        lane=lane,
        recipe=Recipe(model=model, prompt="Say {{ title }}"),
        source=describe(str(folder / "t.csv")),
    )
    batch = await house.creator.accept(house.creator.draft(wish))
    finished = False

    async def look() -> bool:
        nonlocal finished
        finished = (await house.inspector.view(batch.id)).finished
        return finished

    engine = asyncio.ensure_future(house.engine.run(lambda: finished))
    while not await look():
        await house.clock.sleep(0.02)
    await engine
    return receipt(await house.inspector.view(batch.id))


@pytest.fixture
async def buy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Buy three answers of a model in a lane of a vendor on loopback; return the receipt."""

    async def buy(model: str, lane: str):
        monkeypatch.setattr(FakeVendor, "model", model)
        vendor = fake("openai")
        await vendor.up()
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("OPENAI_API_KEY", vendor.key)
        (tmp_path / "batchmill.toml").write_text(SETTINGS.format(url=vendor.base_url))
        try:
            async with open_house(load({"home": str(tmp_path / "home")})) as house:
                return await bought(house, tmp_path, model, lane)
        finally:
            await vendor.down()

    return buy


@pytest.mark.parametrize("lane", ["batch", "live"])
async def test_each_lane_of_a_vendor_is_paid_at_its_own_price(lane, buy) -> None:
    # given a model of the price table, with a flat price, so that tokens may be summed for once
    told = await buy("gpt-4o-mini", lane)
    # then
    assert told.succeeded == 3
    [spent] = told.lanes
    assert (spent.lane, spent.bought) == (lane, 1 if lane == "batch" else 0)
    listed = prices.price("openai", "gpt-4o-mini", "live", told.usage, NOW)
    paid = prices.price("openai", "gpt-4o-mini", lane, told.usage, NOW)
    assert listed is not None
    assert paid is not None
    assert (told.cost_usd, spent.list_usd) == (paid.paid_usd, listed.paid_usd)
    assert told.saved_usd == listed.paid_usd - paid.paid_usd
    assert (told.saved_usd > 0) is (lane == "batch")


async def test_a_model_that_no_price_list_has_is_answered_all_the_same(buy) -> None:
    told = await buy("a-model", "batch")
    assert (told.succeeded, told.cost_usd, told.saved_usd, told.unpriced) == (3, None, None, 3)
