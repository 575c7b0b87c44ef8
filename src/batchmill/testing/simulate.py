"""Live many lives: `python -m batchmill.testing.simulate N`; or tell one: `--seed S`."""

import argparse
import os
import sys
import time

from batchmill.testing.auditor import Broken
from batchmill.testing.lives import live_many, simulate


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="batchmill.testing.simulate", description=__doc__)
    parser.add_argument("lives", nargs="?", type=int, default=1000)
    parser.add_argument("--seed", type=int, help="live one life, and tell it event by event")
    parser.add_argument("--cores", type=int, default=min(2, os.cpu_count() or 1))
    asked = parser.parse_args(argv)
    if asked.seed is not None:
        return _one(asked.seed)
    began = time.perf_counter()
    total = live_many(asked.lives, asked.cores)
    took_s = time.perf_counter() - began
    for what, times in sorted(total.made_of.items(), key=lambda item: (-item[1], item[0])):
        print(f"{times:>10}  {what}")
    for words in total.broken[:10]:
        print(words, file=sys.stderr)
    print(
        f"{total.lives} lives, {total.steps} steps, {took_s:.1f} s: "
        + (f"{len(total.broken)} broken" if total.broken else "every promise kept")
    )
    return 1 if total.broken else 0


def _one(seed: int) -> int:
    try:
        history = simulate(seed, tell=print)
    except Broken as broken:
        print(broken, file=sys.stderr)
        return 1
    print(", ".join(f"{times} {what}" for what, times in sorted(history.made_of.items())))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
