"""A batch as data: the JSON of `list`, `show` and `run --json`."""

from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from batchmill.core.shard import State

if TYPE_CHECKING:
    from decimal import Decimal

    from batchmill.core.batch import Counts
    from batchmill.core.outcome import Usage
    from batchmill.core.shard import Shard
    from batchmill.service.inspect import View


def line(data: dict[str, Any]) -> str:
    return msgspec.json.encode(data).decode()


def page(data: object) -> str:
    """Return a whole document, indented for eyes as well."""
    return msgspec.json.format(msgspec.json.encode(data), indent=2).decode()


def exact(cost_usd: "Decimal | None") -> msgspec.Raw | None:
    """Return a price as a JSON number with all its digits, never as 1E-7."""
    return None if cost_usd is None else msgspec.Raw(f"{cost_usd:f}".encode())


def tokens(usage: "Usage") -> dict[str, int]:
    """Return counts of tokens; those from the prompt cache are part of the input."""
    cached, output = usage.cached_tokens, usage.output_tokens
    return {"input": usage.input_tokens, "cached": cached, "output": output}


def rows(counts: "Counts") -> dict[str, int]:
    return {
        "total": counts.total,
        "succeeded": counts.succeeded,
        "errored": counts.errored,
        "canceled": counts.canceled,
        "expired": counts.expired,
        "pending": counts.pending,
    }


def states(view: "View") -> dict[str, int]:
    return dict(Counter(shard.state.value for shard in view.shards))


def progress(view: "View") -> dict[str, Any]:
    """Return one line of `run --json`."""
    counts, eta = view.counts, view.eta
    left = None if eta is None else [round(eta.low_s, 1), round(eta.high_s, 1)]
    return {
        "batch": view.batch.id,
        "status": view.status.value,
        "rows": rows(counts),
        "answered": view.answered,
        "failures": {f.value: n for f, n in counts.failures.items()},
        "eta_s": [0.0, 0.0] if view.finished else left,
        "eta_basis": None if eta is None else eta.basis,
        "rate": None if view.rate is None else round(view.rate, 3),
        "elapsed_s": round(view.elapsed_s, 3),
        "cost_usd": exact(counts.cost_usd),
        "tokens": tokens(counts.usage),
        "shards": states(view),
        "held": view.batch.held or None,
    }


def batch(view: "View") -> dict[str, Any]:
    """Return one batch of `list --json`."""
    b = view.batch
    return {
        "id": b.id,
        **progress(view),
        "name": b.name,
        "provider": b.provider,
        "model": b.recipe.model,
        "lane": b.lane,
        "endpoint": b.recipe.url,
        "table": b.source.url,
        "out": b.target,
        "created_at": b.created_at,
        "deadline": b.deadline,
        "cancel_wanted": b.cancel_wanted,
        "stalled_since": view.stalled_since,
        "retried": view.counts.retried,
        "strays": [{"shard": s, "upstream_id": u} for s, u in view.strays],
    }


def shard(s: "Shard") -> dict[str, Any]:
    """Return one shard of `show --json`."""
    succeeded, errored = s.progress.succeeded, s.progress.errored
    if s.state is State.SETTLED:  # what was collected, and no longer what was heard before
        succeeded, errored = s.tally.succeeded, sum(len(r) for r in s.tally.failed.values())
    return {
        "shard": s.id,
        "provider": s.provider,
        "lane": s.lane,
        "state": s.state.value,
        "rows": len(s.rows),
        "attempt": s.attempt,
        "progress": {"succeeded": succeeded, "errored": errored},
        "succeeded": s.tally.succeeded,
        "failures": {f.value: len(r) for f, r in s.tally.failed.items()},
        "foreign": s.tally.foreign,
        "duplicate": s.tally.duplicate,
        "upstream_id": s.upstream_id,
        "provisional": s.provisional,
        "note": s.note,
        "due_at": s.due_at,
        "submitted_at": s.submitted_at,
        "cost_usd": exact(s.tally.cost_usd),
        "list_usd": exact(s.tally.list_usd),
    }
