"""Tables in: which files they are made of, and their rows, chunk by chunk."""

import contextlib
import shutil
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

import msgspec
import pyarrow as pa

from batchmill.core.batch import Source
from batchmill.errors import InvalidTable
from batchmill.ports import Blobs
from batchmill.rows import places
from batchmill.rows.bucket import is_remote
from batchmill.rows.chunk import Chunk, LinesChunk, Place, RequestsChunk, TableChunk, as_mapping
from batchmill.rows.csvs import check_encoding, csv_batches, csv_header
from batchmill.rows.parquets import (
    arrow_batches,
    arrow_schema,
    parquet_batches,
    parquet_schema,
)
from batchmill.rows.places import SPOOL, Fingerprint, shown
from batchmill.rows.requestlines import RequestLines, looks_ready_made
from batchmill.wire import jsonl

KNOWN = ("csv", "tsv", "parquet", "jsonl", "requests")
_DELIMITERS = {"csv": ",", "tsv": "\t"}
_SNIFF_BYTES = 1 << 16

#: With a limit, only this much of a Parquet file is fingerprinted.
HEAD_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Glimpse:
    """What the beginning of a table shows."""

    columns: tuple[str, ...]
    rows: Sequence[Mapping[str, object]]  #: the first few
    url: str = ""  #: ready-made request lines: where the first one wants to go
    dialect: str = ""  #: ready-made request lines: of the first body; "" where nobody knows the url
    model: str = ""  #: ready-made request lines: the model the first one names


def describe(
    url: str, *, encoding: str = "utf-8", format: str | None = None, limit: int | None = None
) -> Source:
    """
    Find the files behind *url* (file, directory, glob, local or s3://) and say what they are.

    Reads a few bytes of the first file. Raises `InvalidTable` (missing, unknown format, empty).
    """
    url = places.absolute(url)
    found = places.find(url)
    check_encoding(encoding, shown(url))
    formats = {f.url: _checked(format, f.url) for f in found}
    first = formats[found[0].url]
    for name, other in formats.items():
        if other != first:
            raise InvalidTable(
                f"{shown(name)}: is {other}, but {shown(found[0].url)} is {first}. All files of a "
                f"table have one format; say which by a glob, e.g. "
                f"{shown(places.root_of(url))}*.{first}"
            )
    for part in found:
        if not part.size_bytes:
            raise InvalidTable(f"{shown(part.url)}: is empty. Expected a table.")
    if first == "jsonl" and format is None and _ready_made(found[0].url, encoding):
        first = "requests"
    return Source(
        url=url,
        format=first,
        encoding=encoding,
        limit=limit,
        size_bytes=sum(f.size_bytes for f in found),
        parts=tuple((f.url, f.size_bytes, "") for f in found),
    )


def _checked(format: str | None, url: str) -> str:
    found = format or places.format_of(url)
    if found is None or found not in KNOWN:
        raise InvalidTable(
            f"{shown(url)}: unknown format{f' {format!r}' if format else ''}. Expected a name that "
            f"ends in .csv, .tsv, .parquet or .jsonl, or --format with one of: {', '.join(KNOWN)}."
        )
    return found


def _ready_made(url: str, encoding: str) -> bool:
    with places.opened(url, None) as file:
        line = next(jsonl.chunks(_Head(file), shown(url), encoding=encoding), None)
    return line is not None and looks_ready_made(line.lines[0])


