"""What is particular to OpenAI's Files and Batches, against a fake that is as strict as they are."""

import dataclasses
from typing import Any

import pytest
from aiohttp import web
from tests.fakes._openai_rows import ROW_ERRORS, UNRUN
from tests.fakes.openai import FakeOpenAI
from tests.providers.openai_family import SHARD, Desk, house_at

from batchmill.core.failure import Failure
from batchmill.core.outcome import Outcome, Usage
from batchmill.core.shard import Accepted, NotThere
from batchmill.errors import (
    ProviderBroke,
    ProviderBusy,
    ProviderGone,
    ProviderRefused,
)

house = house_at("openai", FakeOpenAI)


House = tuple[Desk, FakeOpenAI]


async def test_a_shard_is_one_file_and_one_marked_batch(house: House) -> None:
    at, fake = house

    offer = await at.ended(at.offer("one", "zwei", "🦊"))
    results = await at.results(offer)

    assert {row: r.answer for row, r in results.items()} == {0: "one", 1: "zwei", 2: "🦊"}
    assert results[0].usage == Usage(9, 5, 4, 2)
    assert results[0].model == "a-model-2026-08-07"
    [sold] = fake.sold
    assert sold.facts["metadata"] == {"batchmill_shard": SHARD}
    assert sold.facts["window"] == "24h"
    assert list(fake.names.values()) == [f"{SHARD}.jsonl"]


@pytest.mark.parametrize(
    ("dialect", "body", "answer"),
    [
        ("openai.responses", {"model": "a-model", "input": "hello"}, "hello"),
        ("openai.embeddings", {"model": "a-model", "input": "abc"}, "[0.5,3.0]"),
    ],
)
async def test_the_other_dialects_travel_too(
    house: House, dialect: str, body: dict[str, Any], answer: str
) -> None:
    at, _ = house

    [result] = await at.answers(bodies=[body], dialect=dialect)

    assert result.answer == answer


@pytest.mark.parametrize("failure", [*ROW_ERRORS, *UNRUN, "refused", "truncated"])
async def test_a_row_that_fails_says_so_in_the_vendors_words(house: House, failure: str) -> None:
    at, _ = house

    failed, good = await at.answers(f"fail {failure}", "hello")

    assert failed.failure == failure
    assert failed.detail
    assert good.answer == "hello"


async def test_a_batch_whose_every_row_failed_has_no_output_file(house: House) -> None:
    at, _ = house

    results = await at.answers("fail server", "fail too_long")

    assert [r.failure for r in results] == [Failure.SERVER, Failure.TOO_LONG]


@pytest.mark.parametrize(
    ("ending", "failure", "outcome"),
    [
        ("expired", Failure.EXPIRED, Outcome.EXPIRED),
        ("cancelled", Failure.CANCELED, Outcome.CANCELED),
    ],
)
async def test_what_was_finished_before_the_end_is_kept(
    house: House, ending: str, failure: Failure, outcome: Outcome
) -> None:
    at, fake = house
    fake.weather.ending, fake.weather.run = ending, 0.5

    results = await at.answers("a", "b", "c", "d")

    assert [r.answer for r in results] == ["a", "b", None, None]
    assert [r.failure for r in results[2:]] == [failure] * 2
    assert {r.outcome for r in results[2:]} == {outcome}


async def test_rows_that_an_ended_batch_says_nothing_of_were_not_run(house: House) -> None:
    at, fake = house
    fake.weather.ending, fake.weather.run = "expired", 0.5
    offer = await at.ended(at.offer("a", "b", "c", "d"))
    [errors] = [f for f, data in fake.result_files.items() if b"batch_expired" in data]
    del fake.result_files[errors]
    at.provider._clock = Later()  # type: ignore[attr-defined]

    results = await at.results(offer)

    assert [results[row].failure for row in range(4)] == [None, None, *[Failure.EXPIRED] * 2]


