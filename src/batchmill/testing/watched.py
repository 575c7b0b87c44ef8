"""Parts of a simulated world that remember, for the auditor, what passed through them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from batchmill.core.batch import Batch
from batchmill.core.failure import Failure
from batchmill.core.shard import Shard
from batchmill.errors import ProviderRefused
from batchmill.ports import Checked, Found, Offer
from batchmill.providers.sim import SimProvider
from batchmill.testing.auditor import Errand, Watch
from batchmill.testing.store import MemoryStore


class CountingIds:
    """`ports.Ids`, one after the other."""

    def __init__(self, who: str) -> None:
        self._who, self._made = who, 0

    def batch(self) -> str:
        self._made += 1
        return f"batch_{self._who}{self._made}"

    def token(self) -> str:
        self._made += 1
        return f"{self._who}x{self._made}"


class WatchedProvider(SimProvider):
    """Tells the errand of the moment what the provider said to it."""

    errand: Errand
    watch: Watch

    async def prepare(self, offer: Offer) -> str:
        with _noting(self.errand):
            return await super().prepare(offer)

    async def submit(self, offer: Offer) -> str:
        errand = self.errand
        self.watch.offering(errand)
        with _noting(errand):
            errand.heard = await super().submit(offer)
        return errand.heard

    async def find(self, offer: Offer) -> Found:
        with _noting(self.errand):
            return await super().find(offer)

    async def check(self, offer: Offer) -> Checked:
        with _noting(self.errand):
            return await super().check(offer)

    async def cancel(self, offer: Offer) -> None:
        self.watch.cancelling(offer.shard_id, offer.upstream_id or "")
        await super().cancel(offer)

    async def tidy(self, offer: Offer) -> None:
        self.watch.tidying(offer.shard_id)
        await super().tidy(offer)


@contextmanager
def _noting(errand: Errand) -> Iterator[None]:
    try:
        yield
    except ProviderRefused as refusal:
        errand.account |= refusal.failure == Failure.ACCOUNT
        raise


class PersonsStore(MemoryStore):
    """A store that remembers which shards a person asked for."""

    asked: list[Shard]

    async def replan(self, batch: Batch, shards: Sequence[Shard]) -> None:
        self.asked.extend(shards)
        await super().replan(batch, shards)
