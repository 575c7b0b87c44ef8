"""What is particular to Message Batches: nothing marks them, and nothing is told before the end."""

import dataclasses
import json
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.fakes._anthropic_rows import ROW_ERRORS
from tests.fakes.anthropic import FakeAnthropic
from tests.providers.anthropic_house import HOUR, House, aged, open_house
from tests.providers.openai_family import SHARD, desk

from batchmill.core.failure import Failure
from batchmill.core.outcome import Usage
from batchmill.core.shard import Accepted, Progress
from batchmill.errors import (
    InvalidSetting,
    NotSent,
    ProviderBroke,
    ProviderBusy,
    ProviderGone,
    ProviderRefused,
    ProviderSilent,
)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path) as opened:
        yield opened


# -- creating ------------------------------------------------------------------------------------


async def test_a_shard_travels_inside_its_one_creating_call(house: House) -> None:
    offer = await house.ended("one", "zwei", "🦊")
    results = await house.results(offer)

    assert {row: r.answer for row, r in results.items()} == {0: "one", 1: "zwei", 2: "🦊"}
    assert results[0].usage == Usage(13, 5, 4, 0)
    assert results[0].model == "claude-haiku-4-5-20251001"
    assert (house.fake.calls["create"], house.fake.calls["upload"]) == (1, 0)
    call, headers = house.fake.headers[0]
    assert call == "POST /v1/messages/batches"
    assert headers["x-api-key"] == house.fake.key
    assert headers["anthropic-version"] == "2023-06-01"
    assert int(headers["content-length"]) > 0
    assert "transfer-encoding" not in headers
    [sold] = house.fake.sold
    assert list(sold.requests) == [f"{SHARD}-{row}" for row in range(3)]


async def test_nothing_is_left_on_disk(house: House, tmp_path: Path) -> None:
    await house.bought()

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("status", "message", "code", "rows", "failure"),
    [
        (400, "requests.1.params.max_tokens: Field required", "", 3, Failure.NOT_RUN),
        (400, "requests.0.params.max_tokens: Field required", "", 1, Failure.INVALID_REQUEST),
        (413, "Request exceeds the maximum size", "", 3, Failure.NOT_RUN),
        (413, "Request exceeds the maximum size", "", 1, Failure.TOO_LONG),
        (400, ROW_ERRORS["account"][1], "", 3, Failure.ACCOUNT),
        (429, "You have crossed it", "enforced_spend_limit_reached", 3, Failure.ACCOUNT),
        (403, "Your API key does not have permission", "", 3, Failure.ACCOUNT),
        (404, "Not found", "", 3, Failure.ACCOUNT),  # a wrong address is nobody's row
        (400, "Unexpected value(s) `x` for the `anthropic-beta` header.", "", 3, Failure.ACCOUNT),
    ],
)
async def test_a_refused_create_says_who_is_at_fault(
    house: House,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    message: str,
    code: str,
    rows: int,
    failure: Failure,
) -> None:
    house.fake.weather.instead["create"] = [status]
    error = house.fake.error(status, message, code)
    monkeypatch.setattr(house.fake, "error", lambda _: error)

    with pytest.raises(ProviderRefused, match=r"^anthropic: ") as caught:
        await house.bought(*(f"say {n}" for n in range(rows)))

    assert caught.value.failure == failure
    assert message in str(caught.value)


async def test_a_bad_row_that_is_not_named_is_searched_for_by_halves(house: House) -> None:
    def bad(sold: Any) -> str:
        asked = [house.fake.text_of(body) for body in sold.requests.values()]
        return "a request is odd" if "odd" in asked else ""

    house.fake.weather.refuse_if = bad

    for texts, failure in (["a", "odd"], "not_run"), (["odd"], "invalid_request"):
        with pytest.raises(ProviderRefused) as caught:
            await house.bought(*texts)
        assert caught.value.failure == failure
    assert (await house.bought("a")).upstream_id


@pytest.mark.parametrize("status", [500, 504, 529, 408, 409])
async def test_an_answer_that_is_no_clear_no_is_silence(house: House, status: int) -> None:
    house.fake.weather.instead["create"] = [status]

    with pytest.raises(ProviderSilent):
        await house.bought()

    assert house.fake.calls["create"] == 1


async def test_too_many_calls_come_again_when_the_vendor_says(house: House) -> None:
    house.fake.weather.instead["create"] = [429]

    with pytest.raises(ProviderBusy) as caught:
        await house.bought()

    assert caught.value.retry_at > house.at.clock.now()


