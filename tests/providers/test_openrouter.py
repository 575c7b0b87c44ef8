"""What is particular to OpenRouter: all in one call, results inside, no mark, no cancel."""

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.fakes.openrouter import FakeOpenRouter
from tests.providers.openai_family import SHARD, Desk, desk, shop_at

from batchmill.core.failure import Failure
from batchmill.core.outcome import Outcome
from batchmill.core.request import OPENAI_EMBEDDINGS
from batchmill.errors import (
    InvalidSetting,
    ProviderBroke,
    ProviderBusy,
    ProviderGone,
    ProviderRefused,
    ProviderSilent,
)


@pytest.fixture
async def vendor() -> FakeOpenRouter:
    return FakeOpenRouter()


shop = shop_at("openrouter")


async def test_what_a_batch_is_for_comes_before_its_requests(
    shop: Desk, vendor: FakeOpenRouter
) -> None:
    await shop.bought(shop.offer("a", "b"))

    assert vendor.created == [["endpoint", "model", "completion_window", "requests"]]
    assert vendor.sold[0].facts == {
        "endpoint": "/v1/chat/completions",
        "model": "openai/gpt-4o:batch",
    }
    assert list(vendor.sold[0].requests) == [f"{SHARD}-0", f"{SHARD}-1"]
    assert {body["model"] for body in vendor.sold[0].requests.values()} == {"openai/gpt-4o:batch"}


@pytest.mark.parametrize("model", ["openai/gpt-4o:batch", "a:b/c:batch"])
async def test_a_name_that_has_a_variant_already_passes_through(
    shop: Desk, vendor: FakeOpenRouter, model: str
) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": "x"}]}

    await shop.bought(shop.offer(bodies=[body], model=model))

    assert vendor.sold[0].facts["model"] == model


async def test_the_suffix_is_a_setting(vendor: FakeOpenRouter, tmp_path: Path) -> None:
    async with desk("openrouter", tmp_path, fake=vendor, model_suffix="") as shop:
        with pytest.raises(ProviderRefused, match="does not have a :batch endpoint") as refused:
            await shop.bought(shop.offer("a"))
    assert refused.value.failure == Failure.ACCOUNT

    with pytest.raises(InvalidSetting, match="model_suffix"):
        async with desk("openrouter", tmp_path, fake=FakeOpenRouter(), model_suffix=3):
            pass


async def test_rows_that_fail_do_so_in_the_vendors_words(shop: Desk) -> None:
    answers = await shop.answers("fine", "fail too_long", "fail refused", "fail server")

    assert [answer.failure for answer in answers] == [
        None,
        Failure.TOO_LONG,
        Failure.REFUSED,
        Failure.SERVER,
    ]
    assert (answers[0].answer, answers[0].cost_usd) == ("fine", None)
    assert "maximum context length" in answers[1].detail


async def test_vectors_are_bought_like_answers(shop: Desk, vendor: FakeOpenRouter) -> None:
    bodies = [{"model": shop.model, "input": "a"}]

    (answer,) = await shop.answers(bodies=bodies, dialect=OPENAI_EMBEDDINGS)

    assert answer.answer == "[0.5]"
    assert vendor.sold[0].facts["endpoint"] == "/v1/embeddings"


async def test_a_batch_that_fails_for_a_row_it_names_leaves_the_others_innocent(
    shop: Desk,
) -> None:
    bodies = [{"messages": [{"role": "user", "content": "x"}], "max_tokens": n} for n in (4, 0, 4)]

    answers = await shop.answers(bodies=bodies)

    assert [answer.failure for answer in answers] == [
        Failure.NOT_RUN,
        Failure.INVALID_REQUEST,
        Failure.NOT_RUN,
    ]
    assert "max_tokens" in answers[1].detail


async def test_a_batch_that_fails_for_no_row_it_names_is_told_apart(
    shop: Desk, vendor: FakeOpenRouter
) -> None:
    vendor.weather.refusal = "HTTP 422: Invalid file format."

    answers = await shop.answers("a", "b")

    assert [answer.failure for answer in answers] == [Failure.NOT_RUN] * 2


