"""The joined table in each format: every input value as it was, our columns after it."""

import base64
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO, Protocol

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from batchmill.core.batch import Source
from batchmill.errors import InvalidTarget
from batchmill.ports import Blobs
from batchmill.rows.chunk import Chunk, LinesChunk, RequestsChunk, TableChunk
from batchmill.rows.columns import COST, Properties, costs_as_numbers
from batchmill.rows.kernels import pc
from batchmill.rows.linetypes import line_schema
from batchmill.rows.read import schema_of
from batchmill.rows.values import as_json, exact_values

_ROW_GROUP_ROWS = 32_768
_ROW_GROUP_BYTES = 32 << 20
_encode = msgspec.json.Encoder(enc_hook=str).encode


class Writer(Protocol):
    """Writes one file of OUT."""

    def write(self, chunk: Chunk, ours: pa.RecordBatch) -> None: ...

    def close(self) -> None: ...


class InputColumns:
    """The input's columns as a table has them, also where JSON lines had none in common."""

    def __init__(self, source: Source, blobs: Blobs, *, needed: bool) -> None:
        """*needed*: whether JSON lines must be read once more to know their columns."""
        schema = schema_of(source, blobs)
        if schema is None and needed:
            schema = line_schema(source, blobs)
        self.schema: pa.Schema = pa.schema([]) if schema is None else schema

    @classmethod
    def of(cls, schema: pa.Schema) -> "InputColumns":
        """Return columns that are known without a look at the table."""
        columns = cls.__new__(cls)
        columns.schema = schema
        return columns

    def batch(self, chunk: Chunk) -> pa.RecordBatch:
        """Return the input's columns of *chunk*, typed."""
        if isinstance(chunk, TableChunk):
            return chunk.batch
        columns = [_typed(chunk.values(f.name), f.type) for f in self.schema]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def texts(self, chunk: Chunk) -> list[pa.Array]:
        """Return the input's columns of *chunk* as CSV would hold them."""
        if isinstance(chunk, TableChunk):
            return [csv_texts(column) for column in chunk.batch.columns]
        if isinstance(chunk, LinesChunk):
            return verbatim_texts(chunk, self.schema.names)
        return [chunk.texts(name) for name in self.schema.names]


