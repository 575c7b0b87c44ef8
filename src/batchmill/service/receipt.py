"""What a batch came to: its shards added up by provider and lane. Pure; nothing is stored twice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext

from batchmill.core.outcome import Usage
from batchmill.core.shard import Shard, State
from batchmill.service.inspect import View


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What went through one lane of one provider, over all attempts."""

    provider: str
    lane: str
    rows: int  #: settled there; a row that was offered twice counts twice
    bought: int  #: upstream batches that were created there; a live lane has none
    usage: Usage
    paid_usd: Decimal | None  #: None where no price is known
    list_usd: Decimal | None  #: what the priced rows cost at the standard price
    unpriced: int  #: rows that were run, and whose price nobody knows
    stated: int  #: rows whose batch discount is the vendor's word, and in no price table

    @property
    def saved_usd(self) -> Decimal | None:
        """What the batch discount saved."""
        if self.paid_usd is None or self.list_usd is None:
            return None
        return max(self.list_usd - self.paid_usd, Decimal(0))

    @property
    def run(self) -> bool:
        """Whether any row was run there, as far as anybody told."""
        return self.paid_usd is not None or self.unpriced > 0 or self.usage != Usage()


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What a batch brought and cost."""

    rows: int
    succeeded: int
    errored: int
    canceled: int
    expired: int
    failures: Mapping[str, int]  #: rows by failure class
    retried: int  #: offers beyond the first, in rows
    usage: Usage  #: tokens, over all attempts
    cost_usd: Decimal | None  #: over all attempts; None where no price is known
    saved_usd: Decimal | None  #: by the batch discount; None where no price is known
    unpriced: int  #: rows that were run, and whose price nobody knows
    lanes: tuple[Spent, ...]  #: the same for each provider and lane
    elapsed_s: float
    provider: str
    lane: str
    model: str


def receipt(view: View) -> Receipt:
    """Return what a batch brought and cost so far."""
    counts, batch, lanes = view.counts, view.batch, spent(view.shards)
    return Receipt(
        rows=counts.total,
        succeeded=counts.succeeded,
        errored=counts.errored,
        canceled=counts.canceled,
        expired=counts.expired,
        failures={f.value: n for f, n in counts.failures.items()},
        retried=counts.retried,
        usage=counts.usage,
        cost_usd=counts.cost_usd,
        saved_usd=saved_usd(lanes),
        unpriced=sum(lane.unpriced for lane in lanes),
        lanes=lanes,
        elapsed_s=view.elapsed_s,
        provider=batch.provider,
        lane=batch.lane,
        model=batch.recipe.model,
    )


def spent(shards: Sequence[Shard]) -> tuple[Spent, ...]:
    """Add up what settled shards brought, one line for each provider and lane in order of use."""
    lanes: dict[tuple[str, str], list[Shard]] = {}
    for shard in sorted(shards, key=lambda s: s.n):
        lanes.setdefault((shard.provider, shard.lane), []).append(shard)
    return tuple(_spent(provider, lane, found) for (provider, lane), found in lanes.items())


def _spent(provider: str, lane: str, shards: Sequence[Shard]) -> Spent:
    settled = [s for s in shards if s.state is State.SETTLED]
    tallies = [s.tally for s in settled]
    return Spent(
        provider=provider,
        lane=lane,
        rows=sum(len(s.rows) for s in settled),
        bought=sum(s.upstream_id is not None for s in shards) if lane == "batch" else 0,
        usage=sum((t.usage for t in tallies), Usage()),
        paid_usd=_sum([t.cost_usd for t in tallies]),
        # A tally of a time without list prices was not discounted, as far as anybody knows.
        list_usd=_sum([t.cost_usd if t.list_usd is None else t.list_usd for t in tallies]),
        unpriced=sum(t.unpriced for t in tallies),
        stated=sum(t.stated for t in tallies),
    )


def again_usd(shards: Sequence[Shard]) -> Decimal | None:
    """Return what the offers beyond the first cost; None where no price is known."""
    later = [s for s in shards if s.attempt > 1 and s.state is State.SETTLED]
    return _sum([s.tally.cost_usd for s in later])


def saved_usd(lanes: Sequence[Spent]) -> Decimal | None:
    """Return what the batch discount saved in all; None where no price is known."""
    return _sum([lane.saved_usd for lane in lanes])


def _sum(prices: Sequence[Decimal | None]) -> Decimal | None:
    known = [price for price in prices if price is not None]
    with localcontext(prec=100):  # sums of prices are exact
        return sum(known, Decimal(0)).normalize() if known else None


__all__ = ["Receipt", "Spent", "again_usd", "receipt", "saved_usd", "spent"]