async def test_a_row_that_is_wrong_by_its_looks_need_not_be_named(
    shop: Desk, vendor: FakeOpenRouter
) -> None:
    vendor.weather.refusal = "HTTP 422: Invalid file format."
    message = {"role": "user", "content": "x"}
    bodies = [{"model": shop.model, "messages": [message], "temperature": t} for t in (0, 7, 1)]

    answers = await shop.answers(bodies=bodies)

    assert [answer.failure for answer in answers] == [
        Failure.NOT_RUN,
        Failure.INVALID_REQUEST,
        Failure.NOT_RUN,
    ]
    assert "temperature" in answers[1].detail


@pytest.mark.parametrize(
    ("status", "alone"), [(400, "invalid_request"), (422, "invalid_request"), (413, "too_long")]
)
async def test_a_create_refused_for_a_row_is_cut_until_the_row_is_alone(
    shop: Desk, vendor: FakeOpenRouter, status: int, alone: str
) -> None:
    vendor.weather.instead["create"] = [status, status]
    for offer, failure in ((shop.offer("a", "b"), "not_run"), (shop.offer("a"), alone)):
        with pytest.raises(ProviderRefused) as refused:
            await shop.provider.submit(offer)
        assert refused.value.failure == failure


@pytest.mark.parametrize("status", [401, 402, 404])
async def test_key_credit_and_place_are_the_accounts_fault(
    shop: Desk, vendor: FakeOpenRouter, status: int
) -> None:
    vendor.weather.instead["create"] = [status]

    with pytest.raises(ProviderRefused, match=str(status)) as refused:
        await shop.provider.submit(shop.offer("a", "b"))

    assert refused.value.failure == Failure.ACCOUNT


@pytest.mark.parametrize(
    ("ending", "outcome", "failure"),
    [
        ("expired", Outcome.EXPIRED, Failure.EXPIRED),
        ("cancelled", Outcome.CANCELED, Failure.CANCELED),
    ],
)
async def test_a_batch_without_results_leaves_every_row_unrun(
    shop: Desk, vendor: FakeOpenRouter, ending: str, outcome: Outcome, failure: Failure
) -> None:
    vendor.weather.ending = ending

    answers = await shop.answers("a", "b")

    assert [(answer.outcome, answer.failure) for answer in answers] == [(outcome, failure)] * 2


async def test_results_on_pages_of_their_own_are_read_too(
    shop: Desk, vendor: FakeOpenRouter
) -> None:
    vendor.paged = True

    answers = await shop.answers(*(f"say {n}" for n in range(2_100)))

    assert [answer.answer for answer in answers] == [f"say {n}" for n in range(2_100)]
    assert vendor.calls["content"] == 3


async def test_completed_without_results_is_waited_for(shop: Desk, vendor: FakeOpenRouter) -> None:
    bought = await shop.ended(shop.offer("a"))
    vendor.paged = True
    vendor.weather.instead["content"] = [404]

    with pytest.raises(ProviderBusy):
        await shop.results(bought)


@pytest.mark.parametrize("place", ["get", "content"])
async def test_results_that_wait_for_payment_are_the_accounts_matter(
    shop: Desk, vendor: FakeOpenRouter, place: str
) -> None:
    # SDK 1.3.84 knows a 402 for a batch that has ended: it is asked for again once it is paid.
    bought = await shop.ended(shop.offer("a"))
    vendor.paged = True
    vendor.weather.instead[place] = [402]

    with pytest.raises(ProviderRefused, match="Insufficient credits") as refused:
        await shop.results(bought)

    assert refused.value.failure == Failure.ACCOUNT
    assert len(await shop.results(bought)) == 1


PAGE = b'{"data": [{"id": "x", "custom_id": "x"}], "has_more": true, "next_cursor": '


@pytest.mark.parametrize(
    ("pages", "error"),
    [
        ([b"{}"], ProviderBroke),
        ([b'{"error": {"code": 502, "message": "upstream"}}'], ProviderBroke),
        ([b'{"data": null, "has_more": false}'], ProviderBroke),
        ([b""], ProviderSilent),
        ([b"<html>Please sign in</html>"], ProviderSilent),
        ([PAGE + b"null}"], ProviderBroke),
        ([PAGE + b'"a"}', PAGE + b'"b"}'] * 9, ProviderBroke),
        ([PAGE + b'"1"}', 404], ProviderBusy),
        ([PAGE + b'"1"}', 400], ProviderBusy),
    ],
)
async def test_results_that_are_no_page_or_have_no_end_are_not_all_there_is(
    shop: Desk, vendor: FakeOpenRouter, pages: list[bytes | int], error: type[Exception]
) -> None:
    vendor.paged = True
    bought = await shop.ended(shop.offer("a"))
    left, weathered = list(pages), vendor.weathered

    async def odd(name: str, request: web.Request, respond: Any) -> web.StreamResponse:
        if name != "content":
            return await weathered(name, request, respond)
        said = left.pop(0)
        return vendor.error(said) if isinstance(said, int) else web.Response(body=said)

    vendor.weathered = odd
    with pytest.raises(error):
        await shop.results(bought)