def _typed(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_string(kind):
        values = [v if v is None or isinstance(v, str) else as_json(v) for v in values]
    return pa.array(values, kind)


def table_schema(columns: InputColumns, properties: Properties) -> pa.Schema:
    """Return the columns of the joined table in Arrow and Parquet."""
    ours = [f.with_type(COST) if f.name == "cost_usd" else f for f in properties.schema]
    return pa.schema([*columns.schema, *ours], columns.schema.metadata)


def writer_of(format: str, file: BinaryIO, columns: InputColumns, properties: Properties) -> Writer:
    return _WRITERS[format](file, columns, properties)


class _Csv:
    delimiter = ","

    def __init__(self, file: BinaryIO, columns: InputColumns, properties: Properties) -> None:
        self._file = file
        self._columns = columns
        self._special = f'["\r\n{self.delimiter}]'
        names = [*columns.schema.names, *properties.schema.names]
        self._write([pa.array([name], pa.string()) for name in names], set(range(len(names))))

    def write(self, chunk: Chunk, ours: pa.RecordBatch) -> None:
        given = self._columns.texts(chunk)
        added = [csv_texts(column) for column in ours.columns]
        clean = {len(given) + i for i, name in enumerate(ours.schema.names) if name in _CLEAN}
        columns = [*given, *added]
        self._write(columns, set(range(len(columns))) - clean)

    def _write(self, columns: list[pa.Array], doubtful: set[int]) -> None:
        """Write lines, with quotes around those cells of the *doubtful* columns that need them."""
        pieces: list[Any] = []
        run: list[pa.Array] = []  # of columns without quotes: joined first, as pieces cost time
        for index, texts in enumerate(columns):
            special = self._special_cells(texts) if index in doubtful else None
            if special is None:
                run.append(texts)
                continue
            # Quotes are pieces of the line, so that a long text is copied once, not three times.
            quotes = pc.if_else(special, '"', "")
            pieces += [*self._joined(run), quotes, pc.replace_substring(texts, '"', '""'), quotes]
            pieces.append(self.delimiter if index + 1 < len(columns) else "")
            run = []
        pieces += self._joined(run)[:-1]
        data = _data_of(pc.binary_join_element_wise(*pieces, "\n", ""))
        if data is not None:
            self._file.write(data)

    def _joined(self, run: list[pa.Array]) -> list[Any]:
        if not run:
            return ["", ""]
        return [pc.binary_join_element_wise(*run, self.delimiter), self.delimiter]

    def _special_cells(self, texts: pa.Array) -> pa.Array | None:
        """Say which cells need quotes; None if none does."""
        data = bytes(_data_of(texts) or b"")
        # Four looks at the bytes of a whole column cost a tenth of one at each of its cells.
        if not any(mark in data for mark in (b'"', b"\n", b"\r", self.delimiter.encode())):
            return None
        return pc.match_substring_regex(texts, self._special)

    def close(self) -> None:
        pass


class _Tsv(_Csv):
    delimiter = "\t"


#: Ours that hold nothing a quote could be needed for.
_CLEAN = frozenset({"outcome", "failure", "input_tokens", "output_tokens", "cost_usd", "attempts"})


def _data_of(texts: pa.Array) -> memoryview | None:
    """Return the bytes of all strings of an array, one after the other."""
    _, offsets, data = texts.buffers()
    if not len(texts) or data is None:
        return None
    ends = memoryview(offsets).cast("i")
    return memoryview(data)[ends[texts.offset] : ends[texts.offset + len(texts)]]


def csv_texts(column: pa.Array) -> pa.Array:
    """Return a column as text: what is no text as JSON would write it, a null as nothing."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return csv_texts(column.dictionary_decode())
    if pa.types.is_string(kind):
        texts = column
    elif _has_plain_text(kind):
        texts = pc.cast(column, pa.string())
    elif pa.types.is_null(kind):
        texts = pa.nulls(len(column), pa.string())
    else:
        values = exact_values(column)
        texts = pa.array([None if v is None else _cell(v) for v in values], pa.string())
    return pc.fill_null(texts, "") if texts.null_count else texts


def _has_plain_text(kind: pa.DataType) -> bool:
    return (
        pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_temporal(kind)
    )


def _cell(value: Any) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict | list):
        return as_json(value)
    return f"{value:f}" if hasattr(value, "as_tuple") else str(value)


def verbatim_texts(chunk: LinesChunk, names: Sequence[str]) -> list[pa.Array]:
    """Return the values of JSON lines as text: strings as they are, the rest as it was written."""
    rows = [_raw_values(line) for line in chunk.lines]
    return [pa.array([_raw_text(row.get(name)) for row in rows], pa.string()) for name in names]


_raw_values = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_string = msgspec.json.Decoder(str).decode


def _raw_text(raw: msgspec.Raw | None) -> str:
    found = b"null" if raw is None else bytes(raw).strip()
    if found == b"null":
        return ""
    return _string(found) if found.startswith(b'"') else found.decode()


class _Parquet:
    def __init__(self, file: BinaryIO, columns: InputColumns, properties: Properties) -> None:
        self._columns = columns
        self._schema = table_schema(columns, properties)
        self._waiting: list[pa.RecordBatch] = []
        self._rows = self._size = 0
        try:
            self._writer = pq.ParquetWriter(file, self._schema, compression="zstd")
        except (pa.ArrowException, OSError) as error:
            raise _no_parquet(error) from error

    def write(self, chunk: Chunk, ours: pa.RecordBatch) -> None:
        try:
            found = [*self._columns.batch(chunk).columns, *costs_as_numbers(ours).columns]
            batch = pa.RecordBatch.from_arrays(found, schema=self._schema)
        except pa.ArrowException as error:
            raise _no_parquet(error) from error
        self._waiting.append(batch)
        self._rows += batch.num_rows
        self._size += batch.nbytes
        if self._rows >= _ROW_GROUP_ROWS or self._size >= _ROW_GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.Table.from_batches(self._waiting, self._schema))
        self._waiting, self._rows, self._size = [], 0, 0

    def close(self) -> None:
        self._flush()
        self._writer.close()


def _no_parquet(error: Exception) -> InvalidTarget:
    words = " ".join(str(error).split())[:200]
    return InvalidTarget(f"the table cannot be Parquet ({words}). Write .jsonl or .csv instead.")


class _Jsonl:
    def __init__(self, file: BinaryIO, columns: InputColumns, properties: Properties) -> None:
        self._file = file
        self._raw = {"cost_usd", *properties.json_texts}

    def write(self, chunk: Chunk, ours: pa.RecordBatch) -> None:
        names = ours.schema.names
        columns = [
            [None if v is None else msgspec.Raw(v.encode()) for v in column.to_pylist()]
            if name in self._raw
            else column.to_pylist()
            for name, column in zip(names, ours.columns, strict=True)
        ]
        tails = (_encode(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True))
        self._file.write(
            b"".join(
                [_spliced(head, tail) for head, tail in zip(_heads(chunk), tails, strict=True)]
            )
        )

    def close(self) -> None:
        pass


def _heads(chunk: Chunk) -> list[bytes]:
    """Return each input row as a JSON object; JSON lines verbatim."""
    if isinstance(chunk, LinesChunk):
        return chunk.lines
    if isinstance(chunk, RequestsChunk):
        return [_encode({"custom_id": custom_id}) for custom_id in chunk.custom_ids]
    names = chunk.names()
    columns = [chunk.exact(name) for name in names]
    return [_encode(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]


def _spliced(head: bytes, tail: bytes) -> bytes:
    head = head.rstrip()[:-1].rstrip()
    comma = b"" if head.endswith(b"{") else b","
    return b"".join((head, comma, tail[1:], b"\n"))


_WRITERS: dict[str, Callable[[BinaryIO, InputColumns, Properties], Writer]] = {
    "csv": _Csv,
    "tsv": _Tsv,
    "parquet": _Parquet,
    "jsonl": _Jsonl,
}
