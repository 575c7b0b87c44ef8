"""Tables from memory (Arrow, pandas, polars, duckdb), kept where a restart finds them."""

import pyarrow as pa

from batchmill.core.batch import Source
from batchmill.errors import InvalidTable
from batchmill.ports import Blobs
from batchmill.rows.csvs import check_names
from batchmill.rows.parquets import BATCH_ROWS_MAX
from batchmill.rows.read import spooled


def spool_frame(frame: object, blobs: Blobs, key: str, *, limit: int | None = None) -> Source:
    """
    Keep an Arrow table, or anything with `__arrow_c_stream__`, under *key*.

    As an Arrow file, not Parquet: every Arrow type comes back as it was. Only categories become
    what they stand for.
    """
    if not hasattr(frame, "__arrow_c_stream__"):
        raise InvalidTable(
            f"{type(frame).__name__} is no table: expected a path, an Arrow table, or a DataFrame "
            f"with __arrow_c_stream__ (pandas 2.2 or later, polars, duckdb)."
        )
    reader = pa.RecordBatchReader.from_stream(frame)
    check_names(reader.schema.names, "the table")
    schema = pa.schema([_plain_field(f) for f in reader.schema], reader.schema.metadata)
    options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
    with blobs.create(key) as file:
        with pa.ipc.new_file(pa.PythonFile(file, "w"), schema, options=options) as writer:
            for batch in reader:
                for start in range(0, batch.num_rows, BATCH_ROWS_MAX):
                    part = batch.slice(start, BATCH_ROWS_MAX)
                    columns = [_plain(c, f.type) for c, f in zip(part.columns, schema, strict=True)]
                    writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
        size = file.tell()
    return spooled(key, "arrow", "utf-8", limit, size)


def _plain_field(field: pa.Field) -> pa.Field:
    # Few kernels know the view types yet, and a dictionary that grows fits no Arrow file.
    kind = field.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_string_view(kind):
        kind = pa.string()
    elif pa.types.is_binary_view(kind):
        kind = pa.binary()
    return field.with_type(kind)


def _plain(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        return column.dictionary.cast(kind).take(column.indices)
    return column if column.type == kind else column.cast(kind)
