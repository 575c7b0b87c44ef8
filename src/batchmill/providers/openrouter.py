"""
OpenRouter: batches whose requests travel in the creating call, and its live endpoints.

Nothing marks a batch as ours, it cannot be cancelled, and its results come inside of the batch
itself, once it is completed and only then: a batch that fails, expires or is cancelled has none.
One bad row fails the whole of it a moment after it was accepted.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, suppress
from functools import partial
from typing import Final
from urllib.parse import quote

from batchmill.core import request as requests
from batchmill.core.failure import Failure
from batchmill.core.limits import MIB, Limits
from batchmill.core.outcome import Outcome, Result
from batchmill.core.request import Request, row_of
from batchmill.core.shard import Progress
from batchmill.errors import (
    InvalidSetting,
    ProviderBroke,
    ProviderBusy,
    ProviderGone,
    ProviderRefused,
    ProviderStranger,
)
from batchmill.ports import Checked, Found, Offer, Provider
from batchmill.providers import LIVE_TERMS, Context, ProviderSpec
from batchmill.providers._elements import parts_of
from batchmill.providers._left_out import blamed, numbered, untold
from batchmill.providers._lines import UNREADABLE
from batchmill.providers._rest import Rest, Words, at, text, whole
from batchmill.providers._spool import spooled
from batchmill.providers._unmarked import Listing
from batchmill.providers._unrun import OF_A_ROW, YOUNG_S, refused, young
from batchmill.providers.live import (
    HttpEndpoint,
    LiveProvider,
    checked_base_url,
    concurrency_of,
    known_options,
)
from batchmill.wire import openrouter as wire
from batchmill.wire.translate import complaint

BATCHES: Final = "/batches"
OPTIONS: Final = ("concurrency", "model_suffix")
#: A batch is sold under the name of its model's batch variant. The vendor's guide writes names
#: without it; whoever tried was refused (2026-08-29, 2026-09-28).
SUFFIX: Final = ":batch"
#: A creating call carries all rows; any other is answered soon, or never.
CREATE_S: Final = 300.0
CONTROL_S: Final = 60.0
PAGE_ROWS: Final = 1_000

UNDER_WAY: Final = ("validating", "in_progress", "finalizing", "cancelling")
ENDED: Final = ("completed", "failed", "expired", "cancelled")
_UNRUN: Final = {
    "expired": (Outcome.EXPIRED, Failure.EXPIRED, "the window was over before it was run"),
    "cancelled": (Outcome.CANCELED, Failure.CANCELED, "cancelled before it was run"),
}


class OpenRouterBatches:
    """The verbs over `/batches`."""

    def __init__(self, context: Context) -> None:
        known_options(context.name, context.knobs, OPTIONS)
        knobs = context.knobs
        self._name = context.name
        self._clock = context.clock
        self._folder = context.folder
        self._suffix = _suffix_of(context)
        self._made: set[str] = set()  #: ids this process was told of by their creating calls
        rest = partial(
            Rest,
            context.http(),
            context.clock,
            name=context.name,
            base_url=checked_base_url(context.name, knobs).rstrip("/"),
            headers={"authorization": f"Bearer {(knobs.key or '').strip()}"},
            idle_timeout_s=knobs.idle_timeout_s,
        )
        self._creating = rest(reads=_reads_create, timeout_s=knobs.timeout_s)
        self._rest = rest(reads=_reads, timeout_s=min(knobs.timeout_s, CONTROL_S))
        self._listing = Listing(
            self._rest,
            context.clock,
            name=context.name,
            path=BATCHES,
            cursor="after",
            poll_s=knobs.poll_s,
        )

    # -- buying -----------------------------------------------------------------------------------

    async def prepare(self, offer: Offer) -> str:
        return ""  # the requests travel in the creating call

    async def submit(self, offer: Offer) -> str:
        """Create the batch; what it is for comes first, as the vendor reads it while it comes."""
        model = wire.batch_name(offer.model, self._suffix)

        def item(request: Request) -> bytes:
            return wire.render_item(request, offer.model, model)

        async with spooled(offer, self._folder, item, between=wire.BETWEEN, last=wire.TAIL) as file:
            try:
                answer = await self._creating.call(
                    "POST",
                    BATCHES,
                    headers={"content-type": "application/json"},
                    body=file.upload(head=wire.render_head(offer.url, model)),
                    create=offer,
                )
            except ProviderRefused as no:
                raise blamed(no, offer) from no
        if not (upstream_id := text(self._creating.object(answer), "id")):
            raise ProviderBroke(f"{self._name} took a batch and gave it no id")
        self._made.add(upstream_id)
        return upstream_id

    async def find(self, offer: Offer) -> Found:
        """
        Look for the one batch of the right age, endpoint and size that nobody else of ours has.

        Its model is no help, as the vendor may call it by another name. What is completed is proven
        or ruled out by its own custom_ids; of what still works, a single one is adopted
        provisionally, and of several nobody can tell. What ended without results bought nothing
        that could be had, and so is passed over, unless its own words name a row of ours.
        """
        return await self._listing.find(offer, _may_be, self._proves)

    async def _proves(self, batch: Mapping[str, object], offer: Offer) -> bool | None:
        status = text(batch, "status")
        if status == "completed":
            return await self._proven(text(batch, "id"), offer)
        if status in ENDED:
            said = text(batch, "error", "message")
            return bool(wire.custom_ids_in(said, offer.shard_id))
        return None

    async def _proven(self, upstream_id: str, offer: Offer) -> bool | None:
        """Say by its first results whose a batch is; None: it does not tell."""
        with suppress(ProviderGone):
            async with aclosing(self._batch(upstream_id)) as parts:
                async for items, _ in parts:
                    if found := _read(items, offer.dialect):
                        rows = (row_of(result.custom_id, offer.shard_id) for result in found)
                        return any(row is not None for row in rows)
        return None

    # -- watching ---------------------------------------------------------------------------------

    async def check(self, offer: Offer) -> Checked:
        """Read no more of the batch than its beginning: its results come with it."""
        batch: dict[str, object] = {}
        async with aclosing(self._batch(offer.upstream_id or "", offer)) as parts:
            async for _, batch in parts:
                if text(batch, "status"):
                    break
        status = text(batch, "status")
        done = min(whole(batch, "request_counts", "completed"), offer.count)
        failed = min(whole(batch, "request_counts", "failed"), offer.count - done)
        known = status in ENDED or status in UNDER_WAY
        note = "" if known else f"{self._name} says: {status or 'nothing of its state'}"
        return Checked(status in ENDED, Progress(succeeded=done, errored=failed, note=note))

    async def cancel(self, offer: Offer) -> None:
        """Do nothing: the vendor has no such call, and what was accepted is run to its end."""

    # -- collecting -------------------------------------------------------------------------------

    async def results(self, offer: Offer) -> AsyncIterator[Sequence[Result]]:
        """Yield what the batch holds, or what became of the rows of one that has no results."""
        told: set[str] = set()
        batch: dict[str, object] = {}
        async with aclosing(self._batch(offer.upstream_id or "", offer)) as parts:
            async for part in parts:
                items, batch = part
                if found := _read(items, offer.dialect):
                    told.update(result.custom_id for result in found)
                    yield found
        status = text(batch, "status")
        if status not in ENDED:
            words = f"{self._name}: {offer.upstream_id} has not ended yet: {status}"
            raise ProviderBusy(words, retry_at=0.0)
        proven = told or wire.custom_ids_in(text(batch, "error", "message"), offer.shard_id)
        if offer.provisional and not proven:
            words = f"{self._name}: {offer.upstream_id} ended without a row that proves whose it is"
            raise ProviderStranger(words)
        if status == "failed" and not told:
            async for chunk in self._of_failed(batch, offer):
                yield chunk
            return
        if not told:
            async with aclosing(self._pages(offer)) as pages:
                async for found in pages:
                    told.update(result.custom_id for result in found)
                    yield found
        if status in _UNRUN:
            async for chunk in untold(offer, told, *_UNRUN[status]):
                yield chunk
        elif not told:
            self._without_results(batch)

    def _without_results(self, batch: Mapping[str, object]) -> None:
        """Raise why a completed batch has none: no request is left out, however it ended."""
        words = f"{self._name}: the results of {text(batch, 'id')} are not there"
        if self._clock.now() < whole(batch, "finalized_at") + YOUNG_S:
            raise ProviderBusy(f"{words} yet", retry_at=0.0)
        raise ProviderGone(words)

    async def _of_failed(
        self, batch: Mapping[str, object], offer: Offer
    ) -> AsyncIterator[Sequence[Result]]:
        message = text(batch, "error", "message")
        failure = wire.why_failed(message)
        words = Words(failure, f"{self._name}: {message or 'it failed, and no reason is given'}")
        of_a_row = words if failure in OF_A_ROW else Words(Failure.INVALID_REQUEST, words.message)
        ids = wire.custom_ids_in(message, offer.shard_id)
        named = {line: of_a_row async for line, its_id in numbered(offer) if its_id in ids}
        async for found in refused(offer, words, named, partial(complaint, offer.dialect)):
            yield found

    async def _pages(self, offer: Offer) -> AsyncGenerator[list[Result], None]:
        """
        Yield the results from their own pages: a newer way, for what has none inside of it.

        Where the vendor does not know it, or has nothing for such a batch, there are none.
        """
        cursor: str | None = None
        seen: set[str] = set()
        while True:
            query = {"limit": PAGE_ROWS, "cursor": cursor}
            page: dict[str, object] = {}
            try:
                path = f"{_path(offer.upstream_id)}/results"
                async with aclosing(parts_of(self._rest, path, "data", query)) as parts:
                    async for part in parts:
                        items, page = part
                        if found := _read(items, offer.dialect):
                            yield found
            except (ProviderGone, ProviderRefused) as no:
                if isinstance(no, ProviderRefused) and no.failure == Failure.ACCOUNT:
                    raise
                if cursor is not None:
                    raise ProviderBusy(f"the results go on, but: {no}", retry_at=0.0) from no
                return
            if not isinstance(page.get("data"), list):
                raise ProviderBroke(f"{self._name} answered with no page of results")
            cursor = text(page, "next_cursor")
            if page.get("has_more") is False or (page.get("has_more") is None and not cursor):
                return
            if not cursor or cursor in seen:
                raise ProviderBroke(f"{self._name}: the results do not come to an end")
            seen.add(cursor)

    async def _batch(
        self, upstream_id: str, offer: Offer | None = None
    ) -> AsyncGenerator[tuple[list[bytes], dict[str, object]], None]:
        """Yield the results of a batch as they come, each time with what is known of it by then."""
        try:
            async with aclosing(parts_of(self._rest, _path(upstream_id), "results")) as parts:
                async for part in parts:
                    yield part
        except ProviderGone as gone:
            if offer is not None:
                await self._really_gone(offer, gone)
            raise

    async def _really_gone(self, offer: Offer, gone: ProviderGone) -> None:
        """Raise `ProviderBusy` where a batch is new, or listed all the same."""
        if young(offer, self._clock):
            raise ProviderBusy(f"not there yet: {gone}", retry_at=0.0) from gone
        if await self._listing.entry(offer) is not None:
            raise ProviderBusy(f"listed all the same: {gone}", retry_at=0.0) from gone

    # -- afterwards -------------------------------------------------------------------------------

    async def tidy(self, offer: Offer) -> None:
        """Delete the batch, requests and results with it, where it is certainly ours and ended."""
        upstream_id = offer.upstream_id
        if not upstream_id:
            return
        if upstream_id not in self._made and not await self._proven(upstream_id, offer):
            return  # the vendor deletes it by itself, 30 days after it was made
        try:
            await self._rest.call("DELETE", _path(upstream_id))
        except ProviderGone:
            return

    async def probe(self) -> str:
        """Ask what the key is for: the list of models can be had without one."""
        found = await self._rest.json("GET", "/key")
        left = at(found, "data", "limit_remaining")
        return "answers, and the key is good" + (f"; ${left} are left on it" if left else "")


class OpenRouterEndpoint(HttpEndpoint):
    """Its live endpoints, which are OpenAI's with other errors."""

    models_path = "/key"  # which needs the key, other than the list of models

    def reads(self, status: int, body: bytes) -> Words:
        return _reads(status, body)