async def test_a_create_that_was_held_up_is_not_sent(house: House) -> None:
    with pytest.raises(NotSent):
        await house.at.bought(house.offer(send_before=house.at.clock.awake() - 1.0))

    assert house.fake.sold == []


async def test_a_wrong_key_is_told_without_it(tmp_path: Path) -> None:
    async with desk("anthropic", tmp_path, key="sk-ant-secret") as at:
        with pytest.raises(ProviderRefused, match="invalid x-api-key") as caught:
            await at.provider.probe()

    assert caught.value.failure == Failure.ACCOUNT
    assert "secret" not in str(caught.value)


# -- working and ending --------------------------------------------------------------------------


async def test_nothing_is_known_of_the_rows_before_the_end(house: House) -> None:
    house.fake.weather.polls = 1
    offer = await house.bought("say a", "fail server", "fail expired")

    before, after = [await house.at.provider.check(offer) for _ in range(2)]

    assert (before.ended, before.progress) == (False, Progress())
    assert (after.ended, after.progress) == (True, Progress(succeeded=1, errored=2))


@pytest.mark.parametrize("failure", [*ROW_ERRORS, "expired", "canceled", "refused", "truncated"])
async def test_a_row_that_fails_says_so_in_the_vendors_words(house: House, failure: str) -> None:
    results = await house.results(await house.ended(f"fail {failure}", "hello"))

    assert results[0].failure == failure
    assert results[0].detail
    assert results[1].answer == "hello"


async def test_a_404_is_believed_only_if_the_list_agrees(house: House) -> None:
    house.fake.weather.polls = 5
    house.fake.weather.not_found = 2
    offer = await house.bought()

    for asked in (offer, aged(offer)):  # seen just after create, and between polls
        assert not (await house.at.provider.check(asked)).ended


async def test_a_404_of_a_new_batch_proves_nothing(house: House) -> None:
    house.fake.weather.listing_lag_s = HOUR
    house.fake.weather.not_found = 2
    offer = await house.bought()

    with pytest.raises(ProviderBusy):
        await house.at.provider.check(offer)
    with pytest.raises(ProviderGone):
        await house.at.provider.check(aged(offer))


async def test_a_wrong_address_is_a_setting_and_no_batch_is_given_up_for_it(house: House) -> None:
    offer = aged(await house.bought())
    house.fake.weather.instead["list"] = [404]
    house.fake.weather.not_found = 1

    with pytest.raises(ProviderRefused) as caught:
        await house.at.provider.check(offer)

    assert caught.value.failure == Failure.ACCOUNT


async def test_a_cancel_that_met_a_404_is_said_again(house: House) -> None:
    house.fake.weather.polls = 5
    house.fake.weather.instead["cancel"] = [404]
    offer = await house.bought()

    with pytest.raises(ProviderBusy):
        await house.at.provider.cancel(offer)
    for _ in range(2):
        await house.at.provider.cancel(offer)

    assert house.fake.sold[0].cancelled


async def test_a_cancel_that_comes_too_late_is_no_error(house: House) -> None:
    offer = await house.ended()

    await house.at.provider.cancel(offer)

    assert len(await house.results(offer)) == 3


# -- results -------------------------------------------------------------------------------------


async def test_the_key_goes_to_no_other_place_than_its_own(house: House) -> None:
    house.fake.results_at = "https://elsewhere.invalid/v1/messages/batches/x/results"

    assert len(await house.results(await house.ended())) == 3


async def test_results_that_are_not_there_yet_are_asked_for_again(house: House) -> None:
    offer = await house.ended()
    house.fake.weather.instead["content"] = [404, 404]

    for asked in (offer, aged(offer)):  # the batch itself still says where they are
        with pytest.raises(ProviderBusy):
            await house.results(asked)
    assert len(await house.results(offer)) == 3


async def test_results_past_their_retention_are_gone_and_it_says_so(house: House) -> None:
    offer = await house.ended()
    house.fake.archived = True

    with pytest.raises(ProviderGone, match="29 days"):
        await house.results(offer)


async def test_a_download_that_breaks_off_is_fetched_again(house: House) -> None:
    offer = await house.ended()
    house.fake.weather.torn = 1

    with pytest.raises(ProviderSilent):
        await house.results(offer)
    assert len(await house.results(offer)) == 3


class Cutting(FakeAnthropic):
    """Its proxy ends a body as if it were whole."""

    cut: Any = staticmethod(lambda data: data)

    async def sent(self, request: web.Request, data: bytes, kind: str) -> web.StreamResponse:
        return await super().sent(request, self.cut(data), kind)


