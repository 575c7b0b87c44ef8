"""`due` and `next_due` say in SQL what `next_command` says in Python, in every world."""

import asyncio
import re

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, text

from batchmill.core.batch import Batch, Recipe, Source
from batchmill.core.rowset import row_range
from batchmill.core.shard import Shard, State, next_command
from batchmill.store.due import _BY_TIME, _BY_WISH, _NEXT_BY_TIME, _NEXT_DEADLINE
from batchmill.store.schema import METADATA
from batchmill.store.sql import SqlStore
from batchmill.testing.store import MemoryStore

MOMENTS = st.integers(0, 6).map(float)


@st.composite
def worlds(draw):
    """One to three batches in any condition, with shards in any state."""
    world = []
    for b in range(draw(st.integers(1, 3))):
        batch = Batch(
            id=f"batch_{b}",
            created_at=0.0,
            deadline=draw(st.none() | MOMENTS),
            provider="sim",
            lane="batch",
            recipe=Recipe(model="echo"),
            source=Source(url="/t.csv", format="csv"),
            rows=9,
            cancel_wanted=draw(st.booleans()),
            held=draw(st.sampled_from(["", "no credit"])),
        )
        shards = [
            Shard(
                id=f"{batch.id}-{n:04d}",
                batch_id=batch.id,
                n=n,
                provider="sim",
                lane="batch",
                rows=row_range(n, 1),
                state=draw(st.sampled_from(State)),
                due_at=draw(MOMENTS),
                provisional=draw(st.booleans()),
                trouble=draw(st.integers(0, 2)),
                upstream_id=draw(st.sampled_from([None, "up"])),
            )
            for n in range(1, draw(st.integers(0, 4)) + 1)
        ]
        world.append((batch, shards))
    return world


def is_due(shard, batch, now):
    late = batch.deadline is not None and now >= batch.deadline
    wanted, held = batch.cancel_wanted, bool(batch.held)
    return next_command(shard, now, cancel_wanted=wanted, held=held, late=late) is not None


def due_by_definition(world, now):
    found = [(s.due_at, s.id) for b, shards in world for s in shards if is_due(s, b, now)]
    return [id for _, id in sorted(found)]


def next_due_by_definition(world, now):
    """The first moment at which a shard that is not due now becomes so; all moments are 0 … 6."""
    asleep = [(s, b) for b, shards in world for s in shards if not is_due(s, b, now)]
    later = [m / 2 for m in range(int(now * 2) + 1, 14)]
    return next((m for m in later if any(is_due(s, b, m) for s, b in asleep)), None)


async def assert_store_says_so(store, world, now):
    for batch, shards in world:
        await store.create(batch, [], shards)
    assert await store.due(now) == due_by_definition(world, now)
    assert await store.next_due(now) == next_due_by_definition(world, now)


@given(worlds(), MOMENTS)
@settings(max_examples=200)
def test_the_memory_store_says_what_next_command_says(world, now):
    asyncio.run(assert_store_says_so(MemoryStore(), world, now))


def test_a_database_says_what_next_command_says(url):
    store = SqlStore.open(url, busy_timeout_s=10)

    def wipe(connection):
        for table in reversed(METADATA.sorted_tables):
            connection.execute(delete(table))

    @given(worlds(), MOMENTS)
    @settings(max_examples=80)
    def check(world, now):
        runner.run(store.database.write(wipe))
        runner.run(assert_store_says_so(store, world, now))

    with asyncio.Runner() as runner:
        check()
        runner.run(store.aclose())


async def test_no_question_about_time_walks_through_every_shard(tmp_path, make):
    def steps(connection):
        for query in (_BY_TIME, _BY_WISH, _NEXT_BY_TIME, _NEXT_DEADLINE):
            compiled = query.params(now=1.0).compile(
                connection, compile_kwargs={"literal_binds": True}
            )
            for row in connection.execute(text(f"EXPLAIN QUERY PLAN {compiled}")):
                yield row[-1]

    store = SqlStore.open(f"sqlite:///{tmp_path / 'one.db'}", busy_timeout_s=10)
    async with store:
        plan = await store.database.read(lambda c: list(steps(c)))
    about_shards = [step for step in plan if " shards" in step]
    assert about_shards
    assert all(re.match(r"SEARCH shards USING (COVERING )?INDEX ix_", s) for s in about_shards)
