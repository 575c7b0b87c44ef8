"""
Anthropic: Message Batches, and Messages for its live lane.

Nothing in a batch can be marked as ours, and its list shows no custom_id: a batch whose creation
was not answered is looked for by time and count, and proven by its results (`find`).
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Final
from urllib.parse import quote

from batchmill.core.failure import Failure
from batchmill.core.limits import Limits
from batchmill.core.outcome import Result
from batchmill.core.request import ANTHROPIC_MESSAGES, row_of
from batchmill.core.shard import Progress
from batchmill.errors import (
    ProviderBroke,
    ProviderBusy,
    ProviderGone,
    ProviderRefused,
    ProviderSilent,
)
from batchmill.ports import Checked, Found, Offer, Provider
from batchmill.providers import LIVE_TERMS, Context, ProviderSpec
from batchmill.providers._anthropic import (
    MESSAGES,
    MODELS,
    OPTIONS,
    Ending,
    MessagesEndpoint,
    headers_of,
    host,
    may_be,
    parsed,
    reads,
    reads_create,
)
from batchmill.providers._rest import Rest, text, whole
from batchmill.providers._spool import lines, spooled
from batchmill.providers._unmarked import Listing
from batchmill.providers._unrun import young
from batchmill.providers.live import LiveProvider, concurrency_of
from batchmill.wire import anthropic as wire
from batchmill.wire import anthropic_failures as failures

BATCHES: Final = "/v1/messages/batches"
#: A creating call may carry a quarter of a gigabyte; any other is answered soon, or never.
CREATE_S: Final = 600.0
CONTROL_S: Final = 60.0
#: So many lines of a batch's results prove whose it is; one would do.
PROOF: Final = 50
LINE_BYTES_MAX: Final = 64 << 20

#: The vendor takes 256 MB in a batch, 100,000 requests, and 32 MB in one request.
LIMITS: Final = Limits(requests_max=100_000, bytes_max=245_000_000, request_bytes_max=30_700_000)


class AnthropicProvider:
    """The verbs over `/v1/messages/batches`."""

    def __init__(self, context: Context) -> None:
        knobs = context.knobs
        self._name = context.name
        self._clock = context.clock
        self._folder = context.folder
        self._poll_s = knobs.poll_s
        rest = partial(
            Rest,
            context.http(),
            context.clock,
            name=context.name,
            base_url=host(context),
            headers=headers_of(context),
            idle_timeout_s=knobs.idle_timeout_s,
        )
        self._creating = rest(reads=reads_create, timeout_s=knobs.timeout_s)
        self._rest = rest(reads=reads, timeout_s=min(knobs.timeout_s, CONTROL_S))
        self._listing = Listing(
            self._rest,
            context.clock,
            name=context.name,
            path=BATCHES,
            cursor="after_id",
            poll_s=knobs.poll_s,
        )

    async def prepare(self, offer: Offer) -> str:
        return ""  # the requests travel inside the creating call

    async def submit(self, offer: Offer) -> str:
        async with spooled(
            offer, self._folder, wire.render_request, between=wire.BETWEEN, last=wire.TAIL
        ) as file:
            try:
                answer = await self._creating.call(
                    "POST",
                    BATCHES,
                    headers={"content-type": "application/json"},
                    body=file.upload(head=wire.HEAD),
                    create=offer,
                )
            except ProviderRefused as no:
                raise _of_its_rows(no, offer) from no
        if not (upstream_id := text(self._creating.object(answer), "id")):
            raise ProviderBroke(f"{self._name}: a batch without an id was created")
        return upstream_id

    async def find(self, offer: Offer) -> Found:
        """
        Look for the one batch of the right age and size that nobody else of ours has.

        What has ended is proven or ruled out by its own custom_ids; of what has not, a single one
        is adopted provisionally, and of several nobody can tell.
        """
        return await self._listing.find(offer, may_be, self._proven)

    async def check(self, offer: Offer) -> Checked:
        batch = await self._looked_at(offer)
        status = text(batch, "processing_status")
        counts = partial(whole, batch, "request_counts")
        # All stay 0 until the end, so that there is nothing to show before.
        done = Progress(
            succeeded=counts("succeeded"),
            errored=counts("errored") + counts("canceled") + counts("expired"),
            note="" if status in ("in_progress", "canceling", "ended") else f"it is {status!r}",
        )
        return Checked(status == "ended", done)

    async def cancel(self, offer: Offer) -> None:
        try:
            await self._rest.json("POST", f"{_path(offer)}/cancel")
        except (ProviderGone, ProviderRefused) as no:
            if isinstance(no, ProviderRefused) and no.failure == Failure.ACCOUNT:
                raise
            # Too late, or a 404 in passing: only a batch that still works has to be asked again.
            try:
                batch = await self._looked_at(offer)
            except ProviderGone:
                return
            if text(batch, "processing_status") not in ("canceling", "ended"):
                raise self._later(str(no)) from no

    async def results(self, offer: Offer) -> AsyncIterator[Sequence[Result]]:
        batch = await self._looked_at(offer)
        if archived := text(batch, "archived_at"):
            raise ProviderGone(
                f"{self._name}: the results of {offer.upstream_id} were removed at {archived}; "
                "they are kept for 29 days from creation"
            )
        if text(batch, "processing_status") != "ended":
            raise self._later(f"{self._name}: {offer.upstream_id} has not ended yet")
        try:
            async for found in self._read(batch):
                yield found
        except ProviderGone as gone:
            # Also seen of results that came a minute later (anthropic-sdk-python#1432).
            if young(offer, self._clock) or text(batch, "results_url"):
                raise self._later(str(gone)) from gone
            raise

    async def tidy(self, offer: Offer) -> None:
        """Delete the batch: nothing else holds its requests and its results."""
        if offer.upstream_id:
            try:
                await self._rest.json("DELETE", _path(offer))
            except ProviderGone:
                return

    async def probe(self) -> str:
        await self._rest.json("GET", MODELS, query={"limit": 1})
        return "answers, and the key is good"

    # -- reading ------------------------------------------------------------------------------

    async def _looked_at(self, offer: Offer) -> dict[str, object]:
        """Return the batch. A 404 is said of living ones as well, so the list has to agree."""
        try:
            return await self._rest.json("GET", _path(offer))
        except ProviderGone as gone:
            if (batch := await self._listing.entry(offer)) is not None:
                return batch
            if young(offer, self._clock):
                raise self._later(str(gone)) from gone
            raise

    async def _proven(self, batch: Mapping[str, object], offer: Offer) -> bool | None:
        """Say whether an ended batch's own results are this shard's; None: they do not tell."""
        if text(batch, "processing_status") != "ended" or text(batch, "archived_at"):
            return None
        names: list[str] = []
        try:
            async with aclosing(self._read(batch)) as found:
                async for results in found:
                    names += [result.custom_id for result in results]
                    if len(names) >= PROOF:
                        break
        except (ProviderGone, ProviderBroke):
            return None
        return any(row_of(name, offer.shard_id) is not None for name in names) if names else None

    async def _read(self, batch: Mapping[str, object]) -> AsyncGenerator[list[Result]]:
        """Yield the lines of a batch's results, as they come."""
        # Also where a proxy stands between: the key goes to no other place than the one it is for.
        url = text(batch, "results_url")
        if not url.startswith(f"{self._rest.base_url}/"):
            url = f"{BATCHES}/{text(batch, 'id')}/results"
        headers = {"accept": "application/binary"}  # as its own SDK says
        told, readable, ending = False, True, Ending()
        async with self._rest.download(url, headers=headers) as found:
            try:
                async for some in lines(ending.watched(found.chunks()), LINE_BYTES_MAX):
                    results, readable = parsed(some)
                    told = told or bool(results)
                    yield results
            except ValueError as error:
                raise ProviderBroke(f"{self._name}: results with {error}") from error
        if not readable and ending.last != b"\n":
            raise ProviderSilent(f"{self._name}: the results break off inside a line")
        if not told:  # every request has a line, however it ended: this is something else
            raise ProviderBroke(f"{self._name}: the results hold no result of any request")

    def _later(self, message: str) -> ProviderBusy:
        return ProviderBusy(message, retry_at=self._clock.now() + self._poll_s)