async def test_a_last_line_that_was_cut_is_no_end_and_an_odd_one_is(tmp_path: Path) -> None:
    fake = Cutting()
    async with desk("anthropic", tmp_path, fake=fake) as at:
        house = House(at, fake)
        offer = await house.ended()

        fake.cut = lambda data: data[:-9]
        with pytest.raises(ProviderSilent, match="inside a line"):
            await house.results(offer)

        fake.cut = lambda data: b"<odd>\n" + data + b'{"custom_id":\n'
        assert len(await house.results(offer)) == 3


@pytest.mark.parametrize(
    "body", [b"", b"<html>Please sign in</html>\n", b'{"error": {"message": "unavailable"}}\n']
)
async def test_results_without_any_result_are_none(tmp_path: Path, body: bytes) -> None:
    fake = Cutting()
    async with desk("anthropic", tmp_path, fake=fake) as at:
        house = House(at, fake)
        offer = await house.ended()

        fake.cut = lambda data: body
        with pytest.raises(ProviderBroke):
            await house.results(offer)
        assert await at.provider.find(offer) == Accepted(offer.upstream_id or "", provisional=True)

        fake.cut = lambda data: data
        assert len(await house.results(offer)) == 3


# -- tidying, settings, the live lane --------------------------------------------------------------


async def test_what_is_settled_is_deleted_and_twice_is_no_error(house: House) -> None:
    offer = await house.ended()

    for _ in range(2):
        await house.at.provider.tidy(offer)

    with pytest.raises(ProviderGone):
        await house.at.provider.check(aged(offer))
    await house.at.provider.tidy(dataclasses.replace(offer, upstream_id=None))
    assert house.fake.calls["delete"] == 2


@pytest.mark.parametrize("lane", ["batch", "live"])
@pytest.mark.parametrize("beta", ["output-300k-2026-03-24", ["output-300k-2026-03-24", "b"]])
async def test_betas_are_asked_for_by_their_header(tmp_path: Path, lane: str, beta: Any) -> None:
    fake = FakeAnthropic()
    async with desk("anthropic", tmp_path, lane=lane, fake=fake, beta=beta) as at:
        await at.provider.probe()

    [(_, headers)] = fake.headers
    wanted = beta if isinstance(beta, str) else ",".join(beta)
    assert headers["anthropic-beta"] == wanted
    assert (headers["x-api-key"], headers.get("authorization")) == (fake.key, None)


@pytest.mark.parametrize("lane", ["batch", "live"])
@pytest.mark.parametrize("options", [{"beta": 7}, {"beta": [""]}, {"betas": "x"}])
async def test_a_wrong_setting_is_named(tmp_path: Path, lane: str, options: Any) -> None:
    with pytest.raises(InvalidSetting, match=r"\[providers.anthropic\]"):
        async with desk("anthropic", tmp_path, lane=lane, **options):
            pass


class Prefixed(FakeAnthropic):
    """Behind a proxy that holds it below a path, and knows nothing of results_url."""

    def routes(self) -> Iterable[web.RouteDef]:
        for route in super().routes():
            yield web.route(route.method, f"/gate{route.path}", route.handler)

    @property
    def base_url(self) -> str:
        return f"{self.host}/gate/v1/"  # with the version, as other vendors have it


@pytest.mark.parametrize("lane", ["batch", "live"])
async def test_a_base_url_may_have_a_path(tmp_path: Path, lane: str) -> None:
    fake = Prefixed()
    async with desk("anthropic", tmp_path, lane=lane, fake=fake) as at:
        house = House(at, fake)
        await at.provider.probe()
        offer = await at.ended(house.offer("a", "b"))
        results = await at.results(offer)

    assert [results[row].answer for row in (0, 1)] == ["a", "b"]
    assert fake.unknown == []


async def test_the_live_lane_asks_row_by_row(tmp_path: Path) -> None:
    fake = FakeAnthropic()
    async with desk("anthropic", tmp_path, lane="live", fake=fake) as at:
        house = House(at, fake)
        offer = await at.ended(house.offer("hello", "fail refused", "fail too_long"))
        results = await at.results(offer)

    assert results[0].answer == "hello"
    assert results[1].failure is Failure.REFUSED
    assert results[2].failure is Failure.TOO_LONG
    assert json.loads(results[0].body)["usage"]["service_tier"] == "standard"
    assert fake.calls["live"] == 3
    assert fake.complaints == []
