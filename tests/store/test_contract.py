"""What every store promises: in memory, on SQLite and on PostgreSQL alike."""

import asyncio
from collections import Counter
from dataclasses import replace
from decimal import Decimal

import pytest

from batchmill.core.failure import Failure
from batchmill.core.outcome import Usage
from batchmill.core.plan import shard_id_of
from batchmill.core.rowset import row_range, rows_of
from batchmill.core.shard import (
    Accepted,
    CancelSent,
    Collected,
    Dropped,
    Ended,
    NotAccepted,
    Postponed,
    Prepared,
    Progress,
    Progressed,
    Refused,
    State,
    Submitting,
    Tally,
    advance,
    rebuild,
)
from batchmill.errors import Conflict, IllegalTransition, NotFound, Overtaken
from batchmill.ports import Logged

INTENT = Submitting(at=100.0, owner="me", lease_until=160.0, find_at=220.0)
TALLY = Tally(
    succeeded=8,
    failed={Failure.SERVER: rows_of([1]), Failure.MISSING: rows_of([2])},
    usage=Usage(10, 20),
    cost_usd=Decimal("0.000012"),
    duplicate=1,
)


def again(batch, before, n, rows):
    return replace(
        before,
        id=shard_id_of(batch.id, n),
        n=n,
        rows=rows,
        attempt=before.attempt + 1,
        due_at=900.5,
        state=State.PLANNED,
        version=0,
        ref=None,
        upstream_id=None,
        owner="",
        lease_until=0.0,
        submitted_at=None,
        kept="",
        tally=Tally(),
    )


async def collecting(store, shard):
    """Take a planned shard to where only its results are missing."""
    for at, event in enumerate([Prepared("file-1"), INTENT, Accepted("up-1", 300.0), Ended()]):
        shard = await store.record(shard, event, 100.0 + at)
    return shard


# -- batches ----------------------------------------------------------------------------------


async def test_what_was_created_is_read_as_it_was_given(store, make):
    batch = make.batch(
        name='"A" \0 \ud800 ü', deadline=5000.25, target="/out\udcff.csv", held='"why"\n'
    )
    await store.create(batch, make.ranges(), make.shards(batch))
    assert await store.batch(batch.id) == batch
    assert await store.ranges(batch.id) == make.ranges()
    assert await store.shards(batch.id) == make.shards(batch)
    assert await store.shard("batch_one-0002") == (make.shards(batch)[1], batch)


async def test_batches_come_newest_first(store, make):
    for id, at in [("batch_a", 3.0), ("batch_b", 9.0), ("batch_c", 3.0)]:
        await make.create(store, id, created_at=at)
    assert [b.id for b in await store.batches()] == ["batch_b", "batch_c", "batch_a"]


async def test_shards_come_in_the_order_of_their_number_beyond_four_digits_too(store, make):
    batch = make.batch()
    shards = [
        replace(make.shards(batch)[0], n=n, id=shard_id_of(batch.id, n)) for n in (10000, 9999)
    ]
    await store.create(batch, [], shards)
    assert [s.n for s in await store.shards(batch.id)] == [9999, 10000]


async def test_an_unknown_id_is_answered_with_the_nearest(store, make):
    await make.create(store, "batch_one")
    with pytest.raises(NotFound, match=r"'batch_onx'.*Did you mean batch_one"):
        await store.batch("batch_onx")
    with pytest.raises(NotFound, match=r"shard 'batch_one-0009'.*batch_one-000"):
        await store.shard("batch_one-0009")
    with pytest.raises(NotFound, match="batchmill list"):
        await store.wish_cancel("zzz")
    with pytest.raises(NotFound):
        await store.release("zzz")
    with pytest.raises(NotFound):
        await store.stray("zzz", "up", 1.0)


async def test_what_an_unknown_batch_has_is_nothing(store):
    assert await store.batches() == []
    assert await store.ranges("zzz") == []
    assert await store.shards("zzz") == []
    assert await store.log("zzz") == []
    assert await store.strays("zzz") == []
    assert await store.moved_at("zzz") is None
    assert await store.due(1e12) == []
    assert await store.next_due(0.0) is None


async def test_a_batch_is_created_once_and_whole(store, make):
    batch, _ = await make.create(store)
    with pytest.raises(Conflict):
        await make.create(store, name="another")
    assert await store.batch(batch.id) == batch
    other = make.batch("batch_two")
    mixed = [replace(s, id=s.id.replace("two", "one")) for s in make.shards(other)]
    with pytest.raises(Conflict):
        await store.create(other, make.ranges(), mixed)
    assert [b.id for b in await store.batches()] == ["batch_one"]
    assert await store.ranges("batch_two") == []


async def test_a_cancel_is_wished_once_and_changes_the_plan(store, make):
    batch, _ = await make.create(store)
    for _ in range(2):
        await store.wish_cancel(batch.id)
        assert await store.batch(batch.id) == replace(batch, cancel_wanted=True, version=1)
    with pytest.raises(Overtaken):
        await store.replan(batch, [])