class Later:
    """A day after."""

    def now(self) -> float:
        import time

        return time.time() + 86_400

    def awake(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError


# -- refused as a whole --------------------------------------------------------------------------


async def test_lines_the_vendor_names_fail_and_the_others_were_not_run(house: House) -> None:
    at, _ = house
    bodies = [at._body("a"), {"model": "a-model"}, at._body("c") | {"stream": True}]

    results = await at.answers(bodies=bodies)

    assert [r.failure for r in results] == [
        Failure.NOT_RUN,
        Failure.INVALID_REQUEST,
        Failure.INVALID_REQUEST,
    ]
    assert "Messages parameter is required" in results[1].detail
    assert "Streaming is not supported" in results[2].detail


async def test_a_model_that_does_not_exist_is_the_accounts_trouble(house: House) -> None:
    at, fake = house
    fake.models = ["another"]

    results = await at.answers("a", "b")

    assert {r.failure for r in results} == {Failure.ACCOUNT}
    assert "'a-model' is not supported" in results[0].detail


async def test_a_line_with_a_model_of_its_own_fails_alone(house: House) -> None:
    at, _ = house
    bodies = [at._body("a"), at._body("b") | {"model": "gpt-9"}]

    results = await at.answers(bodies=bodies)

    assert [r.failure for r in results] == [Failure.NOT_RUN, Failure.INVALID_REQUEST]


async def test_a_full_queue_holds_every_row(house: House) -> None:
    at, fake = house
    said = "Enqueued token limit reached for a-model in organization org-x. Limit: 90,000 enqueued "
    fake.weather.ending, fake.weather.refusal = "failed", said + "tokens. Please try again."

    results = await at.answers("a", "b")

    assert {r.failure for r in results} == {Failure.QUOTA}
    assert "Limit: 90,000 enqueued tokens" in results[0].detail


async def test_an_input_that_was_gone_when_it_was_read_is_uploaded_anew(house: House) -> None:
    at, fake = house
    offer = await at.prepared(at.offer("a"))
    fake.files.clear()
    offer = dataclasses.replace(offer, upstream_id=await at.provider.submit(offer))
    while not (await at.provider.check(offer)).ended:
        pass

    results = await at.results(offer)

    assert [r.failure for r in results.values()] == [Failure.SERVER]
    assert "Cannot find file" in results[0].detail


async def test_a_batch_that_failed_for_no_reason_is_the_vendors_trouble(house: House) -> None:
    at, fake = house
    fake.weather.ending = "failed"

    results = await at.answers("a", "b")

    assert {r.failure for r in results} == {Failure.SERVER}


async def test_a_refusal_at_once_for_the_sake_of_the_file_asks_whether_it_is_there(
    house: House,
) -> None:
    at, fake = house
    offer = await at.prepared(at.offer("a"))
    fake.error = lambda status, *_: FakeOpenAI.error(  # type: ignore[method-assign]
        fake, status, "'InputFileId' must be a valid file id" if status == 400 else ""
    )
    fake.weather.instead["create"] = [400, 400]

    with pytest.raises(ProviderRefused, match="InputFileId"):
        await at.provider.submit(offer)
    fake.files.clear()
    with pytest.raises(ProviderGone):
        await at.provider.submit(offer)


async def test_a_place_that_is_not_there_is_the_accounts_trouble(house: House) -> None:
    at, fake = house
    offer = await at.prepared(at.offer("a"))
    fake.weather.instead["create"] = [404]

    with pytest.raises(ProviderRefused) as caught:
        await at.provider.submit(offer)

    assert caught.value.failure == Failure.ACCOUNT


# -- finding -------------------------------------------------------------------------------------


async def test_a_batch_is_found_behind_hundreds_of_others(house: House) -> None:
    at, fake = house
    offer = await at.bought(at.offer("a"))
    for _ in range(250):
        fake.stranger(1)

    found = await at.provider.find(dataclasses.replace(offer, upstream_id=None))

    assert found == Accepted(offer.upstream_id or "")
    assert fake.calls["list"] == 3


async def test_the_look_ends_two_days_before_the_first_try(house: House) -> None:
    at, fake = house
    for n in range(600):
        fake.stranger(1, at=at.clock.now() - (600 - n) * 2_880)
    offer = await at.prepared(at.offer("a"))

    assert await at.provider.find(offer) == NotThere()
    assert fake.calls["list"] == 2


async def test_a_list_that_begins_with_the_oldest_is_read_to_its_end(house: House) -> None:
    at, fake = house
    for n in range(250):
        fake.stranger(1, at=at.clock.now() - (600 - n) * 60)
    offer = await at.bought(at.offer("a"))
    fake.listed = lambda: list(fake.sold)  # type: ignore[method-assign]

    found = await at.provider.find(dataclasses.replace(offer, upstream_id=None))

    assert found == Accepted(offer.upstream_id or "")


async def test_what_is_no_list_proves_nothing(house: House) -> None:
    at, fake = house
    offer = await at.prepared(at.offer("a"))
    fake._page = lambda *_: web.json_response({"object": "list"})  # type: ignore[method-assign]

    with pytest.raises(ProviderBroke):
        await at.provider.find(offer)

    fake.weather.instead["list"] = [404]
    with pytest.raises(ProviderRefused, match="Is base_url right") as caught:
        await at.provider.find(offer)
    assert caught.value.failure == Failure.ACCOUNT


async def test_the_file_of_now_is_a_mark_and_another_shards_mark_is_not_ours(house: House) -> None:
    at, fake = house
    offer = await at.bought(at.offer("a"))
    looked_for = dataclasses.replace(offer, upstream_id=None)

    fake.sold[0].facts["metadata"] = {"batchmill_shard": "batch_x-0002"}
    assert await at.provider.find(looked_for) == NotThere()
    fake.sold[0].facts["metadata"] = None
    assert await at.provider.find(looked_for) == Accepted(offer.upstream_id or "")
    other = dataclasses.replace(looked_for, ref="file-of-an-earlier-upload")
    assert await at.provider.find(other) == NotThere()


# -- gone, or not --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age_s", "error"),
    [
        (60.0, ProviderBusy),  # it may not be known everywhere yet
        (3600.0, ProviderRefused),  # nobody can have deleted it: another project's key
        (31 * 86_400.0, ProviderGone),
    ],
)
async def test_a_batch_that_is_not_there_is_given_up_when_it_can_be_gone(
    house: House, age_s: float, error: type[Exception]
) -> None:
    at, fake = house
    offer = await at.bought(at.offer("a"))
    offer = dataclasses.replace(offer, submitted_at=at.clock.now() - age_s)
    fake.sold.clear()

    with pytest.raises(error, match="No batch found"):
        await at.provider.check(offer)


