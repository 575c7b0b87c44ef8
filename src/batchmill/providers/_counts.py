"""A vendor's own counts of a batch: how far it is, and whether its result files can be believed."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import TypeVar

from batchmill.core.shard import Progress
from batchmill.errors import ProviderBroke, ProviderBusy
from batchmill.ports import Offer

T = TypeVar("T")


def progress(offer: Offer, succeeded: int, errored: int, note: str = "") -> Progress:
    """Return how far a batch is, as the vendor counts it, and never more than there are rows."""
    done = min(max(succeeded, 0), offer.count)
    failed = min(max(errored, 0), offer.count - done)
    return Progress(succeeded=done, errored=failed, note=note)


def must_have_ended(ended: bool, name: str, state: str) -> None:
    """Raise `ProviderBusy` for a batch that was said to have ended, and now has not."""
    if not ended:
        raise ProviderBusy(f"{name}: it had ended, and is {state or 'under way'} now", retry_at=0.0)


async def filled(
    chunks: AsyncIterator[Sequence[T]], counted: int, name: str
) -> AsyncGenerator[Sequence[T]]:
    """Pass on what a file holds; raise `ProviderBroke` for nothing where so many are counted."""
    anything = False
    async for chunk in chunks:
        anything = anything or bool(chunk)
        yield chunk
    if counted > 0 and not anything:
        raise ProviderBroke(f"{name} is empty, though {counted:,} rows were run")
