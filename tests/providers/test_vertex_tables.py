"""Vertex's jobs over BigQuery: a table that is loaded, a table that is read, both deleted."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.fakes._bigquery import DATASET
from tests.fakes.vertex import FakeVertex
from tests.providers.google_family import answers, offer
from tests.providers.openai_family import Desk, desk

from batchmill.core.failure import Failure
from batchmill.errors import ProviderBroke, ProviderBusy, ProviderGone, ProviderRefused

House = tuple[Desk, FakeVertex]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    fake = FakeVertex()
    async with desk("vertex", tmp_path, fake=fake, bucket=DATASET) as opened:
        yield opened, fake
    assert fake.unknown == []


async def test_a_table_goes_in_and_a_table_comes_out(house: House) -> None:
    at, fake = house
    fake.page_rows = 2

    bought = await at.ended(offer(at, "one", "fail server", "fail refused", "vier", "🦊"))
    found = await at.results(bought)

    assert [found[row].answer for row in (0, 3, 4)] == ["one", "vier", "🦊"]
    assert (found[1].failure, found[2].failure) == (Failure.SERVER, Failure.REFUSED)
    job = fake.sold[0].facts["job"]
    assert (
        job["inputConfig"]["bigquerySource"]["inputUri"] == f"{DATASET}.bm_batch_x_0001_token1_in"
    )
    assert set(fake.tables) == {
        f"{DATASET}.bm_batch_x_0001_token1_{kind}" for kind in ("in", "out")
    }


async def test_a_row_whose_columns_did_not_come_back_is_known_by_what_it_asked(
    house: House,
) -> None:
    at, fake = house
    fake.labels_echoed = False

    assert [r.answer for r in await answers(at, "one", "same", "same")] == ["one", "same", "same"]


async def test_a_table_that_is_still_being_loaded_is_waited_for(house: House) -> None:
    at, fake = house
    fake.load_looks = 1
    ready = await at.prepared(offer(at, "one"))

    with pytest.raises(ProviderBusy, match="RUNNING"):
        await at.provider.submit(ready)
    assert fake.calls["create"] == 0
    await at.provider.submit(ready)

    assert len(fake.sold) == 1


async def test_a_load_that_was_refused_holds_the_batch(house: House) -> None:
    at, fake = house
    fake.load_error = "Access Denied: Dataset proj:their_data"
    ready = await at.prepared(offer(at, "one"))

    with pytest.raises(ProviderRefused, match="Access Denied") as refused:
        await at.provider.submit(ready)

    assert refused.value.failure == Failure.ACCOUNT


async def test_a_dataset_that_is_not_there_is_the_persons_to_mend(tmp_path: Path) -> None:
    async with desk("vertex", tmp_path, fake=FakeVertex(), bucket="bq://proj.no_such") as at:
        with pytest.raises(ProviderRefused, match="Not found: Dataset") as refused:
            await at.provider.prepare(offer(at, "one"))

    assert refused.value.failure == Failure.ACCOUNT


async def test_an_input_that_is_gone_is_prepared_anew(house: House) -> None:
    at, fake = house
    ready = await at.prepared(offer(at, "one"))
    await at.provider.submit(ready)
    fake.tables.clear()
    fake.weather.instead["create"] = [400]

    with pytest.raises(ProviderGone):
        await at.provider.submit(ready)


async def test_a_table_of_results_that_is_not_there_yet_is_waited_for(house: House) -> None:
    at, fake = house
    bought = await at.ended(offer(at, "one"))
    await at.results(bought)
    fake.tables.clear()

    with pytest.raises(ProviderBusy):
        await at.results(bought)


async def test_a_row_of_another_shape_is_not_guessed_at(house: House) -> None:
    at, fake = house
    bought = await at.ended(offer(at, "one"))
    fake.cells_cut = 1

    with pytest.raises(ProviderBroke, match="has 3 columns"):
        await at.results(bought)


async def test_afterwards_both_tables_are_gone_and_no_other(house: House) -> None:
    at, fake = house
    fake.tables[f"{DATASET}.theirs"] = []
    bought = await at.ended(offer(at, "one"))
    await at.results(bought)

    for _ in range(2):
        await at.provider.tidy(bought)

    assert set(fake.tables) == {f"{DATASET}.theirs"}
