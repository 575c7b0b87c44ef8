"""
Why a request did not succeed, and what each reason calls for.

Limits count *further* offers after the first failure of that class; `None` is without limit.
They are settings (`[retry]`); the table holds the defaults.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum, auto
from types import MappingProxyType
from typing import Final


class Failure(StrEnum):
    EXPIRED = auto()  # the window was over before the row was run
    RATE_LIMITED = auto()  # 429, tokens per minute
    QUOTA = auto()  # enqueued-token or queue limit
    SERVER = auto()  # 5xx, overloaded, timeout, status code 0
    MISSING = auto()  # no line for it in any file
    REFUSED = auto()  # content filter, safety block, model refusal
    INVALID_MEDIA = auto()  # image URL dead or unreadable
    TRUNCATED = auto()  # stopped at max tokens
    SCHEMA = auto()  # the answer does not match the schema
    TOO_LONG = auto()  # context length
    INVALID_REQUEST = auto()  # 400, 404, 422
    NOT_RUN = auto()  # refused along with its whole upstream batch, for the sake of others
    ACCOUNT = auto()  # 401, 403, no credit, no such model
    CANCELED = auto()  # by wish
    BUDGET = auto()  # never offered: it could have cost more than allowed
    CANARY = auto()  # never offered: the first answers were too bad
    DEADLINE = auto()  # never offered: it was too late


class Hold(StrEnum):
    """How far a failure of this class reaches beyond its own row."""

    NOTHING = auto()
    BATCH = auto()  # nothing more of the batch is offered until the person says so


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a failure class calls for."""

    again_max: int | None = 0  #: further offers; None: as often as it takes
    backs_off: bool = False  #: each further wait is twice the one before
    hold: Hold = Hold.NOTHING
    called: str = "errored"  #: the outcome of a row whose last failure this is
    hint: str = ""  #: what a person can do about it


POLICIES: Final[Mapping[Failure, Policy]] = MappingProxyType(
    {
        Failure.EXPIRED: Policy(
            again_max=None, called="expired", hint="offered again by itself until the deadline"
        ),
        Failure.RATE_LIMITED: Policy(
            again_max=None, backs_off=True, hint="offered again at the provider's pace"
        ),
        Failure.QUOTA: Policy(again_max=None, backs_off=True, hint="offered again as room appears"),
        Failure.SERVER: Policy(
            again_max=5, backs_off=True, hint="the provider's trouble; retry later"
        ),
        Failure.MISSING: Policy(
            again_max=1, hint="the provider returned no line for it; retry buys it again"
        ),
        Failure.REFUSED: Policy(again_max=2, hint="the model declines; change the prompt"),
        Failure.INVALID_MEDIA: Policy(again_max=1, hint="check that the image can be opened"),
        Failure.TRUNCATED: Policy(hint="retry with a larger --max-tokens"),
        Failure.SCHEMA: Policy(again_max=2, hint="simplify the schema or say it in the prompt"),
        Failure.TOO_LONG: Policy(hint="shorten the row, or use a model with a larger context"),
        Failure.INVALID_REQUEST: Policy(hint="the provider's own words are in `detail`"),
        Failure.NOT_RUN: Policy(
            again_max=None, hint="its upstream batch was refused; offered again in smaller ones"
        ),
        Failure.ACCOUNT: Policy(
            again_max=None, hold=Hold.BATCH, hint="mend the key or the credit, then resume"
        ),
        Failure.CANCELED: Policy(
            called="canceled", hint="cancelled by wish; retry offers it again"
        ),
        Failure.BUDGET: Policy(called="canceled", hint="run the table again with a larger budget"),
        Failure.CANARY: Policy(called="canceled", hint="look at the first answers, then retry"),
        Failure.DEADLINE: Policy(
            called="canceled", hint="run the table again with a longer --window"
        ),
    }
)

BACKOFF_MAX_S: Final = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long and how often we try again: the `[retry]` settings, in the form decisions need."""

    wait_s: float = 30.0  #: the first wait of retried rows, held shards and busy providers
    again_max: Mapping[Failure, int | None] = field(
        default_factory=lambda: {f: p.again_max for f, p in POLICIES.items()}
    )

    def allows(self, failure: Failure, times: int) -> bool:
        """Say whether a row may be offered again after failing *times* times in this class."""
        limit = self.again_max[failure]
        return limit is None or times <= limit

    def backoff_s(self, failure: Failure, times: int) -> float:
        """Return the wait, in seconds, before the offer that follows the *times*-th failure."""
        doublings = max(0, min(times - 1, 20)) if POLICIES[failure].backs_off else 0
        return min(self.wait_s * 2**doublings, max(BACKOFF_MAX_S, self.wait_s))
