"""
How much may be in flight now: one pure control law.

Additive increase, multiplicative decrease: every answer raises the limit by a fraction, so that it
grows by one in the time of one round; a 429 halves it, at most once for the rows of one round.
Times are seconds of `Clock.awake()`, except where an HTTP date is compared with the wall clock.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

#: A 429 that names no time: wait this long, and twice as long after each further one.
UNNAMED_WAIT_S: Final = 1.0
UNNAMED_WAIT_MAX_S: Final = 60.0
#: An endpoint nobody answers at is tried again after this long, growing to the second figure.
UNREACHABLE_WAIT_S: Final = 0.5
UNREACHABLE_WAIT_MAX_S: Final = 5.0
#: No answer may silence us for longer than a day, whatever it says.
NAMED_WAIT_MAX_S: Final = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What may be in flight, and from when on."""

    most: int  #: never more than this
    limit: float  #: what the endpoint seems to bear
    closed_until: float = 0.0  #: nothing leaves before
    lowered_at: float = -math.inf
    waits: int = 0  #: pauses since the last answer
    unreachable: bool = False

    @property
    def allowed(self) -> int:
        """Return how many rows may be in flight; one, where nobody is known to be there."""
        return 1 if self.unreachable else max(1, int(self.limit))


def start(most: int) -> Pace:
    return Pace(most=most, limit=float(most))


def answered(pace: Pace) -> Pace:
    """Return the pace after a good answer."""
    if pace.limit >= pace.most and not pace.waits and not pace.unreachable:
        return pace
    limit = min(float(pace.most), pace.limit + 1.0 / pace.limit)
    return replace(pace, limit=limit, waits=0, unreachable=False)


def throttled(pace: Pace, *, sent_at: float, now: float, named_s: float | None) -> Pace:
    """Return the pace after a 429 to a row sent at *sent_at*; *named_s* is what it asked for."""
    # Rows of one round are refused together: they are one refusal, and one pause.
    fresh = sent_at >= pace.lowered_at
    waits = pace.waits + 1 if fresh else max(pace.waits, 1)
    wait_s = min(UNNAMED_WAIT_S * 2.0 ** min(waits - 1, 10), UNNAMED_WAIT_MAX_S)
    if named_s is not None:
        wait_s = named_s
    closed_until = max(pace.closed_until, now + wait_s)
    eased = _lowered(pace, sent_at, now)
    return replace(eased, closed_until=closed_until, waits=waits, unreachable=False)


def alone_wait_s(refusals: int, named_s: float | None) -> float:
    """Return how long a row waits that is refused for the n-th time while others are answered."""
    wait_s = UNNAMED_WAIT_S * 2.0 ** min(refusals - 1, 10) if named_s is None else named_s
    return min(wait_s, UNNAMED_WAIT_MAX_S)  # the endpoint is open, whatever it says to this row


def stumbled(pace: Pace, *, sent_at: float, now: float) -> Pace:
    """Return the pace after a server error or a lost answer: less at once, but no pause."""
    return replace(_lowered(pace, sent_at, now), unreachable=False)


def unreachable(pace: Pace, now: float) -> Pace:
    """Return the pace after a row could not even be sent: one try at a time, ever more rarely."""
    if pace.unreachable and now < pace.closed_until:
        return pace  # of the rows that failed together, the first has said it
    waits = pace.waits + 1 if pace.unreachable else 1
    wait_s = min(UNREACHABLE_WAIT_S * 2.0 ** min(waits - 1, 10), UNREACHABLE_WAIT_MAX_S)
    return replace(pace, unreachable=True, waits=waits, closed_until=now + wait_s)


def _lowered(pace: Pace, sent_at: float, now: float) -> Pace:
    if sent_at < pace.lowered_at:
        return pace
    return replace(pace, limit=max(1.0, pace.limit / 2), lowered_at=now)


def named_wait_s(headers: Mapping[str, str], wall: float) -> float | None:
    """
    Return how long an answer asks us to wait, in seconds; None where it does not say.

    `retry-after-ms` (OpenAI, Azure) is finer than `retry-after`, which is seconds or an HTTP date
    (RFC 9110, 10.2.3). *wall* is unix seconds.
    """
    if (ms := _number(headers.get("retry-after-ms"))) is not None:
        return _bounded(ms / 1000)
    said = headers.get("retry-after")
    if said is None:
        return None
    if (seconds := _number(said)) is not None:
        return _bounded(seconds)
    try:
        when = parsedate_to_datetime(said)
    except (ValueError, TypeError):
        return None
    zoned = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
    return _bounded(zoned.timestamp() - wall)


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0.0), NAMED_WAIT_MAX_S)