def _reads(status: int, body: bytes) -> Words:
    said = wire.error_of(body) or wire.Error()
    words = wire.text_of(said) or "no reason is given"
    return Words(wire.failure_of(status, said), f"{status}: {words}")


def _reads_create(status: int, body: bytes) -> Words:
    words = _reads(status, body)
    # There is nothing a batch could lack, so it is the place that is wrong: a setting.
    return Words(Failure.ACCOUNT, words.message) if status in (404, 405) else words


def _read(items: Sequence[bytes], dialect: str) -> list[Result]:
    """Return the results; the row of one that cannot be read becomes `missing`."""
    found: list[Result] = []
    for item in items:
        with suppress(*UNREADABLE):
            found.append(wire.parse_item(item, dialect))
    return found


def _path(upstream_id: str | None) -> str:
    return f"{BATCHES}/{quote(upstream_id or '', safe='')}"


def _may_be(batch: Mapping[str, object], offer: Offer) -> bool:
    """Say whether a batch is as large as ours and for the same endpoint, as far as it tells."""
    total, endpoint = at(batch, "request_counts", "total"), text(batch, "endpoint")
    return total in (offer.count, 0, None) and endpoint in (offer.url, "")


def _suffix_of(context: Context) -> str:
    suffix = context.knobs.options.get("model_suffix", SUFFIX)
    if not isinstance(suffix, str):
        raise InvalidSetting(
            f"[providers.{context.name}] model_suffix = {suffix!r}: expected a text, e.g. "
            f'"{SUFFIX}", or "" for none.'
        )
    return suffix


