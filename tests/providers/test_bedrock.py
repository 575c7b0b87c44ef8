"""What is particular to Bedrock: S3 on both sides, signatures, tokens, and two tongues."""

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.bedrock import FakeBedrock, FakeConverse
from tests.providers.openai_family import SHARD, Desk, desk

from batchmill.core.outcome import Result
from batchmill.core.request import ANTHROPIC_MESSAGES, BEDROCK_CONVERSE
from batchmill.core.shard import Accepted, NotThere
from batchmill.ports import Offer


@dataclasses.dataclass
class House:
    at: Desk
    fake: FakeBedrock

    def offer(self, *texts: str, **more: Any) -> Offer:
        claude = "anthropic." in self.at.model
        dialect = ANTHROPIC_MESSAGES if claude else BEDROCK_CONVERSE
        bodies = [self.fake.body(text) for text in texts or ("say 0", "say 1", "say 2")]
        return self.at.offer(**({"bodies": bodies, "dialect": dialect} | more))

    async def ended(self, *texts: str, **more: Any) -> Offer:
        return await self.at.ended(self.offer(*texts, **more))

    async def answers(self, *texts: str, **more: Any) -> list[Result]:
        found = await self.at.results(await self.ended(*texts, **more))
        return [found[row] for row in sorted(found)]


@asynccontextmanager
async def open_house(folder: Path, *, converse: bool = False, **options: Any):
    """Open it; on leaving, the vendor must not have had to complain."""
    fake = FakeConverse() if converse else FakeBedrock()
    async with desk("bedrock", folder, fake=fake, **options) as opened:
        yield House(opened, fake)
    assert fake.unknown == []


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path) as opened:
        yield opened
    assert opened.fake.complaints == []


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path, converse=True) as opened:
        yield opened
    assert opened.fake.complaints == []


async def test_a_shard_travels_through_a_bucket_under_its_token(house: House) -> None:
    answers = await house.answers("one", "zwei", "🦊")

    assert [a.answer for a in answers] == ["one", "zwei", "🦊"]
    [sold] = house.fake.sold
    assert sold.mark == "batch-x-0001"
    assert list(sold.requests) == ["R0000000000", "R0000000001", "R0000000002"]
    assert "model" not in sold.requests["R0000000000"]
    assert sold.facts["job"]["modelInvocationType"] == "InvokeModel"
    assert house.fake.calls["create"] == 1


async def test_other_families_are_spoken_to_in_converse(other: House) -> None:
    answers = await other.answers("one", "fail truncated", "fail refused", "fail too_long")

    assert [(a.answer, a.failure) for a in answers] == [
        ("one", None),
        ("fail truncated", "truncated"),
        ("fail refused", "refused"),
        (None, "too_long"),
    ]
    assert answers[0].model == other.fake.model
    assert other.fake.sold[0].facts["job"]["modelInvocationType"] == "Converse"


async def test_a_lost_create_is_found_by_its_token_among_strangers(house: House) -> None:
    offer = await house.at.prepared(house.offer())
    assert isinstance(await house.at.provider.find(offer), NotThere)
    for _ in range(3):
        house.fake.stranger(3)
    arn = await house.at.provider.submit(offer)

    assert await house.at.provider.find(offer) == Accepted(arn)
    assert SHARD not in arn