async def test_a_hold_stands_until_it_is_released(store, make):
    batch, [shard, *_] = await make.create(store)
    shard = await store.record(shard, Prepared("f"), 1.0, hold="no credit")
    assert await store.batch(batch.id) == replace(batch, held="no credit")
    await store.record(shard, Prepared("g"), 2.0)
    assert (await store.batch(batch.id)).held == "no credit"
    await store.release(batch.id)
    await store.release(batch.id)
    assert await store.batch(batch.id) == batch


# -- shards -----------------------------------------------------------------------------------


async def test_an_event_is_appended_and_the_shard_goes_where_it_leads(store, make):
    batch, [shard, *rest] = await make.create(store)
    after = await store.record(shard, INTENT, 101.5)
    assert after == advance(shard, INTENT)
    assert await store.shard(shard.id) == (after, batch)
    assert await store.log(shard.id) == [Logged(1, 101.5, INTENT)]
    assert await store.shards(batch.id) == [after, *rest]


async def test_the_log_replayed_from_the_planned_shard_is_the_stored_one(store, make):
    batch = make.batch()
    shards = [replace(s, due_at=77.0) for s in make.shards(batch)]
    await store.create(batch, make.ranges(), shards)
    shard = shards[0]
    life = [
        Prepared("file\0-1"),
        Postponed(130.0, "busy \ud800"),
        INTENT,
        NotAccepted(140.0, 'he said "no"'),
        INTENT,
        Accepted("up-1", 300.0, provisional=True),
        Progressed(400.0, Progress(succeeded=3, errored=1, note="slow")),
        CancelSent(500.0),
        Ended(Progress(succeeded=8, errored=2)),
        Collected("kept-1", TALLY),
    ]
    for at, event in enumerate(life):
        shard = await store.record(shard, event, float(at))
    log = await store.log(shard.id)
    assert [line.event for line in log] == life
    assert [line.version for line in log] == list(range(1, 11))
    stored, _ = await store.shard(shard.id)
    assert stored == shard
    assert await store.planned(shard.id) == shards[0]
    assert rebuild(await store.planned(shard.id), [line.event for line in log]) == stored


async def test_who_read_an_old_version_is_overtaken_and_writes_nothing(store, make):
    batch, [shard, *_] = await make.create(store)
    await store.record(shard, Prepared("mine"), 1.0)
    with pytest.raises(Overtaken):
        await store.record(shard, Prepared("theirs"), 2.0, hold="never said")
    stored, kept_batch = await store.shard(shard.id)
    assert (stored.ref, stored.version, kept_batch) == ("mine", 1, batch)
    assert [line.event for line in await store.log(shard.id)] == [Prepared("mine")]


async def test_who_writes_to_a_shard_that_is_not_there_is_overtaken(store, make):
    _, [shard, *_] = await make.create(store)
    with pytest.raises(Overtaken):
        await store.record(replace(shard, id="batch_one-0099"), Prepared("f"), 1.0)


async def test_an_event_the_lifecycle_does_not_know_is_a_bug_and_writes_nothing(store, make):
    _, [shard, *_] = await make.create(store)
    with pytest.raises(IllegalTransition):
        await store.record(shard, Ended(), 1.0)
    assert (await store.shard(shard.id))[0] == shard
    assert await store.log(shard.id) == []


async def test_moved_at_is_when_any_shard_last_moved(store, make):
    batch, shards = await make.create(store)
    assert await store.moved_at(batch.id) is None
    await store.record(shards[1], Prepared("f"), 40.5)
    await store.record(shards[0], Prepared("f"), 30.0)
    assert await store.moved_at(batch.id) == 40.5


async def test_an_alarm_is_noted_once(store, make):
    batch, shards = await make.create(store)
    await make.create(store, "batch_two")
    await store.stray(shards[1].id, "up-9", 5.0)
    await store.stray(shards[0].id, "up-8\0", 6.0)
    await store.stray(shards[1].id, "up-9", 7.0)
    assert await store.strays(batch.id) == [(shards[1].id, "up-9"), (shards[0].id, "up-8\0")]
    assert await store.strays("batch_two") == []


# -- the plan ---------------------------------------------------------------------------------


async def test_settling_inserts_the_successors_and_makes_the_batch_grow(store, make):
    batch, [shard, *rest] = await make.create(store)
    shard = await collecting(store, shard)
    sequel = [again(batch, shard, 4, rows_of([1])), again(batch, shard, 5, rows_of([2]))]
    done = await store.settle(shard, Collected("kept", TALLY), 200.0, batch, sequel, "no credit")
    assert done == advance(shard, Collected("kept", TALLY))
    assert await store.shards(batch.id) == [done, *rest, *sequel]
    assert await store.batch(batch.id) == replace(batch, version=1, held="no credit")
    assert (await store.log(shard.id))[-1] == Logged(5, 200.0, Collected("kept", TALLY))
    assert await store.planned(sequel[0].id) == sequel[0]


