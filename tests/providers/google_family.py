"""Gemini and Vertex in front of their fakes: offers in their own dialect."""

from typing import Any

from tests.providers.openai_family import Desk

from batchmill.core.outcome import Result
from batchmill.ports import Offer


def offer(at: Desk, *texts: str, **more: Any) -> Offer:
    """Return a shard that asks *texts*, one a row."""
    assert at.fake is not None
    bodies = more.pop("bodies", None) or [at.fake.body(text) for text in texts]
    return at.offer(bodies=bodies, **({"dialect": "gemini.generate"} | more))


async def answers(at: Desk, *texts: str, **more: Any) -> list[Result]:
    found = await at.results(await at.ended(offer(at, *texts, **more)))
    return [found[row] for row in sorted(found)]
