"""What the lives are lived with and what people's tables go through keep the same results alike."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from batchmill.core.batch import Batch, Recipe, Source
from batchmill.core.failure import Failure
from batchmill.core.limits import Range
from batchmill.core.outcome import Outcome, Result
from batchmill.core.rowset import row_range
from batchmill.core.shard import Shard
from batchmill.ports import Kept, Rows
from batchmill.rows.blobs import open_blobs
from batchmill.rows.segments import Segments
from batchmill.testing import MemoryRows

BATCH = Batch(
    id="batch_x",
    created_at=0.0,
    provider="sim",
    lane="batch",
    recipe=Recipe(model="echo"),
    source=Source(url="table", format="csv"),
    rows=3,
)
SHARD = Shard(
    id="batch_x-0001", batch_id="batch_x", n=1, provider="sim", lane="batch", rows=row_range(0, 3)
)
RANGES = [Range(1, 0, 2, 20), Range(2, 2, 1, 10)]


def good(name: str) -> Result:
    return Result(name, Outcome.SUCCEEDED, answer=f"answer of {name}", body=b"{}")


def bad(name: str) -> Result:
    return Result(name, Outcome.ERRORED, Failure.SERVER, "500")


ALL = [good("batch_x-0001-2"), bad("batch_x-0001-0"), good("batch_x-0001-1")]
CASES = {
    "all there, in another order": ALL,
    "one missing": ALL[1:],
    "none at all": [],
    "a second line": [*ALL, good("batch_x-0001-0")],
    "foreign ones among them": [good("batch_y-0001-0"), *ALL, good("batch_x-0001-7")],
    "of another attempt": [*ALL[:2], good("batch_x-0002-1")],
}


async def kept(rows: Rows, shard: Shard, results: Sequence[Result]) -> Kept:
    async def stream() -> AsyncIterator[Sequence[Result]]:
        for start in range(0, len(results), 2):
            yield results[start : start + 2]

    return await rows.keep(BATCH, RANGES, shard, "0001-x", stream())


async def both(tmp_path: Path, shard: Shard, results: Sequence[Result]) -> tuple[Kept, Kept]:
    real = Segments(open_blobs(str(tmp_path / "blobs")))
    return await kept(real, shard, results), await kept(MemoryRows({}), shard, results)


def agree(one: Kept, other: Kept) -> None:
    assert dict(one.tally.failed) == dict(other.tally.failed)
    assert one.tally.succeeded == other.tally.succeeded
    assert (one.tally.foreign, one.tally.duplicate) == (other.tally.foreign, other.tally.duplicate)
    assert one.ours == other.ours


@pytest.mark.parametrize("case", CASES)
async def test_both_keep_the_same(tmp_path: Path, case: str) -> None:
    agree(*await both(tmp_path, SHARD, CASES[case]))


async def test_both_see_that_a_provisional_batch_is_a_strangers(tmp_path: Path) -> None:
    provisional = replace(SHARD, provisional=True)

    one, other = await both(tmp_path, provisional, [good("batch_y-0001-0")])

    assert not one.ours
    assert not other.ours


async def test_a_row_without_a_line_is_missing_though_a_foreign_line_is_there(
    tmp_path: Path,
) -> None:
    one, other = await both(tmp_path, SHARD, [good("batch_y-0001-0")])

    assert other.tally.failed == {Failure.MISSING: SHARD.rows}
    assert one.tally.failed == {Failure.MISSING: SHARD.rows}
