"""Ask every provider that is set up here, all at once, whether it is there and knows our key."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batchmill.core.failure import Failure
from batchmill.errors import (
    BatchmillError,
    NotSent,
    ProviderBroke,
    ProviderBusy,
    ProviderError,
    ProviderRefused,
    ProviderSilent,
    UserError,
)

if TYPE_CHECKING:
    from batchmill.wiring import Market

#: A list of models comes within a second, or something is wrong.
ANSWER_WITHIN_S = 10.0
WORDS_MAX = 300


@dataclass(frozen=True, slots=True)
class Heard:
    """What a provider said, or why it said nothing."""

    ok: bool
    words: str
    todo: str = ""  #: what to do about it


async def ask(
    market: "Market", names: Sequence[str], within_s: float = ANSWER_WITHIN_S
) -> dict[str, Heard]:
    """Make one free call to each of these providers; none of them keeps the others waiting."""
    heard = await asyncio.gather(*(_ask(market, name, within_s) for name in names))
    return dict(zip(names, heard, strict=True))


async def _ask(market: "Market", name: str, within_s: float) -> Heard:
    try:
        lane = market.spec(name).lanes[0]
        async with asyncio.timeout(within_s):
            words = await market.supplier(name, lane).provider.probe()
        return Heard(ok=True, words=words)
    except ProviderBusy as busy:  # whoever is too busy for us has understood who we are
        return Heard(ok=True, words=f"answers, but is busy: {_said(market, name, busy)}")
    except TimeoutError:
        return Heard(ok=False, words=f"no answer within {within_s:g} s", todo=_path(market, name))
    except Exception as error:  # noqa: BLE001  # one that breaks must not hide the others
        return Heard(ok=False, words=_said(market, name, error), todo=_todo(market, name, error))


def _said(market: "Market", name: str, error: Exception) -> str:
    """Return the vendor's own words, whatever they are; should they repeat our key, without it."""
    words = " ".join(str(error).split())
    if not isinstance(error, BatchmillError):
        words = f"a bug in batchmill or in the provider: {type(error).__name__}: {words}"
    key = market.knobs(name).key
    words = words.replace(key, "…") if key else words
    return words if len(words) <= WORDS_MAX else words[: WORDS_MAX - 1] + "…"


def _todo(market: "Market", name: str, error: Exception) -> str:
    match error:
        case ProviderRefused() if error.failure == Failure.ACCOUNT:
            return f"look at {_key(market, name)}, and at the account: {market.spec(name).title}"
        case NotSent() | ProviderSilent():
            return _path(market, name)
        case ProviderBroke() | ProviderError():
            return f"look whether base_url is right: {market.knobs(name).base_url or '(none)'}"
        case UserError():
            return "do what it says"
        case _:
            return "please report it"


def _key(market: "Market", name: str) -> str:
    own = market.settings.providers.get(name)
    if own is not None and own.key:
        return f"the key of [providers.{name}] in batchmill.toml"
    variable = market.key_variable(name)
    return f"the key in {variable}" if variable else "the credentials"


def _path(market: "Market", name: str) -> str:
    where = market.knobs(name).base_url
    return "look at the network, a proxy" + (f", and base_url: {where}" if where else "")


__all__ = ["ANSWER_WITHIN_S", "Heard", "ask"]
