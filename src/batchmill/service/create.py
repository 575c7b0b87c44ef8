"""Accept a table: cut it (blocking, nothing spent), then make the batch in one transaction."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace

from batchmill.core.batch import Batch, Recipe, Source
from batchmill.core.failure import Failure
from batchmill.core.limits import Range
from batchmill.core.outcome import Outcome, Result
from batchmill.core.plan import LEFT_OUT, first_shards, left_out_shard
from batchmill.core.request import custom_id_of
from batchmill.core.rowset import rows_of
from batchmill.core.shard import Shard
from batchmill.ports import Clock, Cutting, Ids, Rows, Store, Suppliers


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a person wants done with a table."""

    batch_id: str | None = None  #: where something was already kept under it, e.g. standard input
    provider: str
    lane: str
    recipe: Recipe
    source: Source
    target: str | None = None
    window_s: float | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """A batch that nobody has accepted yet; its request segments are written."""

    batch: Batch
    ranges: tuple[Range, ...]
    cutting: Cutting


@dataclass(frozen=True, slots=True, kw_only=True)
class Creator:
    clock: Clock
    ids: Ids
    store: Store
    rows: Rows
    suppliers: Suppliers

    def draft(self, wish: Wish, progress: Callable[[int], None] = lambda _: None) -> Draft:
        """
        Cut the whole table, so that every bad row is known before anything is spent. Blocking.

        Raises a `UserError` naming file, line and column; nothing is left behind then.
        """
        batch_id = wish.batch_id or self.ids.batch()
        limits = self.suppliers(wish.provider, wish.lane).limits
        cutting = self.rows.cut(batch_id, wish.recipe, wish.source, limits, progress)
        now = self.clock.now()
        batch = Batch(
            id=batch_id,
            name=wish.name,
            created_at=now,
            deadline=None if wish.window_s is None else now + wish.window_s,
            provider=wish.provider,
            lane=wish.lane,
            recipe=wish.recipe,
            source=cutting.source,
            target=wish.target,
            rows=cutting.rows,
        )
        return Draft(batch, cutting.ranges, cutting)

    async def _left_out(self, draft: Draft) -> Shard:
        """Settle the rows that cannot be sent, before the batch begins; return their shard."""
        unusable = draft.cutting.unusable
        shard = left_out_shard(draft.batch, draft.ranges, rows_of(unusable.keys()))

        async def results() -> AsyncIterator[Sequence[Result]]:
            yield [
                Result(custom_id_of(shard.id, row), Outcome.ERRORED, Failure.INVALID_MEDIA, words)
                for row, words in unusable.items()
            ]

        kept = await self.rows.keep(draft.batch, draft.ranges, shard, LEFT_OUT, results())
        return replace(shard, kept=kept.name, tally=kept.tally)

    async def accept(self, draft: Draft) -> Batch:
        """Make the batch durable. From here on it will be done, whatever crashes."""
        limits = self.suppliers(draft.batch.provider, draft.batch.lane).limits
        unusable = draft.cutting.unusable
        shards = first_shards(
            draft.batch, draft.ranges, limits.requests_min, rows_of(unusable.keys())
        )
        if unusable:
            shards.append(await self._left_out(draft))
        await self.store.create(draft.batch, draft.ranges, shards)
        self.rows.adopt(draft.batch.id)
        return draft.batch
