"""
Put a price on results while they are collected: what each cost, and what it costs at list price.

Results that carry a price already keep it: of a free provider, or of a vendor that tells its own.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from batchmill.core import price as prices
from batchmill.core.outcome import Result
from batchmill.core.price import NOTHING_WRITTEN, Tariff, Written
from batchmill.core.shard import Shard
from batchmill.ports import Clock, Offer

log = logging.getLogger(__name__)

#: What the usage of a result does not carry, as it means nothing to anybody but whoever adds up a
#: price, is looked for in the body. The text of an answer cannot be taken for it: its quotes are
#: escaped there.
_WRITTEN = (b'"cache_creation_input_tokens"', b'"cacheWriteInputTokens"', b'"cache_write_tokens"')
_WRITTEN_HOUR = b'"ephemeral_1h_input_tokens"'
_CREATED = b'"created"'
_TIERS = (b'"service_tier"', b'"serviceTier"')
_WORD = re.compile(rb'\s*:\s*"([A-Za-z_]{1,30})"')
_NUMBER = re.compile(rb"\s*:\s*(\d{1,12})\b")

#: The vendors' words for the service that their standard price is for.
_STANDARD = frozenset({"auto", "default", "on_demand", "standard"})

#: The name that was asked for counts first: it says more (a region's own price) than the answer's.
_ASKED_SAYS_MORE = frozenset({"aws"})
#: The name that was asked for is one that a person made up, and may even be that of another model.
_ASKED_SAYS_NOTHING = frozenset({"azure"})


@dataclass(frozen=True, slots=True)
class Terms:
    """What must be known of a provider to price what it answers."""

    vendor: str | None = None  #: as the price table calls it; None: nobody has its prices
    discount: str = ""  #: of its batch lane, in the vendor's words: "50%"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pricing:
    """Adds prices to a stream of results; `ports.Pricing` is its call."""

    clock: Clock
    terms: Callable[[str], Terms]  #: by the provider's name

    async def __call__(
        self, shard: Shard, offer: Offer, results: AsyncIterator[Sequence[Result]]
    ) -> AsyncIterator[Sequence[Result]]:
        """Yield the same results, each with `cost_usd` and `list_usd` where a price is known."""
        book = None
        async for chunk in results:
            if any(map(_wants_price, chunk)):
                # Reading the table takes half a second, in which others should not stand still.
                book = book or await asyncio.to_thread(self._book, shard, offer)
                chunk = book.priced(chunk)
            yield chunk

    def _book(self, shard: Shard, offer: Offer) -> "_Book":
        terms = self.terms(shard.provider)
        if terms.vendor is not None:
            prices.load()
        since = offer.submitted_at or self.clock.now()
        return _Book(terms.vendor, terms.discount, shard.lane, offer.model, since)


def _wants_price(result: Result) -> bool:
    return result.cost_usd is None and result.usage is not None


@dataclass(slots=True)
class _Book:
    """The tariffs of one shard, by the model that answered."""

    vendor: str | None
    discount: str
    lane: str
    asked: str  #: the model that was asked for
    since: float  #: when the shard was submitted
    _known: dict[tuple[str, str, float], Tariff | None] = field(
        default_factory=dict[tuple[str, str, float], Tariff | None]
    )

    def priced(self, results: Sequence[Result]) -> Sequence[Result]:
        if self.vendor is None:
            return results
        return [self._priced(r) if _wants_price(r) else r for r in results]

    def _priced(self, result: Result) -> Result:
        assert result.usage is not None
        tier = _tier(result.body) if self.lane == "live" else ""
        tariff = self._tariff(result.model, tier, self.since)
        if tariff is not None and tariff.by_clock:
            tariff = self._tariff(result.model, tier, _created(result.body, self.since))
        if tariff is None:
            return result
        written = _written(result.body) if tariff.writes else NOTHING_WRITTEN
        price = tariff.price(result.usage, written)
        if price is None:
            return result
        word = price.basis == "stated"
        return replace(result, cost_usd=price.paid_usd, list_usd=price.list_usd, stated=word)

    def _tariff(self, answered: str, tier: str, at: float) -> Tariff | None:
        key = (answered, tier, at // 60)
        if key not in self._known:
            self._known[key] = self._look_up(answered, tier, at)
        return self._known[key]

    def _look_up(self, answered: str, tier: str, at: float) -> Tariff | None:
        vendor = self.vendor or ""
        names = _names(vendor, answered, self.asked)
        try:
            found = (
                prices.tariff(vendor, name, self.lane, at, self.discount, tier)
                for name in names
                if name
            )
            return next((tariff for tariff in found if tariff is not None), None)
        except Exception:  # whatever is wrong with a price: paid answers never wait for it
            log.exception("no price for %s", answered or self.asked)
            return None


def _names(vendor: str, answered: str, asked: str) -> list[str]:
    """Return the names under which the price may be found, the truest first."""
    if vendor in _ASKED_SAYS_NOTHING:
        return [answered]
    if asked.startswith("arn:"):  # somebody's own model, unless the table knows its name
        return [asked]
    if vendor in _ASKED_SAYS_MORE:
        return [asked, answered]
    # What answered under quite another name is another model: its price is not the one asked for.
    tail, wanted = (name.rpartition("/")[2].lower() for name in (answered, asked))
    same = tail.startswith(wanted) or wanted.endswith("-latest")
    return [answered, asked] if same or not answered else [answered]


def _written(body: bytes) -> Written:
    name = next((name for name in _WRITTEN if name in body), None)
    written = 0 if name is None else _number(body, name)
    if not written:
        return NOTHING_WRITTEN
    hour = min(written, _number(body, _WRITTEN_HOUR))
    return Written(written - hour, hour)


def _tier(body: bytes) -> str:
    """Return the vendor's word for the service it gave, where that is not the standard one."""
    name = next((name for name in _TIERS if name in body), None)
    if name is None:
        return ""
    found = _WORD.match(body, body.find(name) + len(name))
    word = "" if found is None else found[1].decode().lower()
    return "" if word in _STANDARD else word


def _created(body: bytes, since: float) -> float:
    """Return when a request was made: its answer says so, or else it was when its shard was."""
    return max(float(_number(body, _CREATED)), since)


def _number(body: bytes, name: bytes) -> int:
    at = body.find(name)  # a pattern would take a hundred times as long to find nothing
    found = None if at < 0 else _NUMBER.match(body, at + len(name))
    return 0 if found is None else int(found[1])


__all__ = ["Pricing", "Terms"]