async def test_settling_without_a_hold_leaves_one_that_stands(store, make):
    batch, [shard, *_] = await make.create(store, held="no credit")
    await store.settle(shard, Dropped(), 1.0, batch, [], "")
    assert (await store.batch(batch.id)).held == "no credit"


@pytest.mark.parametrize("stale", ["shard", "batch"])
async def test_settling_is_guarded_by_both_versions_and_writes_nothing(store, make, stale):
    batch, [shard, *rest] = await make.create(store)
    shard = await collecting(store, shard)
    read = shard, batch
    if stale == "shard":
        shard = await store.record(shard, Postponed(300.0, "disk"), 150.0)
    else:
        await store.wish_cancel(batch.id)
        batch = await store.batch(batch.id)
    log = await store.log(shard.id)
    with pytest.raises(Overtaken):
        await store.settle(
            read[0],
            Collected("kept", TALLY),
            200.0,
            read[1],
            [again(batch, shard, 4, rows_of([1]))],
            "x",
        )
    assert await store.shards(batch.id) == [shard, *rest]
    assert await store.batch(batch.id) == batch
    assert await store.log(shard.id) == log


async def test_settling_with_an_event_that_does_not_settle_is_a_bug(store, make):
    batch, [shard, *_] = await make.create(store)
    with pytest.raises(IllegalTransition, match="does not settle"):
        await store.settle(shard, Prepared("f"), 1.0, batch, [], "")
    assert (await store.shard(shard.id)) == (shard, batch)


async def test_settling_with_a_successor_that_is_there_already_writes_nothing(store, make):
    batch, [shard, other, *_] = await make.create(store)
    with pytest.raises(Conflict):
        await store.settle(shard, Refused("no"), 1.0, batch, [other], "")
    assert await store.shard(shard.id) == (shard, batch)
    assert await store.log(shard.id) == []


async def test_replanning_inserts_shards_if_the_plan_is_still_what_was_read(store, make):
    batch, shards = await make.create(store)
    more = again(batch, shards[0], 4, row_range(0, 3))
    await store.replan(batch, [more])
    assert await store.shards(batch.id) == [*shards, more]
    assert await store.batch(batch.id) == replace(batch, version=1)
    with pytest.raises(Overtaken):
        await store.replan(batch, [again(batch, shards[0], 5, row_range(0, 3))])
    assert len(await store.shards(batch.id)) == 4


# -- races ------------------------------------------------------------------------------------


def verdicts(results):
    return Counter(type(r).__name__ for r in results)


async def test_of_many_who_record_at_once_exactly_one_wins(store, make):
    _, [shard, *_] = await make.create(store)
    tries = (store.record(shard, Prepared(f"file-{i}"), float(i)) for i in range(20))
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert verdicts(results) == {"Shard": 1, "Overtaken": 19}
    stored, _ = await store.shard(shard.id)
    assert stored in results
    [line] = await store.log(shard.id)
    assert line.event == Prepared(stored.ref)


async def test_of_many_who_plan_one_batch_at_once_exactly_one_wins(store, make):
    batch, shards = await make.create(store, count=8)
    tries = [
        store.settle(s, Refused("no"), 1.0, batch, [again(batch, s, 100 + s.n, s.rows)], "")
        for s in shards
    ]
    tries += [store.replan(batch, [again(batch, shards[0], 200, shards[0].rows)]) for _ in range(2)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert verdicts(results)["Overtaken"] == 9
    stored = await store.shards(batch.id)
    assert len(stored) == 9
    settled = [s for s in stored if s.state is State.SETTLED]
    assert [len(await store.log(s.id)) for s in stored if s not in settled] == [0] * (
        9 - len(settled)
    )
    assert (await store.batch(batch.id)).version == 1


async def test_many_who_settle_and_try_again_all_get_through(store, make):
    batch, shards = await make.create(store, count=12)

    async def settle(shard_id):
        while True:
            shard, seen = await store.shard(shard_id)
            try:
                return await store.settle(shard, Refused("no"), 1.0, seen, [], "")
            except Overtaken:
                continue

    await asyncio.gather(*(settle(s.id) for s in shards))
    assert {s.state for s in await store.shards(batch.id)} == {State.SETTLED}
    assert (await store.batch(batch.id)).version == 12


async def test_readers_never_see_half_of_a_settling(store, make):
    batch, [shard, *_] = await make.create(store, count=1)
    halves = []

    async def watch():
        for _ in range(30):
            seen = await store.shards(batch.id)
            if (seen[0].state is State.SETTLED) != (len(seen) == 2):
                halves.append(seen)

    sequel = [again(batch, shard, 2, shard.rows)]
    await asyncio.gather(watch(), store.settle(shard, Refused("no"), 1.0, batch, sequel, ""))
    assert halves == []