async def test_a_batch_that_is_listed_is_there_whatever_else_is_said(house: House) -> None:
    at, fake = house
    offer = await at.bought(at.offer("a"))
    offer = dataclasses.replace(offer, submitted_at=at.clock.now() - 31 * 86_400)
    fake.weather.not_found = 1

    with pytest.raises(ProviderBusy, match="in the list"):
        await at.provider.check(offer)


async def test_results_are_not_taken_from_a_look_that_lags(house: House) -> None:
    at, fake = house
    offer = await at.ended(at.offer("a", "b"))

    fake.sold[0].ended, fake.weather.polls = False, 99
    with pytest.raises(ProviderBusy, match="in_progress now"):
        await at.results(offer)
    fake.sold[0].ended = True
    told, fake.sold[0].told = fake.sold[0].told, ("", "")
    with pytest.raises(ProviderBusy, match="no file of them yet"):
        await at.results(offer)

    fake.sold[0].told = told
    assert len(await at.results(offer)) == 2


# -- waiting, cancelling -------------------------------------------------------------------------


async def test_progress_is_told_and_a_new_word_is_passed_on(house: House) -> None:
    at, fake = house
    offer = await at.bought(at.offer("a", "fail server"))
    fake.status_of = lambda sold: "paused_for_review"  # type: ignore[method-assign]

    checked = await at.provider.check(offer)

    assert not checked.ended
    assert checked.progress.note == "openai says: paused_for_review"


async def test_a_cancel_that_comes_too_late_is_no_error(house: House) -> None:
    at, fake = house
    offer = await at.ended(at.offer("a"))

    await at.provider.cancel(offer)

    assert fake.calls["cancel"] == 1
    assert not fake.sold[0].cancelled


async def test_a_cancel_that_was_not_heard_is_said_again(house: House) -> None:
    at, fake = house
    offer = await at.bought(at.offer("a"))
    fake.weather.instead["cancel"] = [409, 404]

    for _ in range(2):
        with pytest.raises(ProviderBusy):
            await at.provider.cancel(offer)
    await at.provider.cancel(offer)

    assert fake.sold[0].cancelled
