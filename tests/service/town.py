"""A town in memory: a store, a vendor and a clock, for tests of the verbs."""

from collections.abc import Callable

from batchmill.core.batch import Batch, Recipe, Source
from batchmill.core.failure import Patience
from batchmill.core.limits import MIB, Limits
from batchmill.errors import (
    MissingKey,
    ProviderError,
)
from batchmill.ports import Offer, Supplier
from batchmill.providers._sim_shelf import MemoryShelf
from batchmill.providers._sim_weather import SUNNY, Faults
from batchmill.providers.sim import SimProvider
from batchmill.service.advance import Advancer
from batchmill.service.create import Creator, Wish
from batchmill.service.inspect import Inspector, View
from batchmill.testing.clock import SimClock
from batchmill.testing.life import CountingIds
from batchmill.testing.rows import MemoryRows
from batchmill.testing.store import MemoryStore


class Somebody:
    """A turn that somebody else holds, or that nobody does."""

    def __init__(self) -> None:
        self.alive = True

    async def take(self) -> bool:
        return False

    async def give_up(self) -> None:
        return

    async def last_seen(self) -> tuple[bool, float | None]:
        return self.alive, None


class Town:
    """A store, a vendor and a clock; `step` takes whatever is due one step further."""

    def __init__(self, faults: Faults = SUNNY, rows: int = 4) -> None:
        self.clock, self.store, self.turn = SimClock(), MemoryStore(), Somebody()
        self.shelf = MemoryShelf()
        self.provider = SimProvider(self.clock, self.shelf, faults, turnaround_s=100.0)
        self.rows = MemoryRows({"t": [f"prompt {i}" for i in range(rows)]})
        self.ids = CountingIds("a")
        self.lacking: MissingKey | None = None
        self.advancer = Advancer(
            clock=self.clock,
            ids=self.ids,
            store=self.store,
            rows=self.rows,
            suppliers=self.supplier,
            patience=Patience(wait_s=10.0),
            owner="me",
        )

    def supplier(self, provider: str, lane: str) -> Supplier:
        if self.lacking:
            raise self.lacking
        return Supplier(
            provider=self.provider,
            limits=Limits(requests_max=2, bytes_max=MIB, request_bytes_max=MIB // 2),
            poll_s=30.0,
            timeout_s=5.0,
            find_after_s=20.0,
        )

    async def batch(self, **wish: object) -> Batch:
        creator = Creator(
            clock=self.clock,
            ids=self.ids,
            store=self.store,
            rows=self.rows,
            suppliers=self.supplier,
        )
        facts = {"provider": "sim", "lane": "batch", "recipe": Recipe(model="echo")}
        draft = creator.draft(Wish(source=Source(url="t", format="csv"), **{**facts, **wish}))
        return await creator.accept(draft)

    async def step(self) -> bool:
        due = await self.store.due(self.clock.now())
        for shard_id in due:
            await self.advancer.advance(shard_id)
        return bool(due)

    async def until(self, reached: Callable[[View], bool], batch: Batch) -> View:
        for _ in range(300):
            view = await self.view(batch)
            if reached(view):
                return view
            if not await self.step():
                at = await self.store.next_due(self.clock.now())
                assert at is not None, f"nobody will ever move {view.shards}"
                self.clock.pass_by(at - self.clock.now() + 0.001)
        raise AssertionError("it never came to that")

    async def view(self, batch: Batch) -> View:
        inspector = Inspector(clock=self.clock, store=self.store, turn=self.turn)
        return await inspector.view(batch.id)

    async def finished(self, batch: Batch) -> View:
        return await self.until(lambda view: view.finished, batch)

    def fails(self, verb: str, *errors: ProviderError) -> None:
        """Let the provider's next calls of *verb* fail, before they have any effect."""
        real, left = getattr(self.provider, verb), list(errors)

        async def call(offer: Offer) -> object:
            if left:
                raise left.pop(0)
            return await real(offer)

        setattr(self.provider, verb, call)
