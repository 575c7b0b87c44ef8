"""The store in memory can be stopped, and looked at, between any two steps."""

from dataclasses import replace

import pytest

from batchmill.core.failure import Failure
from batchmill.core.shard import Collected, Dropped, Prepared, State, Tally
from batchmill.errors import Overtaken
from batchmill.testing.store import Disk, MemoryStore


class Crash(Exception):
    pass


class CrashAt:
    """Let *steps* pauses pass, then crash at the next."""

    def __init__(self, steps):
        self.steps = steps
        self.heard = []

    async def __call__(self, where):
        self.heard.append(where)
        if len(self.heard) > self.steps:
            raise Crash


CALLS = {
    "create": lambda s, b, x: s.create(replace(b, id="b2"), [], []),
    "batch": lambda s, b, x: s.batch(b.id),
    "batches": lambda s, b, x: s.batches(),
    "ranges": lambda s, b, x: s.ranges(b.id),
    "shard": lambda s, b, x: s.shard(x.id),
    "shards": lambda s, b, x: s.shards(b.id),
    "planned": lambda s, b, x: s.planned(x.id),
    "log": lambda s, b, x: s.log(x.id),
    "moved_at": lambda s, b, x: s.moved_at(b.id),
    "record": lambda s, b, x: s.record(x, Prepared("f"), 1.0, hold="why"),
    "settle": lambda s, b, x: s.settle(x, Dropped(), 1.0, b, [], "why"),
    "replan": lambda s, b, x: s.replan(b, []),
    "wish_cancel": lambda s, b, x: s.wish_cancel(b.id),
    "release": lambda s, b, x: s.release(b.id),
    "due": lambda s, b, x: s.due(1.0),
    "next_due": lambda s, b, x: s.next_due(1.0),
    "stray": lambda s, b, x: s.stray(x.id, "up", 1.0),
    "strays": lambda s, b, x: s.strays(b.id),
    "upstream_ids": lambda s, b, x: s.upstream_ids("sim", x.id),
    "in_flight": lambda s, b, x: s.in_flight("sim"),
}
WRITES = {"create", "record", "settle", "replan", "wish_cancel", "stray"}


def test_every_door_of_the_store_is_in_the_list_above():
    doors = {n for n in dir(MemoryStore) if not n.startswith("_")} - {"snapshot"}
    assert doors == set(CALLS)


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_pauses_once_before_its_effect_and_once_after(name, make):
    disk = Disk()
    batch, [shard, *_] = await make.create(MemoryStore(disk=disk))
    before = disk.snapshot()

    early = CrashAt(0)
    with pytest.raises(Crash):
        await CALLS[name](MemoryStore(early, disk), batch, shard)
    assert disk.snapshot() == before

    late = CrashAt(1)
    with pytest.raises(Crash):
        await CALLS[name](MemoryStore(late, disk), batch, shard)
    assert late.heard == [f"store.{name}"] * 2
    assert (disk.snapshot() != before) == (name in WRITES)


def test_it_can_be_driven_by_hand_without_an_event_loop(make):
    class Step:
        def __await__(self):
            yield

    async def pause(_):
        await Step()

    store = MemoryStore(pause)
    life = make.create(store)
    assert [life.send(None), life.send(None)] == [None, None]
    with pytest.raises(StopIteration):
        life.send(None)


async def test_two_stores_over_one_disk_are_two_processes(make):
    disk = Disk()
    one, two = MemoryStore(disk=disk), MemoryStore(disk=disk)
    _, [shard, *_] = await make.create(one)
    await one.record(shard, Prepared("f"), 1.0)
    with pytest.raises(Overtaken):
        await two.record(shard, Prepared("g"), 1.0)


async def test_equal_states_have_equal_snapshots_and_others_have_not(make):
    async def life(at, *, cancel=False, settle=False):
        store = MemoryStore()
        batch, [shard, *_] = await make.create(store)
        await store.record(shard, Prepared("f"), at)
        if cancel:
            await store.wish_cancel(batch.id)
        if settle:
            shard = replace(shard, id="batch_one-0099", n=99, state=State.COLLECTING)
            await store.replan(batch, [shard])
            tally = Tally(failed={Failure.SERVER: shard.rows})
            batch = await store.batch(batch.id)
            await store.settle(shard, Collected("k", tally), 1.0, batch, [], "")
        return store

    lives = [
        await life(1.0),
        await life(2.0),
        await life(1.0, cancel=True),
        await life(1.0, settle=True),
    ]
    assert len({store.snapshot() for store in lives}) == 4
    assert (await life(1.0)).snapshot() == lives[0].snapshot()
    assert lives[0].snapshot(logs=False) == lives[1].snapshot(logs=False)
