"""SQLite: what shares a commit, what a full disk does, and what a killed process leaves."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from batchmill.core.shard import Ended, Prepared, rebuild
from batchmill.errors import Conflict, IllegalTransition, Overtaken, StorageTrouble
from batchmill.store import open_store


@pytest.fixture
def path(tmp_path):
    return tmp_path / "batchmill.db"


def url_of(path):
    return f"sqlite:///{path}"


class Commits:
    """Count what the writer says to SQLite."""

    def __init__(self, store):
        self.said = []
        store.database._write_to.connection.dbapi_connection.set_trace_callback(self.said.append)

    @property
    def count(self):
        return self.said.count("COMMIT")


async def slow_write(store):
    """Keep the writer busy; return what it does, and the event that ends it."""
    begun, go = threading.Event(), threading.Event()

    def work(_):
        begun.set()
        go.wait(10)

    slow = asyncio.ensure_future(store.database.write(work))
    await asyncio.to_thread(begun.wait, 10)
    return slow, go


async def all_at_once(store, calls):
    """Let *calls* pile up behind a slow one, so that they are committed together."""
    slow, go = await slow_write(store)
    tasks = [asyncio.ensure_future(call) for call in calls]
    await asyncio.sleep(0)  # each runs until it waits for the writer
    assert len(store.database._waiting) == len(tasks)
    go.set()
    await slow
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_it_is_durable_and_lets_others_read(path):
    async with await open_store(url_of(path)) as store:
        for name, value in [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)]:
            found = await store.database.write(
                lambda c, name=name: c.exec_driver_sql(f"PRAGMA {name}").scalar()
            )
            assert found == value


async def test_who_writes_at_the_same_time_shares_a_commit(path, make):
    async with await open_store(url_of(path)) as store:
        _, shards = await make.create(store, count=40)
        commits = Commits(store)
        results = await all_at_once(store, [store.record(s, Prepared("f"), 1.0) for s in shards])
        assert [getattr(r, "ref", r) for r in results] == ["f"] * 40
        assert commits.count == 2  # the slow one's, and one for all


async def test_one_that_fails_takes_nobody_of_its_group_with_it(path, make):
    async with await open_store(url_of(path)) as store:
        batch, shards = await make.create(store, count=6)
        moved = await store.record(shards[0], Prepared("first"), 1.0)
        other = make.batch("batch_two")
        results = await all_at_once(
            store,
            [
                store.record(shards[1], Prepared("f"), 1.0),
                store.record(shards[0], Prepared("stale"), 1.0, hold="never"),
                store.create(other, make.ranges(), shards),  # its batch goes in, its shards cannot
                store.record(shards[2], Ended(), 1.0),
                store.record(shards[3], Prepared("f"), 1.0),
                store.database.write(lambda _: 1 / 0),
                store.wish_cancel(batch.id),
            ],
        )
        kinds = [type(r) for r in results]
        assert kinds[1:4] == [Overtaken, Conflict, IllegalTransition]
        assert (kinds[5], results[6]) == (ZeroDivisionError, None)
    async with await open_store(url_of(path)) as store:
        stored = await store.shards(batch.id)
        assert stored == [moved, results[0], shards[2], results[4], *shards[4:]]
        [only] = await store.batches()
        assert (only.held, only.cancel_wanted) == ("", True)
        assert await store.ranges("batch_two") == []


async def test_who_stopped_waiting_before_the_writing_began_wrote_nothing(path, make):
    async with await open_store(url_of(path)) as store:
        _, [shard, *_] = await make.create(store)
        slow, go = await slow_write(store)
        task = asyncio.ensure_future(store.record(shard, Prepared("f"), 1.0))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        go.set()
        await slow
        assert (await store.shard(shard.id))[0] == shard


@pytest.mark.parametrize("room", range(0, 60, 7))
async def test_on_a_full_disk_exactly_those_who_heard_no_error_are_stored(path, make, room):
    async with await open_store(url_of(path)) as store:
        _, shards = await make.create(store, count=20)

        def fill(connection):
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + room}")

        await store.database.write(fill)
        calls = [store.record(s, Prepared("x" * 5000 * s.n), 1.0) for s in shards]
        results = await all_at_once(store, calls)
        failed = [r for r in results if isinstance(r, Exception)]
        assert failed
        assert {type(r) for r in failed} == {StorageTrouble}
        assert all("disk is full" in str(r) for r in failed)
        assert isinstance(failed[0].__cause__, Exception)
        stored = await store.shards("batch_one")
        assert stored == [
            s if isinstance(r, Exception) else r for s, r in zip(shards, results, strict=True)
        ]


async def test_a_database_that_another_program_locks_is_trouble_and_then_none(path, make):
    async with await open_store(url_of(path), busy_timeout_s=0.05) as store:
        _, [shard, *_] = await make.create(store)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageTrouble, match="another program"):
            await store.record(shard, Prepared("f"), 1.0)
        assert (await store.shard(shard.id))[0] == shard
        other.execute("ROLLBACK")
        other.close()
        await store.record(shard, Prepared("f"), 1.0)


async def test_a_database_that_cannot_be_written_to_is_trouble(path, make):
    async with await open_store(url_of(path)) as store:
        await store.database.write(lambda c: c.exec_driver_sql("PRAGMA query_only = ON"))
        with pytest.raises(StorageTrouble, match="cannot be written to"):
            await make.create(store)


async def test_a_damaged_database_is_trouble(path, make):
    async with await open_store(url_of(path)) as store:
        await make.create(store, count=500)
    with open(path, "r+b") as file:
        file.seek(4096 * 2)
        file.write(b"\xff" * (path.stat().st_size - 4096 * 2))
    with pytest.raises(StorageTrouble, match="damaged"):
        async with await open_store(url_of(path)) as store:
            await store.shards("batch_one")


async def test_a_store_that_was_closed_says_so(path):
    store = await open_store(url_of(path))
    await store.aclose()
    with pytest.raises(StorageTrouble, match="closed"):
        await store.batches()
    with pytest.raises(StorageTrouble, match="closed"):
        await store.wish_cancel("x")


async def test_two_stores_on_one_file_see_each_others_writes(path, make):
    async with await open_store(url_of(path)) as one, await open_store(url_of(path)) as two:
        _, [shard, *_] = await make.create(one)
        after = await two.record(shard, Prepared("f"), 1.0)
        assert (await one.shard(shard.id))[0] == after
        with pytest.raises(Overtaken):
            await one.record(shard, Prepared("g"), 1.0)


async def test_a_path_may_hold_any_character(tmp_path, make):
    path = tmp_path / "a b?c#d%20e&mode=ro" / "x.db"
    async with await open_store(url_of(path)) as store:
        await make.create(store)
    assert path.is_file()


WRITER = """
import asyncio, sys
from batchmill.core.shard import Prepared
from batchmill.store import open_store

