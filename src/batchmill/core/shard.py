"""
The life of a shard, on one screen.

A *shard* is the slice of a batch that travels to one provider as one upstream batch.

Rule 1. Only this file decides which state follows which.
Rule 2. No I/O, no clock, no randomness here: the world arrives as events.
Rule 3. Replaying a shard's events through `advance` rebuilds it exactly. That is recovery.

    planned ──▶ submitting ──▶ in_progress ──▶ collecting ──▶ settled
       ▲            │               │               ▲
       └────────────┘               └─▶ cancelling ─┘
     provably not accepted

Money is spent in one place: between `Submitting` and its answer. `Submitting` is durable before the
provider hears anything; while it stands nobody calls, and once its lease and the provider's listing
lag are over, the provider is asked whether it has the shard (FIND). Only a clear no leads back to
`planned`. An id that arrives after that no is still welcome there: a paid batch is never dropped.

What is settled is tidied up: once its results are safe here, its uploads need not stay upstream.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum, auto
from functools import reduce
from typing import Final

from batchmill.core.failure import Failure
from batchmill.core.rowset import RowSet
from batchmill.core.tally import Progress, Tally
from batchmill.errors import IllegalTransition


class State(StrEnum):
    PLANNED = auto()  # cut from the batch; the provider has accepted nothing
    SUBMITTING = auto()  # offered, or about to be; we do not know yet whether it was accepted
    IN_PROGRESS = auto()  # accepted; the provider is working
    CANCELLING = auto()  # accepted; we asked the provider to stop
    COLLECTING = auto()  # the provider is finished; results wait to be fetched
    SETTLED = auto()  # every request in the shard has an outcome


@dataclass(frozen=True, slots=True)
class Prepared:
    """What can be repeated for nothing is done, e.g. the input file is uploaded as `ref`."""

    ref: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitting:
    """Intent: durable before the provider is called, so that a crash cannot hide the attempt."""

    at: float  #: no upstream batch of this shard is older than the first of these
    owner: str
    lease_until: float  #: until then nobody but the owner may talk about this shard
    find_at: float  #: earlier, a look-up proves nothing


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider has it. Provisional: recognised by time and count alone, not yet by its ids."""

    upstream_id: str
    check_at: float = 0.0
    provisional: bool = False


@dataclass(frozen=True, slots=True)
class NotAccepted:
    """The provider said no for now, or provably never heard us: safe to offer again."""

    retry_at: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Unprepared:
    """Not accepted, as what was prepared is gone upstream (an upload expires): prepare it anew."""

    retry_at: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class NotThere:
    """Looked up, and the provider provably does not have it."""


@dataclass(frozen=True, slots=True)
class CannotTell:
    """Looked up without a clear answer: look again, and do not offer it."""

    retry_at: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """The provider will never take it in this form."""

    reason: str
    failure: Failure = Failure.INVALID_REQUEST


@dataclass(frozen=True, slots=True)
class Dropped:
    """Given up before any provider had it; the rows were never offered."""

    failure: Failure = Failure.CANCELED


@dataclass(frozen=True, slots=True)
class Progressed:
    """The provider is working; `progress` is how far."""

    check_at: float
    progress: Progress = Progress()


@dataclass(frozen=True, slots=True)
class CancelSent:
    """The provider was asked to stop; what it has finished until then still comes."""

    check_at: float


@dataclass(frozen=True, slots=True)
class Ended:
    """Completed, expired, cancelled or failed upstream: in every case there may be paid results."""

    progress: Progress = Progress()


@dataclass(frozen=True, slots=True)
class Postponed:
    """A call that costs nothing to repeat failed; it is repeated at `retry_at`."""

    retry_at: float
    reason: str
    doubted: bool = False  #: it was answered, and the answer is not believed yet


@dataclass(frozen=True, slots=True)
class Collected:
    """The results are safe here, in segments that carry the name `kept`."""

    kept: str
    tally: Tally
    note: str = ""  #: the provider's words where it is the account that is at fault


@dataclass(frozen=True, slots=True)
class NotOurs:
    """The results name other custom_ids: this upstream batch was never ours."""

    find_at: float


@dataclass(frozen=True, slots=True)
class Vanished:
    """Gone upstream for good. What was paid is lost; bought again only with consent."""

    reason: str


@dataclass(frozen=True, slots=True)
class Tidied:
    """Nothing of it is left upstream, or nothing that we may or can remove."""


Event = (
    Prepared
    | Submitting
    | Accepted
    | NotAccepted
    | Unprepared
    | NotThere
    | CannotTell
    | Refused
    | Dropped
    | Progressed
    | CancelSent
    | Ended
    | Postponed
    | Collected
    | NotOurs
    | Vanished
    | Tidied
)

