"""Real processes, kill -9: every row comes out once and right, and nothing is bought twice."""

import csv
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from tests.crash.doomed import POINTS

ROWS = 240
SETTINGS = """
[retry]
wait_s = 0.05
server = 50
missing = 50
[providers.sim]
seed = 11
turnaround_s = 0.4
poll_s = 0.05
timeout_s = 0.3
find_after_s = 0.2
requests_max = 40
[providers.sim.failures]
server = 0.02
missing = 0.02
"""
OFTEN = ("id is on record", "end is on record", "results", "settled", "upload")
NAMED = [
    (point, nth)
    for point in [*POINTS, "before the answers are visible"]
    for nth in ((1, 3) if any(word in point for word in OFTEN) else (1,))
]
#: Lives that are ended at random moments; each ends this many times.
RANDOM_LIVES, DEATHS, DEATHS_AT_LEAST = 2, 6, 2


class Mill:
    """A home, a table, and processes to be killed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.deaths = folder, 0
        (folder / "batchmill.toml").write_text(SETTINGS)
        with (folder / "table.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "text"])
            writer.writerows([f"{i:03d}", f"row {i}\n“{i * 7919}”"] for i in range(ROWS))
        self.env = {**os.environ, "BATCHMILL_HOME": str(folder / "home")}
        self.run = ["run", "table.csv", "--model", "sim/echo", "--prompt", "{{ text }}"]
        self.run += ["-o", "answers.csv", "--json"]

    def start(self, *before: str) -> "subprocess.Popen[bytes]":
        """Run the table, or go on with it if it is on record already."""
        batches = self.batches()
        arguments = ["resume", batches[0], "--json"] if batches else self.run
        return subprocess.Popen(
            [sys.executable, *before, *arguments],
            cwd=self.folder,
            env=self.env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def batches(self) -> list[str]:
        """Look into the database: quicker than a process of its own."""
        database = self.folder / "home" / "batchmill.db"
        if not database.exists():
            return []
        with closing(sqlite3.connect(database)) as connection:
            try:
                return [row[0] for row in connection.execute("SELECT id FROM batches")]
            except sqlite3.OperationalError:  # it died before there were tables
                return []

    def die_at(self, point: str, nth: int) -> None:
        process = self.start(str(Path(__file__).with_name("doomed.py")), point, str(nth))
        _, errors = process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL, (point, nth, errors.decode())
        self.deaths += 1

    def die_after(self, seconds: float) -> None:
        process = self.start("-m", "batchmill")
        try:
            process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            self.deaths += 1

    def finish(self) -> None:
        process = self.start("-m", "batchmill")
        _, errors = process.communicate(timeout=90)
        assert process.returncode == 0, errors.decode()

    def audit(self) -> None:
        """Compare OUT with the table, and the provider's book with what may have been bought."""
        with (self.folder / "table.csv").open(newline="") as file:
            asked = list(csv.DictReader(file))
        with (self.folder / "answers.csv").open(newline="") as file:
            answered = list(csv.DictReader(file))
        assert [(r["id"], r["text"]) for r in answered] == [(r["id"], r["text"]) for r in asked]
        assert all(r["answer"] == r["text"] and r["outcome"] == "succeeded" for r in answered)
        folder = self.folder / "home" / "providers" / "sim"
        book = [json.loads(line) for line in (folder / "book.jsonl").read_text().splitlines()]
        bought = Counter(sale["shard"] for sale in book)
        assert set(bought.values()) == {1}, f"bought twice: {bought.most_common(3)}"
        # A row is offered again only when it failed: each row of OUT says how often it was.
        attempts = sum(int(r["attempts"]) for r in answered)
        assert sum(sale["rows"] for sale in book) == attempts
        assert not list(self.folder.glob("*.tmp*")), "half a file was left behind"


@pytest.mark.parametrize(("point", "nth"), NAMED)
def test_a_death_at_a_named_point_costs_nothing(tmp_path: Path, point: str, nth: int) -> None:
    mill = Mill(tmp_path)
    if point == "after a look-up":
        mill.die_at("after the creating call", 1)  # so that there is something to look up
    mill.die_at(point, nth)
    mill.finish()
    mill.audit()


@pytest.mark.parametrize("seed", range(RANDOM_LIVES))
def test_deaths_at_any_moment_cost_nothing(tmp_path: Path, seed: int) -> None:
    moments = random.Random(seed)
    mill = Mill(tmp_path)
    for _ in range(4 * DEATHS):
        if mill.deaths == DEATHS:
            break
        mill.die_after(moments.uniform(0.5, 2.2))
    mill.finish()
    mill.audit()
    assert mill.deaths >= DEATHS_AT_LEAST


def test_a_run_of_these_tests_kills_at_least_thirty_times() -> None:
    assert len(NAMED) + RANDOM_LIVES * DEATHS_AT_LEAST >= 30
