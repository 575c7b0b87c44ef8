"""What a job of Bedrock leaves behind, however it ended, and what it must not leave behind."""

import dataclasses
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.fakes.vendor import Sold
from tests.providers.bedrock_house import House, aged, open_house
from tests.providers.openai_family import SHARD

from batchmill.core.failure import Failure
from batchmill.core.outcome import Outcome, Result
from batchmill.errors import ProviderGone, ProviderSilent
from batchmill.ports import Offer

TEN = [f"say {n}" for n in range(10)]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path) as opened:
        yield opened


async def lines(house: House, offer: Offer) -> list[Result]:
    return [r async for chunk in house.at.provider.results(offer) for r in chunk]


@pytest.mark.parametrize(
    ("ending", "failure", "outcome"),
    [
        ("expired", Failure.EXPIRED, Outcome.EXPIRED),
        ("cancelled", Failure.CANCELED, Outcome.CANCELED),
    ],
)
async def test_what_was_run_is_kept_and_the_rest_has_the_endings_name(
    house: House, ending: str, failure: Failure, outcome: Outcome
) -> None:
    house.fake.weather.ending, house.fake.weather.run = ending, 0.4

    answers = await house.answers(*TEN)

    assert [a.answer for a in answers[:4]] == TEN[:4]
    assert {(a.failure, a.outcome) for a in answers[4:]} == {(failure, outcome)}
    assert len(answers) == 10


@pytest.mark.parametrize("ending", ["expired", "cancelled"])
async def test_a_job_that_never_ran_has_no_output_at_all(house: House, ending: str) -> None:
    house.fake.weather.ending, house.fake.weather.run = ending, 0.0

    answers = await house.answers(*TEN)

    assert len(answers) == 10
    assert {a.answer for a in answers} == {None}


@pytest.mark.parametrize(
    ("message", "failure"),
    [  # no page lists the vendor's words for it: these are ours, in their manner [unverified]
        ("The job contains 3 records, less than the required minimum of 100", Failure.NOT_RUN),
        ("The number of records exceeds the maximum of 50000", Failure.NOT_RUN),
        ("The role has no permission to read the S3 bucket", Failure.ACCOUNT),
        ("Amazon Bedrock cannot access the KMS key", Failure.ACCOUNT),
        ("Line 7 is not a JSON object", Failure.NOT_RUN),  # whose fault it is, halving will tell
    ],
)
async def test_a_job_that_failed_tells_why_and_no_row_is_lost(
    house: House, message: str, failure: Failure
) -> None:
    house.fake.weather.ending, house.fake.weather.refusal = "failed", message

    answers = await house.answers(*TEN)

    assert [a.failure for a in answers] == [failure] * 10
    assert all(message in a.detail for a in answers)


async def test_a_lone_bad_row_is_named(house: House) -> None:
    house.fake.weather.ending, house.fake.weather.refusal = "failed", "not a JSON object"

    [answer] = await house.answers("say 0")

    assert (answer.failure, answer.detail) == (Failure.INVALID_REQUEST, "not a JSON object")


async def test_a_job_below_the_vendors_minimum_is_not_run(house: House) -> None:
    house.fake.records_min = 100

    answers = await house.answers(*TEN)

    assert {a.failure for a in answers} == {Failure.NOT_RUN}


