"""What Gemini's own API and Vertex have in common: refusals, result lines, rows never run."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Final

import msgspec

from batchmill.core.failure import Failure
from batchmill.core.outcome import Outcome, Result
from batchmill.ports import Offer
from batchmill.providers._rest import Words
from batchmill.providers._unrun import refused
from batchmill.wire import google

#: Answers may hold images; nothing of a line that is longer could be kept in a cell.
LINE_BYTES_MAX: Final = 256 << 20
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
