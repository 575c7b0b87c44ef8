"""A provider of OpenAI's family in front of its fake, and a shard to offer it."""

import dataclasses
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.fakes import fake as new_fake
from tests.fakes.vendor import FakeVendor

from batchmill import providers
from batchmill.core.outcome import Result
from batchmill.core.request import DIALECTS, Request, custom_id_of
from batchmill.ports import Offer, Provider
from batchmill.providers import Context, Knobs
from batchmill.providers._http import AiohttpClient
from batchmill.wiring import SystemClock

SHARD = "batch_x-0001"


class Words:
    def __init__(self) -> None:
        self.made = 0

    def batch(self) -> str:
        return "batch_x"

    def token(self) -> str:
        self.made += 1
        return f"token{self.made}"


@dataclass
class Desk:
    """One provider, opened for one lane."""

    provider: Provider
    fake: FakeVendor | None
    model: str
    clock: SystemClock = field(default_factory=SystemClock)

    def offer(self, *texts: str, bodies: Sequence[Any] | None = None, **more: Any) -> Offer:
        asked = [self._body(text) for text in texts] if bodies is None else bodies
        dialect = more.setdefault("dialect", "openai.chat")
        shard_id = more.setdefault("shard_id", SHARD)

        async def requests() -> AsyncIterator[Sequence[Request]]:
            for row, body in enumerate(asked):
                yield [Request(custom_id_of(shard_id, row), msgspec.json.encode(body))]

        facts = {"url": DIALECTS[dialect].url, "model": self.model, "count": len(asked)}
        facts["send_before"] = self.clock.awake() + 20.0
        return Offer(**(facts | {"requests": requests} | more))

    def _body(self, text: str) -> dict[str, Any]:
        return {"model": self.model, "messages": [{"role": "user", "content": text}]}

    async def prepared(self, offer: Offer) -> Offer:
        ref = await self.provider.prepare(offer)
        return dataclasses.replace(offer, ref=ref, submitted_at=self.clock.now())

    async def bought(self, offer: Offer) -> Offer:
        offer = await self.prepared(offer)
        return dataclasses.replace(offer, upstream_id=await self.provider.submit(offer))

    async def ended(self, offer: Offer) -> Offer:
        """Buy it and wait for its end."""
        offer = await self.bought(offer)
        for _ in range(1000):
            if (await self.provider.check(offer)).ended:
                return offer
            await self.clock.sleep(0.005)
        raise AssertionError("it never ends")

    async def results(self, offer: Offer) -> dict[int, Result]:
        found = [r async for chunk in self.provider.results(offer) for r in chunk]
        assert len({r.custom_id for r in found}) == len(found)
        return {int(r.custom_id.rpartition("-")[2]): r for r in found}

    async def answers(self, *texts: str, **more: Any) -> list[Result]:
        found = await self.results(await self.ended(self.offer(*texts, **more)))
        return [found[row] for row in sorted(found)]


@asynccontextmanager
async def desk(
    name: str,
    folder: Path,
    *,
    lane: str = "batch",
    base_url: str = "",
    model: str = "",
    fake: FakeVendor | None = None,
    **options: Any,
) -> AsyncIterator[Desk]:
    """Open a provider against its fake, or against another *base_url*."""
    if fake is None and not base_url:
        fake = new_fake(name)
    if fake is not None:
        await fake.up()
        options = fake.options | options
    clock = SystemClock()
    client, spec = AiohttpClient(clock), providers.spec(name)
    knobs = Knobs(
        base_url=base_url or (fake.base_url if fake else ""),
        key=options.pop("key", fake.key if fake else "sk-test"),
        timeout_s=options.pop("timeout_s", 5.0),
        idle_timeout_s=5.0,
        poll_s=0.01,
        find_after_s=0.0,
        options=options,
    )
    context = Context(
        name=name,
        lane=lane,
        knobs=knobs,
        clock=clock,
        ids=Words(),
        http=lambda: client,
        folder=folder / name,
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(client.aclose)
        if fake is not None:
            stack.push_async_callback(fake.down)
        provider = spec.open(context)
        if (close := getattr(provider, "aclose", None)) is not None:
            stack.push_async_callback(close)
        yield Desk(provider, fake, model or (fake.model if fake else "m"), clock)


def shop_at(name: str) -> Any:
    """Make the fixture `shop`: a provider in front of the fixture `vendor`, which is its fake."""

    @pytest.fixture
    async def shop(vendor: FakeVendor, tmp_path: Path) -> AsyncIterator[Desk]:
        async with desk(name, tmp_path, fake=vendor) as made:
            yield made

    return shop


def house_at(name: str, made: type[FakeVendor]) -> Any:
    """Make the fixture `house`: a provider and its fake, which in the end has seen no mistake."""

    @pytest.fixture
    async def house(tmp_path: Path) -> AsyncIterator[tuple[Desk, FakeVendor]]:
        fake = made()
        async with desk(name, tmp_path, fake=fake) as opened:
            yield opened, fake
        assert fake.complaints == []
        assert fake.unknown == []

    return house
