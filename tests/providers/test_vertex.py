"""What is particular to Vertex: a bucket on both sides, lines without a name, tokens that expire."""

import dataclasses
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.vertex import FakeVertex
from tests.providers.google_family import answers, offer
from tests.providers.openai_family import SHARD, Desk, desk

from batchmill.core.failure import Failure
from batchmill.core.outcome import Outcome
from batchmill.core.shard import Accepted, NotThere
from batchmill.errors import (
    InvalidSetting,
    ProviderBusy,
    ProviderGone,
    ProviderRefused,
    ProviderSilent,
    UserError,
)

House = tuple[Desk, FakeVertex]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    fake = FakeVertex()
    async with desk("vertex", tmp_path, fake=fake) as opened:
        yield opened, fake
    assert fake.unknown == []


async def test_a_shard_is_one_object_and_one_job_of_its_name(house: House) -> None:
    at, fake = house

    ready = await at.prepared(offer(at, "one", "zwei", "🦊"))
    [(key, data)] = fake.files.items()
    found = await answers(at, "one", "zwei", "🦊")

    assert [r.answer for r in found] == ["one", "zwei", "🦊"]
    assert ready.ref == f"gs://my-bucket/{key}"
    assert key == f"some/where/{SHARD}-token1/input.jsonl"
    label = {"labels": {"batchmill": f"{SHARD}-0"}}
    assert json.loads(data.splitlines()[0]) == {"request": fake.body("one") | label}
    [sold] = fake.sold
    assert sold.mark == SHARD
    assert sold.facts["job"]["model"] == "publishers/google/models/gemini-2.5-flash"


async def test_where_no_label_comes_back_a_row_is_known_by_what_it_asked(house: House) -> None:
    at, fake = house
    fake.labels_echoed = False
    fake.weather.foreign = 1

    bought = await at.ended(offer(at, "one", "same", "fail server", "same"))
    found = [r async for chunk in at.provider.results(bought) for r in chunk]

    rows = {r.custom_id.removeprefix(f"{SHARD}-"): r for r in found}
    assert (rows["0"].answer, rows["1"].answer, rows["3"].answer) == ("one", "same", "same")
    assert rows["2"].failure is Failure.SERVER
    assert len(found) == 5
    assert rows.keys() - {"0", "1", "2", "3"} != set()  # not ours, and under no name of ours


async def test_rows_that_failed_are_told_in_their_words(house: House) -> None:
    at, _ = house

    failed = await answers(at, "fail rate_limited", "fail invalid_media", "fail refused", "ok")

    assert [r.failure for r in failed] == [
        Failure.RATE_LIMITED,
        Failure.INVALID_MEDIA,
        Failure.REFUSED,
        None,
    ]
    assert failed[1].detail == "400 INVALID_ARGUMENT: Unable to process input image. Please retry."


@pytest.mark.parametrize(
    ("ending", "outcome"), [("expired", Outcome.EXPIRED), ("cancelled", Outcome.CANCELED)]
)
async def test_every_ending_keeps_what_was_run(house: House, ending: str, outcome: Outcome) -> None:
    at, fake = house
    fake.weather.ending, fake.weather.run = ending, 0.5

    found = await answers(at, "one", "two", "three", "four")

    assert sorted(r.outcome for r in found) == sorted([outcome, outcome, "succeeded", "succeeded"])


async def test_a_job_whose_time_was_up_has_expired_though_it_is_called_cancelled(
    house: House,
) -> None:
    at, fake = house
    fake.weather.ending, fake.weather.run = "cancelled", 0.0
    bought = await at.bought(offer(at, "one"))
    fake.sold[0].facts["says"] = {
        "startTime": "2026-01-01T00:00:00Z",
        "endTime": "2026-01-02T00:00:00Z",
    }
    while not (await at.provider.check(bought)).ended:
        pass

    [row] = (await at.results(bought)).values()

    assert row.failure is Failure.EXPIRED


@pytest.mark.parametrize(
    ("refusal", "failure"),
    [
        ("rate_limited", Failure.QUOTA),  # python-aiplatform#4485: a 429 fails the whole job
        ("account", Failure.ACCOUNT),
        ("", Failure.SERVER),
        ("Failed to import data.", Failure.NOT_RUN),
    ],
)
async def test_a_job_that_failed_as_a_whole_says_why(
    house: House, refusal: str, failure: Failure
) -> None:
    at, fake = house
    fake.weather.ending, fake.weather.refusal = "failed", refusal

    assert [r.failure for r in await answers(at, "one", "two")] == [failure] * 2


