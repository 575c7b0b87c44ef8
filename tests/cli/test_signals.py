"""Ctrl-C and SIGTERM stop watching, never the upstream batches; two processes share one home."""

import json
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from .conftest import Command, Process, read_table, settings, write_table

RUN = ("run", "t.csv", "--model", "sim/echo", "--prompt", "Say {{ title }}")
Start = Callable[..., Process]


def bought(home: Path) -> list[str]:
    """Return the shards that the simulated provider sold, as its own book says."""
    books = list((home / "providers" / "sim").rglob("book.jsonl"))
    lines = [line for book in books for line in book.read_text().splitlines()]
    return sorted(json.loads(line)["shard"] for line in lines)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_watching_and_says_what_goes_on(
    number: signal.Signals, here: Path, tmp_path: Path, start: Start, call: Command
) -> None:
    settings(here, turnaround_s=3, requests_max=2)
    process = start(*RUN, "--shards")
    process.until("in progress")
    process.signal(number)
    told = process.end()
    assert told.status == 130
    assert "stopped watching batch_" in told.err
    assert "of 3 shards" in told.err
    assert "go on upstream" in told.err or "goes on upstream" in told.err
    assert "batchmill resume batch_" in told.err
    assert "Traceback" not in told.err
    assert not (here / "t.answers.csv").exists()
    settings(here, requests_max=2)
    assert call("resume", "last").status == 0
    rows = read_table(here / "t.answers.csv")
    assert [row["answer"] for row in rows] == [f"Say thing {i}" for i in range(6)]
    sold = bought(tmp_path / "home")
    assert len(sold) == len(set(sold)) == 3


def test_a_second_signal_exits_at_once(here: Path, start: Start) -> None:
    settings(here, turnaround_s=30)
    process = start(*RUN, "--shards")
    process.until("in progress")
    while process.it.poll() is None:
        process.signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.it.wait(0.1)
    assert process.end().status == 130


def test_one_wish_may_arrive_twice(here: Path, start: Start) -> None:
    settings(here, turnaround_s=30)
    process = start(*RUN, "--shards")
    process.until("in progress")
    process.signal(signal.SIGTERM)
    process.signal(signal.SIGTERM)  # as `timeout` does it, to the process and to its group
    told = process.end()
    assert told.status == 130
    assert "stopped watching" in told.err


def test_interrupted_while_reading_nothing_is_kept(here: Path, start: Start, call: Command) -> None:
    write_table(here / "t.csv", 600_000)
    process = start(*RUN, "--json")
    process.until("validating", stream="stdout")
    process.signal(signal.SIGINT)
    told = process.end()
    assert told.status == 130
    assert "nothing was sent, nothing is kept" in told.err
    assert call("list", "--json").json == []


def test_an_interrupted_json_run_ends_with_a_line_that_says_so(here: Path, start: Start) -> None:
    settings(here, turnaround_s=30)
    process = start(*RUN, "--json")
    process.until('"in_progress":1', stream="stdout")
    process.signal(signal.SIGTERM)
    told = process.end()
    last = told.lines[-1]
    assert (last["done"], last["out"], last["exit"]) == (False, None, 130)


def test_a_second_process_watches_and_takes_over(here: Path, start: Start) -> None:
    settings(here, turnaround_s=8, requests_max=2)
    first = start(*RUN, "--shards")
    first.until("in progress")
    second = start("resume", "last")
    second.until("another batchmill process is moving it")
    first.it.kill()
    told = second.end()
    assert told.status == 0
    assert "this one goes on" in told.err
    assert len(read_table(here / "t.answers.csv")) == 6


def test_work_moves_what_was_detached_and_stops_cleanly(
    here: Path, start: Start, call: Command, ask: Command
) -> None:
    worker = start("work")
    worker.until("working on", stream="stdout")
    batch_id = ask("--detach").out.strip()
    line = worker.until(f"{batch_id} finished", stream="stdout")
    assert line.rstrip().endswith(f"6 rows, 6 succeeded; its answers: batchmill resume {batch_id}")
    worker.signal(signal.SIGTERM)
    told = worker.end()
    assert told.status == 0
    assert "stopped" in told.out
    assert call("watch", batch_id).status == 0
    assert not (here / "t.answers.csv").exists()
    assert call("results", batch_id).status == 0
    assert len(read_table(here / "t.answers.csv")) == 6


def test_watch_only_looks(here: Path, start: Start, ask: Command) -> None:
    batch_id = ask("--detach").out.strip()
    watcher = start("watch", batch_id)
    watcher.until("nothing moves it")
    watcher.signal(signal.SIGINT)
    assert watcher.end().status == 130