async def main():
    async with await open_store(sys.argv[1]) as store:
        async def write(shard):
            while True:
                shard = await store.record(shard, Prepared(f"file-{shard.version}"), 1.0)
                sys.stdout.write(f"{shard.id} {shard.version}\\n")
                sys.stdout.flush()
        await asyncio.gather(*map(write, await store.shards("batch_one")))

asyncio.run(main())
"""


def kill_after(lines, url):
    """Run the writer until it has said so many lines; return the newest version of each shard."""
    command = [sys.executable, "-c", WRITER, url]
    told = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        for number, line in enumerate(child.stdout, 1):
            if number == lines:
                os.kill(child.pid, signal.SIGKILL)
            shard_id, _, version = line.partition(" ")
            if version.endswith("\n"):  # the last line may have been cut
                told[shard_id] = int(version)
    return told


@pytest.mark.parametrize("after_lines", [1, 40, 333])
async def test_what_a_killed_process_was_told_is_there_and_nothing_is_half(path, make, after_lines):
    async with await open_store(url_of(path)) as store:
        _, shards = await make.create(store, count=8)
    told = kill_after(after_lines, url_of(path))
    async with await open_store(url_of(path)) as store:
        for planned in shards:
            stored, _ = await store.shard(planned.id)
            log = await store.log(planned.id)
            assert stored.version >= told.get(planned.id, 0)
            assert rebuild(planned, [line.event for line in log]) == stored
            assert [line.version for line in log] == list(range(1, stored.version + 1))
        again = (await store.shards("batch_one"))[0]
        await store.record(again, Prepared("after"), 2.0)


def test_the_folder_of_the_default_database_is_made(tmp_path: Path):
    path = tmp_path / "deep" / "er" / "batchmill.db"

    async def once():
        async with await open_store(url_of(path)):
            pass

    asyncio.run(once())
    assert path.is_file()
