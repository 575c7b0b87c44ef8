"""What a ledger promises: durable within an interval, whole after a crash, one writer."""

import errno
import os
import signal
import subprocess
import sys
import textwrap
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchmill.core.failure import Failure
from batchmill.core.outcome import Outcome, Result, Usage
from batchmill.errors import Conflict, StorageTrouble
from batchmill.live import ledger
from batchmill.live.ledger import Ledger, Stopped, Syncer

STRANGE = Result(
    "batch_x-0001-9999",
    Outcome.ERRORED,
    Failure.TRUNCATED,
    "stopped at the maximum",
    'zwölf "€" \u2028\n',
    "m-2026",
    Usage(1, 2, 3, 4),
    Decimal("0.000000125"),
    b'{"a":"\\ud83d"}',
)


def row(n: int) -> Result:
    return Result(f"batch_x-0001-{n}", Outcome.SUCCEEDED, answer=str(n), body=b"{}")


def written(path: Path, *results: Result, stopped: Stopped | None = None) -> None:
    ledger.create(path)
    with Syncer() as syncer:
        book = Ledger.open(path, syncer)
        for result in results:
            book.append(result)
        if stopped:
            book.mark(stopped)
        book.close()


def rows_in(path: Path) -> list[Result]:
    return [result for chunk in ledger.read(path) for result in chunk]


def test_what_is_read_is_what_was_written(tmp_path: Path):
    path = tmp_path / "deep" / "a.ledger"
    written(path, STRANGE, *map(row, range(2500)), stopped=Stopped(Failure.CANCELED, "by wish"))
    assert rows_in(path) == [STRANGE, *map(row, range(2500))]
    found = ledger.replay(path)
    assert (found.succeeded, found.unsuccessful) == (2500, 1)
    assert found.stopped == Stopped(Failure.CANCELED, "by wish")


def test_creating_it_again_keeps_what_it_holds(tmp_path: Path):
    path = tmp_path / "a.ledger"
    written(path, row(1))
    ledger.create(path)
    assert rows_in(path) == [row(1)]
    assert os.listdir(tmp_path) == ["a.ledger"]


def test_a_ledger_torn_at_any_byte_keeps_every_whole_row_and_goes_on(tmp_path: Path):
    path = tmp_path / "a.ledger"
    for n in range(3):
        written(path, row(n))
    whole = path.read_bytes()
    for size in range(len(ledger.MAGIC), len(whole)):
        path.write_bytes(whole[:size])
        kept = rows_in(path)
        assert kept == list(map(row, range(len(kept))))
        assert len(kept) < 3
        written(path, row(9))
        assert rows_in(path) == [*kept, row(9)]


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_damaged_byte_never_invents_a_row(tmp_path_factory: Any, at: int, flip: int):
    path = tmp_path_factory.mktemp("l") / "a.ledger"
    rows = list(map(row, range(20)))
    written(path, *rows[:12])
    written(path, *rows[12:])
    data = bytearray(path.read_bytes())
    at = len(ledger.MAGIC) + at % (len(data) - len(ledger.MAGIC))
    data[at] ^= flip
    path.write_bytes(data)
    kept = rows_in(path)
    assert [r for r in rows if r in kept] == kept


def test_a_damaged_group_does_not_hide_those_behind_it(tmp_path: Path):
    path = tmp_path / "a.ledger"
    for n in range(3):
        written(path, row(n))
    data = bytearray(path.read_bytes())
    data[data.index(b"batch_x-0001-1")] ^= 1
    path.write_bytes(data)
    assert rows_in(path) == [row(0), row(2)]


def test_a_second_opener_is_told(tmp_path: Path):
    path = tmp_path / "a.ledger"
    ledger.create(path)
    with Syncer() as syncer:
        book = Ledger.open(path, syncer)
        with pytest.raises(Conflict, match="another process"):
            Ledger.open(path, syncer)
        book.close()
        Ledger.open(path, syncer).close()


def test_a_foreign_file_is_not_touched(tmp_path: Path):
    path = tmp_path / "a.ledger"
    path.write_bytes(b"important\n" * 10)
    with Syncer() as syncer, pytest.raises(StorageTrouble, match="not a ledger"):
        Ledger.open(path, syncer)
    assert path.read_bytes() == b"important\n" * 10


def test_a_broken_disk_is_told_to_who_writes_and_to_who_closes(tmp_path: Path, monkeypatch: Any):
    path = tmp_path / "a.ledger"
    ledger.create(path)

    def broken(fd: int, data: bytes, at: int) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(ledger, "_write_all", broken)
    with Syncer() as syncer:
        book = Ledger.open(path, syncer)
        book.append(row(1))
        with pytest.raises(
            StorageTrouble, match=r"Input/output error\. 1 answers could not be kept"
        ):
            book.close()
        with pytest.raises(StorageTrouble):
            book.append(row(2))


