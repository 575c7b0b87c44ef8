"""CSV and TSV in record batches, every value verbatim as text; what is wrong, by line."""

import codecs
import csv
import io
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress

import pyarrow as pa
import pyarrow.csv as pa_csv

from batchmill.errors import InvalidTable
from batchmill.rows.places import Fingerprint

#: A row must fit a block; the larger ones are tried only when a row did not fit the smaller.
BLOCKS = (1 << 20, 8 << 20, 80 << 20)

Open = Callable[[], Fingerprint]


def csv_header(open_file: Open, name: str, delimiter: str, encoding: str) -> list[str]:
    """Return the names of the columns; raise `InvalidTable` where they cannot serve as such."""
    check_encoding(encoding, name)
    raw = io.BytesIO(open_file().read(BLOCKS[1]))
    text = io.TextIOWrapper(raw, encoding=_with_mark(encoding), errors="replace", newline="")
    with _long_fields():
        names = next((record for record in csv.reader(text, delimiter=delimiter) if record), None)
    if names is None:
        raise InvalidTable(f"{name}: is empty. Expected a line with the names of the columns.")
    check_names(names, name)
    return names


def check_names(names: list[str], name: str) -> None:
    """Raise `InvalidTable` if two columns have the same name."""
    seen: dict[str, int] = {}
    for number, column in enumerate(names, 1):
        if (first := seen.setdefault(column, number)) != number:
            raise InvalidTable(
                f"{name}, line 1: columns {first} and {number} are both called {column!r}. "
                f"Rename one of them."
            )


def check_encoding(encoding: str, name: str) -> None:
    try:
        codecs.lookup(encoding)
    except LookupError as error:
        raise InvalidTable(
            f"{name}: there is no encoding {encoding!r}. Try utf-8, latin-1, cp1252 or utf-16."
        ) from error


def csv_batches(
    open_file: Open, name: str, delimiter: str, encoding: str
) -> Iterator[pa.RecordBatch]:
    """Yield the rows; *open_file* starts at the beginning each time it is called."""
    names = csv_header(open_file, name, delimiter, encoding)
    done = 0
    for block_bytes in BLOCKS:
        try:
            for batch in _batches(open_file, name, names, delimiter, encoding, block_bytes, done):
                yield batch
                done += batch.num_rows
            return
        except _TooSmall:
            continue
    with suppress(_BadBytes, UnicodeError):
        _check_closed(open_file, name, delimiter, encoding)
    raise InvalidTable(
        f"{name}: the row after row {done} is larger than {BLOCKS[-1] >> 20} MiB, the most a "
        f"row may have."
    )


class _TooSmall(Exception):
    """A row is larger than the block it should be read in."""


def _batches(
    open_file: Open,
    name: str,
    names: list[str],
    delimiter: str,
    encoding: str,
    block_bytes: int,
    skip: int,
) -> Iterator[pa.RecordBatch]:
    file = _Quotes(open_file())
    last: pa.RecordBatch | None = None
    try:
        for batch in _reader(file, names, delimiter, encoding, block_bytes):
            gone = min(skip, batch.num_rows)
            skip -= gone
            if batch.num_rows > gone:
                last = batch.slice(gone)
                yield last
    except (pa.ArrowInvalid, UnicodeError) as error:
        if "straddling" in str(error) or "block boundaries" in str(error):
            raise _TooSmall from error
        raise _diagnosis(open_file, name, len(names), delimiter, encoding, error) from error
    if file.quotes % 2 and last is not None and "\n" in str(last.column(-1)[-1].as_py()):
        _check_closed(open_file, name, delimiter, encoding)


def _reader(
    file: "_Quotes", names: list[str], delimiter: str, encoding: str, block_bytes: int
) -> Iterator[pa.RecordBatch]:
    yield from pa_csv.open_csv(
        pa.PythonFile(file, "r"),
        read_options=pa_csv.ReadOptions(
            use_threads=False, block_size=block_bytes, encoding=codecs.lookup(encoding).name
        ),
        parse_options=pa_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            null_values=[],
            strings_can_be_null=False,
        ),
    )


class _Quotes:
    """A file for pyarrow that counts quotes: an odd number may be one that is never closed."""

    def __init__(self, file: Fingerprint) -> None:
        self._file = file
        self.quotes = 0
        self.closed = False

    def read(self, size: int = -1, /) -> bytes:
        block = self._file.read(size)
        self.quotes += block.count(b'"')
        return block

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True


