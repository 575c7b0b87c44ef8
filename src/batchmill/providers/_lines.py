"""Result files as they come: lines to results, in chunks, and what becomes of unreadable ones."""

from collections.abc import AsyncIterator, Callable
from typing import Final, TypeVar

import msgspec

from batchmill.errors import ProviderBroke, ProviderSilent
from batchmill.providers._rest import one_line
from batchmill.providers._spool import lines

T = TypeVar("T")

UNREADABLE: Final = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)
#: About so many results, or so many bytes of lines, are handed on together.
CHUNK_ROWS: Final = 4_000
CHUNK_BYTES: Final = 8 << 20


async def results_of(
    chunks: AsyncIterator[bytes],
    parsed: Callable[[bytes], T | None],
    line_bytes_max: int,
    name: str,
    salvaged: Callable[[bytes], T | None] = lambda _: None,
) -> AsyncIterator[list[T]]:
    """
    Yield what *parsed* makes of the lines of a body; None is left out. What cannot be read is what
    *salvaged* makes of it.

    Raises `ProviderSilent` where the body ends with half a line: it was cut, and nobody knows what
    else is missing. Raises `ProviderBroke` at a line of more than *line_bytes_max*, and where not
    one line can be read: that is no result file, whatever its status was.
    """
    found: list[T] = []
    size, cut, ending = 0, False, _Ending()
    read, unread = False, b""
    try:
        async for some in lines(ending.of(chunks), line_bytes_max):
            for line in some:
                size += len(line)
                try:
                    cut = False
                    result = parsed(line)
                    read = True
                except UNREADABLE as error:
                    # Whole JSON that says something else was not cut, wherever it ends.
                    cut = not isinstance(error, msgspec.ValidationError)
                    result = salvaged(line)
                    read = read or result is not None
                    unread = unread or line
                if result is not None:
                    found.append(result)
            if len(found) >= CHUNK_ROWS or size >= CHUNK_BYTES:
                yield found
                found, size = [], 0
    except ValueError as error:
        raise ProviderBroke(f"{name}: {error}") from error
    if cut and not ending.fed:
        raise ProviderSilent(f"{name} breaks off in the middle of a line")
    if unread and not read:
        words = one_line(unread[:200].decode(errors="replace"))
        raise ProviderBroke(f"{name} holds no result, but: {words}")
    if found:
        yield found


class _Ending:
    """Remembers whether a body ended with a line feed."""

    fed = True

    async def of(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            if chunk:
                self.fed = chunk.endswith(b"\n")
            yield chunk
