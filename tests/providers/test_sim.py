"""The simulated provider: what it answers, what it breaks, and the book it keeps."""

import asyncio
import dataclasses
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from batchmill.core.failure import Failure
from batchmill.core.outcome import Outcome, Result
from batchmill.core.request import ENDPOINTS, OPENAI_EMBEDDINGS, Request
from batchmill.core.shard import Accepted, NotThere
from batchmill.errors import InvalidSetting, ProviderBusy, ProviderSilent
from batchmill.ports import Offer
from batchmill.providers import Context, Knobs, spec
from batchmill.providers._sim_answers import FAILURES
from batchmill.providers.sim import SimProvider
from batchmill.testing import Faults, FolderShelf, MemoryShelf, SimClock

SHARD = "batch_x-0001"


def offer(
    bodies: Sequence[object], endpoint: str = "chat", model: str = "echo", **more: Any
) -> Offer:
    async def requests() -> AsyncIterator[Sequence[Request]]:
        yield [Request(f"{SHARD}-{n}", msgspec.json.encode(b)) for n, b in enumerate(bodies)]

    dialect, url = ENDPOINTS[endpoint]
    facts = {"shard_id": SHARD, "dialect": dialect, "url": url, "model": model, "send_before": 1e9}
    return Offer(**(facts | {"count": len(bodies), "requests": requests} | more))


def said(*texts: str) -> list[object]:
    return [{"model": "echo", "messages": [{"role": "user", "content": t}]} for t in texts]


async def bought(provider: SimProvider, wanted: Offer) -> Offer:
    wanted = dataclasses.replace(wanted, ref=await provider.prepare(wanted))
    return dataclasses.replace(wanted, upstream_id=await provider.submit(wanted))


async def answers(wanted: Offer, faults: Faults | None = None, **more: Any) -> list[Result]:
    clock = SimClock()
    provider = SimProvider(clock, MemoryShelf(), faults or Faults(), **more)
    sold = await bought(provider, wanted)
    clock.pass_by(10.0)
    assert (await provider.check(sold)).ended
    return [r async for chunk in provider.results(sold) for r in chunk]


@pytest.mark.parametrize(
    "text", ["hello", 'a "quoted" \\ line\nand another', "zażółć 🦊 \u2028", "", "x" * 100_000]
)
async def test_echo_answers_with_the_last_user_message_verbatim(text: str) -> None:
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "yes"},
        {"role": "user", "content": text},
    ]
    parts = [{"role": "user", "content": [{"type": "text", "text": text}]}]

    for body in ({"messages": messages}, {"messages": parts}):
        [result] = await answers(offer([body]))
        assert result.answer == text
        assert result.outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize(
    "body",
    [
        {"input": "hello"},
        {"input": [{"role": "user", "content": "hello"}]},
        {"input": [{"role": "user", "content": [{"type": "input_text", "text": "hello"}]}]},
    ],
)
async def test_echo_speaks_the_responses_endpoint(body: object) -> None:
    [result] = await answers(offer([body], "responses"))

    assert result.answer == "hello"


async def test_echo_embeds_into_a_small_fixed_vector() -> None:
    one, two = await answers(offer([{"input": "a"}, {"input": "b"}], "embeddings"))

    assert one.answer == two.answer == "[0.5,-0.25,0.125,0.75]"


async def test_a_row_may_have_thirty_megabytes() -> None:
    text = "long " * (6 << 20)

    [result] = await answers(offer(said(text)))

    assert result.answer == text


async def test_rows_come_back_in_another_order_and_each_once() -> None:
    results = await answers(offer(said(*"abcdefghij")))

    ids = [r.custom_id for r in results]
    assert sorted(ids) == [f"{SHARD}-{n}" for n in range(10)]
    assert ids != sorted(ids)
    assert {r.answer for r in results} == set("abcdefghij")
    assert all(r.cost_usd == 0 and r.usage is not None for r in results)


@pytest.mark.parametrize("failure", sorted(FAILURES))
@pytest.mark.parametrize("endpoint", ["chat", "responses"])
async def test_each_failure_comes_back_as_its_class(failure: Failure, endpoint: str) -> None:
    bodies = said("a") if endpoint == "chat" else [{"input": "a"}]

    results = await answers(offer(bodies, endpoint), Faults(failures={failure: 1.0}))

    if failure is Failure.MISSING:
        assert results == []
    elif failure is Failure.SCHEMA:  # judged by whoever has the schema
        assert results[0].answer == "not what the schema asks for"
    else:
        assert results[0].failure is failure