TRANSITIONS: Final[Mapping[tuple[State, type[Event]], State]] = {
    (State.PLANNED, Prepared): State.PLANNED,
    (State.PLANNED, Postponed): State.PLANNED,
    (State.PLANNED, Submitting): State.SUBMITTING,
    (State.PLANNED, Accepted): State.IN_PROGRESS,  # a late answer, after NotThere
    (State.PLANNED, Refused): State.SETTLED,
    (State.PLANNED, Dropped): State.SETTLED,
    (State.SUBMITTING, Accepted): State.IN_PROGRESS,
    (State.SUBMITTING, NotAccepted): State.PLANNED,
    (State.SUBMITTING, Unprepared): State.PLANNED,
    (State.SUBMITTING, NotThere): State.PLANNED,
    (State.SUBMITTING, CannotTell): State.SUBMITTING,
    (State.SUBMITTING, Refused): State.SETTLED,
    (State.IN_PROGRESS, Progressed): State.IN_PROGRESS,
    (State.IN_PROGRESS, Postponed): State.IN_PROGRESS,
    (State.IN_PROGRESS, CancelSent): State.CANCELLING,
    (State.IN_PROGRESS, Ended): State.COLLECTING,
    (State.IN_PROGRESS, Vanished): State.SETTLED,
    (State.CANCELLING, Progressed): State.CANCELLING,
    (State.CANCELLING, Postponed): State.CANCELLING,
    (State.CANCELLING, Ended): State.COLLECTING,
    (State.CANCELLING, Vanished): State.SETTLED,
    (State.COLLECTING, Postponed): State.COLLECTING,
    (State.COLLECTING, Collected): State.SETTLED,
    (State.COLLECTING, NotOurs): State.SUBMITTING,
    (State.COLLECTING, Vanished): State.SETTLED,
    (State.SETTLED, Postponed): State.SETTLED,
    (State.SETTLED, Tidied): State.SETTLED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A slice of a batch, and everything we know about its journey."""

    id: str  #: batch id, dash, number with at least four digits
    batch_id: str
    n: int
    provider: str
    lane: str  #: `batch` or `live`
    rows: RowSet
    attempt: int = 1  #: 1 for the first offer of these rows, 2 for the next …
    max_tokens: int | None = None  #: in place of the recipe's, as a person asked for it
    state: State = State.PLANNED
    ref: str | None = None  #: what `prepare` returned
    owner: str = ""  #: who holds, or last held, the creating call
    lease_until: float = 0.0
    submitted_at: float | None = None  #: when the first creating call was allowed; bounds look-ups
    upstream_id: str | None = None
    provisional: bool = False
    strangers: tuple[str, ...] = ()  #: upstream ids that proved not to be ours
    due_at: float = 0.0
    progress: Progress = Progress()
    note: str = ""  #: the last trouble, in one line; empty when all is well
    trouble: int = 0  #: how often in a row a call had to be postponed; sets the next wait
    doubts: int = 0  #: how often since the last good answer one was not believed
    kept: str = ""  #: name of its result segments, once collected
    tally: Tally = Tally()
    tidied: bool = False
    version: int = 0

    @property
    def untidy(self) -> bool:
        """
        Whether something of a settled shard may be left upstream that is certainly its own.

        Where rows are missing, their answers may lie there still: nothing of it is removed.
        """
        left = self.ref is not None or self.upstream_id is not None
        whole = Failure.MISSING not in self.tally.failed
        done = self.state is State.SETTLED and not self.tidied
        return done and left and whole and not self.provisional

    @property
    def open(self) -> bool:
        """Whether there is still something to do about it."""
        return self.state is not State.SETTLED or self.untidy


def advance(shard: Shard, event: Event) -> Shard:
    """Return the shard as it is after *event*. The only way a shard changes."""
    state = TRANSITIONS.get((shard.state, type(event)))
    if state is None:
        raise IllegalTransition(f"{shard.id}: {type(event).__name__} while {shard.state}")
    return _changed(replace(shard, state=state, version=shard.version + 1), event)


def _changed(shard: Shard, event: Event) -> Shard:  # noqa: C901  # a flat table of seventeen
    match event:
        case Prepared(ref):
            return replace(shard, ref=ref, note="", trouble=0)
        case Submitting(at=at, owner=owner, lease_until=lease_until, find_at=find_at):
            first = at if shard.submitted_at is None else shard.submitted_at
            return replace(
                shard, owner=owner, lease_until=lease_until, due_at=find_at, submitted_at=first
            )
        case Accepted(upstream_id, check_at, provisional):
            return replace(
                shard,
                upstream_id=upstream_id,
                due_at=check_at,
                provisional=provisional,
                note="",
                trouble=0,
            )
        case Postponed(at) if shard.state is State.SETTLED:
            return replace(shard, due_at=at, trouble=shard.trouble + 1)
        case Unprepared(at, reason):
            return replace(shard, ref=None, due_at=at, note=reason, trouble=shard.trouble + 1)
        case Postponed(at, reason, doubted):
            doubts, trouble = shard.doubts + doubted, shard.trouble + 1
            return replace(shard, due_at=at, note=reason, trouble=trouble, doubts=doubts)
        case NotAccepted(at, reason) | CannotTell(at, reason):
            return replace(shard, due_at=at, note=reason, trouble=shard.trouble + 1)
        case Progressed(check_at, progress):
            moved = replace(shard, due_at=check_at, progress=progress, note=progress.note)
            return replace(moved, trouble=0, doubts=0)
        case CancelSent(check_at):
            return replace(shard, due_at=check_at, note="", trouble=0)
        case Ended(progress):
            return replace(shard, progress=progress, due_at=0.0, note="", trouble=0, doubts=0)
        case NotThere():
            return replace(shard, due_at=0.0, trouble=0)
        case NotOurs(find_at):
            strangers = (*shard.strangers, shard.upstream_id or "")
            return replace(
                shard, upstream_id=None, provisional=False, due_at=find_at, strangers=strangers
            )
        case Collected(kept, tally, note):
            # A batch in which no line was ours is not proven to be.
            unproven = shard.provisional and set(tally.failed) <= {Failure.MISSING}
            provisional = unproven and not tally.succeeded
            return replace(_done(shard, tally, note), kept=kept, provisional=provisional)
        case Refused(reason, failure):
            return _done(shard, Tally(failed={failure: shard.rows}), reason)
        case Dropped(failure):
            return _done(shard, Tally(failed={failure: shard.rows}), "")
        case Vanished(reason):
            missing = Tally(failed={Failure.MISSING: shard.rows})
            return replace(_done(shard, missing, reason), tidied=True)
        case Tidied():
            return replace(shard, tidied=True, trouble=0)


def _done(shard: Shard, tally: Tally, note: str) -> Shard:
    return replace(shard, tally=tally, note=note, due_at=0.0, trouble=0)


def rebuild(planned: Shard, events: Iterable[Event]) -> Shard:
    """Return the shard a log of events leads to. The same function as in life: no second path."""
    return reduce(advance, events, planned)


class Command(StrEnum):
    PREPARE = auto()  # do what costs nothing and can be repeated, most often the upload
    SUBMIT = auto()  # the one call that spends money
    FIND = auto()  # we crashed or the reply was lost: ask whether it arrived
    CHECK = auto()  # ask how far it is
    CANCEL = auto()  # ask the provider to stop
    COLLECT = auto()  # fetch the results
    DROP = auto()  # give it up; no provider has it
    TIDY = auto()  # settled: remove what is left of it upstream


def next_command(
    shard: Shard, now: float, *, cancel_wanted: bool = False, held: bool = False, late: bool = False
) -> Command | None:
    """
    Say what to do now about a shard; None: nothing, for the moment or for ever.

    A cancel is a wish, a hold a fact of its batch, and *late* means that the deadline has passed.
    """
    due = shard.due_at <= now
    stop = cancel_wanted or late
    match shard.state:
        case State.PLANNED if stop:
            return Command.DROP
        case State.PLANNED if held or not due:
            return None
        case State.PLANNED:
            return Command.PREPARE if shard.ref is None else Command.SUBMIT
        case State.SUBMITTING:
            # Not even a cancel hurries this: before the lease is over a look-up proves nothing.
            return Command.FIND if due else None
        case State.IN_PROGRESS if stop and not shard.provisional and (due or shard.trouble == 0):
            return Command.CANCEL
        case State.IN_PROGRESS | State.CANCELLING:
            return Command.CHECK if due else None
        case State.COLLECTING:
            return Command.COLLECT if due else None
        case State.SETTLED:
            return Command.TIDY if due and shard.untidy else None


def mermaid() -> str:
    """Return the lifecycle as a Mermaid diagram; `docs/lifecycle.md` holds it, tested."""
    lines = [f"    {a} --> {b}: {e.__name__}" for (a, e), b in TRANSITIONS.items()]
    return "\n".join(["stateDiagram-v2", f"    [*] --> {State.PLANNED}", *lines])
