"""Streaming lines of JSON, with the line number in every error."""

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from batchmill.errors import InvalidTable

BLOCK_BYTES = 1 << 20

#: A row may have 32 MiB; a line of a batch file has an envelope around it.
LINE_BYTES_MAX = 33 << 20

_object = msgspec.json.Decoder(dict[str, object]).decode


class Stream(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Lines:
    """Some lines of a file, without their line feeds and without the blank ones between them."""

    numbers: Sequence[int]  #: of each line in the file, from 1
    lines: list[bytes]


def chunks(
    stream: Stream, name: str, *, encoding: str = "utf-8", line_bytes_max: int = LINE_BYTES_MAX
) -> Iterator[Lines]:
    """
    Yield the lines of *stream* some thousand at a time, as valid UTF-8.

    Blank lines and a byte order mark are left out. Raises `InvalidTable`, naming *name* and the
    line, at bytes that are not *encoding* and at a line longer than *line_bytes_max*.
    """
    number, rest = 1, b""
    for block in _blocks(stream, name, encoding):
        *whole, rest = (rest + block).split(b"\n")
        if whole:
            yield from _chunk(whole, number, name)
            number += len(whole)
        if len(rest) > line_bytes_max:
            raise InvalidTable(
                f"{name}, line {number}: longer than {line_bytes_max:,} bytes, the most one line "
                f"may have. Is it one JSON object per line?"
            )
    yield from _chunk([rest], number, name)


def decode_object(line: bytes, number: int, name: str) -> dict[str, object]:
    """Return the JSON object of a line; raise `InvalidTable` where it is none."""
    try:
        return _object(line)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise not_an_object(error, number, name) from error


def not_an_object(error: Exception, number: int, name: str) -> InvalidTable:
    """Return what to say of a line that cannot be decoded."""
    words = "nested too deeply" if isinstance(error, RecursionError) else str(error)
    return InvalidTable(
        f"{name}, line {number}: not a JSON object ({words}). Expected one object per line."
    )


def _blocks(stream: Stream, name: str, encoding: str) -> Iterator[bytes]:
    if codecs.lookup(encoding).name in {"utf-8", "utf-8-sig"}:
        first = stream.read(BLOCK_BYTES)
        yield first.removeprefix(codecs.BOM_UTF8)
        while block := stream.read(BLOCK_BYTES):
            yield block
        return
    decoder, line = codecs.getincrementaldecoder(encoding)(), 1
    block = b"\n"
    while block:
        block = stream.read(BLOCK_BYTES)
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            line += block[: error.start].count(b"\n")
            raise InvalidTable(f"{name}, near line {line}: not valid {encoding}.") from error
        line += text.count("\n")
        yield text.removeprefix("\ufeff").encode()


def _chunk(lines: list[bytes], first: int, name: str) -> Iterator[Lines]:
    _check_utf8(lines, first, name)
    numbers: Sequence[int] = range(first, first + len(lines))
    if any(map(bytes.isspace, lines)) or not all(lines):
        kept = [(n, line) for n, line in zip(numbers, lines, strict=True) if line.strip()]
        numbers, lines = [n for n, _ in kept], [line for _, line in kept]
    if lines:
        yield Lines(numbers, lines)


def _check_utf8(lines: list[bytes], first: int, name: str) -> None:
    try:
        b"\n".join(lines).decode()
    except UnicodeDecodeError:
        for number, line in enumerate(lines, first):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                raise InvalidTable(
                    f"{name}, line {number}: byte {line[error.start]:#04x} is not valid UTF-8. "
                    f"Save the file as UTF-8, or say --encoding, e.g. --encoding latin-1."
                ) from error
