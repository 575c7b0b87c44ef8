"""What is particular to Bedrock: S3 on both sides, signatures, tokens, and two tongues."""

import dataclasses
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.bedrock import MODELS
from tests.providers.bedrock_house import HOUR, House, aged, open_house
from tests.providers.openai_family import SHARD

from batchmill import providers
from batchmill.core.failure import Failure
from batchmill.core.outcome import Usage
from batchmill.core.shard import Accepted, NotThere, Progress
from batchmill.errors import (
    NotSent,
    ProviderBusy,
    ProviderGone,
    ProviderRefused,
    ProviderSilent,
)
from batchmill.providers import bedrock
from batchmill.providers._bedrock_setup import mark


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path) as opened:
        yield opened


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path, converse=True) as opened:
        yield opened


# -- two tongues -----------------------------------------------------------------------------------


async def test_a_shard_travels_through_a_bucket_under_its_token(house: House) -> None:
    answers = await house.answers("one", "zwei", "🦊")

    assert [a.answer for a in answers] == ["one", "zwei", "🦊"]
    assert answers[0].usage == Usage(5, 3)
    [sold] = house.fake.sold
    assert sold.mark == "batch-x-0001"
    assert list(sold.requests) == ["R0000000000", "R0000000001", "R0000000002"]
    assert "model" not in sold.requests["R0000000000"]
    assert sold.facts["job"]["modelInvocationType"] == "InvokeModel"
    assert sold.facts["job"]["timeoutDurationInHours"] == 24
    assert house.fake.calls["create"] == 1
    assert house.fake.complaints == []


async def test_other_families_are_spoken_to_in_converse(other: House) -> None:
    answers = await other.answers("one", "fail truncated", "fail refused", "fail too_long")

    assert [(a.answer, a.failure) for a in answers] == [
        ("one", None),
        ("fail truncated", Failure.TRUNCATED),
        ("fail refused", Failure.REFUSED),
        (None, Failure.TOO_LONG),
    ]
    assert answers[0].model == MODELS[1]
    assert other.fake.sold[0].facts["job"]["modelInvocationType"] == "Converse"
    assert other.fake.complaints == []


@pytest.mark.parametrize(
    ("model", "dialect"),
    [
        ("anthropic.claude-haiku-4-5-20251001-v1:0", "anthropic.messages"),
        ("us.anthropic.claude-sonnet-4-6", "anthropic.messages"),
        ("arn:aws:bedrock:us-east-1:1:inference-profile/eu.anthropic.c", "anthropic.messages"),
        ("amazon.nova-lite-v1:0", "bedrock.converse"),
        ("arn:aws:bedrock:us-east-1:1:application-inference-profile/ab1", "bedrock.converse"),
    ],
)
def test_the_model_says_which_tongue_is_spoken(model: str, dialect: str) -> None:
    spec = providers.spec("bedrock")

    assert spec.dialect(spec, "chat", model) == dialect
    assert spec.dialect(spec, "embeddings", model) is None


async def test_tools_in_a_converse_job_are_refused_before_anything_is_sent(other: House) -> None:
    body = other.fake.body("say 0") | {"toolConfig": {"tools": []}}
    offer = other.offer(bodies=[body])

    with pytest.raises(ProviderRefused, match="--lane live") as refusal:
        await other.at.provider.prepare(offer)

    assert refusal.value.failure == Failure.INVALID_REQUEST
    assert other.fake.files == {}


@pytest.mark.parametrize("shard_id", ["batch_x-0001", "a" * 200, "batch__x--1", "_", "é_1"])
def test_a_mark_is_a_word_that_the_vendor_takes(shard_id: str) -> None:
    word = mark(shard_id)

    assert re.fullmatch(r"[a-zA-Z0-9]{1,63}(-*[a-zA-Z0-9+.-]){0,63}", word)
    assert re.fullmatch(r"[a-zA-Z0-9]{1,256}(-*[a-zA-Z0-9]){0,256}", word)
    assert len(word) <= 63
    assert mark(f"{shard_id}1") != word


# -- one create ------------------------------------------------------------------------------------


async def test_a_lost_create_is_found_by_its_token_among_strangers(house: House) -> None:
    offer = await house.at.prepared(house.offer())
    assert isinstance(await house.at.provider.find(offer), NotThere)
    house.fake.stranger(3)
    house.fake.weather.lost["create"] = 1

    with pytest.raises(ProviderSilent):
        await house.at.provider.submit(offer)
    found = await house.at.provider.find(offer)

    assert found == Accepted(house.fake.ours[0].id)
    assert SHARD not in house.fake.ours[0].id
    assert await house.at.provider.submit(offer) == house.fake.ours[0].id
    assert len(house.fake.ours) == 1, "the same token buys nothing again"


async def test_a_job_whose_name_only_begins_alike_is_not_ours(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bedrock, "PAGE", 1)
    offer = await house.bought()
    alike = [await house.bought(shard_id=f"{SHARD}{n}") for n in range(3)]

    assert await house.at.provider.find(offer) == Accepted(str(offer.upstream_id))
    assert house.fake.calls["list"] == 4
    assert len({one.upstream_id for one in alike} | {offer.upstream_id}) == 4


async def test_a_job_known_to_be_a_strangers_is_passed_over(house: House) -> None:
    offer = await house.bought()
    strangers = (str(offer.upstream_id),)

    found = await house.at.provider.find(dataclasses.replace(offer, strangers=strangers))

    assert isinstance(found, NotThere)


async def test_a_token_with_another_request_behind_it_means_look_first(house: House) -> None:
    first = await house.bought()
    again = await house.at.prepared(house.offer())

    with pytest.raises(ProviderSilent, match="ConflictException"):
        await house.at.provider.submit(again)

    assert await house.at.provider.find(again) == Accepted(str(first.upstream_id))


