"""A house in memory in front of one vendor on loopback: real calls, and waits that take no time."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import msgspec
import pytest
from tests.fakes.vendor import FakeVendor, Sold

from batchmill import providers
from batchmill.core.batch import Batch, Counts, Recipe, Source, count
from batchmill.core.failure import Failure, Patience
from batchmill.core.outcome import Result
from batchmill.core.request import DIALECTS
from batchmill.core.shard import Shard, State
from batchmill.errors import Overtaken
from batchmill.ports import Supplier
from batchmill.providers import Context, Knobs
from batchmill.providers._http import AiohttpClient
from batchmill.service.advance import Advancer
from batchmill.service.create import Creator, Wish
from batchmill.testing.life import CountingIds
from batchmill.testing.rows import MemoryRows, Shelves
from batchmill.testing.store import MemoryStore

#: What a vendor's protocol rules out: (vendor, test) -> why.
RULED_OUT: dict[tuple[str, str], str] = {
    ("anthropic", "refused"): "a bad row fails alone: params are looked at row by row",
    ("gemini", "expired"): "an expired batch returns nothing",
    ("openrouter", "cancelled"): "a batch cannot be cancelled",
    ("openrouter", "expired"): "results come with completion only",
}

promise = pytest.mark.promise

ROWS = 8
TIMEOUT_S = 2.0
#: A life of eight rows that takes more steps than this will never end.
STEPS_MAX = 3_000


@dataclass
class LeapClock:
    """The machine's time, and whatever was waited for on top of it."""

    leapt_s: float = 0.0

    def now(self) -> float:
        return time.time() + self.leapt_s

    def awake(self) -> float:
        return time.monotonic() + self.leapt_s

    async def sleep(self, seconds: float) -> None:
        self.leapt_s += seconds
        await asyncio.sleep(0)


