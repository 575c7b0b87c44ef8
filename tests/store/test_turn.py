"""Whose turn it is: one worker at a time, and none that is dead."""

import fcntl
import os
import subprocess
import sys
from contextlib import contextmanager

import pytest

from batchmill.errors import StorageTrouble
from batchmill.store import open_store
from batchmill.store.lease import LeaseTurn
from batchmill.store.turn import STOPPED_AFTER_S, FileTurn, turn_for


class HandClock:
    """A clock that is set by hand."""

    def __init__(self):
        self.time = 1_000_000.0
        self.slept = 0
        self.while_asleep = lambda: None

    def now(self):
        return self.time

    def awake(self):
        return self.time

    async def sleep(self, seconds):
        self.slept += 1
        self.while_asleep()


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "home" / "worker.lock"


async def test_two_loops_of_one_process_exclude_each_other(path, clock):
    one, two = FileTurn(path, clock), FileTurn(path, clock)
    assert await one.take()
    assert await one.take()
    assert not await two.take()
    await one.give_up()
    assert await two.take()
    assert not await one.take()
    await two.give_up()


async def test_giving_up_what_one_does_not_have_is_no_error(path, clock):
    one, two = FileTurn(path, clock), FileTurn(path, clock)
    await one.take()
    await two.give_up()
    assert not await two.take()
    await one.give_up()
    await one.give_up()


async def test_a_sign_of_life_is_left_at_each_taking(path, clock):
    worker, watcher = FileTurn(path, clock), FileTurn(path, clock)
    assert await watcher.last_seen() == (False, None)
    assert not path.exists()
    await worker.take()
    assert await watcher.last_seen() == (True, 1_000_000.0)
    assert await worker.last_seen() == (True, 1_000_000.0)
    clock.time += 7
    await worker.take()
    assert await watcher.last_seen() == (True, 1_000_007.0)
    await worker.give_up()
    clock.time += 7
    assert await watcher.last_seen() == (False, 1_000_007.0)


async def test_a_failed_taking_leaves_no_sign_of_life(path, clock):
    worker, other = FileTurn(path, clock), FileTurn(path, clock)
    await worker.take()
    clock.time += 7
    assert not await other.take()
    assert await other.last_seen() == (True, 1_000_000.0)
    await worker.give_up()


async def test_a_look_at_the_lock_costs_nobody_the_turn(path, clock):
    path.parent.mkdir()
    probe = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(probe, fcntl.LOCK_SH)
    clock.while_asleep = lambda: fcntl.flock(probe, fcntl.LOCK_UN)
    turn = FileTurn(path, clock)
    assert await turn.take()
    assert clock.slept == 1
    os.close(probe)
    await turn.give_up()


async def test_a_lock_on_a_file_that_was_removed_keeps_nobody_out_so_it_is_taken_anew(path, clock):
    one, two = FileTurn(path, clock), FileTurn(path, clock)
    await one.take()
    path.unlink()
    assert await two.take()
    assert not await one.take()
    await two.give_up()


async def test_a_folder_in_the_place_of_the_lock_is_trouble(path, clock):
    path.mkdir(parents=True)
    with pytest.raises(StorageTrouble, match=r"worker\.lock: "):
        await FileTurn(path, clock).take()


@contextmanager
def forked_child():
    """Have a child that does nothing, but lives on with all it inherited."""
    (go_read, go_write), (ready_read, ready_write) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(go_write)
        os.write(ready_write, b"x")
        os.read(go_read, 1)
        os._exit(0)
    os.read(ready_read, 1)
    yield
    os.close(go_write)
    os.waitpid(child, 0)
    for fd in (go_read, ready_read, ready_write):
        os.close(fd)


async def test_what_a_fork_inherits_is_not_the_turn(path, clock):
    turn = FileTurn(path, clock)
    await turn.take()
    with forked_child():
        assert not await FileTurn(path, clock).take()
        await turn.give_up()
        assert await turn.take()
    await turn.give_up()


TAKER = """
import asyncio, sys
from pathlib import Path
from batchmill.store.turn import FileTurn

class Clock:
    def now(self): return 5.0

async def main():
    turn = FileTurn(Path(sys.argv[1]), Clock())
    assert await turn.take()
    print("mine", flush=True)
    sys.stdin.read()

asyncio.run(main())
"""


def start_taker(path):
    """Start a process and wait until it has the turn."""
    child = subprocess.Popen(
        [sys.executable, "-c", TAKER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout
    assert child.stdout.readline() == b"mine\n"
    return child


async def test_a_worker_that_was_stopped_is_not_called_alive(path, clock):
    with start_taker(path) as child:
        clock.time = 5.0 + STOPPED_AFTER_S
        assert not await FileTurn(path, clock).take()  # a stopped process keeps what it holds
        assert await FileTurn(path, clock).last_seen() == (False, 5.0)
        child.kill()


async def test_the_turn_of_a_killed_process_is_free_at_once(path, clock):
    with start_taker(path) as child:
        clock.time = 6.0
        turn = FileTurn(path, clock)
        assert not await turn.take()
        assert await turn.last_seen() == (True, 5.0)
        child.kill()
        child.wait()
        assert await turn.last_seen() == (False, 5.0)
        assert await turn.take()
        await turn.give_up()


# -- among many machines ----------------------------------------------------------------------


@pytest.fixture
async def store(clean_postgres):
    async with await open_store(clean_postgres) as opened:
        yield opened


async def pass_time(store, seconds):
    """Let *seconds* pass for whoever has a lease, without waiting for them."""
    statement = (
        f"UPDATE workers SET lease_until = lease_until - {seconds}, seen_at = seen_at - {seconds}"
    )
    await store.database.write(lambda c: c.exec_driver_sql(statement))


async def test_a_lease_keeps_others_out_until_it_is_over(store, clock):
    one, two = LeaseTurn(store, clock, "one"), LeaseTurn(store, clock, "two")
    assert await one.last_seen() == (False, None)
    assert await one.take()
    assert not await two.take()
    await pass_time(store, 14)
    assert not await two.take()
    alive, seen_at = await two.last_seen()
    assert alive
    await pass_time(store, 2)
    assert (await two.last_seen())[0] is False
    assert await two.take()
    clock.time += 6
    assert not await one.take()
    assert seen_at is not None
    assert (await one.last_seen())[1] != seen_at


async def test_a_lease_is_renewed_at_every_third_of_it(store, clock):
    one, two = LeaseTurn(store, clock, "one"), LeaseTurn(store, clock, "two")
    await one.take()
    for _ in range(4):
        await pass_time(store, 6)
        clock.time += 6
        assert await one.take()
    assert not await two.take()


async def test_between_heartbeats_the_database_is_left_in_peace(store, clock):
    one = LeaseTurn(store, clock, "one")
    await one.take()
    await pass_time(store, 1000)
    clock.time += 4
    assert await one.take()
    assert (await one.last_seen())[0] is False


async def test_a_lease_that_was_given_up_is_free_at_once(store, clock):
    one, two = LeaseTurn(store, clock, "one"), LeaseTurn(store, clock, "two")
    await one.take()
    await two.give_up()
    assert not await two.take()
    await one.give_up()
    assert await two.take()
    assert not await one.take()


async def test_the_kind_of_turn_fits_the_store(store, clock, tmp_path):
    assert isinstance(turn_for(store, tmp_path / "lock", clock, "me"), LeaseTurn)
    async with await open_store(f"sqlite:///{tmp_path / 'x.db'}") as local:
        assert isinstance(turn_for(local, tmp_path / "lock", clock, "me"), FileTurn)
