"""Two processes over one PostgreSQL: one works, the other takes over when the first one dies."""

import csv
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROWS = 60
SETTINGS = """
[retry]
wait_s = 0.1
[providers.sim]
turnaround_s = 4.0
poll_s = 0.2
timeout_s = 1.0
find_after_s = 0.2
requests_max = 10
"""


@contextmanager
def a_process(folder: Path, url: str, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    env = {**os.environ, "BATCHMILL_HOME": str(folder / "home"), "BATCHMILL_DATABASE_URL": url}
    process = subprocess.Popen(
        [sys.executable, "-m", "batchmill", *arguments],
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def sold(folder: Path) -> list[dict[str, object]]:
    book = folder / "home" / "providers" / "sim" / "book.jsonl"
    lines = book.read_text().splitlines() if book.exists() else []
    return [json.loads(line) for line in lines]


def test_the_second_worker_takes_over_and_nothing_is_bought_twice(
    tmp_path: Path, new_postgres: Callable[[], str]
) -> None:
    (tmp_path / "batchmill.toml").write_text(SETTINGS)
    with (tmp_path / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["text"], *([f"row {i}"] for i in range(ROWS))])
    url = new_postgres()
    run = ["run", "t.csv", "--model", "sim/echo", "--prompt", "{{ text }}", "-o", "out.csv"]
    with a_process(tmp_path, url, "work") as worker, a_process(tmp_path, url, *run) as person:
        until = time.monotonic() + 60
        while not sold(tmp_path):
            assert time.monotonic() < until, "nobody works"
            assert person.poll() is None, person.communicate()
            time.sleep(0.05)
        worker.kill()
        _, said = person.communicate(timeout=120)
        assert person.returncode == 0, said.decode()
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["answer"] for r in rows] == [f"row {i}" for i in range(ROWS)]
    assert set(Counter(sale["shard"] for sale in sold(tmp_path)).values()) == {1}
