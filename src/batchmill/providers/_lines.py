"""Result files as they come: lines to results, in chunks, and what becomes of unreadable ones."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import msgspec

from batchmill.core.outcome import Result
from batchmill.errors import ProviderBroke, ProviderSilent
from batchmill.providers._spool import lines

UNREADABLE: Final = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)


async def results_of(
    chunks: AsyncIterator[bytes],
    parsed: Callable[[bytes], Result | None],
    line_bytes_max: int,
    name: str,
    salvaged: Callable[[bytes], Result | None] = lambda _: None,
) -> AsyncIterator[Sequence[Result]]:
    """
    Yield what *parsed* makes of the lines of a body; None is left out. What cannot be read is what
    *salvaged* makes of it.

    Raises `ProviderSilent` where the body ends with half a line: it was cut, and nobody knows what
    else is missing. Raises `ProviderBroke` at a line of more than *line_bytes_max*.
    """
    fed, broken = True, False

    async def watched() -> AsyncIterator[bytes]:
        nonlocal fed
        async for chunk in chunks:
            fed = chunk.endswith(b"\n") if chunk else fed
            yield chunk

    try:
        async for some in lines(watched(), line_bytes_max):
            found: list[Result] = []
            for line in some:
                broken = False
                try:
                    result = parsed(line)
                except UNREADABLE:
                    broken = True
                    result = salvaged(line)
                if result is not None:
                    found.append(result)
            if found:
                yield found
    except ValueError as error:
        raise ProviderBroke(f"{name}: {error}") from error
    if broken and not fed:
        raise ProviderSilent(f"{name} breaks off in the middle of a line")