def _with_mark(encoding: str) -> str:
    return "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding


class _long_fields:  # noqa: N801
    """Lets the standard library's reader accept cells of any size, and puts its limit back."""

    def __enter__(self) -> None:
        self._before = csv.field_size_limit(sys.maxsize >> 32)

    def __exit__(self, *_: object) -> None:
        csv.field_size_limit(self._before)


class _BadBytes(Exception):
    pass


def _lines(file: Fingerprint, encoding: str) -> Iterator[str]:
    """Yield lines as text; raise `_BadBytes` at the first that is not in *encoding*."""
    if codecs.lookup(encoding).name not in {"utf-8", "utf-8-sig"}:
        raw = io.BytesIO(file.read())
        yield from io.TextIOWrapper(raw, encoding=encoding, newline="")
        return
    rest, number = b"", 0
    while block := file.read(1 << 20):
        *whole, rest = (rest + block).split(b"\n")
        for line in whole:
            number += 1
            yield _decoded(line, number) + "\n"
    if rest:
        yield _decoded(rest, number + 1)


def _decoded(line: bytes, number: int) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise _BadBytes(
            f"line {number}: byte {line[error.start]:#04x} is not valid UTF-8. Save the file as "
            f"UTF-8, or say --encoding, e.g. --encoding latin-1."
        ) from error


def _diagnosis(
    open_file: Open, name: str, columns: int, delimiter: str, encoding: str, error: Exception
) -> InvalidTable:
    """Read again, slowly, to name the line the fast reader stumbled over."""
    try:
        with _long_fields():
            # A quote that is never closed makes one row of all that follows: its values say
            # nothing, so it is looked for first.
            if unclosed := _unclosed(open_file, delimiter, encoding):
                return _never_closed(name, unclosed)
            reader = csv.reader(_lines(open_file(), encoding), delimiter=delimiter)
            line = 1
            for record in reader:
                if record and len(record) != columns:
                    values = "1 value" if len(record) == 1 else f"{len(record)} values"
                    named = "1 column" if columns == 1 else f"{columns} columns"
                    return InvalidTable(
                        f"{name}, line {line}: {values}, but the first line names {named}. Quote "
                        f"cells that hold a {_called(delimiter)} or a line break."
                    )
                line = reader.line_num + 1
    except _BadBytes as bad:
        return InvalidTable(f"{name}, {bad}")
    except UnicodeError as bad:
        return InvalidTable(f"{name}: is not valid {encoding} ({bad}). Say --encoding.")
    except csv.Error as bad:
        return InvalidTable(f"{name}: is no readable table ({bad}).")
    return InvalidTable(f"{name}: is no readable table ({' '.join(str(error).split())[:200]}).")


def _called(delimiter: str) -> str:
    return {",": "comma", "\t": "tab"}.get(delimiter, repr(delimiter))


def _unclosed(open_file: Open, delimiter: str, encoding: str) -> int:
    """Return the line in which a quote begins that the file never closes; 0 if none does."""
    quote, begins, number = re.compile(f'["\r{re.escape(delimiter)}]'), 0, 0
    for number, text in enumerate(_lines(open_file(), encoding), 1):
        at_start, at = True, 0
        while at < len(text):
            if begins:  # within a cell: only a quote counts, and two of them are one
                at = text.find('"', at)
                if at < 0:
                    break
                doubled = text.startswith('""', at)
                begins = begins if doubled else 0
                at += 2 if doubled else 1
                at_start = False
            elif at_start and text.startswith('"', at):
                begins, at = number, at + 1
            else:  # a quote amid a cell without quotes is a letter like any other
                found = quote.search(text, at)
                while found and found[0] == '"':
                    found = quote.search(text, found.end())
                if found is None:
                    break
                at_start, at = True, found.end()
    return begins


def _check_closed(open_file: Open, name: str, delimiter: str, encoding: str) -> None:
    if unclosed := _unclosed(open_file, delimiter, encoding):
        raise _never_closed(name, unclosed)


def _never_closed(name: str, line: int) -> InvalidTable:
    return InvalidTable(
        f"{name}, line {line}: the quote that begins in line {line} is never closed, so the rest "
        f"of the file would be one cell. Close it, or double it."
    )
