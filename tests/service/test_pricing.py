"""Results get their price while they are collected, and keep the one that they bring."""

import dataclasses
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from msgspec.structs import replace
from tests.service.town import Town

from batchmill.core import price as prices
from batchmill.core.failure import Failure
from batchmill.core.outcome import Outcome, Result, Usage
from batchmill.core.rowset import row_range
from batchmill.core.shard import Shard
from batchmill.ports import Offer
from batchmill.service.pricing import Pricing, Terms
from batchmill.testing.clock import SimClock

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC).timestamp()
OPENAI = Terms(vendor="openai", discount="50%")


def answer(model: str = "gpt-4o-mini-2024-07-18", **facts: object) -> Result:
    wanted = {"usage": Usage(1_000_000, 100_000), **facts}
    return Result("batch_1-0001-0", Outcome.SUCCEEDED, answer="a", model=model, **wanted)


async def priced(
    *results: Result,
    terms: Terms = OPENAI,
    model: str = "gpt-4o-mini",
    lane: str = "batch",
    submitted_at: float | None = NOON,
) -> list[Result]:
    async def requests() -> AsyncIterator[Sequence[object]]:
        yield []

    async def stream() -> AsyncIterator[Sequence[Result]]:
        for result in results:
            yield [result]

    offer = Offer(
        shard_id="batch_1-0001",
        dialect="openai.chat",
        url="/v1/chat/completions",
        model=model,
        count=1,
        requests=requests,
        submitted_at=submitted_at,
    )
    shard = Shard(
        id="batch_1-0001", batch_id="batch_1", n=1, provider="me", lane=lane, rows=row_range(0, 1)
    )
    clock = SimClock()
    clock.pass_by(NOON - clock.now())
    pricing = Pricing(clock=clock, terms={"me": terms}.__getitem__)
    return [r async for chunk in pricing(shard, offer, stream()) for r in chunk]


async def test_an_answer_has_its_price_and_its_list_price():
    [batch] = await priced(answer())
    assert (batch.cost_usd, batch.list_usd) == (Decimal("0.105"), Decimal("0.21"))
    [live] = await priced(answer(), lane="live")
    assert (live.cost_usd, live.list_usd) == (Decimal("0.21"), Decimal("0.21"))


async def test_a_discount_that_only_the_vendor_tells_of_is_marked():
    mistral = Terms(vendor="mistral", discount="50%")
    for lane, stated in (("batch", True), ("live", False)):
        [found] = await priced(answer("mistral-large-latest"), terms=mistral, lane=lane)
        assert found.cost_usd is not None
        assert found.stated is stated


async def test_a_price_that_a_result_brings_is_left_alone():
    [found] = await priced(answer(cost_usd=Decimal("0.5")))
    assert (found.cost_usd, found.list_usd) == (Decimal("0.5"), None)


async def test_what_was_not_run_has_no_price():
    never = Result("batch_1-0001-0", Outcome.EXPIRED, Failure.EXPIRED)
    assert await priced(never) == [never]


async def test_a_failure_that_was_run_has_its_price():
    [found] = await priced(replace(answer(), outcome=Outcome.ERRORED, failure=Failure.TRUNCATED))
    assert found.cost_usd == Decimal("0.105")


async def test_a_provider_without_price_list_needs_no_table(monkeypatch):
    monkeypatch.setattr(prices, "load", lambda: pytest.fail("nobody wants to know"))
    [found] = await priced(answer(), terms=Terms())
    assert found.cost_usd is None


async def test_an_unknown_model_has_no_price():
    [found] = await priced(answer("who-is-this"), model="who-was-that")
    assert found.cost_usd is None


async def test_who_answered_counts_before_who_was_asked():
    # given an alias that moved on to a dearer model
    [moved] = await priced(answer("gpt-4o-2024-08-06"))
    [named] = await priced(answer("gpt-4o-2024-08-06"), model="gpt-4o")
    assert moved.cost_usd == named.cost_usd
    # and an answer that does not say whose it is
    [mute] = await priced(answer(""))
    assert mute.cost_usd == Decimal("0.105")


