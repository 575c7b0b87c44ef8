"""An orderly stop and a full disk: what is paid for is kept."""

import asyncio
from typing import Any

import pytest
from tests.live.replies import BUSY, hangs, says

from batchmill.errors import StorageTrouble
from batchmill.live import ledger
from batchmill.ports import Answer


async def test_closing_waits_for_what_is_in_flight_and_sends_nothing_more(
    bench: Any, until: Any, caplog: Any
):
    run = bench.run(40)
    bell = asyncio.Event()

    async def slow(_: str) -> Answer:
        await bell.wait()
        return await says(200, b'{"choices":[{"message":{"content":"late"}}]}')("")

    bench.endpoint.otherwise = slow
    dispatcher = bench.dispatcher(most=4, patience_s=60)
    dispatcher.start(run)
    await until(lambda: bench.endpoint.in_flight == 4)
    with caplog.at_level("INFO", "batchmill"):
        closing = asyncio.create_task(dispatcher.aclose())
        await asyncio.sleep(2.2)  # longer than anybody is patient by mistake
        assert dispatcher.in_flight == 4
        assert "waiting for 4 answers already asked for" in caplog.text
        bell.set()
        await closing
    assert dispatcher.in_flight == 0
    assert len(bench.results(run)) == 4
    assert sum(bench.endpoint.calls.values()) == 4, "no new row is taken"

    again = bench.run(40)
    bench.dispatcher().start(again)
    await bench.ended(again)
    assert set(bench.endpoint.calls.values()) == {1}, "nothing is bought twice"


async def test_a_row_put_back_while_closing_is_not_sent_before_a_restart(bench: Any, until: Any):
    run = bench.run(4)
    bell = asyncio.Event()

    async def busy(_: str) -> Answer:
        await bell.wait()
        return await says(429, BUSY)("")

    bench.endpoint.otherwise = busy
    dispatcher = bench.dispatcher(most=4, patience_s=60)
    dispatcher.start(run)
    await until(lambda: bench.endpoint.in_flight == 4)
    closing = asyncio.create_task(dispatcher.aclose())
    await asyncio.sleep(0.01)
    bell.set()
    await closing
    assert sum(bench.endpoint.calls.values()) == 4
    assert bench.results(run) == {}


async def test_closing_does_not_wait_for_ever(bench: Any, until: Any):
    run = bench.run(4)
    bench.endpoint.otherwise = hangs
    dispatcher = bench.dispatcher(patience_s=0.01)
    dispatcher.start(run)
    await until(lambda: bench.endpoint.in_flight == 4)
    await dispatcher.aclose()
    assert bench.endpoint.in_flight == 0
    assert bench.results(run) == {}


def full_disk(monkeypatch: Any) -> list[bool]:
    """Return a list that says whether there is room; empty it to fill the disk."""
    room, real = [True], ledger._write_all

    def write(fd: int, data: bytes, at: int) -> int:
        if room:
            return real(fd, data, at)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ledger, "_write_all", write)
    monkeypatch.setattr(ledger, "ROOM_S", 0.01)
    return room


async def test_a_full_disk_stops_the_buying_and_loses_nothing(
    bench: Any, until: Any, monkeypatch: Any
):
    room = full_disk(monkeypatch)

    async def steady(_: str) -> Answer:
        await asyncio.sleep(0.01)
        return await says(200, b'{"choices":[{"message":{"content":"yes"}}]}')("")

    bench.endpoint.otherwise = steady
    run, dispatcher = bench.run(400), bench.dispatcher(most=8)
    dispatcher.start(run)
    await until(lambda: run.succeeded >= 50)
    room.clear()
    await until(lambda: "the disk is full" in dispatcher.note)
    await asyncio.sleep(0.1)
    bought = sum(bench.endpoint.calls.values())
    await asyncio.sleep(0.1)
    assert sum(bench.endpoint.calls.values()) == bought, "nothing is bought that cannot be kept"
    assert "answers wait in memory" in dispatcher.note
    assert run.trouble is None
    room.append(True)
    await bench.ended(run)
    assert dispatcher.note == ""
    assert len(bench.results(run)) == 400
    assert set(bench.endpoint.calls.values()) == {1}


async def test_a_stop_while_the_disk_is_full_says_how_many_answers_are_lost(
    bench: Any, until: Any, monkeypatch: Any
):
    full_disk(monkeypatch).clear()
    run, dispatcher = bench.run(4), bench.dispatcher(most=8)
    dispatcher.start(run)
    await until(lambda: "the disk is full: 4 answers" in dispatcher.note)
    with pytest.raises(StorageTrouble, match="4 answers could not be kept"):
        await dispatcher.aclose()
