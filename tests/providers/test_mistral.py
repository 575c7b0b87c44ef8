"""What is particular to Mistral: files looked at when uploaded, marks, endings, two result files."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.mistral import FakeMistral
from tests.providers.openai_family import SHARD, Desk, desk, shop_at

from batchmill.core.failure import Failure
from batchmill.core.outcome import Outcome
from batchmill.core.request import MISTRAL_CHAT, OPENAI_EMBEDDINGS
from batchmill.errors import (
    InvalidSetting,
    ProviderBusy,
    ProviderGone,
    ProviderRefused,
    ProviderSilent,
)
from batchmill.ports import Offer
from batchmill.providers import mistral
from batchmill.providers.mistral import MARK


@pytest.fixture
async def vendor() -> FakeMistral:
    return FakeMistral()


shop = shop_at("mistral")


def offer(shop: Desk, *texts: str, **more: Any) -> Offer:
    return shop.offer(*texts, dialect=MISTRAL_CHAT, **more)


async def test_a_job_carries_our_mark_one_file_and_the_hours_that_are_left(
    shop: Desk, vendor: FakeMistral
) -> None:
    bought = await shop.bought(offer(shop, "a", "b", window_s=5400.0))

    assert vendor.created == [
        {
            "endpoint": "/v1/chat/completions",
            "input_files": [bought.ref],
            "model": vendor.model,
            "metadata": {MARK: SHARD},
            "timeout_hours": 2,
        }
    ]
    assert len(MARK) <= 32
    assert vendor.forms == [{"purpose": "batch"}]
    assert [json.loads(line).keys() for line in vendor.files[bought.ref or ""].splitlines()] == [
        {"custom_id", "body"}
    ] * 2
    assert vendor.complaints == []


@pytest.mark.parametrize(
    ("window_s", "hours"), [(None, 24), (1.0, 1), (-5.0, 1), (86400.0, 24), (9e9, 168)]
)
async def test_hours_stay_within_what_the_vendor_takes(
    shop: Desk, vendor: FakeMistral, window_s: float | None, hours: int
) -> None:
    await shop.bought(offer(shop, "a", window_s=window_s))

    assert vendor.created[0]["timeout_hours"] == hours


async def test_failed_rows_come_from_the_error_file_in_the_vendors_words(shop: Desk) -> None:
    answers = await shop.answers(
        "fine", "fail invalid_media", "fail too_long", dialect=MISTRAL_CHAT
    )

    assert [answer.failure for answer in answers] == [
        None,
        Failure.INVALID_MEDIA,
        Failure.TOO_LONG,
    ]
    assert answers[0].answer == "fine"
    assert "could not be fetched" in answers[1].detail


async def test_vectors_are_bought_like_answers(shop: Desk) -> None:
    bodies = [{"model": shop.model, "input": "a"}, {"model": shop.model, "input": "b"}]

    answers = await shop.answers(bodies=bodies, dialect=OPENAI_EMBEDDINGS)

    assert [answer.answer for answer in answers] == ["[0.5,0.0]"] * 2


async def test_lines_that_the_upload_refuses_by_name_are_left_out_and_fail(
    shop: Desk, vendor: FakeMistral
) -> None:
    bodies = [{"messages": [{"role": role, "content": "x"}]} for role in ("user", "oser", "user")]

    answers = await shop.answers(bodies=bodies, dialect=MISTRAL_CHAT)

    assert [answer.failure for answer in answers] == [None, Failure.INVALID_REQUEST, None]
    assert "role" in answers[1].detail
    assert vendor.calls["upload"] == 2
    assert vendor.calls["create"] == 1
    assert list(vendor.ours[0].requests) == [f"{SHARD}-0", f"{SHARD}-2"]


async def test_lines_refused_in_turn_are_left_out_in_turn(shop: Desk, vendor: FakeMistral) -> None:
    bad = [{"messages": [], "max_tokens": n} for n in range(2)]
    bodies = [*bad, *({"messages": [{"role": "user", "content": str(n)}]} for n in range(3))]
    vendor.weather.bad_lines = {3: "found only at first"}

    answers = await shop.answers(bodies=bodies, dialect=MISTRAL_CHAT)

    bad_request = Failure.INVALID_REQUEST
    assert [answer.failure for answer in answers] == [bad_request] * 3 + [None] * 2


async def test_where_every_line_is_refused_the_offer_is(shop: Desk, vendor: FakeMistral) -> None:
    asked = offer(shop, bodies=[{"messages": []}] * 3)

    with pytest.raises(ProviderRefused, match="at least 1 item") as refused:
        await shop.provider.prepare(asked)

    assert refused.value.failure == Failure.INVALID_REQUEST
    assert vendor.files == {}


async def test_where_more_lines_are_refused_than_can_be_left_out_it_is_cut_in_halves(
    shop: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mistral, "LEFT_OUT_MAX", 1)
    bodies = [
        *({"messages": []} for _ in range(2)),
        {"messages": [{"role": "user", "content": "a"}]},
    ]

    with pytest.raises(ProviderRefused) as refused:
        await shop.provider.prepare(offer(shop, bodies=bodies))

    assert refused.value.failure == Failure.NOT_RUN


async def test_rows_left_out_count_as_failed_while_the_others_run(
    shop: Desk, vendor: FakeMistral
) -> None:
    bodies = [{"messages": []}, {"messages": [{"role": "user", "content": "a"}]}]
    bought = await shop.bought(offer(shop, bodies=bodies))

    checked = await shop.provider.check(bought)

    assert (checked.progress.succeeded, checked.progress.errored) == (0, 1)


async def test_a_cancel_answered_by_a_conflict_is_fine_once_it_has_ended(
    shop: Desk, vendor: FakeMistral
) -> None:
    bought = await shop.bought(offer(shop, "a"))
    vendor.weather.instead["cancel"] = [409, 409]
    with pytest.raises(ProviderBusy):
        await shop.provider.cancel(bought)
    while not (await shop.provider.check(bought)).ended:
        pass
    await shop.provider.cancel(bought)


async def test_an_input_that_is_gone_is_uploaded_again(shop: Desk, vendor: FakeMistral) -> None:
    prepared = await shop.prepared(offer(shop, "a"))
    vendor.files.clear()

    with pytest.raises(ProviderGone):
        await shop.provider.submit(prepared)

    assert vendor.sold == []


@pytest.mark.parametrize("place", ["upload", "create"])
async def test_a_wrong_key_is_the_accounts_fault_in_the_vendors_words(
    vendor: FakeMistral, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk("mistral", tmp_path, fake=vendor) as shop:
        prepared = await shop.prepared(offer(shop, "a"))
        monkeypatch.setattr(vendor, "key", "sk-another")
        call = shop.provider.prepare if place == "upload" else shop.provider.submit

        with pytest.raises(ProviderRefused, match="401 Invalid API Key") as refused:
            await call(prepared)

    assert refused.value.failure == Failure.ACCOUNT


async def test_a_model_that_does_not_exist_holds_the_batch(shop: Desk, vendor: FakeMistral) -> None:
    prepared = await shop.prepared(offer(shop, "a", model="no-such-model"))

    with pytest.raises(ProviderRefused, match="do not have access to the model") as refused:
        await shop.provider.submit(prepared)

    assert refused.value.failure == Failure.ACCOUNT


async def test_a_wrong_base_url_is_told_at_the_upload(vendor: FakeMistral, tmp_path: Path) -> None:
    await vendor.up()
    try:
        async with desk("mistral", tmp_path, base_url=f"{vendor.host}/v2") as shop:
            with pytest.raises(ProviderRefused, match="base_url") as refused:
                await shop.provider.prepare(offer(shop, "a"))
    finally:
        await vendor.down()
    assert refused.value.failure == Failure.ACCOUNT


@pytest.mark.parametrize(
    ("ending", "outcome", "failure"),
    [
        ("expired", Outcome.EXPIRED, Failure.EXPIRED),
        ("cancelled", Outcome.CANCELED, Failure.CANCELED),
    ],
)
async def test_rows_that_were_run_in_time_are_kept_and_the_others_have_its_ending(
    shop: Desk, vendor: FakeMistral, ending: str, outcome: Outcome, failure: Failure
) -> None:
    vendor.weather.ending, vendor.weather.run = ending, 0.5

    answers = await shop.answers("a", "fail server", "c", "d", dialect=MISTRAL_CHAT)

    assert [answer.outcome for answer in answers] == ["succeeded", "errored", outcome, outcome]
    assert answers[3].failure is failure


async def test_a_cancel_that_comes_too_late_keeps_every_answer(
    shop: Desk, vendor: FakeMistral
) -> None:
    # CANCELLED with all rows done, as was seen on 2026-09-02.
    bought = await shop.bought(offer(shop, "a", "b"))
    await shop.provider.cancel(bought)
    await shop.provider.cancel(bought)
    while not (await shop.provider.check(bought)).ended:
        pass
    await shop.provider.cancel(bought)

    assert [r.answer for _, r in sorted((await shop.results(bought)).items())] == ["a", "b"]


async def test_a_job_that_failed_without_files_is_told_apart(
    shop: Desk, vendor: FakeMistral
) -> None:
    vendor.weather.ending, vendor.weather.refusal = "failed", "A line cannot be read"

    answers = await shop.answers("a", "b", dialect=MISTRAL_CHAT)

    assert [answer.failure for answer in answers] == [Failure.NOT_RUN] * 2
    assert "A line cannot be read" in answers[0].detail


async def test_a_row_that_is_wrong_by_its_looks_is_found_without_halving(
    shop: Desk, vendor: FakeMistral
) -> None:
    vendor.weather.ending, vendor.weather.refusal = "failed", "A line cannot be read"
    message = {"role": "user", "content": "x"}
    bodies = [{"model": "m", "messages": [message], "top_p": top_p} for top_p in (1, 3)]

    answers = await shop.answers(bodies=bodies, dialect=MISTRAL_CHAT)

    assert [answer.failure for answer in answers] == [Failure.NOT_RUN, Failure.INVALID_REQUEST]


async def test_a_job_of_one_row_that_failed_is_that_rows_failure(
    shop: Desk, vendor: FakeMistral
) -> None:
    vendor.weather.ending, vendor.weather.refusal = "failed", "A line cannot be read"

    (answer,) = await shop.answers("a", dialect=MISTRAL_CHAT)

    assert answer.failure is Failure.INVALID_REQUEST


async def test_a_state_that_nobody_knows_is_no_end(shop: Desk, vendor: FakeMistral) -> None:
    bought = await shop.bought(offer(shop, "a"))
    vendor.job = lambda sold, inline=False: {"id": sold.id, "status": "THINKING"}

    checked = await shop.provider.check(bought)

    assert not checked.ended
    assert "THINKING" in checked.progress.note


async def test_a_file_cut_inside_a_line_is_silent_and_whole_the_next_time(
    shop: Desk, vendor: FakeMistral
) -> None:
    bought = await shop.ended(offer(shop, "a", "b", "c"))
    output = next(name for name, told in vendor.about.items() if told["source"] == "mistral")
    whole = vendor.files[output]
    vendor.files[output] = whole[:-9]
    with pytest.raises(ProviderSilent):
        await shop.results(bought)
    vendor.files[output] = whole

    assert len(await shop.results(bought)) == 3


async def test_an_unreadable_line_loses_no_other(shop: Desk, vendor: FakeMistral) -> None:
    bought = await shop.ended(offer(shop, "a", "b"))
    output = next(name for name, told in vendor.about.items() if told["source"] == "mistral")
    first, rest = vendor.files[output].split(b"\n", 1)
    nameless = b'{"custom_id":null,"error":"boom","response":null}\n{"half'
    vendor.files[output] = first + b"\n" + nameless + b"\n" + rest

    assert len(await shop.results(bought)) == 2


async def test_what_is_left_upstream_is_tidied_twice_if_need_be(
    shop: Desk, vendor: FakeMistral
) -> None:
    bought = await shop.ended(offer(shop, "a", "fail server"))
    theirs = vendor.put(b"{}\n", "theirs.jsonl", "batch_request", "upload")["id"]
    assert len(vendor.files) == 4

    await shop.provider.tidy(bought)
    await shop.provider.tidy(bought)

    assert list(vendor.files) == [theirs]


async def test_the_live_lane_speaks_to_the_host_alone(vendor: FakeMistral, tmp_path: Path) -> None:
    async with desk("mistral", tmp_path, fake=vendor, lane="live", concurrency=4) as shop:
        answers = await shop.answers("a", "fail too_long", dialect=MISTRAL_CHAT)
        probed = await shop.provider.probe()

    assert [answer.answer for answer in answers] == ["a", None]
    assert answers[1].failure is Failure.TOO_LONG
    assert "1 model" in probed
    assert set(vendor.asked) == {"POST /v1/chat/completions", "GET /v1/models"}


async def test_the_probe_tells_a_wrong_key(vendor: FakeMistral, tmp_path: Path) -> None:
    async with desk("mistral", tmp_path, fake=vendor, key="wrong") as shop:
        with pytest.raises(ProviderRefused, match="Invalid API Key"):
            await shop.provider.probe()


async def test_a_knob_it_does_not_have_is_refused(vendor: FakeMistral, tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="concurrency"):
        async with desk("mistral", tmp_path, fake=vendor, concurency=4):
            pass
