"""Parquet and Arrow files in record batches of a few megabytes."""

from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from batchmill.errors import InvalidTable
from batchmill.rows.csvs import check_names

BATCH_BYTES = 4 << 20
BATCH_ROWS_MAX = 8192


def parquet_batches(file: BinaryIO, name: str) -> Iterator[pa.RecordBatch]:
    """Yield the rows with their types."""
    try:
        table = pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20)
        check_names(table.schema_arrow.names, name)
        for batch in table.iter_batches(batch_size=_batch_rows(table), use_threads=False):
            yield from _bounded(batch)
    except (pa.ArrowException, OSError) as error:
        raise _broken(name, "Parquet", error) from error


def parquet_schema(file: BinaryIO, name: str) -> pa.Schema:
    try:
        schema = pq.ParquetFile(file).schema_arrow
    except (pa.ArrowException, OSError) as error:
        raise _broken(name, "Parquet", error) from error
    check_names(schema.names, name)
    return schema


def arrow_batches(file: BinaryIO, name: str) -> Iterator[pa.RecordBatch]:
    try:
        reader = pa.ipc.open_file(file)
        for index in range(reader.num_record_batches):
            yield from _bounded(reader.get_batch(index))
    except (pa.ArrowException, OSError) as error:
        raise _broken(name, "Arrow", error) from error


def arrow_schema(file: BinaryIO, name: str) -> pa.Schema:
    try:
        return pa.ipc.open_file(file).schema
    except (pa.ArrowException, OSError) as error:
        raise _broken(name, "Arrow", error) from error


def _batch_rows(table: pq.ParquetFile) -> int:
    meta = table.metadata
    if not meta.num_rows:
        return BATCH_ROWS_MAX
    size = sum(meta.row_group(i).total_byte_size for i in range(meta.num_row_groups))
    return max(16, min(BATCH_ROWS_MAX, BATCH_BYTES * meta.num_rows // max(size, 1)))


def _bounded(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    # A dictionary of long texts, decoded, can be a thousand times what the file says.
    if batch.num_rows < 2 or batch.nbytes <= 8 * BATCH_BYTES:
        yield batch
        return
    half = batch.num_rows // 2
    yield from _bounded(batch.slice(0, half))
    yield from _bounded(batch.slice(half))


def _broken(name: str, kind: str, error: Exception) -> InvalidTable:
    words = " ".join(str(error).split())[:200]
    return InvalidTable(f"{name}: is no readable {kind} file ({words}). Is it complete?")
