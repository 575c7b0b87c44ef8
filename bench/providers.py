"""Vendors' lines: how fast they are read and written, results streamed, and creates for halving."""

import asyncio
import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from _file_server import RECORDS, base_url, served
from _measure import Spent, Watch, arguments, in_child, median, peak_mb
from _vendor_lines import LONG, SHARD, SHORT, kind, kinds

from batchmill.core.request import Request

FILE_BYTES = 200_000_000
ROWS_A_SECOND, ABOVE_IDLE_MB = 60_000, 150
SIZES = (("short", SHORT), ("long", LONG))
AT_ONCE = 8_000_000  #: so many bytes of lines in one measurement of a parser
HALVED = 1_000


class Now:
    """The clock of a house in which nothing waits."""

    def now(self) -> float:
        return time.time()

    def awake(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class NoIds:
    def batch(self) -> str:
        return "batch_x"

    def token(self) -> str:
        return "token"


# -- lines in memory -----------------------------------------------------------------------------


def lines_read_and_written(repeats: int) -> list[tuple[str, int, int, dict[str, list[Spent]]]]:
    """
    Measure each parser and renderer, turn by turn.

    Return (dialect, bytes of a line, rows, runs); beside the parser, a bare decoding of the JSON.
    """
    bare = msgspec.json.Decoder().decode
    cases: list[tuple[str, int, int, dict[str, list[Spent]]]] = []
    work: list[tuple[dict[str, list[Spent]], str, Callable[[Any], Any], Sequence[Any]]] = []
    for each in kinds():
        for _, size in SIZES:
            line = each.result_line(size)
            rows = AT_ONCE // len(line)
            runs: dict[str, list[Spent]] = {"parse": [], "bare": [], "render": []}
            lines = each.result_lines(size, rows)
            assert each.parse(lines[0]), each.name
            work.append((runs, "parse", each.parse, lines))
            work.append((runs, "bare", bare, lines))
            work.append((runs, "render", each.render, each.requests(size, rows)))
            cases.append((each.name, len(line), rows, runs))
    for _ in range(repeats):
        for runs, what, call, given in work:
            with Watch() as watch:
                for one in given:
                    call(one)
            runs[what].append(watch.spent)
    return cases


def show_lines(repeats: int) -> None:
    print(
        f"\n{'rows/s':24}{'bytes':>6}{'parse':>10}{'per CPU-s':>11}{'of bare':>9}"
        f"{'render':>11}{'per CPU-s':>11}"
    )
    for name, size, rows, runs in in_child(lines_read_and_written, repeats):
        parse, bare, render = (median(runs[what]) for what in ("parse", "bare", "render"))
        print(
            f"{name:24}{size:>6}{rows / parse.wall_s:>10,.0f}{rows / parse.cpu_s:>11,.0f}"
            f"{bare.cpu_s / parse.cpu_s:>9.2f}{rows / render.wall_s:>11,.0f}"
            f"{rows / render.cpu_s:>11,.0f}"
        )
    print("of bare: beside a decoding of the same lines into Python's own objects, by CPU")


# -- result files over HTTP ----------------------------------------------------------------------


def streamed(vendor: str, host: str, rows: int, *, bare: bool) -> Spent:
    """Read a result file through `results()`, or only to its bytes, in this process alone."""
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    return asyncio.run(_streamed(vendor, host, rows, bare=bare))


async def _streamed(vendor: str, host: str, rows: int, *, bare: bool) -> Spent:
    from batchmill import providers
    from batchmill.core.request import DIALECTS
    from batchmill.ports import Offer
    from batchmill.providers import Context, Knobs
    from batchmill.providers._http import AiohttpClient

    async def nothing() -> AsyncIterator[Sequence[Request]]:
        for none in ():
            yield none

    spec, client = providers.spec(vendor), AiohttpClient(Now())
    options: dict[str, object] = {}
    if vendor == "bedrock":
        role = "arn:aws:iam::123456789012:role/batches"
        options = {"region": "us-east-1", "bucket": "s3://results/batches", "role_arn": role}
        options["s3_endpoint"] = base_url(host, vendor)
    base, folder = base_url(host, vendor), Path(tempfile.gettempdir())
    context = Context(
        name=vendor,
        lane="batch",
        knobs=Knobs(base_url=base, key=None if vendor == "bedrock" else "none", options=options),
        clock=Now(),
        ids=NoIds(),
        http=lambda: client,
        folder=folder,
    )
    provider = spec.open(context)
    dialect = "bedrock.converse" if vendor == "bedrock" else spec.dialects[0]
    offer = Offer(
        shard_id=SHARD,
        dialect=dialect,
        url=DIALECTS[dialect].url,
        model="a-model",
        count=rows,
        requests=nothing,
        ref="ref",
        upstream_id="batches/x",
    )
    await provider.check(offer)  # a connection, and whatever is imported with the first call
    idle_mb, found = _idle_mb(), 0
    with Watch() as watch:
        if bare:
            url = f"{base}/files/x/content"
            async with client.download("GET", url, headers={}, idle_timeout_s=60) as body:
                async for chunk in body.chunks():
                    found += chunk.count(b"\n")
        else:
            async for results in provider.results(offer):
                found += len(results)
                assert results[0].answer
                assert results[0].custom_id.startswith(SHARD)
    await client.aclose()
    assert found == rows, f"{vendor}: {found:,} of {rows:,} rows"
    return Spent(watch.spent.wall_s, watch.spent.cpu_s, peak_mb() - idle_mb)


def _idle_mb() -> float:
    """Return what the process holds now, and let its peak begin here where the system can."""
    # Where it cannot, the peak is that of the whole process: more than it should be, never less.
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def show_streams(folder: str, repeats: int, only: str) -> None:
    cases: list[tuple[str, str, int, dict[bool, list[Spent]]]] = []
    for vendor in RECORDS:
        for name, size in SIZES:
            if only in vendor:
                file = Path(folder) / f"{vendor}-{name}.jsonl"
                rows = kind(vendor).write_file(file, size, FILE_BYTES)
                cases.append((vendor, name, rows, {True: [], False: []}))
    with served(folder) as host:
        for _ in range(repeats):
            for vendor, name, rows, runs in cases:
                for bare in (True, False):
                    place = f"{host}/{name}"
                    runs[bare].append(in_child(_one, vendor, place, rows, bare))
    print(
        f"\n{'a file of 200 MB':24}{'bytes':>6}{'rows/s':>10}{'per CPU-s':>11}{'MB/s':>6}"
        f"{'× bare':>8}{'MB over idle':>14}"
    )
    for vendor, name, rows, runs in cases:
        bare, found = median(runs[True]), median(runs[False])
        slow, big = rows / found.wall_s < ROWS_A_SECOND, found.peak_mb > ABOVE_IDLE_MB
        missed = f"MISSED: {ROWS_A_SECOND:,} rows/s" if slow else ""
        missed += f"  MISSED: {ABOVE_IDLE_MB} MB" if big else ""
        print(
            f"{f'{vendor}, {name}':24}{FILE_BYTES // rows:>6}{rows / found.wall_s:>10,.0f}"
            f"{rows / found.cpu_s:>11,.0f}{FILE_BYTES / found.wall_s / 1e6:>6.0f}"
            f"{found.cpu_s / bare.cpu_s:>8.1f}{found.peak_mb:>14.0f}  {missed or 'kept'}"
        )
    print(
        f"bars: {ROWS_A_SECOND:,} rows/s by wall, {ABOVE_IDLE_MB} MB above idle. × bare: CPU, "
        "where receiving the same bytes and counting their lines is 1"
    )


def _one(vendor: str, host: str, rows: int, bare: bool) -> Spent:
    return streamed(vendor, host, rows, bare=bare)


# -- halving -------------------------------------------------------------------------------------


def creates(rows: int, bad: int) -> int:
    """Return how many creating calls part one bad row, that nobody names, from all others."""
    from batchmill.core import plan
    from batchmill.core.batch import Batch, Recipe, Source
    from batchmill.core.failure import Failure, Patience
    from batchmill.core.rowset import compact, row_range
    from batchmill.core.shard import Collected, Shard, State, Tally, advance

    recipe, source = Recipe(model="m"), Source(url="t.csv", format="csv")
    batch = Batch(
        id="batch_x",
        created_at=0.0,
        provider="openai",
        lane="batch",
        recipe=recipe,
        source=source,
        rows=rows,
    )
    first = Shard(
        id=SHARD,
        batch_id=batch.id,
        n=1,
        provider="openai",
        lane="batch",
        rows=compact(row_range(0, rows)),
    )
    waiting, settled, calls, run = [first], [], 0, 0
    while waiting:
        shard = replace(waiting.pop(0), state=State.COLLECTING)
        calls += 1
        if bad not in shard.rows:
            run += len(shard.rows)
            tally = Tally(succeeded=len(shard.rows))
        elif len(shard.rows) == 1:
            tally = Tally(failed={Failure.INVALID_REQUEST: shard.rows})
        else:
            tally = Tally(failed={Failure.NOT_RUN: shard.rows})
        event = Collected("k", tally)
        done = advance(shard, event)
        waiting += plan.sequel(batch, done, event, [*settled, *waiting], Patience(), 0.0).shards
        settled.append(done)
    assert run == rows - 1, "each good row is run once"
    return calls


def show_halving() -> None:
    found = [creates(HALVED, bad) for bad in range(HALVED)]
    print(
        f"\n{HALVED:,} rows, one of them bad and not named: {min(found)} to {max(found)} creates "
        f"(median {statistics.median(found):.0f}, over every place it can have); each good row is "
        "run once"
    )


def loads(moment: str) -> None:
    print(f"load {moment}: " + " ".join(f"{one:.1f}" for one in os.getloadavg()), flush=True)


def main() -> None:
    wanted = arguments(__doc__ or "")
    only = wanted.only  # lines, files, halving, or a vendor's name
    loads("before")
    if only in ("", "lines"):
        show_lines(wanted.repeats)
    if only not in ("lines", "halving"):
        with tempfile.TemporaryDirectory() as folder:
            show_streams(folder, wanted.repeats, only.removeprefix("files"))
    if only in ("", "halving"):
        show_halving()
    loads("after")


if __name__ == "__main__":
    main()
