"""The table again, each row beside its answer: in input order, the latest attempt on top."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa

from batchmill.core.batch import Batch
from batchmill.core.limits import Range
from batchmill.core.shard import Shard, State
from batchmill.errors import Conflict, InvalidTable
from batchmill.ports import Blobs
from batchmill.rows.answers import answers_of
from batchmill.rows.chunk import Chunk, Place, TableChunk
from batchmill.rows.columns import Properties, costs_as_numbers
from batchmill.rows.places import shown
from batchmill.rows.read import Reading
from batchmill.rows.target import Output, check_one_file
from batchmill.rows.write import InputColumns, table_schema

#: What stands before our columns where the table itself cannot.
_NUMBERS = pa.schema([("row", pa.int64())])
_SLICE_ROWS = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """What was written."""

    target: str
    rows: int


def join(
    blobs: Blobs,
    batch: Batch,
    ranges: Sequence[Range],
    shards: Sequence[Shard],
    target: str,
    *,
    force: bool = False,
    partial: bool = False,
    answers_only: bool = False,
) -> Joined:
    """
    Write the table with its answers to *target* (file, directory, s3://, or `-`: standard output).

    An OUT this batch wrote is replaced; any other only with *force*. *partial*: rows that are not
    final yet are there, with an empty outcome; without it an unfinished batch is a `Conflict`.
    *answers_only*: our columns after `row`, the number of the row from 1, and the table is not
    read at all. Raises `InvalidTable` where the source has changed, `InvalidTarget`,
    `StorageTrouble`.
    """
    _check_finished(batch, shards, partial=partial)
    if answers_only:
        check_one_file(target, batch.source)
    output = Output(target, batch.source, blobs, batch_id=batch.id, force=force)
    with output, _keeping_answers(batch):
        columns, properties = _joining(
            blobs, batch, answers_only=answers_only, needed=output.needs_columns
        )
        for chunk, ours in _rows(blobs, batch, ranges, shards, properties, answers_only):
            output.writer(chunk.place.part, columns, properties).write(chunk, ours)
        output.finish(columns, properties)
    return Joined(target=target, rows=batch.rows)


def results_reader(
    blobs: Blobs,
    batch: Batch,
    ranges: Sequence[Range],
    shards: Sequence[Shard],
    *,
    partial: bool = False,
    answers_only: bool = False,
) -> pa.RecordBatchReader:
    """
    Return the joined table as a stream of Arrow record batches; `cost_usd` is a decimal.

    *partial* and *answers_only* as for `join`.
    """
    _check_finished(batch, shards, partial=partial)
    with _keeping_answers(batch):
        columns, properties = _joining(blobs, batch, answers_only=answers_only, needed=True)
    schema = table_schema(columns, properties)

    def batches() -> Iterator[pa.RecordBatch]:
        with _keeping_answers(batch):
            for chunk, ours in _rows(blobs, batch, ranges, shards, properties, answers_only):
                found = [*columns.batch(chunk).columns, *costs_as_numbers(ours).columns]
                yield pa.RecordBatch.from_arrays(found, schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


@contextmanager
def _keeping_answers(batch: Batch) -> Iterator[None]:
    """End what is said about a table that cannot be read again with how to get what was paid."""
    try:
        yield
    except InvalidTable as error:
        raise InvalidTable(
            f"{error} The answers are kept: batchmill results {batch.id} --answers-only -o OUT"
        ) from error


def _joining(
    blobs: Blobs, batch: Batch, *, answers_only: bool, needed: bool
) -> tuple[InputColumns, Properties]:
    """Return the columns that come first, and those the answers bring."""
    schema = batch.recipe.schema
    if not answers_only:
        return InputColumns(batch.source, blobs, needed=needed), Properties(schema)
    # A property of the schema that is called row gives way: it is in `answer`, too.
    return InputColumns.of(_NUMBERS), Properties(schema, without=_NUMBERS.names)


def _rows(
    blobs: Blobs,
    batch: Batch,
    ranges: Sequence[Range],
    shards: Sequence[Shard],
    properties: Properties,
    answers_only: bool,
) -> Iterator[tuple[Chunk, pa.RecordBatch]]:
    if not answers_only:
        yield from beside(blobs, batch, ranges, shards, properties)
        return
    ordered = sorted(shards, key=lambda s: s.n)
    for origin in ranges:
        answers = answers_of(blobs, batch, origin, ordered)
        for start in range(0, origin.count, _SLICE_ROWS):
            count = min(_SLICE_ROWS, origin.count - start)
            first = origin.start + start
            numbers = pa.array(range(first + 1, first + count + 1), pa.int64())
            place = Place(name="the answers", part=0, start=first, start_in_part=first)
            chunk = TableChunk(place, pa.RecordBatch.from_arrays([numbers], schema=_NUMBERS))
            yield chunk, answers.slice(start, count, properties)


def beside(
    blobs: Blobs,
    batch: Batch,
    ranges: Sequence[Range],
    shards: Sequence[Shard],
    properties: Properties,
) -> Iterator[tuple[Chunk, pa.RecordBatch]]:
    """
    Yield rows of the table and, beside them, our columns; in input order, a few thousand at once.

    Holds the results of one range in memory, never more.
    """
    ordered = sorted(shards, key=lambda s: s.n)
    chunks = (c for c in Reading(batch.source, blobs) if len(c))
    rest: Chunk | None = None
    for origin in ranges:
        answers, done = answers_of(blobs, batch, origin, ordered), 0
        while done < origin.count:
            chunk = rest or next(chunks, None)
            if chunk is None:
                raise _other_length(batch, f"{origin.start + done:,}")
            count = min(len(chunk), origin.count - done)
            taken = chunk if count == len(chunk) else chunk.slice(0, count)
            rest = None if count == len(chunk) else chunk.slice(count, len(chunk) - count)
            yield taken, answers.slice(done, count, properties)
            done += count
    # Reading on to the end is also what compares the fingerprint of the last file.
    if rest is not None or next(chunks, None) is not None:
        raise _other_length(batch, "more")


def _check_finished(batch: Batch, shards: Sequence[Shard], *, partial: bool) -> None:
    pending = sum(len(s.rows) for s in shards if s.state is not State.SETTLED)
    if pending and not partial:
        raise Conflict(
            f"{batch.id}: {pending:,} of {batch.rows:,} rows are not finished. Wait for them with "
            f"`batchmill resume {batch.id}`, or take what is there with --partial."
        )


def _other_length(batch: Batch, rows: str) -> InvalidTable:
    return InvalidTable(
        f"{shown(batch.source.url)}: has changed since the batch was made ({rows} rows now, "
        f"{batch.rows:,} then). Put the old file back, or run the new one as a batch of its own."
    )
