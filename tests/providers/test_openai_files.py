"""OpenAI's result files as they may come, what is left upstream, settings, and the live lane."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.openai import FakeOpenAI
from tests.providers.openai_family import Desk, desk, house_at

from batchmill.core.failure import Failure
from batchmill.errors import (
    InvalidSetting,
    ProviderBusy,
    ProviderGone,
    ProviderRefused,
    ProviderSilent,
)

house = house_at("openai", FakeOpenAI)


House = tuple[Desk, FakeOpenAI]


# -- downloads -----------------------------------------------------------------------------------


def replaced(fake: FakeOpenAI, data: bytes) -> None:
    [name] = fake.result_files
    fake.result_files[name] = data


async def test_a_line_that_cannot_be_read_costs_only_its_own_row(house: House) -> None:
    at, fake = house
    offer = await at.ended(at.offer("a", "b", "c"))
    lines = sorted(next(iter(fake.result_files.values())).splitlines(), key=row_of)
    lines[0] = lines[0][:-20]
    replaced(fake, b"\n".join([b"{", *lines]) + b"\n")

    results = await at.results(offer)

    assert [results[row].answer for row in range(3)] == [None, "b", "c"]
    assert results[0].failure is Failure.SERVER
    assert "cannot be read" in results[0].detail


async def test_a_download_that_stops_inside_a_line_is_not_used(house: House) -> None:
    at, fake = house
    offer = await at.ended(at.offer("a", "b"))
    whole = next(iter(fake.result_files.values()))
    replaced(fake, whole[:-30])  # of its own length: no transport can tell

    with pytest.raises(ProviderSilent):
        await at.results(offer)

    replaced(fake, whole.removesuffix(b"\n"))
    assert len(await at.results(offer)) == 2


def row_of(line: bytes) -> int:
    return int(json.loads(line)["custom_id"].rpartition("-")[2])


async def test_a_new_file_that_is_not_there_yet_is_waited_for(house: House) -> None:
    at, fake = house
    offer = await at.ended(at.offer("a"))
    fake.weather.instead["content"] = [404]

    with pytest.raises(ProviderBusy):
        await at.results(offer)
    assert len(await at.results(offer)) == 1


async def test_results_that_are_past_their_time_are_gone(house: House) -> None:
    at, fake = house
    offer = await at.ended(at.offer("a"))
    at.provider._clock = Later()  # type: ignore[attr-defined]
    fake.result_files.clear()

    with pytest.raises(ProviderGone, match="No such File"):
        await at.results(offer)


class Later:
    """A day after."""

    def now(self) -> float:
        return time.time() + 86_400


# -- afterwards ----------------------------------------------------------------------------------


async def test_tidying_removes_what_is_ours_and_nothing_else(house: House) -> None:
    at, fake = house
    offer = await at.ended(at.offer("a", "fail server"))
    fake.files["file-theirs"] = b"{}\n"

    for _ in range(2):
        await at.provider.tidy(offer)

    assert set(fake.files) == {"file-theirs"}
    assert fake.result_files == {}


async def test_the_files_of_a_batch_that_is_not_ours_are_left(house: House) -> None:
    at, fake = house
    offer = await at.ended(at.offer("a"))
    fake.sold[0].facts |= {"metadata": {"batchmill_shard": "else"}, "input_file_id": "file-else"}

    await at.provider.tidy(offer)

    assert fake.files == {}
    assert len(fake.result_files) == 1


async def test_probing_is_free_and_tells(house: House) -> None:
    at, fake = house

    assert await at.provider.probe() == "the key is good; 1 models"
    assert fake.sold == []


async def test_a_base_url_that_leads_nowhere_is_the_accounts_trouble(tmp_path: Path) -> None:
    fake = FakeOpenAI()
    async with desk("openai", tmp_path, fake=fake) as at:
        at.provider._rest.base_url += "/nowhere"  # type: ignore[attr-defined]
        with pytest.raises(ProviderRefused, match="Is base_url right") as caught:
            await at.provider.prepare(at.offer("a"))
    assert caught.value.failure == Failure.ACCOUNT


# -- settings, and the live lane -----------------------------------------------------------------


async def test_organization_and_project_are_named_in_both_lanes(tmp_path: Path) -> None:
    seen: list[tuple[str | None, str | None]] = []

    class Watching(FakeOpenAI):
        def may_enter(self, request: Any) -> bool:
            headers = request.headers
            seen.append((headers.get("openai-organization"), headers.get("openai-project")))
            return super().may_enter(request)

    for lane in ("batch", "live"):
        named = {"organization": "org-1", "project": "proj-1"}
        async with desk("openai", tmp_path / lane, lane=lane, fake=Watching(), **named) as at:
            await at.answers("a")

    assert set(seen) == {("org-1", "proj-1")}


@pytest.mark.parametrize("options", [{"organisation": "org-1"}, {"project": 7}])
async def test_a_wrong_setting_is_named(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting, match=r"\[providers.openai\]"):
        async with desk("openai", tmp_path, fake=FakeOpenAI(), **options):
            pass


async def test_the_live_lane_answers_row_by_row(tmp_path: Path) -> None:
    async with desk("openai", tmp_path, lane="live", fake=FakeOpenAI()) as at:
        good, bad = await at.answers("hello", "fail too_long")

        assert good.answer == "hello"
        assert bad.failure is Failure.TOO_LONG
        assert await at.provider.probe() == "answers, and the key is good; 1 models"


async def test_a_model_that_is_not_there_stops_a_live_run(tmp_path: Path) -> None:
    async with desk("openai", tmp_path, lane="live", fake=FakeOpenAI(), model="gpt-9") as at:
        results = await at.answers("a", "b")

    assert {r.failure for r in results} == {Failure.ACCOUNT}
    assert "does not exist" in results[0].detail
