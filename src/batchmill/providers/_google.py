"""What Gemini's own API and Vertex have in common: refusals, result lines, rows never run."""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import Final, TypeVar

import msgspec

from batchmill.core.failure import Failure
from batchmill.core.outcome import Outcome, Result
from batchmill.errors import ProviderBroke, ProviderSilent
from batchmill.ports import Offer
from batchmill.providers._rest import Words
from batchmill.providers._spool import lines
from batchmill.providers._unrun import refused
from batchmill.wire import google

T = TypeVar("T")

CHUNK_ROWS: Final = 4_000
CHUNK_BYTES: Final = 8 << 20
#: Answers may hold images; nothing of a line that is longer could be kept in a cell.
LINE_BYTES_MAX: Final = 256 << 20
CLOCKS_DIFFER_S: Final = 3600.0
#: So long after its end a batch may still be on its way to all of the vendor's machines.
FRESH_S: Final = 600.0

_UNRUN: Final = {
    "EXPIRED": (Outcome.EXPIRED, Failure.EXPIRED, "the batch expired before it was run"),
    "CANCELLED": (Outcome.CANCELED, Failure.CANCELED, "cancelled before it was run"),
}


def reads(status: int, body: bytes) -> Words:
    """Return what an error of a call says."""
    return words_of(google.status_of(status, body))


def words_of(error: google.Status) -> Words:
    """Return what an error says of a batch: one that is too large is cut again."""
    too_large = google.PAYLOAD in error.message.lower()
    return Words(Failure.NOT_RUN if too_large else google.failure_of(error), error.words)


async def told(
    chunks: AsyncIterator[bytes],
    parse: Callable[[bytes], T],
    salvage: Callable[[bytes], T | None],
    what: str,
) -> AsyncIterator[list[T]]:
    """
    Yield what *parse* reads in the lines of a body, some thousand or some megabytes at a time.

    A line that cannot be read is salvaged as a failed row, or left out: its row is missing then.
    As the last one, and without a line feed, it was cut off: `ProviderSilent`.
    """
    found: list[T] = []
    size, cut, ending = 0, False, _Ending()
    try:
        async for some in lines(ending.of(chunks), LINE_BYTES_MAX):
            for line in some:
                size += len(line)
                try:
                    cut = False
                    found.append(parse(line))
                except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                    cut = not isinstance(error, msgspec.ValidationError)
                    if (result := salvage(line)) is not None:
                        found.append(result)
            if len(found) >= CHUNK_ROWS or size >= CHUNK_BYTES:
                yield found
                found, size = [], 0
    except ValueError as error:
        raise ProviderBroke(f"{what} has {error}") from error
    if cut and not ending.fed:
        raise ProviderSilent(f"{what} broke off in the middle of a line")
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


async def unrun(
    offer: Offer,
    state: str,
    seen: set[str],
    error: google.Status | None,
    wanted: str = "contents",
) -> AsyncIterator[Sequence[Result]]:
    """
    Yield what became of the rows without a line, where the end of the batch says it.

    *wanted* is what no body can be without: Google names no line, so the bad one is looked for.
    """
    if len(seen) >= offer.count:
        return
    if state in _UNRUN:
        outcome, failure, detail = _UNRUN[state]
    elif error is not None and state in ("FAILED", "PARTIALLY_SUCCEEDED"):
        why = refusal(error)
        if not seen:
            async for chunk in refused(offer, why, {}, lambda body: _lacks(body, wanted)):
                yield chunk
            return
        # Others were run, so it was not this one that kept the batch from it.
        outcome, detail = Outcome.ERRORED, why.message
        failure = Failure.NOT_RUN if why.failure in _OF_A_ROW else why.failure
    else:
        return
    async for requests in offer.requests():
        yield [
            Result(request.custom_id, outcome, failure, detail)
            for request in requests
            if request.custom_id not in seen
        ]


_OF_A_ROW: Final = (Failure.INVALID_REQUEST, Failure.TOO_LONG, Failure.INVALID_MEDIA)


def _lacks(body: bytes, wanted: str) -> str:
    found = msgspec.json.decode(body)
    return "" if isinstance(found, dict) and found.get(wanted) else f"it has no {wanted}"


def refusal(error: google.Status) -> Words:
    """Return why a batch failed as a whole."""
    why = words_of(error)
    # A 429 for a whole batch is the room for batches, not this minute's; none of it was wished.
    odd = {Failure.RATE_LIMITED: Failure.QUOTA, Failure.CANCELED: Failure.SERVER}
    return Words(odd.get(why.failure, why.failure), why.message)


def unix(time: str | None) -> float:
    """Return a time of Google's (RFC 3339, up to nanoseconds) in unix seconds; 0.0 for none."""
    try:
        return datetime.fromisoformat(time or "").timestamp()
    except (ValueError, OverflowError):
        return 0.0
