"""A batch, and what can be said of it: always derived from its shards, never stored twice."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum, auto

from batchmill.core.failure import POLICIES, Failure
from batchmill.core.outcome import Outcome, Usage
from batchmill.core.rowset import NO_ROWS, RowSet
from batchmill.core.shard import Shard, State


class Status(StrEnum):
    """The client's word for a batch: OpenAI's eight."""

    VALIDATING = auto()
    FAILED = auto()
    IN_PROGRESS = auto()
    FINALIZING = auto()
    COMPLETED = auto()
    EXPIRED = auto()
    CANCELLING = auto()
    CANCELLED = auto()


FINISHED = frozenset({Status.FAILED, Status.COMPLETED, Status.EXPIRED, Status.CANCELLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The table as it was when the batch was made; a change since then is an error by name."""

    url: str  #: file, directory, glob or s3 url, absolute; `spool:` where stdin or memory was kept
    format: str  #: csv, tsv, parquet, jsonl, requests (ready-made request lines)
    encoding: str = "utf-8"
    limit: int | None = None  #: only the first rows
    size_bytes: int = 0
    parts: tuple[tuple[str, int, str], ...] = ()  #: (url, size in bytes, fingerprint) of each file


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a row becomes a request: the same for every row of the batch."""

    model: str  #: as the provider calls it
    dialect: str = "openai.chat"
    url: str = "/v1/chat/completions"  #: of the request line
    prompt: str | None = None  #: Jinja2 template; None for ready-made request lines
    system: str | None = None  #: Jinja2 template
    schema: Mapping[str, object] | None = None  #: JSON Schema the answer must match
    images: tuple[str, ...] = ()  #: columns that hold images or PDFs
    image_max_side: int | None = None  #: pixels; larger images are made smaller
    skip_bad_images: bool = False  #: rows whose image cannot be read are left out, for nothing
    links: tuple[str, ...] = ("http", "https")  #: schemes, or beginnings, of links that stay links
    max_tokens: int | None = None
    params: Mapping[str, object] = field(default_factory=dict[str, object])
    same_prompt: bool = False  #: the person wants one prompt for every row


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What a client asked us to do, once."""

    id: str
    name: str = ""
    created_at: float
    deadline: float | None = None  #: unix seconds; None: each vendor's own window
    provider: str
    lane: str
    recipe: Recipe
    source: Source
    target: str | None = None  #: where the answers go (OUT of `run`)
    rows: int  #: how many the table has
    cancel_wanted: bool = False  #: a wish, not a state
    held: str = ""  #: why nothing more is offered; empty when nothing stands in the way
    version: int = 0  #: grows with every change of the plan; guards it


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Rows of a batch by what became of them. `total` is the sum of the other five."""

    total: int = 0
    succeeded: int = 0
    errored: int = 0
    canceled: int = 0
    expired: int = 0
    pending: int = 0
    failures: Mapping[Failure, int] = field(default_factory=dict[Failure, int])
    retried: int = 0  #: offers beyond the first, in rows
    usage: Usage = Usage()
    cost_usd: Decimal | None = None  #: None where no price is known for anything

    @property
    def unsuccessful(self) -> int:
        return self.errored + self.canceled + self.expired


def last_words(shards: Iterable[Shard]) -> dict[Failure, RowSet]:
    """
    Return, by failure class, the rows whose last offer failed and that are not on their way again.

    A row is final exactly when no unsettled shard holds it: settling a shard and planning its
    successors is one transaction.
    """
    failed: dict[Failure, RowSet] = {}
    for shard in sorted(shards, key=lambda s: s.n):
        if failed and shard.attempt > 1:
            failed = {f: rows - shard.rows for f, rows in failed.items()}
        for failure, rows in shard.tally.failed.items():
            failed[failure] = failed.get(failure, NO_ROWS) | rows
    return {f: rows for f, rows in failed.items() if rows}


def count(batch: Batch, shards: Sequence[Shard]) -> Counts:
    """Count rows by outcome. Rows under way count as `pending`, whatever upstream says of them."""
    final = last_words(shards)
    by_outcome = dict.fromkeys(Outcome, 0)
    for failure, rows in final.items():
        by_outcome[Outcome(POLICIES[failure].called)] += len(rows)
    pending = sum(len(s.rows) for s in shards if s.state is not State.SETTLED)
    settled = [s for s in shards if s.state is State.SETTLED]
    costs = [s.tally.cost_usd for s in settled if s.tally.cost_usd is not None]
    return Counts(
        total=batch.rows,
        succeeded=batch.rows - pending - sum(by_outcome.values()),
        errored=by_outcome[Outcome.ERRORED],
        canceled=by_outcome[Outcome.CANCELED],
        expired=by_outcome[Outcome.EXPIRED],
        pending=pending,
        failures={f: len(rows) for f, rows in sorted(final.items())},
        retried=_retried(shards),
        usage=sum((s.tally.usage for s in settled), Usage()),
        cost_usd=sum(costs, Decimal(0)) if costs else None,
    )


def _retried(shards: Sequence[Shard]) -> int:
    """Count the offers that a provider has had, of rows that one has had before."""
    if all(shard.attempt == 1 for shard in shards):
        return 0
    offers, rows = 0, NO_ROWS
    for shard in shards:
        # What was only planned was no offer, nor was what the account was to blame for.
        if shard.upstream_id is not None:
            heard = shard.rows - shard.tally.failed.get(Failure.ACCOUNT, NO_ROWS)
            offers, rows = offers + len(heard), rows | heard
    return offers - len(rows)


def status(batch: Batch, shards: Sequence[Shard]) -> Status:
    """Derive the client's word from the shards; every finished batch gets exactly one of four."""
    states = {shard.state for shard in shards}
    if states <= {State.SETTLED}:
        return _ending(batch, shards)
    if batch.cancel_wanted:
        return Status.CANCELLING
    if states <= {State.SETTLED, State.COLLECTING}:
        return Status.FINALIZING
    return Status.IN_PROGRESS


def _ending(batch: Batch, shards: Sequence[Shard]) -> Status:
    counts = count(batch, shards)
    if batch.cancel_wanted and counts.canceled:
        return Status.CANCELLED
    if counts.expired or Failure.DEADLINE in counts.failures:
        return Status.EXPIRED
    never_ran = all(shard.upstream_id is None for shard in shards)
    if shards and never_ran and counts.errored == counts.total:
        return Status.FAILED
    return Status.COMPLETED
