"""The loop: works when it is its turn, watches otherwise, and stops without cutting anything short."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from batchmill.core.batch import Batch, Recipe, Source
from batchmill.core.rowset import row_range
from batchmill.core.shard import Dropped, Shard
from batchmill.engine.loop import Loop
from batchmill.errors import Overtaken, StorageTrouble
from batchmill.testing.store import MemoryStore

BATCH = Batch(
    id="b",
    created_at=0.0,
    provider="sim",
    lane="batch",
    recipe=Recipe(model="echo"),
    source=Source(url="t.csv", format="csv"),
    rows=9,
)


class QuickClock:
    """The event loop's own time; sleeping gives way, and is over at once."""

    def now(self) -> float:
        return 100.0

    def awake(self) -> float:
        return 100.0

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


class FreeTurn:
    def __init__(self, *answers: bool) -> None:
        self.answers, self.given_up = list(answers), False

    async def take(self) -> bool:
        return self.answers.pop(0) if self.answers else True

    async def give_up(self) -> None:
        self.given_up = True

    async def last_seen(self) -> tuple[bool, float | None]:
        return True, None


class Advances:
    """In place of the Advancer: does what it is told, and settles the shard."""

    def __init__(self, store: MemoryStore, first: Callable[[str], Awaitable[None]]) -> None:
        self.store, self.first, self.seen, self.busiest, self.busy = store, first, [], 0, 0

    async def advance(self, shard_id: str) -> Shard:
        self.seen.append(shard_id)
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            await self.first(shard_id)
        finally:
            self.busy -= 1
        shard, batch = await self.store.shard(shard_id)
        return await self.store.settle(shard, Dropped(), 100.0, batch, [], "")


async def a_store(count: int = 3) -> MemoryStore:
    store = MemoryStore()
    shards = [
        Shard(
            id=f"b-{n:04d}", batch_id="b", n=n, provider="sim", lane="batch", rows=row_range(n, 1)
        )
        for n in range(1, count + 1)
    ]
    await store.create(BATCH, [], shards)
    return store


async def nothing(_: str) -> None:
    return


def a_loop(store: MemoryStore, advancer: Advances, turn: FreeTurn, **more: int) -> Loop:
    return Loop(advancer=advancer, store=store, clock=QuickClock(), turn=turn, **more)


async def test_everything_due_is_advanced_and_the_turn_given_back() -> None:
    store = await a_store(3)
    advancer, turn = Advances(store, nothing), FreeTurn()
    loop = a_loop(store, advancer, turn)
    await loop.run(lambda: len(advancer.seen) == 3)
    assert sorted(advancer.seen) == ["b-0001", "b-0002", "b-0003"]
    assert turn.given_up
    assert not loop.working


async def test_whoever_does_not_have_the_turn_watches_and_takes_over_when_it_is_free() -> None:
    store = await a_store(1)
    advancer, turn = Advances(store, nothing), FreeTurn(False, False, False, True)
    await a_loop(store, advancer, turn).run(lambda: bool(advancer.seen))
    assert turn.answers == []
    assert advancer.seen == ["b-0001"]


async def test_no_more_shards_at_once_than_allowed_and_none_of_them_twice() -> None:
    store = await a_store(7)
    advancer = Advances(store, lambda _: asyncio.sleep(0.01))
    await a_loop(store, advancer, FreeTurn(), at_once=2).run(lambda: len(advancer.seen) == 7)
    assert advancer.busiest == 2
    assert len(set(advancer.seen)) == 7


async def test_being_overtaken_is_nothing_to_worry_about() -> None:
    store = await a_store(1)
    times = []

    async def overtaken_once(shard_id: str) -> None:
        times.append(shard_id)
        if len(times) == 1:
            raise Overtaken(shard_id)

    advancer = Advances(store, overtaken_once)
    await a_loop(store, advancer, FreeTurn()).run(lambda: len(times) == 2)
    assert times == ["b-0001", "b-0001"]


@pytest.mark.parametrize("error", [StorageTrouble("the disk is full"), KeyError("a bug")])
async def test_what_repeating_cannot_mend_stops_the_loop(error: Exception) -> None:
    store = await a_store(1)

    async def breaks(_: str) -> None:
        raise error

    turn = FreeTurn()
    with pytest.raises(type(error)):
        await a_loop(store, Advances(store, breaks), turn).run(lambda: False)
    assert turn.given_up


async def test_stopping_lets_a_call_under_way_finish() -> None:
    store = await a_store(1)
    finished = []

    async def slow(shard_id: str) -> None:
        await asyncio.sleep(0.05)
        finished.append(shard_id)

    advancer = Advances(store, slow)
    await a_loop(store, advancer, FreeTurn()).run(lambda: bool(advancer.seen))
    assert finished == ["b-0001"]
