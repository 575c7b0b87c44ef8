"""What is particular to Gemini's batches, against a fake that is as strict as they are."""

import dataclasses
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.gemini import FakeGemini
from tests.providers.google_family import answers, offer
from tests.providers.openai_family import SHARD, Desk, desk

from batchmill.core.failure import Failure
from batchmill.core.outcome import Outcome, Usage
from batchmill.core.shard import Accepted, NotThere
from batchmill.errors import (
    InvalidSetting,
    ProviderBroke,
    ProviderBusy,
    ProviderGone,
    ProviderRefused,
    ProviderSilent,
)
from batchmill.providers import gemini as provider

House = tuple[Desk, FakeGemini]
INPUTS = ("auto", "file")


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """Small batches by file."""
    fake = FakeGemini()
    async with desk("gemini", tmp_path, fake=fake) as opened:
        yield opened, fake
    assert fake.unknown == []


@pytest.fixture(params=INPUTS)
async def either(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[House]:
    """Small batches in the creating call itself, and by file."""
    fake = FakeGemini()
    async with desk("gemini", tmp_path, fake=fake, input=request.param) as opened:
        yield opened, fake
    assert fake.unknown == []


@pytest.fixture
async def auto(tmp_path: Path) -> AsyncIterator[House]:
    """As it is when nothing is set."""
    fake = FakeGemini()
    fake.options = {}
    async with desk("gemini", tmp_path, fake=fake) as opened:
        yield opened, fake
    assert fake.unknown == []


async def test_a_shard_is_one_marked_batch_and_its_rows_come_back(either: House) -> None:
    at, fake = either

    found = await answers(at, "one", "zwei drei", "🦊")

    assert [r.answer for r in found] == ["one", "zwei drei", "🦊"]
    assert found[1].usage == Usage(2, 2)
    assert found[1].model == "gemini-2.5-flash"
    assert [sold.mark for sold in fake.sold] == [SHARD]


async def test_small_batches_need_no_file_and_larger_ones_travel_by_name(
    auto: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    at, fake = auto

    small = await at.prepared(offer(at, "one"))
    monkeypatch.setattr(provider, "INLINE_BYTES_MAX", 1000)
    large = await at.prepared(offer(at, "x" * 2000))
    again = await at.prepared(offer(at, "x" * 2000))

    assert small.ref == "inline"
    assert large.ref is not None
    assert large.ref.startswith("files/bm-")
    assert len(large.ref) <= 46
    assert again.ref != large.ref
    assert set(fake.files) == {large.ref, again.ref}
    [line] = fake.files[large.ref].splitlines()
    assert json.loads(line) == {"key": f"{SHARD}-0", "request": fake.body("x" * 2000)}


async def test_vectors_never_travel_inline_as_their_answers_have_no_key(auto: House) -> None:
    at, fake = auto
    bodies = [{"content": {"parts": [{"text": "hello"}]}}, {"content": {"parts": [{"text": "a"}]}}]

    found = await answers(at, bodies=bodies, dialect="gemini.embed", model="gemini-embedding-001")

    assert [r.answer for r in found] == ["[5.0,0.5,-0.25]", "[1.0,0.5,-0.25]"]
    assert found[0].usage == Usage(1, 0)
    assert any(":asyncBatchEmbedContent" in asked for asked in fake.asked)


async def test_an_inline_answer_without_a_key_is_nobodys_and_files_are_used_from_then_on(
    auto: House,
) -> None:
    at, fake = auto
    fake.keys_echoed = False

    keyless = await at.results(await at.ended(offer(at, "one", "two")))
    again = await at.results(await at.ended(offer(at, "one", "two", shard_id="batch_x-0002")))

    assert keyless == {}
    assert [again[row].answer for row in (0, 1)] == ["one", "two"]


async def test_results_that_are_nowhere_are_not_taken_for_none(house: House) -> None:
    at, fake = house
    fake.output_place = "nowhere"

    with pytest.raises(ProviderBroke, match="shows no results"):
        await answers(at, "one")


@pytest.mark.parametrize("place", ["metadata", "response"])
async def test_results_are_found_in_either_place(either: House, place: str) -> None:
    at, fake = either
    fake.output_place = place

    assert [r.answer for r in await answers(at, "one", "two")] == ["one", "two"]


async def test_rows_that_failed_are_told_apart_though_the_batch_succeeded(either: House) -> None:
    at, _ = either

    failed = await answers(at, "fail server", "fail refused", "fail truncated", "fail too_long")

    assert [r.failure for r in failed] == [
        Failure.SERVER,
        Failure.REFUSED,
        Failure.TRUNCATED,
        Failure.TOO_LONG,
    ]
    assert failed[2].answer == "fail truncated"
    assert failed[0].detail == "14 UNAVAILABLE: The model is overloaded. Please try again later."


async def test_what_expired_has_nothing_to_be_fetched(either: House) -> None:
    at, fake = either
    fake.weather.ending = "expired"

    found = await answers(at, "one", "two")

    assert [(r.outcome, r.failure) for r in found] == [(Outcome.EXPIRED, Failure.EXPIRED)] * 2


@pytest.mark.parametrize("run", [0.0, 0.5])
async def test_a_cancelled_batch_keeps_what_was_run(either: House, run: float) -> None:
    at, fake = either
    fake.weather.run = run
    fake.weather.polls = 3
    bought = await at.bought(offer(at, "one", "two"))

    await at.provider.cancel(bought)
    while not (await at.provider.check(bought)).ended:
        pass
    found = await at.results(bought)

    assert {r.failure for r in found.values()} <= {Failure.CANCELED, None}
    assert sum(r.failure is None for r in found.values()) == 2 * run
    await at.provider.cancel(bought)  # too late is no error


@pytest.mark.parametrize(
    ("refusal", "failure"),
    [
        ("quota", Failure.QUOTA),
        ("rate_limited", Failure.QUOTA),  # for a whole batch it is the room, not the minute
        ("account", Failure.ACCOUNT),
        ("", Failure.SERVER),
        ("Line 2 is odd.", Failure.NOT_RUN),  # to be halved
    ],
)
async def test_a_batch_that_failed_as_a_whole_says_why(
    house: House, refusal: str, failure: Failure
) -> None:
    at, fake = house
    fake.weather.ending, fake.weather.refusal = "failed", refusal

    found = await answers(at, "one", "two")

    assert [r.failure for r in found] == [failure] * 2


async def test_the_row_that_asks_nothing_is_found_by_looking(house: House) -> None:
    at, fake = house
    fake.weather.ending, fake.weather.refusal = "failed", "Request is invalid."

    found = await answers(at, bodies=[fake.body("one"), {"contents": []}])

    assert found[0].failure is Failure.NOT_RUN or found[0].failure is None
    assert found[1].failure is Failure.INVALID_REQUEST
    assert found[1].detail.startswith("it has no contents")


async def test_a_bad_row_that_refuses_the_whole_call_fails_alone_in_a_file(
    tmp_path: Path,
) -> None:
    async with desk("gemini", tmp_path, fake=FakeGemini(), input="auto") as at:
        assert at.fake is not None
        odd = at.fake.body("x") | {"temperature": 1}
        many = offer(at, bodies=[at.fake.body("a"), odd])
        alone = await at.prepared(offer(at, bodies=[odd], shard_id="batch_x-0002"))

        with pytest.raises(ProviderGone, match="temperature"):
            await at.provider.submit(await at.prepared(many))
        found = await at.results(await at.ended(many))
        with pytest.raises(ProviderRefused, match="temperature") as final:
            await at.provider.submit(alone)

    assert [found[row].failure for row in (0, 1)] == [None, Failure.INVALID_REQUEST]
    assert final.value.failure == Failure.INVALID_REQUEST


async def test_a_batch_that_is_too_large_for_one_call_is_cut_again(
    auto: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    at, fake = auto
    monkeypatch.setattr("tests.fakes.gemini.INLINE_BYTES_MAX", 100)

    with pytest.raises(ProviderRefused) as refused:
        await at.provider.submit(await at.prepared(offer(at, "x" * 100)))

    assert refused.value.failure == Failure.NOT_RUN
    assert fake.sold == []


async def test_an_input_that_has_expired_is_gone_and_a_wrong_model_is_not(house: House) -> None:
    at, fake = house
    ready = await at.prepared(offer(at, "one"))

    with pytest.raises(ProviderRefused, match="is not found for API version") as refused:
        await at.provider.submit(dataclasses.replace(ready, model="gpt-4"))
    fake.files.clear()
    with pytest.raises(ProviderGone, match="not there any more"):
        await at.provider.submit(ready)

    assert refused.value.failure == Failure.ACCOUNT
    assert fake.sold == []


async def test_an_upload_that_broke_off_is_made_anew_under_its_name(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    at, fake = house
    monkeypatch.setattr("tests.providers.openai_family.Words.token", lambda _: "same")
    first = await at.prepared(offer(at, "one"))

    second = await at.prepared(offer(at, "two"))

    assert first.ref == second.ref
    assert b"two" in fake.files[second.ref or ""]
    assert len(fake.files) == 1


async def test_a_lost_answer_to_the_creating_call_is_looked_up_and_found(either: House) -> None:
    at, fake = either
    fake.weather.lost["create"] = 1
    ready = await at.prepared(offer(at, "one"))

    with pytest.raises(ProviderSilent):
        await at.provider.submit(ready)

    assert await at.provider.find(ready) == Accepted(fake.sold[0].id)
    other = dataclasses.replace(ready, strangers=(fake.sold[0].id,))
    assert await at.provider.find(other) == NotThere()


async def test_afterwards_nothing_of_ours_is_left_and_twice_is_no_error(either: House) -> None:
    at, fake = either
    theirs = fake.stranger(1)
    bought = await at.ended(offer(at, "one"))

    for _ in range(2):
        await at.provider.tidy(bought)

    assert fake.files == {}
    [ours] = fake.ours
    inline = bought.ref == "inline"
    assert ours.facts.get("deleted", False) is inline
    assert ours.facts.get("forgotten", False) is not inline
    assert theirs.facts == {}
    if not inline:
        with pytest.raises(ProviderBusy):  # so soon after its end
            await at.results(bought)


async def test_a_wrong_key_holds_the_batch_though_it_is_a_400(tmp_path: Path) -> None:
    fake = FakeGemini()
    async with desk("gemini", tmp_path, fake=fake, key="AIza-wrong") as at:
        for call in (at.provider.probe, lambda: at.provider.prepare(offer(at, "one"))):
            with pytest.raises(ProviderRefused, match="API key not valid") as refused:
                await call()
            assert refused.value.failure == Failure.ACCOUNT
            assert "AIza-wrong" not in str(refused.value)


@pytest.mark.parametrize(
    "options", [{"api_version": "../v1"}, {"input": "pigeon"}, {"input": "inline"}, {"speed": 9}]
)
async def test_odd_settings_are_told(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting):
        async with desk("gemini", tmp_path, fake=FakeGemini(), **options):
            pass


@pytest.mark.parametrize("version", ["v1", "v1beta"])
async def test_the_live_lane_answers_row_by_row(tmp_path: Path, version: str) -> None:
    fake = FakeGemini()
    async with desk("gemini", tmp_path, fake=fake, lane="live", api_version=version) as at:
        found = await answers(at, "one", "fail refused", url=":generateContent")
        said = await at.provider.probe()

    assert [r.answer for r in found] == ["one", "fail refused"]
    assert found[1].failure is Failure.REFUSED
    assert f"POST /{version}/models/gemini-2.5-flash:generateContent" in fake.asked
    assert said.endswith("1 models")


async def test_the_live_lane_has_vectors_too(tmp_path: Path) -> None:
    bodies = [{"content": {"parts": [{"text": "abc"}]}}]
    async with desk("gemini", tmp_path, fake=FakeGemini(), lane="live") as at:
        [found] = await answers(at, bodies=bodies, dialect="gemini.embed", url=":embedContent")

    assert found.answer == "[3.0,0.5,-0.25]"


async def test_a_whole_call_that_finds_no_such_place_blames_no_row(tmp_path: Path) -> None:
    fake = FakeGemini()
    async with desk("gemini", tmp_path, fake=fake, input="auto") as at:
        ready = await at.prepared(offer(at, "one", "two"))
        fake.weather.instead["create"] = [404]
        with pytest.raises(ProviderRefused) as refused:
            await at.provider.submit(ready)

    assert refused.value.failure == Failure.ACCOUNT
