"""A database of an older batchmill, with batches under way in it, goes on in this one."""

from alembic import command
from alembic.config import Config
from tests.store.test_contract import INTENT, TALLY, collecting

from batchmill.core.shard import Collected, Prepared
from batchmill.store import open_store
from batchmill.store.opening import MIGRATIONS


def back_to(revision):
    def work(connection):
        if not connection.in_transaction():
            connection.begin()
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.downgrade(config, revision)

    return work


async def test_what_was_under_way_before_there_was_tidying_goes_on(url, make):
    async with await open_store(url) as store:
        batch, (first, second, third) = await make.create(store)
        done = await collecting(store, first)
        await store.settle(done, Collected("k", TALLY), 110.0, batch, [], "")
        second = await store.record(second, Prepared("file-2"), 100.0)
        third = await store.record(third, INTENT, 100.0)
        await store.database.write(back_to("0001"))

    async with await open_store(url) as store:
        due = await store.due(1e6)
        again = {s.id: s for s in await store.shards(batch.id)}
        assert again[second.id] == second
        assert again[third.id] == third
        # What was settled in those days is left as it is upstream: nobody promised otherwise.
        assert sorted(due) == sorted([second.id, third.id])
        assert (await store.record(second, INTENT, 1e6, account="a")).version == 2
