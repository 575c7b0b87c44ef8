"""When it will be done, as an interval that says what it is based on."""

from dataclasses import dataclass

#: Rows a second, slow and fast, before anything is known. Batch: 40-50k-row batches of a large
#: vendor are on record with 2.6 a second. Live: a small model on a busy laptop, a hosted endpoint.
PRIOR_ROWS_PER_S = {"batch": (0.6, 60.0), "live": (0.2, 200.0)}

#: With few answers the rate is a rumour; it takes about this many to be trusted to a quarter.
ROWS_TO_TRUST = 50


@dataclass(frozen=True, slots=True)
class Eta:
    """Seconds from now until the end; the truth lies between, not at an edge."""

    low_s: float
    high_s: float
    basis: str  #: `prior` or `rate so far`


def plain(done: int, total: int, elapsed_s: float, lane: str) -> Eta:
    """Return a plain interval: from the rate so far, else from what such lanes usually do."""
    left = max(0, total - done)
    if done == 0 or elapsed_s <= 0:
        slow, fast = PRIOR_ROWS_PER_S.get(lane, PRIOR_ROWS_PER_S["batch"])
        return Eta(left / fast, left / slow, "prior")
    expected_s = left * elapsed_s / done
    spread = 1.25 + 1.5 * ROWS_TO_TRUST / (ROWS_TO_TRUST + done)
    return Eta(expected_s / spread, expected_s * spread, "rate so far")
