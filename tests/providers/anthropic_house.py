"""Anthropic's provider in front of its fake, and shards in its dialect."""

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.fakes.anthropic import FakeAnthropic
from tests.providers.openai_family import Desk, desk

from batchmill.core.outcome import Result
from batchmill.core.request import ANTHROPIC_MESSAGES
from batchmill.ports import Offer

HOUR = 3600.0


@dataclasses.dataclass
class House:
    at: Desk
    fake: FakeAnthropic

    def offer(self, *texts: str, **more: Any) -> Offer:
        bodies = [self.fake.body(text) for text in texts or ("say 0", "say 1", "say 2")]
        return self.at.offer(bodies=bodies, dialect=ANTHROPIC_MESSAGES, **more)

    async def bought(self, *texts: str) -> Offer:
        return await self.at.bought(self.offer(*texts))

    async def ended(self, *texts: str) -> Offer:
        offer = await self.bought(*texts)
        while not (await self.at.provider.check(offer)).ended:
            pass
        return offer

    async def results(self, offer: Offer) -> dict[int, Result]:
        return await self.at.results(offer)


def aged(offer: Offer, by_s: float = HOUR) -> Offer:
    """Return the offer as if it had been submitted long ago."""
    assert offer.submitted_at is not None
    return dataclasses.replace(offer, submitted_at=offer.submitted_at - by_s)


@asynccontextmanager
async def open_house(folder: Path) -> AsyncIterator[House]:
    """Open it; on leaving, the vendor must not have had to complain."""
    fake = FakeAnthropic()
    async with desk("anthropic", folder, fake=fake) as opened:
        yield House(opened, fake)
    assert fake.complaints == []
    assert fake.unknown == []
