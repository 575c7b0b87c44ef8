"""Results as they come, made into segments: every row exactly one, nothing foreign among them."""

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

import msgspec
from pyroaring import BitMap

from batchmill.core.batch import Batch
from batchmill.core.failure import Failure
from batchmill.core.limits import Range
from batchmill.core.outcome import Outcome, Result
from batchmill.core.request import row_of
from batchmill.core.rowset import RowSet, row_range
from batchmill.core.shard import Shard
from batchmill.ports import Blobs, Kept
from batchmill.rows.resultfile import Count, ResultFile, aside_key, results_key
from batchmill.rows.schema import Judge

#: A record batch of a segment has about this many rows, or bytes where rows are large. Several
#: shards are collected at once, and each holds as much. Smaller batches cost the join memory.
BATCH_ROWS = 8192
BATCH_BYTES = 8 << 20

#: What comes in is handed to a thread in pieces of this size: one costs 50 µs.
PIECE_ROWS = 1024
PIECE_BYTES = 2 << 20

#: What may wait in memory for its segment; beyond that the fullest is written to.
WAITING_BYTES = 16 << 20

#: Segments open for writing at once; a system allows a process about a thousand files.
OPEN_MAX = 256

_MISSING = Result(
    "", Outcome.ERRORED, Failure.MISSING, "the provider returned no line for this row"
)


async def keep_results(
    blobs: Blobs,
    batch: Batch,
    ranges: Sequence[Range],
    shard: Shard,
    name: str,
    results: AsyncIterator[Sequence[Result]],
) -> Kept:
    """Write the results of a shard as segments called *name*; see `ports.Rows.keep`."""
    keeper = Keeper(blobs, batch, ranges, shard, name)
    waiting: list[Result] = []
    size = 0
    try:
        async for chunk in results:
            waiting.extend(chunk)
            size += sum([len(r.body) for r in chunk])
            if len(waiting) >= PIECE_ROWS or size >= PIECE_BYTES:
                await asyncio.to_thread(keeper.add, waiting)
                waiting, size = [], 0
        await asyncio.to_thread(keeper.add, waiting)
        return await asyncio.to_thread(keeper.close)
    except BaseException as error:
        keeper.abandon(error)
        raise


@dataclass(slots=True)
class _Bin:
    """Results of one origin range that wait to be written."""

    wanted: RowSet
    file: ResultFile
    rows: list[int] = field(default_factory=list[int])
    results: list[Result] = field(default_factory=list[Result])
    size: int = 0


