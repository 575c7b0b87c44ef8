"""
What one request cost, and what the same would have cost without the batch discount. Exact.

The numbers come from the price table of genai-prices, a package that is data and asks nobody. It is
looked at once for a model and a moment; from then on a price is a few products of whole numbers,
because there may be millions of them. Each request is priced by itself: whoever sums the tokens of
many first has lost the tiers (a long prompt costs more for each of its tokens).

A price that is not known is None, and never a guess. `docs/decisions/0003-prices.md` has the rules.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Context, Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from batchmill.core.outcome import Usage

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice

#: Where a batch price comes from: the table has one, or only the vendor's own word on its discount.
Basis = Literal["table", "stated"]

#: What the price table calls our providers. Whoever is not here has no price list there.
VENDORS: Final = {
    "anthropic": "anthropic",
    "azure": "azure",
    "bedrock": "aws",
    "deepseek": "deepseek",
    "fireworks": "fireworks",
    "gemini": "google",
    "groq": "groq",
    "mistral": "mistral",
    "openai": "openai",
    "openrouter": "openrouter",
    "perplexity": "perplexity",
    "together": "together",
    "vertex": "google",
    "xai": "x-ai",
}

#: Charged by what no usage tells us: such a model has no price here.
UNCOUNTED: Final = ("output_citation_mtok",)

#: Prices are whole numbers of 10**-24 dollars: a table may say a millionth's millionth of a cent.
DECIMALS = 24
_EXACT = Context(prec=100)
_BATCH = {"processing": "batch"}


class Written(NamedTuple):
    """Input tokens that were put into the vendor's prompt cache, which costs more than reading."""

    short: int = 0  #: to be kept for minutes
    hour: int = 0


class Price(NamedTuple):
    """What one request cost."""

    paid_usd: Decimal
    list_usd: Decimal  #: at the vendor's standard price; never less than what was paid
    basis: Basis


@dataclass(frozen=True, slots=True)
class Rates:
    """One token, or one request, in 10**-24 dollars; None where the table has no such price."""

    input: int | None
    cached: int
    written: int
    written_hour: int
    output: int | None
    reasoning: int
    request: int

    def amount(self, usage: Usage, written: Written) -> int | None:
        """Return what a request comes to; None if it has tokens of a kind that has no price."""
        taken, given = usage.input_tokens, usage.output_tokens
        if (taken and self.input is None) or (given and self.output is None):
            return None
        # Counts come from outside: a part is never more than the whole.
        cached = min(usage.cached_tokens, taken)
        reasoning = min(usage.reasoning_tokens, given)
        amount = cached * self.cached + reasoning * self.reasoning + self.request
        if written is not NOTHING_WRITTEN:
            hour = min(written.hour, taken - cached)
            short = min(written.short, taken - cached - hour)
            amount += short * self.written + hour * self.written_hour
            cached += short + hour
        return (
            amount + (taken - cached) * (self.input or 0) + (given - reasoning) * (self.output or 0)
        )


NOTHING_WRITTEN: Final = Written()


@dataclass(frozen=True, slots=True)
class Tariff:
    """What a model costs in a lane at a moment: rates paid and listed, by the size of the input."""

    steps: tuple[tuple[int, Rates, Rates], ...]  #: (more input tokens than, paid, listed), falling
    basis: Basis
    by_clock: bool = False  #: the time of day counts: ask again for every request's own moment
    writes: bool = False  #: writing into the prompt cache has a price of its own

    def price(self, usage: Usage, written: Written = NOTHING_WRITTEN) -> Price | None:
        """Return what one request with this usage cost; None where a kind of token has no price."""
        step = self.steps[-1]
        if len(self.steps) > 1:
            step = next((s for s in self.steps if usage.input_tokens > s[0]), step)
        _, paid, listed = step
        amount = paid.amount(usage, written)
        if amount is None:
            return None
        cost = usd(amount)
        if paid is listed:
            return Price(cost, cost, self.basis)
        full = listed.amount(usage, written)
        return Price(cost, cost if full is None or full <= amount else usd(full), self.basis)


def usd(amount: int) -> Decimal:
    """Return 10**-24 dollars as dollars, with no digit lost and none too many."""
    return Decimal(amount).scaleb(-DECIMALS, _EXACT).normalize(_EXACT)


def price(
    provider: str, model: str, lane: str, usage: Usage, at: float, *, discount: str = ""
) -> Price | None:
    """
    Return what one request cost at *at* (unix seconds), or None if nobody can know.

    *provider* is a kind of ours (`gemini`, not `google`); *discount* is what the vendor says of its
    batch lane (`50%`), and counts only where the table has no batch price for the model.
    """
    vendor = VENDORS.get(provider)
    found = None if vendor is None else tariff(vendor, model, lane, at, discount)
    return None if found is None else found.price(usage)


