"""What is particular to Azure: two surfaces, deployments, files that take their time, odd files."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.azure import FakeAzure
from tests.providers.openai_family import Desk, desk

from batchmill import providers
from batchmill.core.failure import Failure
from batchmill.core.shard import Accepted
from batchmill.errors import InvalidSetting, ProviderBusy, ProviderGone, ProviderRefused
from batchmill.providers import Knobs

SURFACES = {"classic": "", "classic-openai": "/openai", "v1": "/openai/v1"}
House = tuple[Desk, FakeAzure]


@pytest.fixture(params=SURFACES.values(), ids=SURFACES)
async def house(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[House]:
    fake = FakeAzure(request.param)
    async with desk("azure", tmp_path, fake=fake) as opened:
        yield opened, fake
    assert fake.complaints == []
    assert fake.unknown == []


async def test_both_surfaces_sell_batches(house: House) -> None:
    at, fake = house

    results = await at.answers("one", "two", "fail invalid_request")

    assert [r.answer for r in results] == ["one", "two", None]
    assert results[2].failure is Failure.INVALID_REQUEST
    versioned = [asked for asked in fake.asked if "api-version=2024-10-21" in asked]
    assert len(versioned) == (0 if fake.surface == "/openai/v1" else len(fake.asked))
    assert {line["endpoint"] for line in (s.facts for s in fake.sold)} == {"/chat/completions"}


async def test_an_empty_file_of_errors_is_none(house: House) -> None:
    at, fake = house

    offer = await at.ended(at.offer("a"))

    assert b"" in fake.result_files.values()
    assert len(await at.results(offer)) == 1
    await at.provider.tidy(offer)
    assert fake.result_files == {}


async def test_a_file_that_is_not_processed_yet_is_waited_for_and_sent_once(house: House) -> None:
    at, fake = house
    fake.pending = 2
    offer = await at.prepared(at.offer("a"))

    for _ in range(2):
        with pytest.raises(ProviderBusy, match="pending"):
            await at.provider.submit(offer)
    upstream_id = await at.provider.submit(offer)

    assert await at.provider.find(offer) == Accepted(upstream_id)
    assert (fake.calls["upload"], fake.calls["create"]) == (1, 1)


async def test_an_input_that_is_gone_is_uploaded_anew(house: House) -> None:
    at, fake = house
    offer = await at.prepared(at.offer("a"))
    fake.files.clear()

    with pytest.raises(ProviderGone):
        await at.provider.submit(offer)
    assert fake.sold == []


async def test_counts_may_be_missing_where_a_batch_failed(house: House) -> None:
    at, fake = house
    fake.weather.ending = "failed"
    fake.weather.refusal = (
        "The number of enqueued tokens has surpassed the configured limit for this region."
    )

    results = await at.answers("a", "b")

    assert {r.failure for r in results} == {Failure.QUOTA}


async def test_a_deployment_that_does_not_exist_is_the_accounts_trouble(house: House) -> None:
    at, fake = house
    fake.models = ["another"]

    results = await at.answers("a", "b")

    assert {r.failure for r in results} == {Failure.ACCOUNT}


@pytest.mark.parametrize("surface", SURFACES.values(), ids=SURFACES)
@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        ("openai.chat", None),
        ("openai.embeddings", {"model": "a-model", "input": "abc"}),
        ("openai.responses", {"model": "a-model", "input": "abc"}),
    ],
)
async def test_the_live_lane_finds_the_deployment(
    tmp_path: Path, surface: str, dialect: str, body: dict[str, Any] | None
) -> None:
    fake = FakeAzure(surface)
    async with desk("azure", tmp_path, lane="live", fake=fake) as at:
        bodies = [at._body("abc") if body is None else body]
        [result] = await at.answers(bodies=bodies, dialect=dialect)
        assert result.answer in ("abc", "[0.5,3.0]")
        assert "models" in await at.provider.probe()
    assert fake.unknown == []


async def test_a_live_deployment_that_is_not_there_stops_the_run(tmp_path: Path) -> None:
    async with desk("azure", tmp_path, lane="live", fake=FakeAzure(), model="nobody") as at:
        results = await at.answers("a", "b")

    assert {r.failure for r in results} == {Failure.ACCOUNT}


async def test_a_wrong_key_is_said_in_azures_words(tmp_path: Path) -> None:
    async with desk("azure", tmp_path, key="wrong") as at:
        with pytest.raises(ProviderRefused, match="invalid subscription key") as caught:
            await at.provider.prepare(at.offer("a"))
    assert caught.value.failure == Failure.ACCOUNT


async def test_another_version_may_be_asked_for(tmp_path: Path) -> None:
    fake = FakeAzure()
    async with desk("azure", tmp_path, fake=fake, api_version="2025-03-01-preview") as at:
        await at.provider.probe()
    assert fake.asked == ["GET /openai/models?api-version=2025-03-01-preview"]


async def test_without_an_address_it_says_what_is_missing(tmp_path: Path) -> None:
    spec = providers.spec("azure")

    assert "base_url" in (spec.ready(Knobs(base_url="")) or "")
    assert spec.ready(Knobs(base_url="https://me.openai.azure.com")) is None
    with pytest.raises(InvalidSetting, match="base_url"):
        async with desk("azure", tmp_path, base_url="nowhere"):
            pass
