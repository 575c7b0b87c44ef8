"""Runs a measurement in a process of its own, several times, and prints a table of medians."""

import argparse
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True)
class Spent:
    """What one run of something took."""

    wall_s: float
    cpu_s: float
    peak_mb: float = 0.0

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(
            self.wall_s + other.wall_s,
            self.cpu_s + other.cpu_s,
            max(self.peak_mb, other.peak_mb),
        )


class Watch:
    """Measures wall time and the processor time of the whole process."""

    def __enter__(self) -> Self:
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        self.spent = Spent(wall, cpu, peak_mb())


def peak_mb() -> float:
    """Return the most memory this process ever held, in MB."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_child(task: Callable[..., Any], *args: Any) -> Any:
    """Call *task* in a fresh process, so that its peak memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(task, args)


def median(runs: Sequence[Spent]) -> Spent:
    return Spent(
        statistics.median(r.wall_s for r in runs),
        statistics.median(r.cpu_s for r in runs),
        max(r.peak_mb for r in runs),
    )


def arguments(about: str, rows: int = 1_000_000) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--rows", type=int, default=rows, help="rows of the table")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each; medians are shown")
    parser.add_argument("--chars", type=int, default=500, help="length of a prompt, about")
    parser.add_argument("--only", default="", help="only what has this in its name")
    return parser.parse_args()


def header() -> None:
    print(f"{'':34}{'rows/s':>9}{'per CPU-s':>11}{'wall s':>8}{'CPU s':>8}{'peak MB':>9}")


def line(name: str, rows: int, spent: Spent) -> None:
    print(
        f"{name:34}{rows / spent.wall_s:>9,.0f}{rows / spent.cpu_s:>11,.0f}{spent.wall_s:>8.2f}"
        f"{spent.cpu_s:>8.2f}{spent.peak_mb:>9.0f}",
        flush=True,
    )
