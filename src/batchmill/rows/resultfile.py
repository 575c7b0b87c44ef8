"""Result segments: what one shard brought for the rows of one range, as an Arrow file."""

import decimal
from collections.abc import Sequence
from contextlib import ExitStack
from decimal import Decimal

import pyarrow as pa

from batchmill.core.failure import Failure
from batchmill.core.outcome import Outcome, Result, Usage
from batchmill.core.rowset import rows_of
from batchmill.core.shard import Tally
from batchmill.errors import StorageTrouble
from batchmill.ports import Blobs
from batchmill.rows.blobs import trouble
from batchmill.rows.kernels import pc

SCHEMA = pa.schema(
    {
        "row": pa.uint32(),  #: number in the whole table
        "outcome": pa.string(),
        "failure": pa.string(),
        "detail": pa.string(),
        "answer": pa.string(),
        "model": pa.string(),
        "input_tokens": pa.int64(),
        "output_tokens": pa.int64(),
        "cached_tokens": pa.int64(),
        "reasoning_tokens": pa.int64(),
        "cost_usd": pa.string(),  #: decimal text, never rounded
        "body": pa.binary(),  #: the response, verbatim
    }
)

_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
_UNNAMED = {
    Outcome.ERRORED: Failure.SERVER,
    Outcome.EXPIRED: Failure.EXPIRED,
    Outcome.CANCELED: Failure.CANCELED,
}
_MONEY = decimal.Context(prec=100)  # sums of prices are exact


def results_key(batch_id: str, n: int, name: str) -> str:
    return f"batches/{batch_id}/results/{n:05d}/{name}.arrow"


def aside_key(batch_id: str, name: str) -> str:
    """Return where foreign and duplicate lines are kept."""
    return f"batches/{batch_id}/results/{name}.aside.jsonl"


class Count:
    """Adds up what the results of a shard come to."""

    def __init__(self) -> None:
        self._succeeded = 0
        self._failed: dict[Failure, list[int]] = {}
        self._usage = Usage()
        self._cost: Decimal | None = None
        self._list: Decimal | None = None
        self._unpriced = 0
        self._stated = 0

    def add(
        self,
        rows: Sequence[int],
        failures: Sequence[Failure | None],
        tokens: Sequence[pa.Array],
        results: Sequence[Result],
    ) -> None:
        succeeded = failures.count(None)
        self._succeeded += succeeded
        if succeeded < len(rows):
            for row, failure in zip(rows, failures, strict=True):
                if failure is not None:
                    self._failed.setdefault(failure, []).append(row)
        self._usage += Usage(*((pc.sum(column).as_py() or 0) for column in tokens))
        costs = [r.cost_usd for r in results if r.cost_usd is not None]
        if len(costs) < len(results):
            self._unpriced += sum(r.cost_usd is None and _was_run(r) for r in results)
        if costs:
            full = [r.cost_usd if r.list_usd is None else r.list_usd for r in results]
            self._stated += sum([r.stated for r in results])
            self._cost = _sum(self._cost, costs)
            self._list = _sum(self._list, [price for price in full if price is not None])

    def tally(self, foreign: int, duplicate: int) -> Tally:
        return Tally(
            succeeded=self._succeeded,
            failed={f: rows_of(rows) for f, rows in sorted(self._failed.items())},
            usage=self._usage,
            cost_usd=self._cost,
            list_usd=self._list,
            unpriced=self._unpriced,
            stated=self._stated,
            foreign=foreign,
            duplicate=duplicate,
        )


def _sum(so_far: Decimal | None, prices: Sequence[Decimal]) -> Decimal:
    total = so_far or Decimal(0)
    for price in prices:
        total = _MONEY.add(total, price)
    return total


def _was_run(result: Result) -> bool:
    """Say whether somebody may have to be paid for it: vendors charge nothing for the others."""
    return result.usage is not None or result.outcome is Outcome.SUCCEEDED


class ResultFile:
    """Writes one result segment, batch by batch; it is there once closed without an error."""

    def __init__(self, blobs: Blobs, key: str) -> None:
        self._blobs = blobs
        self._key = key
        self._stack = ExitStack()
        self._writer: pa.RecordBatchFileWriter | None = None

    @property
    def is_open(self) -> bool:
        return self._writer is not None

    def write(self, rows: Sequence[int], results: Sequence[Result], count: Count) -> None:
        """Write the results of *rows* and add them to *count*."""
        try:
            self._write(_batch(rows, results, count))
        except OSError as error:
            raise trouble(self._key, error, "written") from error

    def _write(self, batch: pa.RecordBatch) -> None:
        if self._writer is None:
            file = self._stack.enter_context(self._blobs.create(self._key))
            self._writer = self._stack.enter_context(
                pa.ipc.new_file(pa.PythonFile(file, "w"), SCHEMA, options=_OPTIONS)
            )
        self._writer.write_batch(batch)

    def close(self) -> None:
        self._stack.close()

    def abandon(self, error: BaseException) -> None:
        self._stack.__exit__(type(error), error, error.__traceback__)


def _batch(rows: Sequence[int], results: Sequence[Result], count: Count) -> pa.RecordBatch:
    outcomes = [r.outcome for r in results]
    failures = [
        None if r.outcome is Outcome.SUCCEEDED else (r.failure or _UNNAMED[r.outcome])
        for r in results
    ]
    usages = [r.usage for r in results]
    tokens = [
        pa.array([None if u is None else u.input_tokens for u in usages], pa.int64()),
        pa.array([None if u is None else u.output_tokens for u in usages], pa.int64()),
        pa.array([None if u is None else u.cached_tokens for u in usages], pa.int64()),
        pa.array([None if u is None else u.reasoning_tokens for u in usages], pa.int64()),
    ]
    count.add(rows, failures, tokens, results)
    columns = [
        pa.array(rows, pa.uint32()),
        _strings(outcomes),
        _strings(failures),
        _strings([r.detail or None for r in results]),
        _strings([r.answer for r in results]),
        _strings([r.model or None for r in results]),
        *tokens,
        _strings([None if r.cost_usd is None else f"{r.cost_usd:f}" for r in results]),
        pa.array([r.body or None for r in results], pa.binary()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def _strings(values: Sequence[str | None]) -> pa.Array:
    try:
        return pa.array(values, pa.string())
    except UnicodeEncodeError:  # half a surrogate pair, from a JSON escape that was cut in two
        mended = (v if v is None else v.encode("utf-8", "replace").decode() for v in values)
        return pa.array(list(mended), pa.string())


def load(blobs: Blobs, key: str, columns: Sequence[str]) -> pa.Table:
    """Read some columns of a result segment; the others are not even decompressed."""
    fields = sorted(SCHEMA.get_field_index(name) for name in columns)
    with blobs.open(key) as file:
        try:
            options = pa.ipc.IpcReadOptions(included_fields=fields, use_threads=False)
            return pa.ipc.open_file(pa.PythonFile(file, "r"), options=options).read_all()
        except (pa.ArrowException, OSError) as error:
            words = " ".join(str(error).split())[:200]
            raise StorageTrouble(
                f"{key}: is no readable segment of results ({words}). Is the disk damaged?"
            ) from error
