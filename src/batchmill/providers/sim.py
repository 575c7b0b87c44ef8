"""A provider made of a seed: delays, order, failures, lost replies; it needs nothing."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from decimal import Decimal
from math import gcd
from typing import Final

from msgspec.structs import force_setattr

from batchmill.core.failure import Failure
from batchmill.core.limits import MIB, Limits
from batchmill.core.outcome import Outcome, Result
from batchmill.core.request import OPENAI_CHAT, OPENAI_EMBEDDINGS, OPENAI_RESPONSES
from batchmill.core.shard import Accepted, CannotTell, NotThere, Progress
from batchmill.errors import (
    NotSent,
    ProviderBroke,
    ProviderBusy,
    ProviderGone,
    ProviderRefused,
    ProviderSilent,
)
from batchmill.ports import Checked, Clock, Found, Offer, Provider
from batchmill.providers import Context, ProviderSpec
from batchmill.providers._sim_answers import MODELS, Answer, answerer, custom_id_in, failed
from batchmill.providers._sim_shelf import FolderShelf, Lines, Sale, Shelf
from batchmill.providers._sim_weather import OPTIONS, SUNNY, Faults, Luck, ever_new, options, seeded
from batchmill.wire.openai import (
    parse_result_line,
    render_request_line,
    render_result_line,
    render_unrun_line,
)

CHUNK: Final = 2000  #: results handed over at once
WINDOW_S: Final = 86_400.0  #: after that the vendor stops, as the real ones do
FREE: Final = Decimal(0)

#: Told the place, e.g. `sim.submit`.
Pause = Callable[[str], Awaitable[None]]


async def _go_on(_: str) -> None:
    """Pause nowhere."""


class SimProvider:
    """
    The verbs in front of a `Shelf`, which is the vendor and survives us.

    *pause* is awaited before and after every atomic effect, so that a simulation may let the
    process die, or another one act, in between.
    """

    def __init__(
        self,
        clock: Clock,
        shelf: Shelf,
        faults: Faults = SUNNY,
        *,
        seed: int = 0,
        turnaround_s: float = 1.0,
        order: str = "shuffled",
        luck: Luck | None = None,
        name_file: Callable[[Offer], str] = lambda offer: f"file-{offer.shard_id}",
        vendor_now: Callable[[], float] | None = None,
        pause: Pause = _go_on,
        pid: int = 0,
    ) -> None:
        self.faults = faults
        self.shelf = shelf
        self._clock = clock
        self._seed = seed
        self._turnaround_s = turnaround_s
        self._order = order
        self._fate = seeded(seed)  # of rows and batches: the same whenever it is asked
        self._luck = luck or ever_new(seed)  # of calls: another one each time
        self._name_file = name_file
        self._now = vendor_now or clock.now
        self._pause = pause
        self._pid = pid

    # -- the verbs ----------------------------------------------------------------------

    async def prepare(self, offer: Offer) -> str:
        await self._arrive("prepare", offer)
        ref = self._name_file(offer)
        upload = self.shelf.upload(ref)
        async for chunk in offer.requests():
            upload.write([render_request_line(request, offer.url) for request in chunk])
        upload.close()
        await self._leave("prepare", offer)
        return ref

    async def submit(self, offer: Offer) -> str:
        await self._arrive("submit", offer)
        if offer.ref is not None:
            self._expires(offer.ref, offer)
            if not self.shelf.has(offer.ref):
                raise ProviderGone("sim: the input file has expired")
        if not self.faults.prompt:
            self._in_time(offer)
            await self._pause("sim.submit")

        def sell(n: int) -> Sale:
            if self.faults.prompt:
                self._in_time(offer)
            return Sale(
                upstream_id=f"simbatch_{n:06d}",
                shard_id=offer.shard_id,
                ref=offer.ref or "",
                rows=offer.count,
                at=self._now(),
                turnaround_s=self._turnaround_s * (0.75 + 0.5 * self._fate(offer.shard_id)),
                pid=self._pid,
            )

        sale = self.shelf.sell(sell)
        await self._leave("submit", offer)
        return sale.upstream_id

    async def find(self, offer: Offer) -> Found:
        await self._arrive("find", offer)
        now = self._now()
        if self._strikes("cannot_tell", "find", offer):
            found: Found = CannotTell(self._clock.now() + 5.0, "sim: the list is out of order")
        else:
            found = self._found(offer, now - self.faults.listing_lag_s)
        await self._leave("find", offer)
        return found

    async def check(self, offer: Offer) -> Checked:
        await self._arrive("check", offer)
        sale, now = self.shelf.sale(offer.upstream_id or ""), self._now()
        done = self._done(sale, now)
        checked = Checked(now >= self._end(sale), Progress(succeeded=done))
        await self._leave("check", offer)
        return checked

    async def cancel(self, offer: Offer) -> None:
        await self._arrive("cancel", offer)
        sale, now = self.shelf.sale(offer.upstream_id or ""), self._now()
        if now < self._end(sale):
            self.shelf.cancel(sale.upstream_id, now)
        await self._leave("cancel", offer)

    async def results(self, offer: Offer) -> AsyncIterator[Sequence[Result]]:
        await self._arrive("results", offer)
        sale = self.shelf.sale(offer.upstream_id or "")
        torn = self._strikes("torn", "results", offer)
        for chunk in self.answered(sale, offer):
            await self._pause("sim.results answered")
            yield chunk[: len(chunk) // 2] if torn else chunk
            if torn:
                raise ProviderSilent("sim: the stream of results broke off")
        await self._leave("results", offer)

    async def tidy(self, offer: Offer) -> None:
        await self._arrive("tidy", offer)
        if offer.ref is not None:
            self.shelf.discard(offer.ref)
        await self._leave("tidy", offer)

    async def probe(self) -> str:
        return "nothing to reach: it is simulated in this process"

    # -- the vendor's side ----------------------------------------------------------------

    def answered(self, sale: Sale, offer: Offer) -> Iterator[list[Result]]:
        """Yield every line of a finished batch, in the vendor's order; always the same ones."""
        lines = self.shelf.lines(sale.ref)
        if self.faults.poison and (bad := self._poisoned(lines)):
            yield from _refused(lines, bad, named=self._fate(f"named {sale.shard_id}") < 0.5)
            return
        done = self._done(sale, self._end(sale))
        late = self.shelf.cancelled_at(sale.upstream_id) is None
        unrun = (
            ("batch_expired", "sim: not run in time")
            if late
            else ("batch_cancelled", "sim: not run, as the batch was cancelled")
        )
        answer = answerer(offer.model, offer.dialect)
        plain = not (self.faults.failures or self.faults.duplicated or self.faults.foreign)
        chunk: list[Result] = []
        for place, index in enumerate(self._places(sale, len(lines))):
            line = lines[index]
            if place >= done:
                rendered = [render_unrun_line(custom_id_in(line), *unrun)]
            elif plain:
                rendered = [_render(answer(line))]
            else:
                rendered = self._fated(line, answer, offer)
            for text in rendered:
                result = parse_result_line(text, offer.dialect)
                force_setattr(result, "cost_usd", FREE)  # nobody else has seen it yet
                chunk.append(result)
            if len(chunk) >= CHUNK:
                yield chunk
                chunk = []
        if chunk:
            yield chunk

    def _expires(self, ref: str, offer: Offer) -> None:
        """Let an upload expire that nothing was sold on."""
        if self._strikes("upload_gone", "submit", offer) and not any(
            sale.ref == ref for sale in self.shelf.sales()
        ):
            self.shelf.discard(ref)

    def _poisoned(self, lines: Lines) -> set[int]:
        """Return the lines for which a whole batch is refused; a row is bad in whatever shard."""
        found: set[int] = set()
        for n in range(len(lines)):
            batch_id, *_, row = custom_id_in(lines[n]).split("-")
            if self._fate(f"poison {batch_id} {row}") < self.faults.poison:
                found.add(n)
        return found

    def _fated(self, line: bytes, answer: Callable[[bytes], Answer], offer: Offer) -> list[bytes]:
        """Return the lines of one row that was run, which may be none, or too many."""
        custom_id = custom_id_in(line)
        share = self._fate(custom_id)
        lines: list[bytes] = []
        for failure, chance in self.faults.failures.items():
            if share < chance:
                lines = self._failed(failure, custom_id, line, offer)
                break
            share -= chance
        else:
            lines.append(_render(answer(line)))
        if lines and self._fate(f"duplicated {custom_id}") < self.faults.duplicated:
            lines.append(_render(failed(Failure.SERVER, line, offer.model, offer.dialect)))
        if self._fate(f"foreign {custom_id}") < self.faults.foreign:
            lines.insert(0, _render((f"not-{custom_id}", *answer(line)[1:])))
        return lines

    def _failed(self, failure: Failure, custom_id: str, line: bytes, offer: Offer) -> list[bytes]:
        if failure is Failure.MISSING:
            return []
        if failure in (Failure.EXPIRED, Failure.CANCELED):
            code = "batch_expired" if failure is Failure.EXPIRED else "batch_cancelled"
            return [render_unrun_line(custom_id, code, "sim: not run")]
        return [_render(failed(failure, line, offer.model, offer.dialect))]

    def _places(self, sale: Sale, count: int) -> Iterator[int]:
        """Return the order in which the rows are done: every row once, hardly one in its place."""
        if self._order == "input":
            return iter(range(count))
        if self._order == "reversed":
            return iter(range(count - 1, -1, -1))
        step = 1 + int(self._fate(f"step {sale.shard_id}") * count) | 1
        while gcd(step, count) > 1:
            step += 2
        first = int(self._fate(f"first {sale.shard_id}") * count)
        return ((first + step * place) % count for place in range(count))

    def _end(self, sale: Sale) -> float:
        """Return when the batch ends; a cancelled one takes a moment to stop."""
        end = sale.at + min(sale.turnaround_s, WINDOW_S)
        cancelled_at = self.shelf.cancelled_at(sale.upstream_id)
        return end if cancelled_at is None else min(end, cancelled_at + sale.turnaround_s / 20)

    def _done(self, sale: Sale, now: float) -> int:
        """Return how many rows have been run: the share of the turnaround that has gone by."""
        until = min(now, self._end(sale))
        # Compared, not subtracted: (at + turnaround) - at may be a hair less than the turnaround.
        if until >= sale.at + sale.turnaround_s:
            return sale.rows
        passed_s = until - sale.at
        return max(0, int(sale.rows * passed_s / sale.turnaround_s))

    def _found(self, offer: Offer, listed_until: float) -> Found:
        listed = [s for s in self.shelf.sales() if s.at <= listed_until]
        if self.faults.marks:
            for sale in listed:
                if sale.shard_id == offer.shard_id:
                    return Accepted(sale.upstream_id)
            return NotThere()
        for sale in listed:
            if (
                sale.rows == offer.count
                and sale.at >= (offer.submitted_at or 0.0)
                and sale.upstream_id not in offer.strangers
            ):
                return Accepted(sale.upstream_id, provisional=True)
        return NotThere()

    def _in_time(self, offer: Offer) -> None:
        """Refuse to send what has been held up for too long: its lease may be somebody else's."""
        if self._clock.awake() > offer.send_before:
            raise ProviderBusy("not sent: held up past its lease", retry_at=self._clock.now())

    # -- the weather between us -------------------------------------------------------------

    def _strikes(self, fault: str, verb: str, offer: Offer) -> bool:
        chance: float = getattr(self.faults, fault)
        return chance > 0.0 and self._luck(f"{fault} {verb} {offer.shard_id}") < chance

    async def _arrive(self, verb: str, offer: Offer) -> None:
        await self._pause(f"sim.{verb}")
        if self._strikes("not_sent", verb, offer):
            raise NotSent("sim: connection refused")
        if self._strikes("lost_requests", verb, offer):
            raise ProviderSilent("sim: no answer (the request was lost)")
        if self._strikes("busy", verb, offer):
            raise ProviderBusy("sim: too many requests", retry_at=self._clock.now() + 2.0)
        if self._strikes("account", verb, offer):
            raise ProviderRefused("sim: this account may not do that", failure=Failure.ACCOUNT)
        if verb in ("prepare", "submit") and self._strikes("refused", verb, offer):
            raise ProviderRefused("sim: no such model here")

    async def _leave(self, verb: str, offer: Offer) -> None:
        await self._pause(f"sim.{verb} answered")
        if self._strikes("lost_replies", verb, offer):
            raise ProviderSilent("sim: no answer (the reply was lost)")
        if self._strikes("broken", verb, offer):
            raise ProviderBroke("sim: 200 <html>")


