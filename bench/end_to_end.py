"""A table through `sim/echo`, start to end, as a person runs it: rows/s and peak memory."""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

SETTINGS = """
[providers.sim]
turnaround_s = 1.0
"""
WORDS = [
    "mill",
    "grain",
    "stone",
    "river",
    "wheel",
    "flour",
    "sack",
    "barge",
    "weir",
    "sluice",
    "hopper",
    "bran",
    "meal",
    "husk",
]


def make_table(path: Path, rows: int) -> None:
    """Write a Parquet table of about 500 bytes a row, in row groups of 50,000."""
    text = " ".join(WORDS[i * 7 % len(WORDS)] for i in range(200))
    schema = pa.schema([("id", pa.int64()), ("text", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, 50_000):
            ids = range(start, min(rows, start + 50_000))
            cells = [f"{i}: {text[i % 97 : i % 97 + 470]}\n" for i in ids]
            writer.write_table(pa.table({"id": pa.array(ids), "text": cells}, schema=schema))


def run_once(table: Path, home: Path, out: Path) -> tuple[float, float, float]:
    """Return wall seconds, CPU seconds and peak MB of one `batchmill run`."""
    (home / "batchmill.toml").write_text(SETTINGS)
    command = [sys.executable, "-m", "batchmill", "run", str(table), "--model", "sim/echo"]
    command += ["--prompt", "{{ text }}", "-o", str(out), "--force"]
    started = time.perf_counter()
    with (home / "output.txt").open("wb") as said:
        child = subprocess.Popen(
            command, env={**os.environ, "BATCHMILL_HOME": str(home)}, stdout=said, stderr=said
        )
        _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - started
    assert status == 0, (home / "output.txt").read_text()[-2000:]
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def check(table: Path, out: Path) -> None:
    """Every row once, in order, with the right answer."""
    asked, answered = pq.ParquetFile(table), pq.ParquetFile(out)
    assert asked.metadata.num_rows == answered.metadata.num_rows
    pairs = zip(asked.iter_batches(50_000), answered.iter_batches(50_000), strict=False)
    for question, answer in pairs:
        n = min(question.num_rows, answer.num_rows)
        assert question.slice(0, n).column("id").equals(answer.slice(0, n).column("id"))
        assert answer.column("text").equals(answer.column("answer"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=1)
    given = parser.parse_args()
    print(f"{'rows':>10} {'wall s':>8} {'cpu s':>8} {'rows/s':>8} {'peak MB':>8}")
    for _ in range(given.repeats):
        with tempfile.TemporaryDirectory() as folder:
            table, home, out = (Path(folder) / name for name in ("t.parquet", "home", "o.parquet"))
            home.mkdir()
            make_table(table, given.rows)
            wall, cpu, peak = run_once(table, home, out)
            check(table, out)
            print(
                f"{given.rows:>10} {wall:>8.1f} {cpu:>8.1f} {given.rows / wall:>8.0f} {peak:>8.0f}"
            )


if __name__ == "__main__":
    main()