class Keeper:
    """Sorts results into segments by the range their row came from. Blocking."""

    def __init__(
        self, blobs: Blobs, batch: Batch, ranges: Sequence[Range], shard: Shard, name: str
    ) -> None:
        self._shard = shard
        self._name = name
        self._prefix = f"{shard.id}-"
        self._judge = None if batch.recipe.schema is None else Judge(batch.recipe.schema)
        self._bins: list[_Bin] = []
        self._starts: list[int] = []
        for origin in ranges:
            if wanted := shard.rows & row_range(origin.start, origin.count):
                key = results_key(batch.id, origin.n, name)
                self._bins.append(_Bin(wanted, ResultFile(blobs, key)))
                self._starts.append(origin.start)
        self._seen = BitMap()
        self._failed: dict[int, Result] = {}  # not written yet: an answer may still come
        self._failed_bytes = 0
        self._count = Count()
        self._aside = _Aside(blobs, aside_key(batch.id, name))

    def add(self, results: Sequence[Result]) -> None:
        """Take some results, in any order."""
        if not results:
            return
        rows = self._fresh(results)
        if rows is None:
            rows, results = self._sifted(results)
        if self._judge is not None:
            results = [self._judged(r) for r in results]
        if any(r.outcome is not Outcome.SUCCEEDED for r in results):
            rows, results = self._held_back(rows, results)
        self._take(rows, results)

    def _take(self, rows: Sequence[int], results: Sequence[Result]) -> None:
        if len(self._bins) == 1:
            self._put(self._bins[0], rows, results)
        else:
            self._distribute(rows, results)
        while sum(b.size for b in self._bins) > WAITING_BYTES and self._write_fullest():
            pass

    def close(self) -> Kept:
        """Write what waits and what is missing; only now are the segments there."""
        self._let_go()
        foreign, duplicate = self._aside.foreign, self._aside.duplicate
        # Somebody else's batch, adopted by mistake: nothing of it is kept. A batch that certainly
        # is ours and names none of our rows is another matter: all of them are missing.
        if self._shard.provisional and foreign and not self._seen:
            self._give_up(None)
            return Kept(name=self._name, tally=self._count.tally(foreign, duplicate), ours=False)
        for found in self._bins:
            missing = list(found.wanted - self._seen)
            self._write(found)
            for start in range(0, len(missing), BATCH_ROWS):
                rows = missing[start : start + BATCH_ROWS]
                found.file.write(rows, [_MISSING] * len(rows), self._count)
            found.file.close()
        self._aside.close()
        return Kept(name=self._name, tally=self._count.tally(foreign, duplicate))

    def abandon(self, error: BaseException) -> None:
        """Leave nothing behind."""
        self._give_up(error)

    def _give_up(self, error: BaseException | None) -> None:
        reason = error or _NotOurs()
        for file in (*(found.file for found in self._bins), self._aside):
            with suppress(Exception):  # the first trouble is the one to tell
                file.abandon(reason)

    def _held_back(
        self, rows: Sequence[int], results: Sequence[Result]
    ) -> tuple[list[int], list[Result]]:
        """Return what succeeded; the rest waits, as some vendors tell an error before an answer."""
        good: tuple[list[int], list[Result]] = ([], [])
        for row, result in zip(rows, results, strict=True):
            if result.outcome is Outcome.SUCCEEDED:
                good[0].append(row)
                good[1].append(result)
            else:
                self._failed[row] = result
                self._failed_bytes += len(result.body) + len(result.answer or "") + 600
        if self._failed_bytes > WAITING_BYTES:
            self._let_go()
        return good

    def _let_go(self) -> None:
        failed, self._failed, self._failed_bytes = self._failed, {}, 0
        if failed:
            self._take(list(failed), list(failed.values()))

    def _fresh(self, results: Sequence[Result]) -> list[int] | None:
        """
        Return the rows if every result is for a row of ours that had none yet; else None.

        Says the same as `row_of` and a look at each row, in a third of the time: a number that
        reads back as the text it came from is written the only way we write it.
        """
        prefix, cut = self._prefix, len(self._prefix)
        tails = [r.custom_id[cut:] for r in results if r.custom_id.startswith(prefix)]
        try:
            rows = [int(tail) for tail in tails]
            if len(rows) < len(results) or [str(row) for row in rows] != tails:
                return None
            found = BitMap(rows)
        except (ValueError, OverflowError):
            return None
        if len(found) < len(rows) or not found <= self._shard.rows or found & self._seen:
            return None
        self._seen |= found
        return rows

    def _sifted(self, results: Sequence[Result]) -> tuple[list[int], list[Result]]:
        """Return what is ours and the first of its row; put everything else aside."""
        rows: list[int] = []
        kept: list[Result] = []
        failed: dict[int, int] = {}  # of these rows: where in `kept`
        for result in results:
            row = row_of(result.custom_id, self._shard.id)
            if row is None or row >= 1 << 32 or row not in self._shard.rows:
                self._aside.add(result, foreign=True)
            elif row in self._failed and result.outcome is Outcome.SUCCEEDED:
                self._aside.add(self._failed.pop(row), foreign=False)
                rows.append(row)
                kept.append(result)
            elif row in failed and result.outcome is Outcome.SUCCEEDED:
                at = failed.pop(row)
                self._aside.add(kept[at], foreign=False)
                kept[at] = result
            elif row in self._seen:
                self._aside.add(result, foreign=False)
            else:
                self._seen.add(row)
                if result.outcome is not Outcome.SUCCEEDED:
                    failed[row] = len(kept)
                rows.append(row)
                kept.append(result)
        return rows, kept

    def _judged(self, result: Result) -> Result:
        assert self._judge is not None
        if result.outcome is not Outcome.SUCCEEDED:
            return result
        misfit = self._judge.misfit(result.answer)
        if not misfit:
            return result
        return msgspec.structs.replace(
            result, outcome=Outcome.ERRORED, failure=Failure.SCHEMA, detail=misfit
        )

    def _distribute(self, rows: Sequence[int], results: Sequence[Result]) -> None:
        by_bin: dict[int, tuple[list[int], list[Result]]] = {}
        for row, result in zip(rows, results, strict=True):
            found = by_bin.setdefault(bisect_right(self._starts, row) - 1, ([], []))
            found[0].append(row)
            found[1].append(result)
        for index, (some_rows, some_results) in by_bin.items():
            self._put(self._bins[index], some_rows, some_results)

    def _put(self, found: _Bin, rows: Sequence[int], results: Sequence[Result]) -> None:
        found.rows.extend(rows)
        found.results.extend(results)
        # A row costs some hundred bytes of Python even where the body is short.
        found.size += sum([len(r.body) + len(r.answer or "") + 400 for r in results])
        if len(found.rows) >= BATCH_ROWS or found.size >= BATCH_BYTES:
            self._write(found)

    def _write_fullest(self) -> bool:
        opened = sum(b.file.is_open for b in self._bins)
        choice = [b for b in self._bins if b.rows and (b.file.is_open or opened < OPEN_MAX)]
        if choice:
            self._write(max(choice, key=lambda b: b.size))
        return bool(choice)

    def _write(self, found: _Bin) -> None:
        for start in range(0, len(found.rows), BATCH_ROWS):
            part = slice(start, start + BATCH_ROWS)
            found.file.write(found.rows[part], found.results[part], self._count)
        found.rows, found.results, found.size = [], [], 0


class _NotOurs(Exception):
    """Ends the writing of segments that nobody should see."""


class _Aside:
    """Lines that belong to no row, or to one that has its result already: counted and kept."""

    def __init__(self, blobs: Blobs, key: str) -> None:
        self._blobs = blobs
        self._key = key
        self._stack = ExitStack()
        self._file = None
        self.foreign = 0
        self.duplicate = 0

    def add(self, result: Result, *, foreign: bool) -> None:
        self.foreign += foreign
        self.duplicate += not foreign
        if self._file is None:
            self._file = self._stack.enter_context(self._blobs.create(self._key))
        why = "foreign" if foreign else "duplicate"
        line = {"why": why, "result": msgspec.structs.replace(result, body=b"")}
        body = {"body": msgspec.Raw(result.body)} if result.body else {}
        self._file.write(msgspec.json.encode(line | body) + b"\n")

    def close(self) -> None:
        self._stack.close()

    def abandon(self, error: BaseException) -> None:
        self._stack.__exit__(type(error), error, error.__traceback__)
