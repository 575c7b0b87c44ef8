"""Some rows of a table as they were read, whatever format they were read from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

import pyarrow as pa

from batchmill.rows.kernels import pc
from batchmill.rows.values import exact_values, python_values, text_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a chunk's first row stands."""

    name: str  #: of the file, as a person would say it
    part: int  #: which file of the table, from 0
    start: int  #: number of the row in the whole table, from 0
    start_in_part: int  #: and in its file

    def after(self, rows: int) -> "Place":
        return replace(self, start=self.start + rows, start_in_part=self.start_in_part + rows)


class Chunk(Protocol):
    """Rows beside each other, as columns."""

    @property
    def place(self) -> Place: ...

    def __len__(self) -> int: ...

    def names(self) -> Sequence[str]:
        """Return the columns these rows have; a later chunk of JSON lines may have others."""
        ...

    def texts(self, column: str) -> pa.Array:
        """Return a column as strings: what a template prints for each value; nulls are empty."""
        ...

    def values(self, column: str) -> list[Any]:
        """Return a column as Python values."""
        ...

    def exact(self, column: str) -> list[Any]:
        """Return a column as values that JSON says without loss."""
        ...

    def slice(self, start: int, count: int) -> "Chunk": ...

    def where(self, index: int) -> str:
        """Say where row *index* of these stands: file, and line or row."""
        ...


@dataclass(frozen=True, slots=True)
class TableChunk:
    """Rows of CSV, TSV, Parquet or Arrow."""

    place: Place
    batch: pa.RecordBatch

    def __len__(self) -> int:
        return self.batch.num_rows

    def names(self) -> Sequence[str]:
        return self.batch.schema.names

    def texts(self, column: str) -> pa.Array:
        return _texts(self.batch.column(column))

    def values(self, column: str) -> list[Any]:
        return python_values(self.batch.column(column))

    def exact(self, column: str) -> list[Any]:
        return exact_values(self.batch.column(column))

    def slice(self, start: int, count: int) -> "TableChunk":
        return TableChunk(self.place.after(start), self.batch.slice(start, count))

    def where(self, index: int) -> str:
        return f"{self.place.name}, row {self.place.start_in_part + index + 1}"


@dataclass(frozen=True, slots=True)
class LinesChunk:
    """Rows of JSON lines; each may have columns of its own."""

    place: Place
    numbers: Sequence[int]  #: of the lines in their file
    lines: list[bytes]  #: verbatim
    objects: list[dict[str, object]]  #: the same, decoded

    def __len__(self) -> int:
        return len(self.lines)

    def names(self) -> Sequence[str]:
        names: dict[str, None] = {}
        for row in self.objects:
            if not names.keys() >= row.keys():
                names.update(dict.fromkeys(row))
        return list(names)

    def texts(self, column: str) -> pa.Array:
        return pa.array([text_of(row.get(column)) for row in self.objects], pa.string())

    def values(self, column: str) -> list[Any]:
        return [row.get(column) for row in self.objects]

    def exact(self, column: str) -> list[Any]:
        return self.values(column)

    def slice(self, start: int, count: int) -> "LinesChunk":
        part = slice(start, start + count)
        return LinesChunk(
            self.place.after(start), self.numbers[part], self.lines[part], self.objects[part]
        )

    def where(self, index: int) -> str:
        return f"{self.place.name}, line {self.numbers[index]}"


@dataclass(frozen=True, slots=True)
class RequestsChunk:
    """Ready-made request lines."""

    place: Place
    numbers: Sequence[int]
    custom_ids: list[str]
    bodies: list[bytes]
    dialect: str = ""  #: of the bodies; "" where nobody knows

    def __len__(self) -> int:
        return len(self.bodies)

    def names(self) -> Sequence[str]:
        return ("custom_id",)

    def texts(self, column: str) -> pa.Array:
        return pa.array(self.values(column), pa.string())

    def values(self, column: str) -> list[Any]:
        return cast("list[Any]", self.custom_ids)

    def exact(self, column: str) -> list[Any]:
        return self.values(column)

    def slice(self, start: int, count: int) -> "RequestsChunk":
        part = slice(start, start + count)
        return RequestsChunk(
            self.place.after(start),
            self.numbers[part],
            self.custom_ids[part],
            self.bodies[part],
            self.dialect,
        )

    def where(self, index: int) -> str:
        return f"{self.place.name}, line {self.numbers[index]}"


def _texts(array: pa.Array) -> pa.Array:
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _texts(array.dictionary_decode())
    if pa.types.is_string(kind):
        plain = array
    elif (
        pa.types.is_large_string(kind) or pa.types.is_string_view(kind) or pa.types.is_integer(kind)
    ):
        plain = pc.cast(array, pa.string())
    elif pa.types.is_boolean(kind):
        plain = pc.if_else(array, "True", "False")
    else:
        return pa.array([text_of(v) for v in python_values(array)], pa.string())
    return pc.fill_null(plain, "") if plain.null_count else plain


def as_mapping(chunk: Chunk, index: int) -> Mapping[str, object]:
    """Return one row, by column."""
    row = chunk.slice(index, 1)
    if isinstance(row, LinesChunk):
        return row.objects[0]
    return {name: row.values(name)[0] for name in row.names()}