@pytest.mark.parametrize(("status", "error"), [(500, ProviderSilent), (429, ProviderBusy)])
async def test_only_a_clear_no_is_a_no(house: House, status: int, error: type[Exception]) -> None:
    offer = await house.at.prepared(house.offer())
    house.fake.weather.instead["create"] = [status]

    with pytest.raises(error):
        await house.at.provider.submit(offer)

    assert house.fake.calls["create"] == 1


async def test_a_create_that_was_held_up_is_not_sent(house: House) -> None:
    offer = await house.at.prepared(house.offer(send_before=house.at.clock.awake() - 1))

    with pytest.raises(NotSent):
        await house.at.provider.submit(offer)

    assert house.fake.calls["create"] == 0


async def test_no_room_for_another_job_is_a_no_for_now(house: House) -> None:
    house.fake.jobs_max = 0
    offer = await house.at.prepared(house.offer())

    with pytest.raises(ProviderBusy, match="ServiceQuotaExceededException"):
        await house.at.provider.submit(offer)


async def test_an_unknown_model_holds_the_batch_in_the_vendors_words(house: House) -> None:
    offer = await house.at.prepared(house.offer(model="no.such-model"))

    with pytest.raises(ProviderRefused, match="model identifier is invalid") as refusal:
        await house.at.provider.submit(offer)

    assert refusal.value.failure == Failure.ACCOUNT


async def test_an_input_that_is_gone_is_put_there_anew(house: House) -> None:
    offer = await house.at.prepared(house.offer())
    house.fake.files.clear()

    with pytest.raises(ProviderGone, match="is gone"):
        await house.at.provider.submit(offer)

    assert house.fake.sold == []
    again = await house.at.prepared(house.offer())
    assert again.ref != offer.ref
    assert await house.at.provider.submit(again)


async def test_too_few_records_are_no_job_and_nothing_is_sent(tmp_path: Path) -> None:
    async with open_house(tmp_path, requests_min=100) as house:
        offer = await house.at.prepared(house.offer())

        with pytest.raises(ProviderRefused, match="at least 100 records, not 3") as refusal:
            await house.at.provider.submit(offer)

        assert refusal.value.failure == Failure.NOT_RUN
        assert house.fake.calls["create"] == 0


@pytest.mark.parametrize(
    ("window_s", "hours"),
    [(None, 24), (HOUR, 24), (24 * HOUR + 1, 25), (72 * HOUR, 72), (999 * HOUR, 168)],
)
async def test_a_job_may_take_as_long_as_the_client_waits(
    house: House, window_s: float | None, hours: int
) -> None:
    await house.bought(window_s=window_s)

    assert house.fake.sold[0].facts["job"]["timeoutDurationInHours"] == hours


# -- its life --------------------------------------------------------------------------------------


async def test_how_far_it_is_is_told_in_records(house: House) -> None:
    house.fake.weather.polls = 3
    offer = await house.bought("say 0", "fail server")
    seen: list[Any] = []
    for _ in range(4):
        checked = await house.at.provider.check(offer)
        seen.append((checked.ended, checked.progress))

    assert seen == [
        (False, Progress(note="the vendor says: Validating")),
        (False, Progress()),
        (False, Progress()),
        (True, Progress(succeeded=1, errored=1)),
    ]


async def test_a_404_soon_after_the_create_proves_nothing(house: House) -> None:
    house.fake.weather.not_found = 1
    offer = await house.bought()

    with pytest.raises(ProviderBusy):
        await house.at.provider.check(offer)

    house.fake.weather.not_found = 1
    with pytest.raises(ProviderBusy):
        await house.at.provider.check(aged(offer))  # it is in the list all the same


@pytest.mark.parametrize("upstream_id", ["nobody-has-this", "a" * 12])
async def test_what_is_in_no_list_either_is_gone(house: House, upstream_id: str) -> None:
    offer = dataclasses.replace(house.offer(), upstream_id=upstream_id, ref="file")

    with pytest.raises(ProviderGone):
        await house.at.provider.check(offer)
    with pytest.raises(ProviderGone):
        _ = [chunk async for chunk in house.at.provider.results(offer)]
    await house.at.provider.cancel(offer)
    await house.at.provider.tidy(offer)


async def test_a_cancel_is_said_again_while_the_job_may_only_be_late(house: House) -> None:
    offer = await house.bought()

    unknown = dataclasses.replace(offer, upstream_id="a" * 12)
    with pytest.raises(ProviderBusy):
        await house.at.provider.cancel(unknown)
    for _ in range(2):
        await house.at.provider.cancel(offer)
    await house.at.provider.check(offer)
    assert (await house.at.provider.check(offer)).ended
    await house.at.provider.cancel(offer)


async def test_probing_costs_nothing_and_names_the_region(house: House) -> None:
    assert "us-east-1" in await house.at.provider.probe()
    assert house.fake.calls["probe"] == 1


async def test_nothing_is_left_on_disk(house: House, tmp_path: Path) -> None:
    await house.ended()

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


async def test_a_large_input_travels_in_parts(house: House) -> None:
    offer = house.offer(bodies=[house.fake.body(f"{n}" * 700_000) for n in range(15)])

    offer = await house.at.prepared(offer)

    assert house.fake.calls["upload"] > 3
    [data] = house.fake.files.values()
    assert len(data) > 10_000_000
    assert [json.loads(line)["recordId"] for line in data.splitlines()][-1] == "R0000000014"
    await house.at.provider.tidy(offer)
    assert house.fake.files == {}
