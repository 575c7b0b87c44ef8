"""
Take a due shard one step further: decide (pure), do (one call), record (one transaction).

No asyncio primitive may be used here: the simulation drives these coroutines by hand, one await at
a time, and lets processes die between any two of them.
"""

import logging
from dataclasses import dataclass, field

from batchmill.core import plan
from batchmill.core.batch import Batch
from batchmill.core.failure import Failure, Patience
from batchmill.core.rowset import NO_ROWS, RowSet
from batchmill.core.shard import (
    TRANSITIONS,
    Accepted,
    CancelSent,
    CannotTell,
    Collected,
    Command,
    Dropped,
    Ended,
    Event,
    NotAccepted,
    NotOurs,
    Postponed,
    Prepared,
    Progressed,
    Refused,
    Shard,
    State,
    Submitting,
    Tidied,
    Unprepared,
    Vanished,
    advance,
    next_command,
)
from batchmill.errors import (
    IllegalTransition,
    InDoubt,
    NotSent,
    Overtaken,
    ProviderBroke,
    ProviderBusy,
    ProviderError,
    ProviderGone,
    ProviderRefused,
    ProviderSilent,
    ProviderStranger,
    UserError,
)
from batchmill.ports import Clock, Ids, Offer, Pricing, Rows, Store, Supplier, Suppliers
from batchmill.service.heard import Heard, expired, too_few
from batchmill.service.room import Quotas
from batchmill.service.saying import why_held, words

log = logging.getLogger(__name__)

#: A creating call leaves within this time of its intent, or not at all; the lease covers both. A
#: disk may take longer to make the intent durable: each try in vain doubles the time of the next.
LEAVE_WITHIN_S = 1.0
DOUBLINGS_MAX = 6

#: How long a shard waits for its turn where only one create may be in doubt; doubled in vain.
DOUBT_WAIT_S = 1.0
DOUBT_WAIT_MAX_S = 30.0

#: What cannot be tidied up after so many tries stays; nobody is kept waiting for it.
TIDY_MAX = 8

#: A vendor's 404 for what it sold is believed after so many looks, over hours; and that its files
#: hold fewer rows than it counts itself, after so many more downloads.
GONE_LOOKS = 8
SHORT_LOOKS = 3

#: Ours, and never caught: going on would only hide them.
BUGS = (AssertionError, IllegalTransition, Overtaken)

ENDINGS = (Collected, Refused, Dropped, Vanished)


def is_late(batch: Batch, now: float) -> bool:
    return batch.deadline is not None and now >= batch.deadline


