"""What a batch came to, in lines and as data: tokens, money, lanes, and what the discount saved."""

from typing import TYPE_CHECKING, Any

from batchmill.cli import data, words
from batchmill.service.receipt import Spent, again_usd, saved_usd, spent

if TYPE_CHECKING:
    from batchmill.core.outcome import Usage
    from batchmill.service.inspect import View


def facts(view: "View") -> list[tuple[str, str]]:
    """Return (label, words) for attempts, lanes, tokens and cost."""
    counts, lanes = view.counts, spent(view.shards)
    told: list[tuple[str, str]] = []
    if counts.retried:
        price = again_usd(view.shards)
        for_ = f" · {words.money(price)}" if price else ""
        told.append(("attempts", f"{words.number(counts.retried)} beyond the first{for_}"))
    if len(lanes) == 1:
        told.append(("through", _through(lanes[0])))
    told.append(("tokens", _tokens(counts.usage)))
    told.append(("cost", _cost(view, lanes)))
    if len(lanes) > 1:
        told += [("", line) for line in _table(lanes)]
    if any(lane.stated for lane in lanes):
        told.append(("", _word(lanes)))
    return told


def _through(lane: Spent) -> str:
    bought = words.plural(lane.bought, "upstream batch") if lane.lane == "batch" else ""
    return " · ".join(part for part in (f"{lane.provider}, {lane.lane} lane", bought) if part)


def _tokens(usage: "Usage") -> str:
    cached = f" ({words.number(usage.cached_tokens)} cached)" if usage.cached_tokens else ""
    return (
        f"{words.number(usage.input_tokens)} in{cached} · {words.number(usage.output_tokens)} out"
    )


def _cost(view: "View", lanes: tuple[Spent, ...]) -> str:
    """Return `$1.20 · $1.20 saved by the batch discount`, or why nobody knows."""
    cost, saved = view.counts.cost_usd, saved_usd(lanes)
    unpriced = sum(lane.unpriced for lane in lanes)
    if cost is None and lanes:
        if not any(lane.run for lane in lanes):
            return "nothing: no row was run" if view.finished else "comes with the answers"
        return f"unknown: no price is known for {view.batch.provider}/{view.batch.recipe.model}"
    parts = [words.money(cost)]
    if unpriced:
        parts[0] += f", and {words.plural(unpriced, 'row')} of unknown price"
    if saved:
        parts.append(f"{words.money(saved)} saved by the batch discount")
    return " · ".join(parts)


def _table(lanes: tuple[Spent, ...]) -> list[str]:
    return words.columns([_cells(lane) for lane in lanes], right=(1, 3, 4, 5))


def _cells(lane: Spent) -> tuple[str, ...]:
    usage = lane.usage
    cached = f" ({words.number(usage.cached_tokens)} cached)" if usage.cached_tokens else ""
    return (
        f"{lane.provider} {lane.lane}",
        words.plural(lane.rows, "row"),
        words.plural(lane.bought, "upstream batch") if lane.lane == "batch" else "",
        f"{words.number(usage.input_tokens)} in{cached}",
        f"{words.number(usage.output_tokens)} out",
        _paid(lane),
    )


def _paid(lane: Spent) -> str:
    if lane.paid_usd is None:
        return "unknown" if lane.run else "nothing"
    return words.money(lane.paid_usd) + (" and more" if lane.unpriced else "")


def _word(lanes: tuple[Spent, ...]) -> str:
    """Say whose word a price is that stands in no price list."""
    whose = ", ".join(lane.provider for lane in lanes if lane.stated)
    n = sum(lane.stated for lane in lanes)
    return f"of {words.plural(n, 'row')} the discount is what {whose} states; no price list has it"


def as_data(view: "View") -> dict[str, Any]:
    """Return the receipt of `show --json` and of the last line of `run --json`."""
    lanes = spent(view.shards)
    return {
        "cost_usd": data.exact(view.counts.cost_usd),
        "saved_usd": data.exact(saved_usd(lanes)),
        "unpriced_rows": sum(lane.unpriced for lane in lanes),
        "attempts": {
            "beyond_the_first": view.counts.retried,
            "cost_usd": data.exact(again_usd(view.shards)),
        },
        "lanes": [_lane_as_data(lane) for lane in lanes],
    }


def _lane_as_data(lane: Spent) -> dict[str, Any]:
    return {
        "provider": lane.provider,
        "lane": lane.lane,
        "rows": lane.rows,
        "upstream_batches": lane.bought,
        "tokens": data.tokens(lane.usage),
        "cost_usd": data.exact(lane.paid_usd),
        "list_usd": data.exact(lane.list_usd),
        "saved_usd": data.exact(lane.saved_usd),
        "unpriced_rows": lane.unpriced,
        "stated_discount_rows": lane.stated,
    }


__all__ = ["as_data", "facts"]