async def test_partial_jobs_leave_the_absent_rows_to_the_caller(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.fakes.bedrock.ENDINGS", {"completed": "PartiallyCompleted"})
    house.fake.weather.missing = 3

    answers = await house.answers(*TEN)

    assert len(answers) == 7


async def test_a_state_nobody_has_heard_of_is_not_an_end(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.fakes.bedrock.ENDINGS", {"completed": "Paused"})
    house.fake.weather.polls = 0
    offer = await house.bought()

    checked = await house.at.provider.check(offer)

    assert (checked.ended, checked.progress.note) == (False, "the vendor says: Paused")


async def test_a_torn_download_is_fetched_again_and_never_half_used(house: House) -> None:
    offer = await house.ended(*TEN)
    house.fake.weather.torn = 1

    with pytest.raises(ProviderSilent):
        await lines(house, offer)

    assert len(await lines(house, offer)) == 10


async def test_duplicates_and_strangers_rows_are_passed_on(house: House) -> None:
    house.fake.weather.duplicated, house.fake.weather.foreign = 2, 1
    offer = await house.ended(*TEN)

    names = [r.custom_id for r in await lines(house, offer)]

    ours = {f"{SHARD}-{n}" for n in range(10)}
    assert len(names) == 13
    assert set(names) - ours == {"theirs0"}


async def test_a_broken_line_loses_no_other(house: House) -> None:
    offer = await house.ended(*TEN)
    [key] = [key for key in house.fake.door.listed() if key.endswith(".jsonl.out")]
    whole = (house.fake.door.object(key) or b"").splitlines()
    broken = [b'{"recordId":"R0000000099","modelOutput":{', b"\xff\xfe", b"{}", b"", *whole]
    house.fake.door.write(key, b"\n".join([*broken, whole[0][:-9]]))

    found = await lines(house, offer)

    assert len(found) == 12
    assert {r.custom_id for r in found if r.failure} == {
        f"{SHARD}-99",
        f"{SHARD}-{int(json.loads(whole[0])['recordId'][1:])}",
    }


async def test_results_that_somebody_took_away_are_gone(house: House) -> None:
    offer = await house.ended(*TEN)
    for key in house.fake.door.listed():
        house.fake.door.delete(key)

    with pytest.raises(ProviderGone, match="the results are gone"):
        await lines(house, offer)


async def test_a_job_that_aws_has_forgotten_is_gone(house: House) -> None:
    offer = await house.ended(*TEN)
    house.fake.sold.clear()

    with pytest.raises(ProviderGone):
        await lines(house, aged(offer))


async def test_all_that_a_shard_left_behind_is_deleted_and_nothing_else(house: House) -> None:
    await house.at.prepared(house.offer())  # its process died before it could say so
    offer = await house.ended(*TEN)
    other = await house.ended(shard_id=f"{SHARD}1")
    theirs = {"batches/theirs.jsonl", f"{SHARD}/x/input.jsonl", f"batches/a/{SHARD}/t/input.jsonl"}
    for key in theirs:
        house.fake.door.write(key, b"{}")

    for _ in range(2):
        await house.at.provider.tidy(offer)

    left = set(house.fake.door.listed())
    assert not [key for key in left if key.startswith(f"batches/{SHARD}/")]
    assert theirs <= left
    assert len(await lines(house, other)) == 3


@pytest.mark.parametrize("ref", ["", "file-1", "s3://{b}/input.jsonl", "s3://{b}/x/y/input.jsonl"])
async def test_what_is_not_certainly_the_shards_own_is_not_deleted(house: House, ref: str) -> None:
    offer = await house.ended()
    before = house.fake.door.listed()
    house.fake.door.write("x/y/input.jsonl", b"{}")

    odd = dataclasses.replace(offer, ref=ref.format(b=house.fake.door.bucket))
    await house.at.provider.tidy(odd)

    assert set(house.fake.door.listed()) == {*before, "x/y/input.jsonl"}


async def test_an_output_of_many_rows_is_read_in_chunks(house: House) -> None:
    offer = await house.ended(*[f"say {n}" for n in range(5000)])

    sizes = [len(chunk) async for chunk in house.at.provider.results(offer)]

    assert sum(sizes) == 5000
    assert max(sizes) <= 2000


async def test_a_whole_job_may_be_refused_for_one_shard_alone(house: House) -> None:
    def refuse(sold: Sold) -> str:
        return "Line 1 is bad" if len(sold.requests) > 5 else ""

    house.fake.weather.refuse_if = refuse

    assert {a.failure for a in await house.answers(*TEN)} == {Failure.NOT_RUN}
    half = await house.answers(*TEN[:5], shard_id="batch_x-0002")
    assert {a.failure for a in half} == {None}