async def test_what_answers_under_quite_another_name_is_another_model():
    # given a gateway that has a model of its own for a name of OpenAI's
    [other] = await priced(answer("llama-3.1-8b"))
    assert other.cost_usd is None
    # and a vendor's alias, and a later edition of what was asked for
    mistral = Terms(vendor="mistral", discount="50%")
    for terms, asked, answered in [
        (mistral, "mistral-large-latest", "mistral-grand-9901"),
        (OPENAI, "gpt-4o-mini", "gpt-4o-mini@2099"),
    ]:
        [found] = await priced(answer(answered), terms=terms, model=asked)
        assert found.cost_usd is not None


async def test_the_name_of_a_deployment_means_nothing():
    azure = Terms(vendor="azure", discount="50%")
    [found] = await priced(answer(), terms=azure, model="gpt-4o")
    assert found.cost_usd == Decimal("0.105")
    [mute] = await priced(answer(""), terms=azure, model="gpt-4o")
    assert mute.cost_usd is None


async def test_somebodys_own_model_at_bedrock_has_no_price():
    aws = Terms(vendor="aws", discount="50%")
    arn = "arn:aws:bedrock:us-east-1:1:provisioned-model/abc"
    [own] = await priced(answer("claude-haiku-4-5-20251001"), terms=aws, model=arn)
    assert own.cost_usd is None
    asked = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
    [found] = await priced(answer("claude-haiku-4-5-20251001"), terms=aws, model=asked)
    assert found.cost_usd is not None


async def test_what_was_written_into_the_prompt_cache_is_found_in_the_body():
    claude = Terms(vendor="anthropic", discount="50%")
    text = rb'{"text":"he said \"cache_creation_input_tokens\":999",'
    usage = (
        b'"usage":{"cache_creation_input_tokens":1000,"cache_read_input_tokens":0,'
        b'"cache_creation":{"ephemeral_5m_input_tokens":400,"ephemeral_1h_input_tokens":600}}}'
    )
    haiku = "claude-haiku-4-5-20251001"
    [plain] = await priced(answer(haiku, usage=Usage(1000, 0)), terms=claude)
    [found] = await priced(
        answer(haiku, usage=Usage(1000, 0), body=text + usage), terms=claude, lane="live"
    )
    assert plain.cost_usd == Decimal("0.0005")
    assert found.cost_usd == (400 * Decimal("1.25") + 600 * Decimal(2)) / 1_000_000


async def test_where_the_hour_counts_each_answer_tells_its_own():
    # given a shard that was submitted at noon, when it is dear, and answered partly in the evening
    deepseek = Terms(vendor="deepseek")
    noon, evening = (
        answer("deepseek-chat", body=b'{"created":%d}' % at) for at in (NOON, NOON + 8 * 3600)
    )
    dear, cheap = await priced(noon, evening, terms=deepseek, lane="live")
    assert dear.cost_usd is not None
    assert cheap.cost_usd is not None
    assert cheap.cost_usd * 2 <= dear.cost_usd


async def test_other_service_than_the_standard_one_has_its_own_price():
    plain, flex, standard, other = (
        answer("gpt-5", body=b'{"id":"x","service_tier": "%s"}' % tier)
        for tier in (b"default", b"flex", b"auto", b"golden")
    )
    found = await priced(plain, flex, standard, other, model="gpt-5", lane="live")
    cost = [one.cost_usd for one in found]
    assert cost[0] == cost[2] == Decimal("2.25")
    assert cost[1] == Decimal("1.125")
    assert cost[3] is None
    # and that it is cheaper is no batch discount
    assert found[1].list_usd == cost[1]


async def test_whatever_is_wrong_with_a_price_the_answer_comes(monkeypatch):
    def broken(*_: object) -> None:
        raise RuntimeError("the table is torn")

    monkeypatch.setattr(prices, "tariff", broken)
    [found] = await priced(answer())
    assert (found.answer, found.cost_usd) == ("a", None)


async def test_a_batch_knows_what_it_cost():
    # given a vendor whose answers carry no price
    town = Town()

    async def double(_: Shard, __: Offer, results: AsyncIterator[Sequence[Result]]):
        async for chunk in results:
            yield [replace(r, cost_usd=Decimal(1), list_usd=Decimal(2)) for r in chunk]

    town.advancer = dataclasses.replace(town.advancer, pricing=double)
    # when
    view = await town.finished(await town.batch())
    # then
    assert view.counts.cost_usd == 4