async def test_a_share_of_the_rows_fails_and_a_second_shard_has_new_luck() -> None:
    faults = Faults(failures={Failure.SERVER: 0.3, Failure.MISSING: 0.2})
    bodies = said(*map(str, range(1000)))

    first = await answers(offer(bodies), faults)
    again = await answers(offer(bodies), faults)
    other = await answers(offer(bodies, shard_id="batch_x-0002"), faults, seed=1)

    failed = Counter(r.failure for r in first)
    assert 240 < failed[Failure.SERVER] < 360
    assert 740 < len(first) < 860
    assert first == again
    assert [r.failure for r in first] != [r.failure for r in other]


async def test_a_cancel_keeps_what_was_finished_until_then() -> None:
    clock = SimClock()
    provider = SimProvider(clock, MemoryShelf(), turnaround_s=100.0)
    sold = await bought(provider, offer(said(*"abcdefghij")))
    clock.pass_by(40.0)

    await provider.cancel(sold)
    clock.pass_by(10.0)

    assert (await provider.check(sold)).ended
    results = [r async for chunk in provider.results(sold) for r in chunk]
    outcomes = Counter(r.outcome for r in results)
    assert outcomes[Outcome.SUCCEEDED] in range(3, 8)
    assert outcomes[Outcome.CANCELED] == 10 - outcomes[Outcome.SUCCEEDED]


async def test_a_lost_reply_was_sold_all_the_same_and_is_found_after_the_lag() -> None:
    clock = SimClock()
    faults = Faults(lost_replies=0.999, listing_lag_s=5.0)
    provider = SimProvider(
        clock, MemoryShelf(), faults, luck=lambda word: 0.0 if "submit" in word else 1.0
    )
    wanted = offer(said("a"))
    wanted = dataclasses.replace(wanted, ref=await provider.prepare(wanted))

    with pytest.raises(ProviderSilent):
        await provider.submit(wanted)

    assert await provider.find(wanted) == NotThere()
    clock.pass_by(5.0)
    assert await provider.find(wanted) == Accepted("simbatch_000001")


async def test_what_was_held_up_is_not_sent() -> None:
    clock = SimClock()
    provider = SimProvider(clock, MemoryShelf())
    ref = await provider.prepare(offer(said("a")))
    clock.pass_by(1.0)

    with pytest.raises(ProviderBusy):
        await provider.submit(offer(said("a"), ref=ref, send_before=0.5))

    assert not provider.shelf.sales()


BRAND = {"type": "object", "properties": {"brand": {"type": "string"}}, "required": ["brand"]}

# -- sim/json ------------------------------------------------------------------------------------


async def test_json_answers_with_an_instance_of_the_schema_that_is_asked_for() -> None:
    schema = BRAND
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    chat = {"messages": [], "response_format": form}
    responses = {"input": "a", "text": {"format": {"type": "json_schema", "schema": schema}}}

    for body, endpoint in ((chat, "chat"), (responses, "responses")):
        [result] = await answers(offer([body], endpoint, "json"))
        assert set(json.loads(result.answer or "")) == {"brand"}


async def test_json_calls_the_tool_it_is_forced_to() -> None:
    function = {"name": "note", "parameters": BRAND}
    body = {
        "messages": [],
        "tools": [{"type": "function", "function": function}],
        "tool_choice": {"type": "function", "function": {"name": "note"}},
    }

    [result] = await answers(offer([body], "chat", "json"))

    [call] = json.loads(result.body)["choices"][0]["message"]["tool_calls"]
    assert call["function"]["name"] == "note"
    assert set(json.loads(call["function"]["arguments"])) == {"brand"}


# -- settings ------------------------------------------------------------------------------------


def opened(folder: Path, options: dict[str, object], find_after_s: float = 0.2) -> SimProvider:
    knobs = Knobs(base_url="", find_after_s=find_after_s, options=options)
    context = Context(
        name="sim",
        lane="batch",
        knobs=knobs,
        clock=SimClock(),
        ids=Tokens(),
        http=None,
        folder=folder,
    )
    provider = spec("sim").open(context)
    assert isinstance(provider, SimProvider)
    return provider