def _refused(lines: Lines, bad: set[int], *, named: bool) -> Iterator[list[Result]]:
    """Yield what a vendor says of a batch it refused as a whole, with or without naming lines."""
    chunk: list[Result] = []
    for n in range(len(lines)):
        guilty = n in bad and (named or len(lines) == 1)
        failure = Failure.INVALID_REQUEST if guilty else Failure.NOT_RUN
        detail = "sim: this line is refused" if guilty else "sim: the batch is refused"
        custom_id = custom_id_in(lines[n])
        chunk.append(Result(custom_id, Outcome.ERRORED, failure, detail, cost_usd=FREE))
        if len(chunk) >= CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _render(answer: Answer) -> bytes:
    custom_id, status, body = answer
    return render_result_line(custom_id, status, body, custom_id)


def _open(context: Context) -> Provider:
    chosen = options(context.knobs, context.name)
    if context.lane == "live":
        from batchmill.providers._sim_live import CONCURRENCY, SimEndpoint
        from batchmill.providers.live import LiveProvider

        endpoint = SimEndpoint(context.clock, context.folder, chosen)
        return LiveProvider(context, endpoint, concurrency=CONCURRENCY, label="sim", free=True)
    return SimProvider(
        context.clock,
        FolderShelf(context.folder),
        chosen.faults,
        seed=chosen.seed,
        turnaround_s=chosen.turnaround_s,
        order=chosen.order,
        name_file=lambda offer: f"file-{offer.shard_id}-{context.ids.token()}",
        pid=os.getpid(),
    )


PROVIDER = ProviderSpec(
    title="Simulated provider",
    dialects=(OPENAI_CHAT, OPENAI_RESPONSES, OPENAI_EMBEDDINGS),
    lanes=("batch", "live"),
    limits=Limits(requests_max=50_000, bytes_max=200 * MIB, request_bytes_max=32 * MIB),
    timeout_s=1.0,
    poll_s=0.2,
    listing_lag_s=0.2,
    found_by="its mark: the shard's id",
    free=True,
    models=lambda _: MODELS,
    options=OPTIONS,
    open=_open,
)
