"""Input files on their way to a provider: written beside the loop, of known size when sent."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

from batchmill.core.request import Request
from batchmill.ports import Offer, Upload

PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Spooled:
    """A file that nobody else sees and that goes away by itself."""

    file: BinaryIO
    size_bytes: int
    sha256: str  #: of its content, in hexadecimal

    def upload(self, head: bytes = b"", tail: bytes = b"") -> Upload:
        """Return it as a body, between *head* and *tail*."""

        async def chunks() -> AsyncIterator[bytes]:
            if head:
                yield head
            async for piece in self.pieces():
                yield piece
            if tail:
                yield tail

        return Upload(len(head) + self.size_bytes + len(tail), chunks)

    async def pieces(self, piece_bytes: int = PIECE_BYTES) -> AsyncIterator[bytes]:
        """Yield the content from its start, each piece but the last of *piece_bytes*."""
        at = 0
        while at < self.size_bytes:
            piece = await asyncio.to_thread(_read_at, self.file, at, piece_bytes)
            yield piece
            at += len(piece)


@asynccontextmanager
async def spooled(
    offer: Offer,
    folder: Path,
    render: Callable[[Request], bytes],
    *,
    between: bytes = b"\n",
    last: bytes = b"\n",
) -> AsyncIterator[Spooled]:
    """
    Write what *render* makes of each request to a file in *folder*, for as long as the block lasts.

    *between* stands between two requests, *last* after the last one.
    """
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    with TemporaryFile(dir=folder, prefix="upload-") as file:
        digest = hashlib.sha256()
        size, before = 0, b""
        async for chunk in offer.requests():
            lines = before + between.join(map(render, chunk))
            before = between
            size += await asyncio.to_thread(_write, file, digest.update, lines)
        size += await asyncio.to_thread(_write, file, digest.update, last)
        yield Spooled(file, size, digest.hexdigest())


def _write(file: BinaryIO, update: Callable[[bytes], object], data: bytes) -> int:
    update(data)
    return file.write(data)


def _read_at(file: BinaryIO, at: int, size: int) -> bytes:
    file.seek(at)
    piece = file.read(size)
    if not piece:
        raise OSError("a file of ours has become shorter")
    return piece


def multipart(
    fields: Iterable[tuple[str, str]], name: str, filename: str, boundary: str
) -> tuple[bytes, bytes]:
    """
    Return what stands before and after a file's content in a multipart form (RFC 7578).

    The file comes last, as servers that read a form as it arrives need its fields first.
    """
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
        for key, value in fields
    ]
    disposition = f'form-data; name="{name}"; filename="{filename}"'
    parts.append(
        f"--{boundary}\r\nContent-Disposition: {disposition}\r\n"
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return "".join(parts).encode(), f"\r\n--{boundary}--\r\n".encode()


async def lines(chunks: AsyncIterator[bytes], line_bytes_max: int) -> AsyncIterator[list[bytes]]:
    """
    Yield the lines of a body as they come, some at a time, without line feeds and blank ones.

    A last line without a line feed counts as whole: whether the body broke off is told by its
    transport, and by whoever cannot read the line. Raises `ValueError` at a line that never ends.
    """
    rest: list[bytes] = []
    size = 0
    async for chunk in chunks:
        whole = chunk.split(b"\n")  # each line is copied here, and but the first never again
        rest.append(whole[0])
        if len(whole) == 1:
            size += len(chunk)
            if size > line_bytes_max:
                raise ValueError(f"a line of more than {line_bytes_max:,} bytes")
            continue
        whole[0] = b"".join(rest)
        tail = whole.pop()
        rest, size = [tail], len(tail)
        if found := list(_written(whole)):
            yield found
    if found := list(_written([b"".join(rest)])):
        yield found


def _written(lines: Sequence[bytes]) -> Iterator[bytes]:
    return (line for line in lines if line and not line.isspace())