@dataclass
class VendorTown:
    """One vendor, and a house that buys from it. *find_after_s* is what a look-up waits."""

    vendor: FakeVendor
    folder: Path
    find_after_s: float = 60.0
    keep_upstream: bool = False
    clock: LeapClock = field(default_factory=LeapClock)
    store: MemoryStore = field(default_factory=MemoryStore)
    shelves: Shelves = field(default_factory=Shelves)

    async def __aenter__(self) -> Self:
        self.vendor.now = self.clock.now
        await self.vendor.up()
        self.client = AiohttpClient(self.clock)
        self.spec = providers.spec(self.vendor.name)
        self.ids = CountingIds("t")
        self.rows = MemoryRows({"t": [""] * ROWS}, None, self.shelves)
        self._suppliers: dict[str, Supplier] = {}
        self.opened: list[object] = []
        return self

    async def __aexit__(self, *_: object) -> None:
        for provider in self.opened:
            if (close := getattr(provider, "aclose", None)) is not None:
                await close()
        await self.client.aclose()
        await self.vendor.down()

    # -- what a person does -------------------------------------------------------------------

    async def batch(self, *prompts: str) -> Batch:
        """Accept a table of these prompts; eight that say something, if there are none."""
        said = prompts or tuple(f"say {n}" for n in range(ROWS))
        self.rows = MemoryRows({"t": said}, None, self.shelves)
        dialect = self.spec.dialect(self.spec, "chat", self.vendor.model)
        assert dialect is not None, "it has a chat endpoint"
        recipe = Recipe(model=self.vendor.model, dialect=dialect, url=DIALECTS[dialect].url)
        creator = Creator(
            clock=self.clock,
            ids=self.ids,
            store=self.store,
            rows=self.rows,
            suppliers=self.supplier,
        )
        wish = Wish(
            provider=self.vendor.name,
            lane="batch",
            recipe=recipe,
            source=Source(url="t", format="csv"),
        )
        draft = creator.draft(wish)
        bodies = tuple(msgspec.json.encode(self.vendor.body(text)) for text in said)
        self.shelves.requests[draft.batch.id] = bodies
        return await creator.accept(draft)

    def supplier(self, provider: str, lane: str) -> Supplier:
        if lane not in self._suppliers:
            knobs = Knobs(
                base_url=self.vendor.base_url,
                key=self.vendor.key,
                timeout_s=TIMEOUT_S,
                idle_timeout_s=5.0,
                poll_s=1.0,
                find_after_s=self.find_after_s,
                options=self.vendor.options,
            )
            context = Context(
                name=self.vendor.name,
                lane=lane,
                knobs=knobs,
                clock=self.clock,
                ids=self.ids,
                http=lambda: self.client,
                folder=self.folder / lane,
            )
            opened = self.spec.open(context)
            self.opened.append(opened)
            self._suppliers[lane] = Supplier(
                provider=opened,
                limits=replace(self.spec.limits, requests_max=ROWS, requests_min=1),
                poll_s=knobs.poll_s,
                timeout_s=knobs.timeout_s,
                find_after_s=self.find_after_s,
                account="one" if self.spec.unmarked else "",
                keep_upstream=self.keep_upstream,
            )
        return self._suppliers[lane]

    # -- what the house does ------------------------------------------------------------------

    def worker(self, name: str = "w") -> Advancer:
        return Advancer(
            clock=self.clock,
            ids=CountingIds(name),
            store=self.store,
            rows=self.rows,
            suppliers=self.supplier,
            patience=Patience(wait_s=1.0),
            owner=name,
        )

    async def until(self, batch: Batch, reached: Callable[[Sequence[Shard]], bool]) -> None:
        """Do what is due, and let time leap, until the batch's shards are as wished."""
        worker = self.worker()
        for _ in range(STEPS_MAX):
            if reached(await self.store.shards(batch.id)):
                return
            due = await self.store.due(self.clock.now())
            for shard_id in due:
                try:
                    await worker.advance(shard_id)
                except Overtaken:
                    continue
                if reached(await self.store.shards(batch.id)):
                    return
            if not due:
                at = await self.store.next_due(self.clock.now())
                held = (await self.store.batch(batch.id)).held
                assert at is not None, f"nobody will ever move it again; held: {held!r}"
                self.clock.leapt_s += max(0.0, at - self.clock.now()) + 0.001
        raise AssertionError(f"it never comes to that: {await self.store.shards(batch.id)}")

    async def finished(self, batch: Batch) -> Counts:
        """Work until nothing of the batch is open any more, not even the tidying up."""
        await self.until(batch, lambda shards: not any(shard.open for shard in shards))
        assert not self.vendor.unknown, self.vendor.unknown
        assert not self.vendor.complaints, self.vendor.complaints
        return count(batch, await self.store.shards(batch.id))

    async def rows_of(self, batch: Batch) -> Mapping[int, Result]:
        """Return the last word on each row."""
        found: dict[int, Result] = {}
        for shard in await self.store.shards(batch.id):
            found |= self.shelves.kept.get((batch.id, shard.kept), {})
            words = {f: r for f, r in shard.tally.failed.items() if not shard.kept}
            assert not words or set(words) <= {Failure.NOT_RUN}, "refused before it was sold"
        return found

    def bought(self) -> Counter[str]:
        """Return how often each prompt was really run, as the vendor has it in its books."""
        run: Counter[str] = Counter()
        for sold in self.vendor.ours:
            if not self.vendor.refusal_of(sold):
                run.update(self._prompts(sold))
        return run

    def _prompts(self, sold: Sold) -> list[str]:
        return [self.vendor.text_of(body) for body in sold.requests.values()]


def unless_ruled_out(town: VendorTown, what: str) -> None:
    if why := RULED_OUT.get((town.vendor.name, what)):
        pytest.skip(why)


async def all_well(town: VendorTown, batch: Batch) -> None:
    """Finish the batch: every row answered, and bought once."""
    counts = await town.finished(batch)
    assert counts.succeeded == batch.rows
    assert set(town.bought().values()) == {1}
    assert len(town.bought()) == batch.rows
    answers = await town.rows_of(batch)
    assert {row: result.answer for row, result in answers.items()} == {
        row: f"say {row}" for row in range(batch.rows)
    }


async def ended_shard(town: VendorTown, batch: Batch) -> Shard:
    """Return the first shard as it is once it is settled."""
    await town.until(batch, lambda shards: shards[0].state is State.SETTLED)
    return (await town.store.shards(batch.id))[0]
