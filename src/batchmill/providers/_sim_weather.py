"""The weather of the simulated provider, and what a person may set of it in `[providers.sim]`."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from hashlib import blake2b
from typing import Final

from batchmill.core.failure import Failure
from batchmill.errors import InvalidSetting
from batchmill.providers import Knobs
from batchmill.providers._sim_answers import FAILURES

#: From a word to [0, 1): where this provider's chances come from.
Luck = Callable[[str], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """
    The weather. Chances from 0 to 1, of each call unless said otherwise; by default the sun shines.

    Why a lifecycle must survive each of them is the second half of its line.
    """

    not_sent: float = 0.0  #: nothing left the machine; provably safe to repeat
    lost_requests: float = 0.0  #: silence, nothing was done; only a look-up tells it from the next
    lost_replies: float = 0.0  #: silence, but it *was* done
    broken: float = 0.0  #: done, and answered with gibberish: no better than silence
    busy: float = 0.0  #: 429, or a full queue: not accepted, later perhaps
    account: float = 0.0  #: 401: nobody's row is at fault; a person must act
    refused: float = 0.0  #: of prepare and submit: never in this form
    upload_gone: float = 0.0  #: of submit: what was prepared has expired; nothing was bought
    cannot_tell: float = 0.0  #: of find: no clear answer, so nothing may be bought on it
    torn: float = 0.0  #: of results: the stream breaks off; half a file proves nothing
    duplicated: float = 0.0  #: of rows: a second, other line for the same row
    foreign: float = 0.0  #: of rows: a line that belongs to nobody
    failures: Mapping[Failure, float] = field(default_factory=dict[Failure, float])  #: of rows
    poison: float = 0.0  #: of rows: each upstream batch that holds one is refused as a whole
    listing_lag_s: float = 0.0  #: how long an accepted batch stays out of the list
    marks: bool = True  #: False: batches are recognised by count and time only
    prompt: bool = True  #: False: a call may be held up between the look at its lease and the wire


SUNNY: Final = Faults()


def seeded(seed: int) -> Luck:
    """Return chances that depend on the seed and the word alone, in any process."""
    key = seed.to_bytes(8, "little", signed=True)

    def luck(word: str) -> float:
        return int.from_bytes(blake2b(word.encode(), digest_size=8, key=key).digest()) / 2**64

    return luck


def ever_new(seed: int) -> Luck:
    """Return chances that are other ones each time they are asked for."""
    luck, asked = seeded(seed), 0

    def new(word: str) -> float:
        nonlocal asked
        asked += 1
        return luck(f"{word} {asked}")

    return new


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    seed: int = 0
    turnaround_s: float = 1.0
    order: str = "shuffled"  #: or input, reversed
    faults: Faults = Faults()


_CHANCES: Final = tuple(
    f.name for f in fields(Faults) if f.type is float and f.name != "listing_lag_s"
)
OPTIONS: Final = ("seed", "turnaround_s", "order", "listing_lag_s", "failures", *_CHANCES)


def options(knobs: Knobs, name: str = "sim") -> Options:
    """Read `[providers.NAME]`; raise `InvalidSetting` naming the key and what was expected."""
    try:
        return _options(knobs)
    except InvalidSetting as error:
        raise InvalidSetting(f"[providers.{name}] {error}") from None


def _options(knobs: Knobs) -> Options:
    made = Options()
    for key, value in knobs.options.items():
        if key not in OPTIONS:
            raise InvalidSetting(f"there is no key {key!r}. {_near(key, OPTIONS)}")
        if key == "seed":
            if not isinstance(value, int) or abs(value) >= 2**63:
                raise _wrong(key, value, "a whole number")
            made = replace(made, seed=value)
        elif key == "order":
            if value not in ("shuffled", "input", "reversed"):
                raise _wrong(key, value, "shuffled, input or reversed")
            made = replace(made, order=str(value))
        elif key == "turnaround_s":
            made = replace(made, turnaround_s=_number(key, value, None))
        elif key == "failures":
            made = replace(made, faults=replace(made.faults, failures=_shares(value)))
        else:
            most = None if key == "listing_lag_s" else 1.0
            made = replace(made, faults=replace(made.faults, **{key: _number(key, value, most)}))
    if made.faults.listing_lag_s > knobs.find_after_s:
        raise InvalidSetting(
            f"listing_lag_s is {made.faults.listing_lag_s:g}, but a look-up is "
            f"trusted after find_after_s = {knobs.find_after_s:g}: raise that as well."
        )
    return made


def _shares(found: object) -> dict[Failure, float]:
    if not isinstance(found, Mapping):
        raise _wrong("failures", found, "a table: failure class = share of rows")
    known = sorted(FAILURES)
    shares: dict[Failure, float] = {}
    for key, value in found.items():
        if key not in known:
            raise InvalidSetting(
                f"failures: {key!r} is no failure a provider can cause. {_near(str(key), known)}"
            )
        shares[Failure(key)] = _number(f"failures.{key}", value, 1.0)
    if sum(shares.values()) > 1.0 + 1e-9:
        raise _wrong("failures", round(sum(shares.values()), 6), "shares that sum to at most 1")
    return shares


def _number(key: str, value: object, most: float | None) -> float:
    limit = float("inf") if most is None else most
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= limit:
        return float(value)
    expected = "seconds, at least 0" if most is None else f"a share from 0 to {most:g}"
    raise _wrong(key, value, expected)


def _wrong(key: str, value: object, expected: str) -> InvalidSetting:
    return InvalidSetting(f"{key} is {value!r}; expected {expected}.")


def _near(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}? " if near else ""
    return f"{hint}Known: {', '.join(known)}."
