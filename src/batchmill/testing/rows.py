"""The data plane in memory: tables are lists of prompts, segments are dictionaries."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import msgspec

from batchmill.core import limits as core_limits
from batchmill.core.batch import Batch, Recipe, Source
from batchmill.core.failure import Failure
from batchmill.core.limits import Limits, Range
from batchmill.core.outcome import Outcome, Result, Usage
from batchmill.core.request import Request, custom_id_of, row_of
from batchmill.core.rowset import NO_ROWS, RowSet, rows_of
from batchmill.core.shard import Shard, Tally
from batchmill.errors import NotFound
from batchmill.ports import Cutting, Kept
from batchmill.testing.steps import Pause

_encode = msgspec.json.Encoder().encode

CHUNK = 3  #: small, so that streams have several chunks to break off between


@dataclass(slots=True)
class Shelves:
    """What survives a crash: request segments by batch, result segments by name."""

    requests: dict[str, tuple[bytes, ...]] = field(default_factory=dict[str, "tuple[bytes, ...]"])
    kept: dict[tuple[str, str], dict[int, Result]] = field(
        default_factory=dict[tuple[str, str], "dict[int, Result]"]
    )


class MemoryRows:
    """
    `ports.Rows` in memory, with the same promises.

    A `Source`'s url names a table in *tables*; each row of a table is a prompt.
    """

    def __init__(
        self,
        tables: dict[str, Sequence[str]],
        pause: Pause | None = None,
        shelves: Shelves | None = None,
    ) -> None:
        self._tables = tables
        self._pause = pause or _go_on
        self.shelves = shelves if shelves is not None else Shelves()

    def cut(
        self,
        batch_id: str,
        recipe: Recipe,
        source: Source,
        limits: Limits,
        progress: Callable[[int], None] = lambda _: None,
    ) -> Cutting:
        if source.url not in self._tables:
            raise NotFound(f"there is no table {source.url!r}")
        bodies = tuple(_body(recipe, prompt) for prompt in self._tables[source.url])
        ranges = tuple(core_limits.cut((len(body) for body in bodies), limits))
        self.shelves.requests[batch_id] = bodies
        progress(len(bodies))
        return Cutting(
            source=source,
            rows=len(bodies),
            ranges=ranges,
            size_bytes=sum(map(len, bodies)),
            first_body=bodies[0] if bodies else b"",
        )

    async def requests(
        self, batch: Batch, ranges: Sequence[Range], shard: Shard
    ) -> AsyncIterator[Sequence[Request]]:
        bodies, rows = self.shelves.requests[batch.id], list(shard.rows)
        for start in range(0, len(rows), CHUNK):
            await self._pause("rows.requests")
            yield [
                Request(custom_id_of(shard.id, row), bodies[row])
                for row in rows[start : start + CHUNK]
            ]

    async def keep(
        self,
        batch: Batch,
        ranges: Sequence[Range],
        shard: Shard,
        name: str,
        results: AsyncIterator[Sequence[Result]],
    ) -> Kept:
        kept: dict[int, Result] = {}
        foreign = duplicate = 0
        async for chunk in results:
            await self._pause("rows.keep")
            for result in chunk:
                row = row_of(result.custom_id, shard.id)
                if row is None or row not in shard.rows:
                    foreign += 1
                elif row in kept:
                    duplicate += 1
                    if kept[row].failure is not None and result.failure is None:
                        kept[row] = result  # what was paid for is worth more than an error
                else:
                    kept[row] = result
        # No line of anybody says nothing about whose batch it was.
        ours = bool(kept) or not foreign
        for row in shard.rows:
            if row not in kept:
                custom_id = custom_id_of(shard.id, row)
                kept[row] = Result(custom_id, Outcome.ERRORED, Failure.MISSING, "no line for it")
        await self._pause("rows.keep")
        self.shelves.kept[batch.id, name] = kept
        await self._pause("rows.keep")
        return Kept(name=name, tally=tally_of(kept, foreign, duplicate), ours=ours)

    async def gone_media(
        self, batch: Batch, ranges: Sequence[Range], shard: Shard, rows: RowSet
    ) -> RowSet:
        await self._pause("rows.gone_media")
        return NO_ROWS  # prompts of lives have no images

    def adopt(self, batch_id: str) -> None:
        """Nothing to note: memory knows no drafts."""

    def drop(self, batch_id: str) -> None:
        self.shelves.requests.pop(batch_id, None)


def tally_of(kept: dict[int, Result], foreign: int, duplicate: int) -> Tally:
    """Sum up what a shard's results say."""
    failed: dict[Failure, list[int]] = {}
    usage, cost_usd = Usage(), Decimal(0)
    for row, result in kept.items():
        if result.failure is not None:
            failed.setdefault(result.failure, []).append(row)
        usage += result.usage or Usage()
        cost_usd += result.cost_usd or Decimal(0)
    return Tally(
        succeeded=sum(r.outcome is Outcome.SUCCEEDED for r in kept.values()),
        failed={failure: rows_of(rows) for failure, rows in failed.items()},
        usage=usage,
        cost_usd=cost_usd,
        foreign=foreign,
        duplicate=duplicate,
    )


def _body(recipe: Recipe, prompt: str) -> bytes:
    messages = [{"role": "user", "content": prompt}]
    return _encode({"model": recipe.model, "messages": messages})


async def _go_on(_: str) -> None:
    """Pause nowhere."""