async def test_completed_without_any_result_is_gone_once_it_is_old(
    shop: Desk, vendor: FakeOpenRouter
) -> None:
    bought = await shop.ended(shop.offer("a"))
    told = vendor.batch
    vendor.batch = lambda sold: told(sold) | {"finalized_at": 1_700_000_000}
    vendor.paged = True
    vendor.weather.instead["content"] = [404]

    with pytest.raises(ProviderGone):
        await shop.results(bought)


async def test_looking_reads_no_results(shop: Desk, vendor: FakeOpenRouter) -> None:
    many = "x" * 100_000
    bought = await shop.ended(shop.offer(*[many] * 40))
    vendor.weather.torn = 1

    checked = await shop.provider.check(bought)

    assert checked.ended
    assert checked.progress.succeeded == 40


async def test_a_cut_answer_is_silent_and_whole_the_next_time(
    shop: Desk, vendor: FakeOpenRouter
) -> None:
    bought = await shop.ended(shop.offer(*("x" * 1000 for _ in range(20))))
    vendor.weather.torn = 1

    with pytest.raises(ProviderSilent):
        await shop.results(bought)

    assert len(await shop.results(bought)) == 20


async def test_an_odd_item_loses_no_other(shop: Desk, vendor: FakeOpenRouter) -> None:
    bought = await shop.ended(shop.offer("a", "b"))
    items, good, bad = vendor.sold[0].told
    vendor.sold[0].told = ([*items, b'{"id":"x","custom_id":null}', b'"x"'], good, bad)

    assert len(await shop.results(bought)) == 2


async def test_a_state_that_nobody_knows_is_no_end(shop: Desk, vendor: FakeOpenRouter) -> None:
    bought = await shop.bought(shop.offer("a"))
    vendor.batch = lambda sold: {"id": sold.id, "status": "pondering", "error": None}

    checked = await shop.provider.check(bought)

    assert not checked.ended
    assert "pondering" in checked.progress.note
    with pytest.raises(ProviderBusy, match="not ended"):
        await shop.results(bought)


async def test_cancelling_asks_nobody_and_keeps_every_answer(
    shop: Desk, vendor: FakeOpenRouter
) -> None:
    bought = await shop.bought(shop.offer("a"))
    await shop.provider.cancel(bought)
    while not (await shop.provider.check(bought)).ended:
        pass

    assert vendor.unknown == []
    assert (await shop.results(bought))[0].answer == "a"


async def test_the_live_lane_has_its_errors_and_prices(
    vendor: FakeOpenRouter, tmp_path: Path
) -> None:
    async with desk("openrouter", tmp_path, fake=vendor, lane="live", concurrency=2) as shop:
        answers = await shop.answers("a", "fail refused")
        probed = await shop.provider.probe()

    assert [answer.failure for answer in answers] == [None, Failure.REFUSED]
    assert str(answers[0].cost_usd) == "0.000225"
    assert "key is good" in probed
    assert set(vendor.asked) == {"POST /api/v1/chat/completions", "GET /api/v1/key"}


async def test_the_probe_asks_what_needs_the_key(vendor: FakeOpenRouter, tmp_path: Path) -> None:
    async with desk("openrouter", tmp_path, fake=vendor) as shop:
        assert "$12.5" in await shop.provider.probe()
        vendor.weather.instead["probe"] = [401]
        with pytest.raises(ProviderRefused, match="No auth credentials"):
            await shop.provider.probe()


async def test_a_knob_it_does_not_have_is_refused(vendor: FakeOpenRouter, tmp_path: Path) -> None:
    more: dict[str, Any] = {"concurency": 4}
    for lane in ("batch", "live"):
        with pytest.raises(InvalidSetting, match="concurrency"):
            async with desk("openrouter", tmp_path, fake=FakeOpenRouter(), lane=lane, **more):
                pass