async def test_a_lost_answer_is_looked_up_by_name(house: House) -> None:
    at, fake = house
    fake.stranger(1)
    fake.weather.lost["create"] = 1
    ready = await at.prepared(offer(at, "one"))

    with pytest.raises(ProviderSilent):
        await at.provider.submit(ready)

    assert await at.provider.find(ready) == Accepted(fake.ours[0].id)
    other = dataclasses.replace(ready, strangers=(fake.ours[0].id,))
    assert await at.provider.find(other) == NotThere()
    assert await at.provider.find(offer(at, "one", shard_id="batch_x-0002")) == NotThere()


async def test_an_input_that_is_gone_and_a_wrong_model_are_told_apart(house: House) -> None:
    at, fake = house
    ready = await at.prepared(offer(at, "one"))

    with pytest.raises(ProviderRefused, match="was not found or your project") as refused:
        await at.provider.submit(dataclasses.replace(ready, model="gpt-4"))
    fake.files.clear()
    with pytest.raises(ProviderGone):
        await at.provider.submit(ready)

    assert refused.value.failure == Failure.ACCOUNT
    assert fake.sold == []


async def test_states_nobody_knows_are_shown_and_waited_for(house: House) -> None:
    at, fake = house
    fake.weather.polls = 9
    bought = await at.bought(offer(at, "one"))

    fake.stated = "JOB_STATE_PAUSED"
    paused = await at.provider.check(bought)
    fake.stated = "JOB_STATE_PARTIALLY_SUCCEEDED"

    assert not paused.ended
    assert paused.progress.note == "vertex says: JOB_STATE_PAUSED"
    assert (await at.provider.check(bought)).ended


async def test_a_torn_object_is_never_half_used(house: House) -> None:
    at, fake = house
    bought = await at.ended(offer(at, *("word " * 50 for _ in range(50))))
    fake.weather.torn = 1

    try:
        found = await at.results(bought)
    except ProviderSilent:
        found = await at.results(bought)

    assert len(found) == 50


async def test_results_that_are_not_there_yet_are_waited_for_and_then_gone(house: House) -> None:
    at, fake = house
    bought = await at.ended(offer(at, "one"))
    await at.results(bought)
    fake.written.clear()

    with pytest.raises(ProviderBusy):
        await at.results(bought)
    fake.sold[0].facts["says"] = {"endTime": "2026-01-02T00:00:00Z"}
    with pytest.raises(ProviderGone):
        await at.results(bought)


async def test_afterwards_the_folder_is_empty_and_nothing_else_was_touched(house: House) -> None:
    at, fake = house
    fake.files["some/where/theirs.jsonl"] = b"{}"
    other = await at.prepared(offer(at, "two", shard_id="batch_x-00011"))
    bought = await at.ended(offer(at, "one"))
    await at.results(bought)

    for _ in range(2):
        await at.provider.tidy(bought)
    await at.provider.tidy(
        dataclasses.replace(bought, ref="gs://my-bucket/some/where/theirs.jsonl")
    )

    assert set(fake.files) == {"some/where/theirs.jsonl", (other.ref or "")[15:]}
    assert fake.written == {}


async def test_a_cancel_may_come_twice_and_too_late(house: House) -> None:
    at, fake = house
    bought = await at.bought(offer(at, "one"))

    await at.provider.cancel(bought)
    await at.provider.cancel(bought)
    while not (await at.provider.check(bought)).ended:
        pass
    await at.provider.cancel(bought)

    assert fake.sold[0].cancelled


@pytest.mark.parametrize(
    "options",
    [
        {"bucket": ""},
        {"bucket": "bq://project"},
        {"bucket": "/tmp/here"},
        {"location": "../x"},
        {"project": ""},
        {"api_version": "one"},
        {"speed": 9},
        {"key": None, "credentials": "/nowhere.json"},
    ],
)
async def test_odd_settings_are_told(
    tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
    with pytest.raises((InvalidSetting, UserError)):
        async with desk("vertex", tmp_path, fake=FakeVertex(), **options):
            pass


async def test_the_live_lane_answers_row_by_row(tmp_path: Path) -> None:
    fake = FakeVertex()
    async with desk("vertex", tmp_path, fake=fake, lane="live") as at:
        found = await answers(at, "one", "fail refused", url=":generateContent")
        said = await at.provider.probe()

    assert [r.answer for r in found] == ["one", "fail refused"]
    assert found[1].failure is Failure.REFUSED
    assert said == "answers, and the credentials are good"
    place = "/v1/projects/proj/locations/us-central1/publishers/google/models"
    assert f"POST {place}/gemini-2.5-flash:generateContent" in fake.asked