def _open(context: Context) -> Provider:
    if context.lane != "live":
        return OpenRouterBatches(context)
    known_options(context.name, context.knobs, OPTIONS)
    endpoint = OpenRouterEndpoint(context)
    return LiveProvider(
        context,
        endpoint,
        concurrency=concurrency_of(context),
        label=f"endpoint {endpoint.base_url}",
        judge=wire.result,
        names_account=wire.names_account,
    )


PROVIDER = ProviderSpec(
    title="OpenRouter",
    base_url="https://openrouter.ai/api/v1",
    key_variable="OPENROUTER_API_KEY",
    dialects=(requests.OPENAI_CHAT, requests.OPENAI_RESPONSES, requests.OPENAI_EMBEDDINGS),
    lanes=("batch", "live"),
    # The vendor takes 5,000 requests and 200 MB. All of it is one creating call, which must be
    # over within its lease; so it is a third of that.
    limits=Limits(requests_max=5_000, bytes_max=64 * MIB, request_bytes_max=30 * MIB),
    timeout_s=CREATE_S,
    live=LIVE_TERMS,
    found_by="time, endpoint and number of requests, proven by the custom_ids of its results",
    unmarked=True,
    cancels=False,
    discount="50%",
    options=OPTIONS,
    open=_open,
)
