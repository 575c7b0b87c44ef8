"""What became of the rows of one range: the last word on each, from however many attempts."""

import decimal
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import pyarrow as pa

from batchmill.core.batch import Batch
from batchmill.core.failure import POLICIES, Failure
from batchmill.core.limits import Range
from batchmill.core.plan import LEFT_OUT
from batchmill.core.rowset import NO_ROWS, RowSet, row_range
from batchmill.core.shard import Shard, State
from batchmill.errors import StorageTrouble
from batchmill.ports import Blobs
from batchmill.rows.columns import OURS, Properties
from batchmill.rows.kernels import pc
from batchmill.rows.resultfile import load, results_key

_LOADED = (
    "row",
    "outcome",
    "failure",
    "detail",
    "answer",
    "model",
    "input_tokens",
    "output_tokens",
    "cost_usd",
)
_ORDER = [name for name in OURS if name != "attempts"]
_MONEY = decimal.Context(prec=100)

#: A shard given up with one of these was never offered to anybody.
_NEVER_OFFERED = frozenset({Failure.CANCELED, Failure.BUDGET, Failure.CANARY, Failure.DEADLINE})


@dataclass(frozen=True, slots=True)
class Answers:
    """The final results of one range, row by row in input order, read a slice at a time."""

    table: pa.RecordBatch  #: in the order they came
    order: pa.Array  #: indices into the table
    costs: pa.Array | None  #: in row order, where more than one attempt had a price
    attempts: pa.Array  #: in row order

    def slice(self, start: int, count: int, properties: Properties) -> pa.RecordBatch:
        """Return our columns for *count* rows from number *start* of the range."""
        found = self.table.take(self.order.slice(start, count))
        columns = [found.column(name) for name in _ORDER]
        if self.costs is not None:
            columns[_ORDER.index("cost_usd")] = self.costs.slice(start, count)
        columns.append(self.attempts.slice(start, count))
        columns.extend(properties.columns(found.column("answer")))
        return pa.RecordBatch.from_arrays(columns, schema=properties.schema)


def answers_of(blobs: Blobs, batch: Batch, origin: Range, shards: Sequence[Shard]) -> Answers:
    """
    Load what the shards holding rows of *origin* brought. *shards* are in order of their number.

    Rows on their way have a null outcome. Raises `StorageTrouble` where a segment is not whole.
    """
    rows = row_range(origin.start, origin.count)
    touching = [s for s in shards if s.rows.intersect(rows)]
    pieces: list[pa.Table] = []
    open_rows = rows
    for shard in reversed(touching):
        last = shard.rows & open_rows
        if not last:
            continue
        open_rows = open_rows - last
        pieces.append(_piece(blobs, batch, origin, shard, last))
    if open_rows:
        words = "no shard ever held this row: a bug in batchmill, please report it"
        pieces.append(_same(open_rows, Failure.MISSING, words))
    table = pa.concat_tables(pieces).combine_chunks().to_batches()
    merged = table[0] if table else pa.RecordBatch.from_pylist([], _SCHEMA)
    if merged.num_rows != origin.count:
        raise StorageTrouble(
            f"range {origin.n}: {merged.num_rows} results for {origin.count} rows."
        )
    return Answers(
        merged,
        pc.sort_indices(merged.column("row")),
        _costs(blobs, batch, origin, touching),
        _attempts(origin, touching),
    )


_SCHEMA = pa.schema([("row", pa.uint32()), *((n, k) for n, k in OURS.items() if n != "attempts")])


def _piece(blobs: Blobs, batch: Batch, origin: Range, shard: Shard, last: RowSet) -> pa.Table:
    """Return the results of a shard for the rows on which it has the last word."""
    if shard.state is not State.SETTLED:
        return _same(last, None, "")
    if not shard.kept:
        pieces = [
            _same(rows & last, failure, shard.note)
            for failure, rows in shard.tally.failed.items()
            if rows.intersect(last)
        ]
        return pa.concat_tables(pieces)
    key = results_key(batch.id, origin.n, shard.kept)
    found = load(blobs, key, _LOADED).select(_SCHEMA.names)
    if found.num_rows != len(last):
        found = found.filter(pc.is_in(found["row"], pa.array(list(last), pa.uint32())))
    if found.num_rows != len(last):
        raise StorageTrouble(f"{key}: holds {found.num_rows} of {len(last)} rows.")
    return found


def _same(rows: RowSet, failure: Failure | None, words: str) -> pa.Table:
    """Return rows that all met the same fate; without *failure* they are on their way."""
    columns = {name: pa.nulls(len(rows), kind) for name, kind in OURS.items()}
    if failure is not None:
        outcome = POLICIES[failure].called
        columns["outcome"] = pa.repeat(pa.scalar(outcome, pa.string()), len(rows))
        columns["failure"] = pa.repeat(pa.scalar(str(failure), pa.string()), len(rows))
        if words:
            columns["detail"] = pa.repeat(pa.scalar(words, pa.string()), len(rows))
    columns["row"] = pa.array(list(rows), pa.uint32())
    return pa.table([columns[name] for name in _SCHEMA.names], schema=_SCHEMA)


def _attempts(origin: Range, touching: Sequence[Shard]) -> pa.Array:
    """Return how often each row was offered and came back, in row order."""
    everywhere, counts = 0, [0] * origin.count
    for shard in touching:
        if shard.state is not State.SETTLED or _never_offered(shard):
            continue
        # What the account is to blame for was no attempt of the row.
        offered = shard.rows - shard.tally.failed.get(Failure.ACCOUNT, NO_ROWS)
        rows = offered & row_range(origin.start, origin.count)
        if len(rows) == origin.count:
            everywhere += 1
            continue
        for row in rows:
            counts[row - origin.start] += 1
    return pa.array([everywhere + n for n in counts], pa.int32())


def _never_offered(shard: Shard) -> bool:
    if shard.kept:
        return shard.kept == LEFT_OUT
    return shard.upstream_id is None and shard.tally.failed.keys() <= _NEVER_OFFERED


def _costs(blobs: Blobs, batch: Batch, origin: Range, touching: Sequence[Shard]) -> pa.Array | None:
    """Return what each row cost over all its attempts; None where only one had results."""
    kept = [s for s in touching if s.kept]
    once, again = NO_ROWS, NO_ROWS
    for shard in kept:
        again |= once & shard.rows
        once |= shard.rows
    unsettled = any(s.state is not State.SETTLED or not s.kept for s in touching)
    if not again and not (unsettled and kept):
        return None
    sums: list[Decimal | None] = [None] * origin.count
    for shard in kept:
        found = load(blobs, results_key(batch.id, origin.n, shard.kept), ("row", "cost_usd"))
        for row, text in zip(found["row"].to_pylist(), found["cost_usd"].to_pylist(), strict=True):
            if text is not None:
                before = sums[row - origin.start] or Decimal(0)
                sums[row - origin.start] = _MONEY.add(before, Decimal(text))
    return pa.array([None if cost is None else f"{cost:f}" for cost in sums], pa.string())