def _of_its_rows(no: ProviderRefused, offer: Offer) -> ProviderRefused:
    """Say what a refused creating call means for its rows: one of them is at fault, or all."""
    if no.failure == Failure.ACCOUNT:
        return no
    if offer.count > 1:
        return ProviderRefused(str(no), failure=Failure.NOT_RUN)
    alone = Failure.TOO_LONG if no.failure == Failure.NOT_RUN else no.failure
    return ProviderRefused(str(no), failure=alone)


def _path(offer: Offer) -> str:
    return f"{BATCHES}/{quote(offer.upstream_id or '', safe='')}"


def _open(context: Context) -> Provider:
    if context.lane != "live":
        return AnthropicProvider(context)
    endpoint = MessagesEndpoint(context)
    return LiveProvider(
        context,
        endpoint,
        concurrency=concurrency_of(context),
        label=context.name,
        judge=wire.result,
        names_account=failures.names_account,
        url_of=lambda _: MESSAGES,
    )


PROVIDER = ProviderSpec(
    title="Anthropic",
    base_url="https://api.anthropic.com",
    key_variable="ANTHROPIC_API_KEY",
    dialects=(ANTHROPIC_MESSAGES,),
    lanes=("batch", "live"),
    limits=LIMITS,
    timeout_s=CREATE_S,
    poll_s=60.0,
    leave_within_s=60.0,  # a full batch is rendered within the creating call: 2 s, or many more
    listing_lag_s=90.0,
    live=replace(
        LIVE_TERMS,
        limits=replace(LIVE_TERMS.limits, request_bytes_max=LIMITS.request_bytes_max),
    ),
    windows=("24h",),
    found_by="time and number of requests, proven by the custom_ids of its results",
    unmarked=True,
    discount="50%",
    options=OPTIONS,
    open=_open,
)
