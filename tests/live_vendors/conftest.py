"""Lets the tests of this folder, and no others, reach the vendors: where that is wished for."""

import asyncio
import os
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from tests.live_vendors.vendors import LANES, WAIT_S, Vendor, bill

from batchmill.core.outcome import Result
from batchmill.core.request import DIALECTS, Request, custom_id_of
from batchmill.core.shard import Accepted
from batchmill.errors import NotSent, ProviderBusy, ProviderSilent
from batchmill.ports import Checked, Found, Offer, Provider
from batchmill.providers import Context
from batchmill.providers._http import AiohttpClient
from batchmill.wiring import SystemClock, SystemIds

T = TypeVar("T")


@dataclass
class LiveShard:
    """A shard of a few rows, and the provider it is offered to."""

    vendor: Vendor
    provider: Provider
    clock: SystemClock
    shard_id: str
    wait_s: float  #: how long a batch is waited for, and after that its cancelling
    #: What was bought, and is not tidied up yet.
    open: dict[str, Offer] = field(default_factory=dict[str, Offer])

    @property
    def names(self) -> set[str]:
        return {custom_id_of(self.shard_id, row) for row in range(self.vendor.rows)}

    def offer(self, shard_id: str | None = None) -> Offer:
        named = shard_id or self.shard_id

        async def requests() -> AsyncIterator[Sequence[Request]]:
            rows = range(self.vendor.rows)
            yield [Request(custom_id_of(named, row), self.vendor.body(row)) for row in rows]

        dialect = self.vendor.dialect
        return Offer(
            shard_id=named,
            dialect=dialect,
            url=DIALECTS[dialect].url,
            model=self.vendor.model,
            count=self.vendor.rows,
            requests=requests,
            window_s=86_400.0,
        )

    async def bought(self) -> Offer:
        """Prepare and submit. A lost answer is looked up, as the house does it: never sent twice."""
        offer = self.offer()
        offer = replace(offer, ref=await self.patiently(lambda: self.provider.prepare(offer)))
        offer = replace(offer, submitted_at=self.clock.now())

        async def submit() -> str:
            ready_s = self.vendor.spec.timeout_s + self.vendor.spec.leave_within_s
            in_time = replace(offer, send_before=self.clock.awake() + ready_s)
            return await self.provider.submit(in_time)

        try:
            upstream_id = await self.patiently(submit)
        except ProviderSilent:
            found = await self.found(offer)
            assert isinstance(found, Accepted), f"nobody knows whether it was bought: {found}"
            assert not found.provisional, f"it may be {found.upstream_id}, or somebody else's"
            upstream_id = found.upstream_id
        self.open[upstream_id] = replace(offer, upstream_id=upstream_id)
        return self.open[upstream_id]

    async def found(self, offer: Offer) -> Found:
        """Look it up until it is there, or its list cannot lag any more."""
        lost = replace(offer, upstream_id=None)
        until = self.clock.awake() + self.vendor.spec.listing_lag_s + 60.0
        while True:
            found = await self.patiently(lambda: self.provider.find(lost))
            if isinstance(found, Accepted) or self.clock.awake() > until:
                return found
            await asyncio.sleep(self.vendor.knobs.poll_s)

    async def ended(self, offer: Offer) -> Checked:
        """Ask how far it is until it has ended, or it was waited for long enough."""
        until = self.clock.awake() + self.wait_s
        while True:
            checked = await self.patiently(lambda: self.provider.check(offer))
            done = checked.progress.succeeded + checked.progress.errored
            assert 0 <= done <= self.vendor.rows
            if checked.ended or self.clock.awake() > until:
                return checked
            await asyncio.sleep(self.vendor.knobs.poll_s)

    async def results(self, offer: Offer) -> list[Result]:
        async def read() -> list[Result]:
            stream: Any = self.provider.results(offer)
            async with aclosing(stream) as chunks:
                return [result async for chunk in chunks for result in chunk]

        return await self.patiently(read)

    async def tidied(self, offer: Offer) -> None:
        await self.patiently(lambda: self.provider.tidy(offer))
        self.open.pop(offer.upstream_id or "", None)

    async def left(self) -> None:
        """Stop what a failed test has left, so that nobody pays for it; its name is shown."""
        for upstream_id, offer in self.open.items():
            print(f"left at {self.vendor.name}: {upstream_id}; asked to stop")
            await self.provider.cancel(offer)

    async def patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call until it is answered: `ProviderBusy` and `NotSent` are a no for the moment."""
        until = self.clock.awake() + self.wait_s
        while True:
            try:
                return await call()
            except (ProviderBusy, NotSent):
                if self.clock.awake() > until:
                    raise
            await asyncio.sleep(self.vendor.knobs.poll_s)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Show no arguments in the traceback of a failure here: keys are among them."""
    before = item.config.option.tbstyle, item.config.option.showlocals
    item.config.option.tbstyle, item.config.option.showlocals = "short", False
    try:
        return (yield)
    finally:
        item.config.option.tbstyle, item.config.option.showlocals = before


@pytest.fixture(scope="session")
def given(nobodys_keys: Mapping[str, str]) -> Mapping[str, str]:
    """The environment with what is stripped from it for all other tests."""
    return {**os.environ, **nobodys_keys}


@pytest.fixture(scope="session")
def _announced(given: Mapping[str, str], pytestconfig: pytest.Config) -> None:
    """Say what it will cost at most, before anything is bought."""
    capture: Any = pytestconfig.pluginmanager.getplugin("capturemanager")
    if words := bill(given, time.time()):
        with capture.global_and_fixture_disabled():
            print(f"\nlive vendors, from tokens counted too high:\n{words}", flush=True)


@pytest.fixture
def beyond(vendor: Vendor, loopback_only: Any) -> Iterator[None]:
    """Lift the guard for one test, which is about a vendor that may be asked."""
    loopback_only.lifted = True
    yield
    loopback_only.lifted = False


@pytest.fixture(params=LANES, ids=["-".join(lane) for lane in LANES])
def vendor(request: pytest.FixtureRequest, given: Mapping[str, str]) -> Vendor:
    name, lane = request.param
    found = Vendor(name, lane, given)
    if missing := found.missing():
        pytest.skip(missing)
    return found


@pytest.fixture
async def live(
    vendor: Vendor, _announced: None, beyond: None, tmp_path: Path
) -> AsyncIterator[LiveShard]:
    clock, ids = SystemClock(), SystemIds()
    client = AiohttpClient(clock)
    context = Context(
        name=vendor.name,
        lane=vendor.lane,
        knobs=vendor.knobs,
        clock=clock,
        ids=ids,
        http=lambda: client,
        folder=tmp_path / "providers" / vendor.name,
    )
    provider = vendor.spec.open(context)
    wait_s = float(vendor.given.get(WAIT_S, "1200"))
    shard = LiveShard(vendor, provider, clock, f"{ids.batch()}-0001", wait_s)
    yield shard
    try:
        await shard.left()
    finally:
        if (close := getattr(provider, "aclose", None)) is not None:
            await close()
        await client.aclose()
