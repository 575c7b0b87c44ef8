"""Finished rows per second into a ledger, durable in groups. Usage: ledger.py [ROWS] [FOLDER]."""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from batchmill.core.outcome import Outcome, Result, Usage
from batchmill.live import ledger
from batchmill.live.ledger import Ledger, Syncer

ANSWER = "A sturdy little kettle that boils 1.7 litres while you look for the tea. " * 3
BODY = msgspec.json.encode(
    {
        "id": "chatcmpl-abc",
        "choices": [{"message": {"role": "assistant", "content": ANSWER}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 120, "completion_tokens": 60},
    }
)


def made(count: int) -> list[Result]:
    usage = Usage(120, 60)
    return [
        Result(f"batch_x-0001-{n}", Outcome.SUCCEEDED, None, "", ANSWER, "m", usage, None, BODY)
        for n in range(count)
    ]


def plain(path: Path, rows: list[Result]) -> str:
    encode = msgspec.json.encode
    with path.open("wb") as file:
        for row in rows:
            file.write(encode(row) + b"\n")
    return "never"


def synced_once(path: Path, rows: list[Result]) -> str:
    encode = msgspec.json.encode
    with path.open("wb") as file:
        for row in rows:
            file.write(encode(row) + b"\n")
        file.flush()
        os.fdatasync(file.fileno())
    return "once, at the end"


def grouped(interval_s: float) -> Callable[[Path, list[Result]], str]:
    def write(path: Path, rows: list[Result]) -> str:
        ledger.create(path)
        syncs = 0
        real = ledger._sync  # noqa: SLF001

        def counted(fd: int) -> None:
            nonlocal syncs
            syncs += 1
            real(fd)

        ledger._sync = counted  # noqa: SLF001
        try:
            with Syncer(interval_s) as syncer:
                book = Ledger.open(path, syncer)
                for row in rows:
                    book.append(row)
                book.close()
        finally:
            ledger._sync = real  # noqa: SLF001
        return f"{syncs} times"

    return write


def each(path: Path, rows: list[Result]) -> str:
    encode = msgspec.json.encode
    with path.open("wb", buffering=0) as file:
        for row in rows:
            file.write(encode(row) + b"\n")
            os.fdatasync(file.fileno())
    return "every row"


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 500_000
    folder = sys.argv[2] if len(sys.argv) > 2 else None
    rows = made(count)
    cases: list[tuple[str, Callable[[Path, list[Result]], str], int]] = [
        ("plain buffered JSON lines", plain, count),
        ("the same, one sync at the end", synced_once, count),
        ("ledger, a sync per 10 ms at most", grouped(0.01), count),
        ("ledger, a sync per 100 ms at most", grouped(0.1), count),
        ("JSON lines, a sync per row", each, min(count, 2000)),
    ]
    print(f"{count:,} rows of {len(BODY) + len(ANSWER):,} bytes (answer and body)")
    print(f"{'':36}{'rows/s':>10}{'MB/s':>8}{'CPU us':>9}  synced")
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        for name, write, size in cases:
            path = Path(scratch) / name.replace(" ", "-")
            started, cpu = time.perf_counter(), time.process_time()
            synced = write(path, rows[:size])
            took, cpu = time.perf_counter() - started, time.process_time() - cpu
            megabytes = path.stat().st_size / took / 1e6
            figures = f"{size / took:>10,.0f}{megabytes:>8,.0f}{cpu / size * 1e6:>9.1f}"
            print(f"{name:36}{figures}  {synced}")
        path = Path(scratch) / cases[2][0].replace(" ", "-")
        started = time.perf_counter()
        found = sum(len(chunk) for chunk in ledger.read(path))
        took = time.perf_counter() - started
        assert found == count
        print(f"{'reading it back':36}{count / took:>10,.0f}")


if __name__ == "__main__":
    main()
