"""Bedrock's provider in front of its fake, and shards in the dialect of its model."""

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.fakes.bedrock import FakeBedrock, FakeConverse
from tests.providers.openai_family import Desk, desk

from batchmill.core.outcome import Result
from batchmill.core.request import ANTHROPIC_MESSAGES, BEDROCK_CONVERSE
from batchmill.ports import Offer

HOUR = 3600.0


@dataclasses.dataclass
class House:
    at: Desk
    fake: FakeBedrock

    def offer(self, *texts: str, **more: Any) -> Offer:
        claude = "anthropic." in self.fake.model
        dialect = ANTHROPIC_MESSAGES if claude else BEDROCK_CONVERSE
        bodies = [self.fake.body(text) for text in texts or ("say 0", "say 1", "say 2")]
        return self.at.offer(**({"bodies": bodies, "dialect": dialect} | more))

    async def bought(self, *texts: str, **more: Any) -> Offer:
        return await self.at.bought(self.offer(*texts, **more))

    async def ended(self, *texts: str, **more: Any) -> Offer:
        return await self.at.ended(self.offer(*texts, **more))

    async def answers(self, *texts: str, **more: Any) -> list[Result]:
        found = await self.at.results(await self.ended(*texts, **more))
        return [found[row] for row in sorted(found)]


def aged(offer: Offer, by_s: float = HOUR) -> Offer:
    """Return the offer as if it had been submitted long ago."""
    assert offer.submitted_at is not None
    return dataclasses.replace(offer, submitted_at=offer.submitted_at - by_s)


@asynccontextmanager
async def open_house(
    folder: Path, *, converse: bool = False, **options: Any
) -> AsyncIterator[House]:
    """Open it; on leaving, nothing must have been asked that the vendor does not have."""
    fake = FakeConverse() if converse else FakeBedrock()
    async with desk("bedrock", folder, fake=fake, **options) as opened:
        yield House(opened, fake)
    assert fake.unknown == []