def tariff(
    vendor: str, model: str, lane: str, at: float, discount: str = "", tier: str = ""
) -> Tariff | None:
    """
    Return what a model of a vendor (as the table calls it) costs; None if that is not known.

    *tier* is the vendor's word for other service than the standard one, in the live lane: `flex`.
    """
    listed = _listed(vendor, _named(vendor, model))
    if listed is None:
        return None
    # A list of prices has dates or hours in it, and none changes within a minute.
    return _tariff(listed, lane, int(at // 60), discount, tier)


def vendor_at(base_url: str) -> str | None:
    """Return which vendor answers at this address, as the price table calls it."""
    if not base_url.startswith("https://"):
        return None
    from genai_prices.data_snapshot import get_snapshot

    try:
        return get_snapshot().find_provider(None, None, base_url).id
    except LookupError:
        return None


def load() -> None:
    """Read the table: half a second, best spent in a thread."""
    from genai_prices.data_snapshot import get_snapshot

    get_snapshot()


def stated(discount: str) -> Decimal | None:
    """Return what is left to pay after a discount in the vendor's words; None if they are vague."""
    number, percent, rest = discount.partition("%")
    if not percent or rest.strip() or not number.strip().isdigit() or int(number) > 100:
        return None
    return (100 - Decimal(number.strip())) / 100


# -- reading the table -----------------------------------------------------------------------


def _named(vendor: str, model: str) -> str:
    # Names of these may be paths (`publishers/google/models/gemini-…`, `arn:aws:…/us.anthropic.…`).
    return model.rpartition("/")[2] if vendor in ("google", "aws") else model


@dataclass(frozen=True, eq=False, slots=True)
class _Listed:
    """A model as the table has it; the same one is the same object."""

    info: "ModelInfo"
    own: bool  #: False: listed with another vendor, whose standard prices this one shares


@lru_cache(maxsize=4096)
def _listed(vendor: str, model: str) -> _Listed | None:
    from genai_prices.data_snapshot import get_snapshot

    try:
        seller, info = get_snapshot().find_provider_model(model, None, vendor, None)
    except LookupError:
        return None
    return _Listed(info, own=any(info is one for one in seller.models))


@lru_cache(maxsize=4096)
def _tariff(listed_as: _Listed, lane: str, minute: int, discount: str, tier: str) -> Tariff | None:
    from genai_prices.types import ModelPrice, TimeOfDateConstraint

    info = listed_as.info
    at = datetime.fromtimestamp(minute * 60, UTC)
    full = info.get_prices(at)
    basis: Basis = "table"
    paid, left = full, Decimal(1)
    if lane == "batch":
        if listed_as.own and _has_price(info, _BATCH, at):
            paid = info.get_prices(at, _BATCH)
        elif (words := stated(discount)) is not None:
            basis, left = "stated", words
        else:
            return None  # the table would give the full price here, without a word
    elif tier:
        if not (listed_as.own and _has_price(info, {"service_tier": tier}, at)):
            return None
        paid = full = info.get_prices(at, {"service_tier": tier})
    if any(getattr(full, key) is not None for key in UNCOUNTED):
        return None
    steps = tuple(_steps(full, paid, left))
    if all(listed.input is None and listed.output is None for _, _, listed in steps):
        return None
    conditions = [] if isinstance(info.prices, ModelPrice) else info.prices
    return Tariff(
        steps=steps,
        basis=basis,
        by_clock=any(isinstance(c.constraint, TimeOfDateConstraint) for c in conditions),
        writes=any(r.written != r.input or r.written_hour != r.input for _, r, _ in steps),
    )


def _has_price(info: "ModelInfo", when: dict[str, str], at: datetime) -> bool:
    return any(
        variant.when == when and (variant.constraint is None or variant.constraint.active(at))
        for variant in info.price_variants or ()
    )


def _steps(
    full: "ModelPrice", paid: "ModelPrice", left: Decimal
) -> Iterator[tuple[int, Rates, Rates]]:
    """Yield (start, paid, listed) for every size of input at which some price changes."""
    starts = {-1}
    for prices in (full, paid):
        for value in vars(prices).values():
            starts.update(tier.start for tier in getattr(value, "tiers", ()))
    for start in sorted(starts, reverse=True):
        listed = _rates(full, start, Decimal(1))
        same = paid is full and left == 1
        yield start, listed if same else _rates(paid, start, left), listed


def _rates(prices: "ModelPrice", start: int, left: Decimal) -> Rates:
    def rate(key: str, per: int = 1_000_000) -> int | None:
        found = getattr(prices, key)
        if found is None:
            return None
        value: Decimal = getattr(found, "base", found)
        for tier in getattr(found, "tiers", ()):  # in rising order: the last that begins here
            if start >= tier.start:
                value = tier.price
        return _whole(_EXACT.multiply(value, left), per)

    given, taken = rate("output_mtok"), rate("input_mtok")
    written = _or(rate("cache_write_mtok"), taken)
    return Rates(
        input=taken,
        cached=_or(rate("cache_read_mtok"), taken),
        written=written,
        written_hour=_or(rate("cache_write_1h_mtok"), written),
        output=given,
        reasoning=_or(rate("output_reasoning_mtok"), given),
        request=_or(rate("requests_kcount", 1000), None),
    )


def _or(rate: int | None, otherwise: int | None) -> int:
    return rate if rate is not None else otherwise or 0


def _whole(value: Decimal, per: int) -> int:
    """Return dollars for so many as 10**-24 dollars for one; exact, or the table is unusable."""
    scaled = _EXACT.divide(value.scaleb(DECIMALS, _EXACT), Decimal(per))
    whole = int(scaled)
    assert whole == scaled, f"a price of {value} for {per} has more than {DECIMALS} decimals"
    return whole