class Tokens:
    def __init__(self) -> None:
        self.made = 0

    def token(self) -> str:
        self.made += 1
        return f"t{self.made}"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"turnaround": 1}, "Did you mean turnaround_s"),
        ({"turnaround_s": "soon"}, "expected seconds"),
        ({"turnaround_s": True}, "expected seconds"),
        ({"lost_replies": 2}, "a share from 0 to 1"),
        ({"order": "random"}, "shuffled, input or reversed"),
        ({"seed": 1.5}, "a whole number"),
        ({"failures": 0.5}, "expected a table"),
        ({"failures": {"servr": 0.1}}, "Did you mean server"),
        ({"failures": {"budget": 0.1}}, "no failure a provider can cause"),
        ({"failures": {"server": 0.6, "missing": 0.6}}, "at most 1"),
        ({"listing_lag_s": 5}, "find_after_s"),
    ],
)
def test_a_wrong_knob_is_named(tmp_path: Path, options: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidSetting, match=re.escape(words)) as caught:
        opened(tmp_path, options)
    assert str(caught.value).startswith("[providers.sim] ")


def test_every_fault_can_be_set(tmp_path: Path) -> None:
    chances = {f.name: 0.5 for f in dataclasses.fields(Faults) if f.type is float}
    del chances["listing_lag_s"]

    faults = opened(tmp_path, chances).faults

    assert all(getattr(faults, name) == 0.5 for name in chances)


# -- the shelf in a folder -------------------------------------------------------------------------


async def test_the_book_survives_and_is_read_by_others(tmp_path: Path) -> None:
    sold = await bought(opened(tmp_path, {}), offer(said("a", "b")))

    [sale] = FolderShelf(tmp_path).sales()

    assert (sale.upstream_id, sale.shard_id, sale.rows) == (sold.upstream_id, SHARD, 2)
    [line] = (tmp_path / "book.jsonl").read_text().splitlines()
    assert json.loads(line)["sold"] == sold.upstream_id
    assert len(FolderShelf(tmp_path).lines(sale.ref)) == 2


async def test_a_torn_line_of_the_book_was_never_sold(tmp_path: Path) -> None:
    await bought(opened(tmp_path, {}), offer(said("a")))
    with (tmp_path / "book.jsonl").open("ab") as book:
        book.write(b'{"sold":"simbatch_000002","sha')

    assert len(FolderShelf(tmp_path).sales()) == 1
    await bought(opened(tmp_path, {}), offer(said("a"), shard_id="batch_x-0002"))

    assert [s.upstream_id for s in FolderShelf(tmp_path).sales()] == [
        "simbatch_000001",
        "simbatch_000002",
    ]


BUYER = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_sim as t
async def main():
    provider = t.opened(Path(sys.argv[2]), {})
    for n in range(20):
        await t.bought(provider, t.offer(t.said("a"), shard_id=f"batch_{sys.argv[3]}-{n:04d}"))
asyncio.run(main())
"""


def test_processes_share_one_book(tmp_path: Path) -> None:
    here = str(Path(__file__).parent)
    buyers = [
        subprocess.Popen([sys.executable, "-c", BUYER, here, str(tmp_path), name], env=os.environ)
        for name in ("a", "b", "c")
    ]
    assert [buyer.wait() for buyer in buyers] == [0, 0, 0]

    sales = FolderShelf(tmp_path).sales()

    assert len({s.upstream_id for s in sales}) == len({s.shard_id for s in sales}) == 60


async def test_an_embedding_of_several_texts_has_several_vectors() -> None:
    [result] = await answers(
        offer([{"input": ["a", "b"], "encoding_format": "base64"}], "embeddings")
    )

    assert len(json.loads(result.body)["data"]) == 2
    assert OPENAI_EMBEDDINGS in spec("sim").dialects


async def test_the_live_lane_answers_and_keeps_a_book(tmp_path: Path) -> None:
    class RealClock(SimClock):
        async def sleep(self, seconds: float) -> None:
            await asyncio.sleep(0)

    knobs = Knobs(base_url="", options={"turnaround_s": 0.0})
    context = Context(
        name="sim",
        lane="live",
        knobs=knobs,
        clock=RealClock(),
        ids=Tokens(),
        http=None,
        folder=tmp_path,
    )
    provider: Any = spec("sim").open(context)
    sold = await bought(provider, offer(said("a", "b")))
    while True:
        if (await provider.check(sold)).ended:
            break
        await asyncio.sleep(0.01)

    results = [r async for chunk in provider.results(sold) for r in chunk]
    await provider.aclose()

    assert {r.custom_id: r.answer for r in results} == {f"{SHARD}-0": "a", f"{SHARD}-1": "b"}
    assert len((tmp_path / "live.jsonl").read_text().splitlines()) == 2