class Disk:
    """A disk with little room: the last write of a group is cut in the middle."""

    def __init__(self, monkeypatch: Any, room: int) -> None:
        self.room = room
        self._real = ledger._write_all
        monkeypatch.setattr(ledger, "_write_all", self._write)
        monkeypatch.setattr(ledger, "ROOM_S", 0.01)

    def _write(self, fd: int, data: bytes, at: int) -> int:
        if at + len(data) > self.room:
            self._real(fd, data[: max(0, self.room - at)], at)
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._real(fd, data, at)


def test_answers_wait_in_memory_until_a_full_disk_has_room(tmp_path: Path, monkeypatch: Any):
    path = tmp_path / "a.ledger"
    ledger.create(path)
    disk = Disk(monkeypatch, room=20_000)  # some groups of them fit, all of them do not
    with Syncer(interval_s=0.05) as syncer:
        book = Ledger.open(path, syncer)
        for n in range(1000):
            book.append(row(n))
        while not syncer.waiting_for_room:
            time.sleep(0.001)
        time.sleep(0.1)
        assert book.trouble is None
        for n in range(1000, 1010):
            book.append(row(n))
        disk.room = 1 << 30
        book.close()
        assert syncer.waiting_for_room == 0
    assert rows_in(path) == list(map(row, range(1010)))


def test_a_stop_while_the_disk_is_full_says_what_was_lost(tmp_path: Path, monkeypatch: Any):
    path = tmp_path / "a.ledger"
    ledger.create(path)
    Disk(monkeypatch, room=0)
    with Syncer() as syncer:
        book = Ledger.open(path, syncer)
        for n in range(7):
            book.append(row(n))
        while not syncer.waiting_for_room:
            time.sleep(0.001)
        syncer.give_up_waiting()
        with pytest.raises(StorageTrouble, match=r"No space.* 7 answers could not.*Make room"):
            book.close()


def test_a_row_that_cannot_be_written_costs_its_neighbours_nothing(tmp_path: Path):
    path = tmp_path / "a.ledger"
    absurd = Result("x-1", Outcome.SUCCEEDED, usage=Usage(10**20), answer="yes", body=b'{"a":1}')
    half = Result("x-2", Outcome.SUCCEEDED, answer="\ud800")
    stopped = Stopped(Failure.ACCOUNT, "no credit \ud800")
    written(path, row(0), absurd, row(1), half, *map(row, range(2, 600)), stopped=stopped)
    kept = {r.custom_id: r for r in rows_in(path)}
    assert [kept[f"batch_x-0001-{n}"] for n in range(600)] == list(map(row, range(600)))
    for bad in (kept["x-1"], kept["x-2"]):
        assert (bad.outcome, bad.failure) == (Outcome.ERRORED, Failure.SERVER)
        assert "cannot be kept" in bad.detail
    assert "OverflowError" in kept["x-1"].detail
    assert kept["x-1"].body == b'{"a":1}', "what was paid for is still there"
    found = ledger.replay(path)
    assert (found.succeeded, found.unsuccessful) == (600, 2)
    assert found.stopped == Stopped(Failure.ACCOUNT, "no credit ?")


def test_rows_share_a_sync(tmp_path: Path, monkeypatch: Any):
    path, syncs = tmp_path / "a.ledger", []
    ledger.create(path)
    real = ledger._sync
    monkeypatch.setattr(ledger, "_sync", lambda fd: (syncs.append(fd), real(fd)))
    with Syncer(interval_s=0.05) as syncer:
        book = Ledger.open(path, syncer)
        for n in range(5000):
            book.append(row(n))
        book.close()
    assert len(syncs) <= 10
    assert book.durable == 5000


def test_what_was_called_durable_survives_a_kill(tmp_path: Path):
    path = tmp_path / "a.ledger"
    program = textwrap.dedent("""
        import sys, pathlib
        from batchmill.core.outcome import Outcome, Result
        from batchmill.live import ledger
        path = pathlib.Path(sys.argv[1])
        ledger.create(path)
        book = ledger.Ledger.open(path, ledger.Syncer())
        for n in range(10**9):
            book.append(Result(str(n), Outcome.SUCCEEDED))
            if n % 1000 == 0:
                print(book.durable, flush=True)
    """)
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        promised = 0
        while promised < 5000:
            promised = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        promised = max([promised, *(int(line) for line in child.stdout if line.endswith("\n"))])
    kept = rows_in(path)
    assert len(kept) >= promised
    assert [r.custom_id for r in kept] == [str(n) for n in range(len(kept))]