@dataclass(frozen=True, slots=True, kw_only=True)
class Advancer:
    """Everything one step of a shard's life needs."""

    clock: Clock
    ids: Ids
    store: Store
    rows: Rows
    suppliers: Suppliers
    patience: Patience
    owner: str  #: this process
    pricing: Pricing | None = None
    learnt: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])

    @property
    def quotas(self) -> Quotas:
        return Quotas(
            clock=self.clock, store=self.store, patience=self.patience, learnt=self.learnt
        )

    async def advance(self, shard_id: str) -> Shard:
        """Do what is to be done about a shard now. Raises `Overtaken` if somebody else did it."""
        shard, batch = await self.store.shard(shard_id)
        now = self.clock.now()
        command = next_command(
            shard,
            now,
            cancel_wanted=batch.cancel_wanted,
            held=bool(batch.held),
            late=is_late(batch, now),
        )
        if command is None:
            return shard
        if command is Command.TIDY:
            return await self.store.record(
                shard, await self._tidied(shard, batch), self.clock.now()
            )
        if command is Command.DROP:
            wished = Failure.CANCELED if batch.cancel_wanted else Failure.DEADLINE
            return await self._settle(shard, batch, Dropped(wished))
        try:
            supplier = self.suppliers(shard.provider, shard.lane)
        except UserError as error:
            return await self._cannot_work(shard, error)
        if command is Command.SUBMIT:
            return await self._submit(shard, batch, supplier)
        event, hold = await self._ask(command, shard, batch, supplier)
        return await self._record(shard, batch, event, hold)

    async def _record(self, shard: Shard, batch: Batch, event: Event, hold: str = "") -> Shard:
        if isinstance(event, ENDINGS):
            return await self._settle(shard, batch, event)
        return await self.store.record(shard, event, self.clock.now(), hold=hold)

    # -- the one call that spends money -------------------------------------------------------

    async def _submit(self, shard: Shard, batch: Batch, supplier: Supplier) -> Shard:
        if (no_room := await self.quotas.no_room(shard, batch, supplier)) is not None:
            return await self._record(shard, batch, no_room)
        now, awake = self.clock.now(), self.clock.awake()
        leave_s = LEAVE_WITHIN_S * 2 ** min(shard.trouble, DOUBLINGS_MAX)
        leave_s = max(leave_s, supplier.leave_within_s)
        lease_until = now + leave_s + supplier.timeout_s
        find_at = lease_until + supplier.find_after_s
        intent = Submitting(at=now, owner=self.owner, lease_until=lease_until, find_at=find_at)
        try:
            shard = await self.store.record(shard, intent, now, account=supplier.account)
        except InDoubt as wait:
            patient_s = min(DOUBT_WAIT_S * 2 ** min(shard.trouble, DOUBLINGS_MAX), DOUBT_WAIT_MAX_S)
            return await self.store.record(shard, Postponed(now + patient_s, words(wait)), now)
        offer = await self._offer(shard, batch, send_before=awake + leave_s)
        try:
            upstream_id = await supplier.provider.submit(offer)
        except (ProviderBusy, NotSent) as error:
            retry_at = max(getattr(error, "retry_at", 0.0), self._again_at(shard))
            event: Event = NotAccepted(retry_at, words(error))
        except ProviderRefused as refusal:
            if refusal.failure == Failure.ACCOUNT:
                said = words(refusal)
                event = NotAccepted(self._again_at(shard), said)
                return await self.store.record(shard, event, self.clock.now(), hold=said)
            event = _refused(shard, refusal)
        except ProviderGone as gone:
            event = Unprepared(self._again_at(shard), words(gone))
        except ProviderError as silent:
            # Silent, or not in its own protocol: it may have accepted. Never a second call, always
            # a look-up: `due_at` is already the moment from which one proves something.
            log.info("%s: %s", shard.id, words(silent), extra={"action": "silent"})
            return shard
        except BUGS:
            raise
        except Exception as error:  # noqa: BLE001  # as silent as any other, but the person is told
            event = CannotTell(shard.due_at, words(error))
            hold = why_held(error)
            return await self.store.record(shard, event, self.clock.now(), hold=hold)
        else:
            return await self._accepted(shard, upstream_id, supplier.poll_s)
        return await self._record(shard, batch, event)

    async def _accepted(self, shard: Shard, upstream_id: str, poll_s: float) -> Shard:
        """Record a paid upstream id, however late: it is never dropped."""
        while True:
            event = Accepted(upstream_id, self.clock.now() + poll_s)
            try:
                return await self.store.record(shard, event, self.clock.now())
            except Overtaken:
                shard, _ = await self.store.shard(shard.id)
            if shard.upstream_id == upstream_id:
                return shard
            if shard.upstream_id is not None or (shard.state, Accepted) not in TRANSITIONS:
                await self.store.stray(shard.id, upstream_id, self.clock.now())
                return shard

    # -- the calls that can be repeated for nothing ---------------------------------------------

    async def _ask(
        self, command: Command, shard: Shard, batch: Batch, supplier: Supplier
    ) -> tuple[Event, str]:
        """Make one call; return the event it amounts to, and why the batch must be held, if so."""
        try:
            return await self._call(command, shard, batch, supplier), ""
        except (ProviderGone, ProviderBroke) as odd:
            return self._doubted(shard, odd), ""
        except ProviderRefused as refusal:
            if refusal.failure == Failure.ACCOUNT:
                return self._later(shard, refusal), words(refusal)
            if shard.state is State.PLANNED:
                return _refused(shard, refusal), ""
            return self._later(shard, refusal), ""
        except ProviderStranger as stranger:
            if shard.provisional and shard.state is State.COLLECTING:
                return NotOurs(self.clock.now() + supplier.find_after_s), ""
            return self._later(shard, stranger), ""
        except (ProviderBusy, ProviderSilent, NotSent) as error:
            return self._later(shard, error), ""
        except BUGS:
            raise
        except Exception as error:  # noqa: BLE001  # one broken batch must not stop all the others
            return self._later(shard, error), why_held(error)

    def _doubted(self, shard: Shard, odd: ProviderGone | ProviderBroke) -> Event:
        """Believe that what was sold is gone, or beyond reading, only after many looks."""
        doubted = shard.state is State.COLLECTING
        if isinstance(odd, ProviderGone):
            doubted |= shard.state in (State.IN_PROGRESS, State.CANCELLING)
        if doubted and shard.doubts >= GONE_LOOKS:
            return Vanished(words(odd))
        return self._later(shard, odd, doubted=doubted)

    def _later(self, shard: Shard, error: Exception, *, doubted: bool = False) -> Event:
        at = max(getattr(error, "retry_at", 0.0), self._again_at(shard))
        if shard.state is State.SUBMITTING:
            return CannotTell(at, words(error))
        return Postponed(at, words(error), doubted)

    async def _call(
        self, command: Command, shard: Shard, batch: Batch, supplier: Supplier
    ) -> Event:
        strangers = shard.strangers
        if command is Command.FIND and supplier.account:
            known = await self.store.upstream_ids(shard.provider, shard.id)
            strangers = (*strangers, *known)
        offer = await self._offer(shard, batch, strangers=strangers)
        provider, now = supplier.provider, self.clock.now
        match command:
            case Command.PREPARE:
                return Prepared(await provider.prepare(offer))
            case Command.FIND:
                return await provider.find(offer)
            case Command.CHECK:
                checked = await provider.check(offer)
                if checked.ended:
                    return Ended(checked.progress)
                return Progressed(now() + supplier.poll_s, checked.progress)
            case Command.CANCEL:
                await provider.cancel(offer)
                return CancelSent(now() + supplier.poll_s)
            case _:
                return await self._collect(offer, shard, batch, supplier)

    async def _collect(self, offer: Offer, shard: Shard, batch: Batch, supplier: Supplier) -> Event:
        ranges = await self.store.ranges(batch.id)
        heard = Heard()
        results = heard.listening(supplier.provider.results(offer))
        if self.pricing is not None:
            results = self.pricing(shard, offer, results)
        if not batch.cancel_wanted and is_late(batch, self.clock.now()):
            results = expired(results)
        # A name of its own: of two workers that collect at once, the record says whose files count.
        name = f"{shard.n:04d}-{self.ids.token()}"
        kept = await self.rows.keep(batch, ranges, shard, name, results)
        if shard.provisional and not kept.ours:
            return NotOurs(self.clock.now() + supplier.find_after_s)
        told = kept.tally.succeeded + sum(len(rows) for rows in kept.tally.failed.values())
        assert told == len(shard.rows), f"{shard.id}: {told} outcomes for {len(shard.rows)} rows"
        if shard.doubts < SHORT_LOOKS and (short := too_few(shard, kept.tally)):
            return self._later(shard, ProviderBroke(f"{shard.provider}: {short}"), doubted=True)
        self.quotas.learn(batch, shard, heard.quota)
        return Collected(kept.name, kept.tally, heard.account)

    async def _tidied(self, shard: Shard, batch: Batch) -> Event:
        """Remove what is left upstream; what will not go after many tries stays there."""
        try:
            supplier = self.suppliers(shard.provider, shard.lane)
            if not supplier.keep_upstream:
                await supplier.provider.tidy(await self._offer(shard, batch))
        except BUGS:
            raise
        except Exception as error:  # noqa: BLE001  # what is left behind must not stop anything
            if shard.trouble + 1 < TIDY_MAX:
                return Postponed(self._again_at(shard), words(error))
            log.info(
                "%s: left upstream: %s", shard.id, words(error), extra={"action": "left_upstream"}
            )
        return Tidied()

    # -- recording ------------------------------------------------------------------------------

    async def _settle(self, shard: Shard, batch: Batch, event: Event) -> Shard:
        """Settle the shard and insert its successors in one transaction."""
        final = await self._gone_media(shard, batch, event)
        while True:
            batch = await self.store.batch(batch.id)  # before its shards: its version guards them
            others = [s for s in await self.store.shards(batch.id) if s.id != shard.id]
            now, after = self.clock.now(), advance(shard, event)
            sequel = plan.sequel(
                batch,
                after,
                event,
                others,
                self.patience,
                now,
                requests_min=self._requests_min(shard),
                final=final,
            )
            try:
                return await self.store.settle(shard, event, now, batch, sequel.shards, sequel.hold)
            except Overtaken:
                current, _ = await self.store.shard(shard.id)
                if current.version != shard.version:
                    raise
                # Only the batch was changed meanwhile, e.g. by a sister shard: plan anew, and do
                # not fetch the results a second time.

    async def _cannot_work(self, shard: Shard, error: UserError) -> Shard:
        event = self._later(shard, error)
        return await self.store.record(shard, event, self.clock.now(), hold=words(error))

    async def _gone_media(self, shard: Shard, batch: Batch, event: Event) -> RowSet:
        """Return the rows not to be tried again, as their image is gone. Looked at after a failure
        only: a look at every link of every row would be too dear."""
        if not isinstance(event, Collected):
            return NO_ROWS
        rows = event.tally.failed.get(Failure.INVALID_MEDIA, NO_ROWS)
        if not rows:
            return NO_ROWS
        ranges = await self.store.ranges(batch.id)
        return await self.rows.gone_media(batch, ranges, shard, rows)

    def _requests_min(self, shard: Shard) -> int:
        try:
            return self.suppliers(shard.provider, "batch").limits.requests_min
        except UserError:  # it has no such lane, or cannot be used now: nobody else decides lanes
            return 1

    def _again_at(self, shard: Shard) -> float:
        wait_s = self.patience.backoff_s(Failure.SERVER, shard.trouble + 1)
        return self.clock.now() + wait_s

    async def _offer(
        self,
        shard: Shard,
        batch: Batch,
        *,
        send_before: float = 0.0,
        strangers: tuple[str, ...] = (),
    ) -> Offer:
        ranges = await self.store.ranges(batch.id)
        now = self.clock.now()
        return Offer(
            shard_id=shard.id,
            dialect=batch.recipe.dialect,
            url=batch.recipe.url,
            model=batch.recipe.model,
            count=len(shard.rows),
            requests=lambda: self.rows.requests(batch, ranges, shard),
            window_s=None if batch.deadline is None else batch.deadline - now,
            ref=shard.ref,
            upstream_id=shard.upstream_id,
            provisional=shard.provisional,
            submitted_at=shard.submitted_at,
            strangers=strangers or shard.strangers,
            send_before=send_before,
        )


def _refused(shard: Shard, refusal: ProviderRefused) -> Refused:
    """Return what a refusal of the whole shard comes to; what is alone cannot be cut any more."""
    failure = Failure(refusal.failure)
    if failure is Failure.NOT_RUN and len(shard.rows) == 1:
        failure = Failure.TOO_LONG
    return Refused(words(refusal), failure)


__all__ = ["LEAVE_WITHIN_S", "Advancer", "is_late"]
