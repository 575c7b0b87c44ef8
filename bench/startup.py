"""How long `batchmill --help` takes, beside a bare interpreter: medians."""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path


def timed(command: list[str]) -> float:
    """Return the wall time of one run in milliseconds."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - started) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "batchmill --help": [str(Path(sys.executable).with_name("batchmill")), "--help"],
        "batchmill run --help": [str(Path(sys.executable).with_name("batchmill")), "run", "--help"],
    }
    # Interleaved, so that a busy moment of the machine hits all of them.
    times = {name: [] for name in commands}
    for _ in range(repeats):
        for name, command in commands.items():
            times[name].append(timed(command))
    print(f"{'command':22} {'median ms':>10} {'best ms':>10}")
    for name, found in times.items():
        print(f"{name:22} {statistics.median(found):>10.0f} {min(found):>10.0f}")


if __name__ == "__main__":
    main()