class _Head:
    """The first megabytes of a file: enough for a look, even if a line does not end there."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = jsonl.LINE_BYTES_MAX

    def read(self, size: int = -1, /) -> bytes:
        block = self._file.read(min(size, self._left))
        # Stop after the first line: what may be wrong with the others is found by reading.
        line, feed, _ = block.partition(b"\n")
        self._left = 0 if feed and line.strip() else self._left - len(block)
        return line + feed if self._left == 0 else block


def spool(
    stream: BinaryIO,
    blobs: Blobs,
    key: str,
    *,
    format: str | None = None,
    encoding: str = "utf-8",
    limit: int | None = None,
) -> Source:
    """Keep standard input under *key* (e.g. `spool/<token>/stdin`) and describe it."""
    check_encoding(encoding, "standard input")
    head = b""
    while len(head) < _SNIFF_BYTES and (block := stream.read(_SNIFF_BYTES)):
        head += block  # a pipe gives what it has; a line may come in pieces
    if not head:
        raise InvalidTable("standard input: is empty. Expected a table.")
    found = _checked(format or _sniffed(head), "standard input")
    with blobs.create(key) as file:
        file.write(head)
        shutil.copyfileobj(stream, file, 1 << 20)
        size = file.tell()
    if found == "jsonl" and format is None:
        with blobs.open(key) as file:
            line = next(jsonl.chunks(_Head(file), "standard input", encoding=encoding), None)
        found = "requests" if line is not None and looks_ready_made(line.lines[0]) else found
    return spooled(key, found, encoding, limit, size)


def _sniffed(head: bytes) -> str:
    """Return the format of what comes through a pipe: Parquet and JSON begin unmistakably."""
    if head.startswith(b"PAR1"):
        return "parquet"
    line = head.removeprefix(b"\xef\xbb\xbf").lstrip().partition(b"\n")[0]
    if line.startswith(b"{"):
        return "jsonl"
    return "tsv" if line.count(b"\t") > line.count(b",") else "csv"


def spooled(key: str, format: str, encoding: str, limit: int | None, size: int) -> Source:
    url = SPOOL + key
    return Source(
        url=url,
        format=format,
        encoding=encoding,
        limit=limit,
        size_bytes=size,
        parts=((url, size, ""),),
    )


def glimpse(source: Source, blobs: Blobs, rows: int = 5) -> Glimpse:
    """Look at the columns and the first rows of a table."""
    reading = Reading(replace(source, limit=rows), blobs)
    chunk = next(iter(reading), None)
    columns = tuple((columns_of(source, blobs) or ()) if chunk is None else chunk.names())
    if chunk is None:
        return Glimpse(columns=columns, rows=())
    found = [as_mapping(chunk, i) for i in range(min(rows, len(chunk)))]
    if not isinstance(chunk, RequestsChunk):
        return Glimpse(columns=columns, rows=found)
    return Glimpse(
        columns=columns,
        rows=found,
        url=reading.requests.url,
        dialect=reading.requests.dialect,
        model=str(msgspec.json.decode(chunk.bodies[0]).get("model") or ""),
    )


def columns_of(source: Source, blobs: Blobs) -> list[str] | None:
    """Return the columns of a table; None where every row brings its own (JSON lines)."""
    schema = schema_of(source, blobs)
    return None if schema is None else schema.names


def schema_of(source: Source, blobs: Blobs) -> pa.Schema | None:
    """Return the types of a table; None where every row brings its own (JSON lines)."""
    url, _, _ = source.parts[0]
    if source.format == "jsonl":
        return None
    if source.format == "requests":
        return pa.schema([("custom_id", pa.string())])
    with places.opened(url, blobs) as file:
        if source.format == "parquet":
            return parquet_schema(file, shown(url))
        if source.format == "arrow":
            return arrow_schema(file, shown(url))
        names = csv_header(
            lambda: Fingerprint(file), shown(url), _DELIMITERS[source.format], source.encoding
        )
    return pa.schema([(name, pa.string()) for name in names])


class Reading:
    """
    One reading of a table, from its first row to its last.

    Takes the fingerprint of each file as it goes. Where the source knows it already, a file that
    differs is an `InvalidTable` that names it, at the latest when its last row has been read.
    *unique*: two request lines with one custom_id are an `InvalidTable`, too.
    """

    def __init__(self, source: Source, blobs: Blobs, *, unique: bool = False) -> None:
        self._source = source
        self._blobs = blobs
        self._unique = unique
        self._schema: pa.Schema | None = None
        self._file: Fingerprint | None = None
        self.requests = RequestLines()
        self.parts = list(source.parts)

    def source(self) -> Source:
        """Return the source with the fingerprints taken so far."""
        return replace(self._source, parts=tuple(self.parts))

    def __iter__(self) -> Iterator[Chunk]:
        start, limit = 0, self._source.limit
        for part in range(len(self.parts)):
            room = None if limit is None else limit - start
            if room is not None and room <= 0:
                break
            for chunk in self._part(part, start, room):
                yield chunk
                start += len(chunk)
        if self._unique and self._source.format == "requests":
            self.requests.check_unique(self._request_chunks)

    def _request_chunks(self) -> Iterator[RequestsChunk]:
        return (c for c in Reading(self.source(), self._blobs) if isinstance(c, RequestsChunk))

    def _part(self, part: int, start: int, room: int | None) -> Iterator[Chunk]:
        url, size, known = self.parts[part]
        ours = url.startswith(SPOOL)
        now, etag = (size, "") if ours else places.measure(url)
        if now != size:
            raise _changed(url, f"{size:,} bytes then, {now:,} now")
        upto = 0 if ours or is_remote(url) else places.hashed_bytes(known)
        with (
            places.opened(url, self._blobs) as raw,
            contextlib.closing(self._chunks(part, raw, start, upto)) as chunks,
        ):
            for chunk in chunks:
                count = len(chunk) if room is None else min(len(chunk), room)
                yield chunk if count == len(chunk) else chunk.slice(0, count)
                if room is not None and (room := room - count) == 0:
                    break
            whole = room is None or room > 0
            hashed = self._file.finish() if whole and self._file else ""
            covered = self._file.hashed if self._file else 0
        if not ours:
            found = f"etag:{etag}" if is_remote(url) else hashed or self._head(url, known, covered)
            self._compare(part, url, (size, etag), known, found)

    def _head(self, url: str, known: str, covered: int) -> str:
        # Read anew: after a limit, pyarrow may still be reading ahead in the file we gave it.
        with places.opened(url, self._blobs) as raw:
            upto = places.hashed_bytes(known)
            return Fingerprint(raw, covered if upto is None else upto).finish()

    def _compare(self, part: int, url: str, then: tuple[int, str], known: str, found: str) -> None:
        if known and known != found:
            raise _changed(url, "its content is another one")
        if places.measure(url) != then:
            raise _changed(url, "while it was read")
        self.parts[part] = (url, then[0], found)

    def _chunks(self, part: int, raw: BinaryIO, start: int, upto: int | None) -> Generator[Chunk]:
        source, name = self._source, shown(self.parts[part][0])
        place = Place(name=name, part=part, start=start, start_in_part=0)

        def again() -> Fingerprint:
            raw.seek(0)
            self._file = Fingerprint(raw, upto)
            return self._file

        if source.format in {"jsonl", "requests"}:
            yield from self._line_chunks(place, again())
            return
        if source.format in _DELIMITERS:
            batches = csv_batches(again, name, _DELIMITERS[source.format], source.encoding)
        elif source.format == "parquet":
            if upto is None and source.limit is not None:
                upto = HEAD_BYTES  # ten rows of a huge file should not cost a look at all of it
            again().finish()
            raw.seek(0)
            batches = parquet_batches(raw, name)
        else:
            batches = arrow_batches(raw, name)
        for batch in batches:
            self._check_schema(batch.schema, place)
            yield TableChunk(place, batch)
            place = place.after(batch.num_rows)

    def _line_chunks(self, place: Place, file: Fingerprint) -> Iterator[Chunk]:
        for found in jsonl.chunks(file, place.name, encoding=self._source.encoding):
            if self._source.format == "requests":
                chunk: Chunk = self.requests.chunk(place, found)
            else:
                pairs = zip(found.lines, found.numbers, strict=True)
                objects = [jsonl.decode_object(line, n, place.name) for line, n in pairs]
                chunk = LinesChunk(place, found.numbers, found.lines, objects)
            yield chunk
            place = place.after(len(chunk))

    def _check_schema(self, schema: pa.Schema, place: Place) -> None:
        if self._schema is None:
            self._schema = schema
        elif schema is not self._schema and not schema.equals(self._schema):
            odd = sorted(set(self._schema.names) ^ set(schema.names)) or [
                a.name for a, b in zip(self._schema, schema, strict=True) if a != b
            ]
            raise InvalidTable(
                f"{place.name}: its columns are not those of {shown(self.parts[0][0])} (column "
                f"{odd[0]!r} differs). All files of a table have the same columns in one order."
            )


def _changed(url: str, how: str) -> InvalidTable:
    return InvalidTable(
        f"{shown(url)}: has changed since the batch was made ({how}). Its answers belong to the "
        f"old rows: put the old file back, or run the new one as a batch of its own."
    )


__all__ = [
    "KNOWN",
    "Glimpse",
    "Reading",
    "columns_of",
    "describe",
    "glimpse",
    "schema_of",
    "spool",
    "spooled",
]
