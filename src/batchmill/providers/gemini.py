"""
Google's Gemini API: batches sent in the creating call while they are small, else as a file.

A batch carries our mark as its display name; creating is not idempotent, and no request id exists.
Sources: the vendor's batch guide and API reference (read 2026-11), and what its SDKs send.
"""

import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import Final

import msgspec

from batchmill.core.failure import Failure
from batchmill.core.limits import MIB, Limits
from batchmill.core.outcome import Result
from batchmill.core.request import GEMINI_EMBED, GEMINI_GENERATE
from batchmill.core.shard import Accepted, CannotTell, NotThere
from batchmill.errors import (
    ProviderBroke,
    ProviderBusy,
    ProviderGone,
    ProviderRefused,
    ProviderSilent,
)
from batchmill.ports import Checked, Found, Offer, Provider
from batchmill.providers import LIVE_TERMS, Context, ProviderSpec
from batchmill.providers import _gemini_setup as setup
from batchmill.providers._counts import filled, must_have_ended, progress
from batchmill.providers._gemini_files import GeminiFiles, quoted
from batchmill.providers._google import (
    FRESH_S,
    LINE_BYTES_MAX,
    reads,
    unix,
    unrun,
)
from batchmill.providers._lines import UNREADABLE, results_of
from batchmill.providers._listing import oldest, page_of
from batchmill.providers._rest import Rest, objects, text
from batchmill.providers._spool import spooled
from batchmill.providers._unrun import young
from batchmill.providers.live import known_options
from batchmill.wire import gemini, gemini_operation
from batchmill.wire.gemini_operation import Operation

#: The vendor's own bound is 20 MB for the whole call. Users report disorder in inline answers at
#: thousands of rows (python-genai#1909), and every look at a finished batch carries all of them.
INLINE_BYTES_MAX: Final = 16_000_000
INLINE_ROWS_MAX: Final = 1_000
_ROW_BYTES: Final = 128  #: of a row beside its body
#: What has not ended by then is given up, and nothing of it can be had.
WINDOW_H: Final = 48
WAIT_TOLD_H: Final = 6
PAGE: Final = 100
PAGES_MAX: Final = 1_000
_OF_A_ROW = (Failure.INVALID_REQUEST, Failure.INVALID_MEDIA, Failure.TOO_LONG, Failure.REFUSED)


class GeminiProvider:
    """The verbs over `batchGenerateContent` and `asyncBatchEmbedContent`."""

    def __init__(self, context: Context) -> None:
        knobs = context.knobs
        known_options(context.name, knobs, setup.OPTIONS)
        self._name = context.name
        self._clock, self._ids = context.clock, context.ids
        self._version = setup.api_version(context)
        key = setup.key_headers(knobs.key)
        self._input = setup.input_of(context)
        self._folder = context.folder / "uploads"
        self._by_file: set[str] = set()  #: shards with a row that was not taken inline
        self._keyless = context.folder / "inline-answers-have-no-keys"
        self._rest = Rest(
            context.http(),
            context.clock,
            name=context.name,
            base_url=knobs.base_url.rstrip("/"),
            headers=key,
            reads=reads,
            timeout_s=knobs.timeout_s,
            idle_timeout_s=knobs.idle_timeout_s,
        )
        self._files = GeminiFiles(
            self._rest, context.name, self._version, setup.key_headers(knobs.key)
        )

    # -- offering ---------------------------------------------------------------------------------

    async def prepare(self, offer: Offer) -> str:
        """Upload the requests and return the file's name; or `inline`, if they need no file."""
        if await self._fits_inline(offer):
            return setup.INLINE
        mark = hashlib.sha256(offer.shard_id.encode()).hexdigest()[:16]
        name = f"files/bm-{mark}-{self._ids.token()[:20]}"
        async with spooled(offer, self._folder, gemini.render_line) as file:
            return await self._files.upload(name, offer.shard_id, file)

    async def _fits_inline(self, offer: Offer) -> bool:
        # Answers to embedded rows carry no key when they are inline (js-genai#1207).
        embeds = offer.dialect == GEMINI_EMBED
        if self._input == "file" or embeds or offer.count > INLINE_ROWS_MAX:
            return False
        if offer.shard_id in self._by_file or self._keyless.exists():
            return False
        size = 0
        async for requests in offer.requests():
            size += sum(len(r.body) + _ROW_BYTES for r in requests)
            if size > INLINE_BYTES_MAX:
                return False
        return True

    async def submit(self, offer: Offer) -> str:
        """Make the batch, once. `ProviderGone`: its input is not there any more."""
        head = b'{"batch":{"displayName":"%b","inputConfig":' % offer.shard_id.encode()
        if offer.ref == setup.INLINE:
            rows = [gemini.render_inline(r) async for some in offer.requests() for r in some]
            body = head + b'{"requests":{"requests":[%b]}}}}' % b",".join(rows)
        else:
            body = head + b'{"fileName":"%b"}}}' % (offer.ref or "").encode()
        verb = "asyncBatchEmbedContent" if offer.dialect == GEMINI_EMBED else "batchGenerateContent"
        try:
            answer = await self._rest.call(
                "POST",
                f"/{self._version}/{setup.model_path(offer.model)}:{verb}",
                headers={"content-type": "application/json"},
                body=body,
                create=offer,
            )
        except ProviderRefused as refusal:
            await self._why(offer, refusal)
            raise
        upstream_id = text(self._rest.object(answer), "name")
        if not upstream_id:
            raise ProviderSilent(f"{self._name} took a batch and gave it no name")
        return upstream_id

    async def _why(self, offer: Offer, refusal: ProviderRefused) -> None:
        """Raise what a refusal really is about: the file, or one row among many."""
        said = str(refusal)
        # What the path names is not there: the model, or all of it where base_url is wrong.
        no_place = said.startswith(f"{self._name}: 404")
        if "not in an ACTIVE state" in said:
            raise ProviderBusy(said, retry_at=0.0) from refusal
        if offer.ref == setup.INLINE:
            # One bad row refuses the whole call. In a file it fails alone.
            if offer.count > 1 and refusal.failure in _OF_A_ROW and not no_place:
                self._by_file.add(offer.shard_id)
                raise ProviderGone(f"{said} (sent as a file from now on)") from refusal
        # A file that has expired is told as 403, 404 or 400, in words that a wrong key or a model
        # that is not there may have as well: ask for the file itself.
        elif not await self._files.there(offer.ref or ""):
            raise ProviderGone(f"{said} ({offer.ref} is not there any more)") from refusal
        if no_place:
            raise ProviderRefused(said, failure=Failure.ACCOUNT) from refusal

    # -- finding ----------------------------------------------------------------------------------

    async def find(self, offer: Offer) -> Found:
        """Look for our mark in the vendor's list of batches."""
        try:
            async for batches in self._pages(offer):
                for batch in batches:
                    name = text(batch, "name")
                    ours = text(batch, "metadata", "displayName") == offer.shard_id
                    if ours and name and name not in offer.strangers:
                        return Accepted(name)
        except _EndlessError as endless:
            return CannotTell(self._clock.now() + FRESH_S, str(endless))
        return NotThere()

    async def _pages(self, offer: Offer) -> AsyncIterator[list[dict[str, object]]]:
        """
        Yield the list of batches, a page at a time.

        Its order is not documented: it is read to its end, unless every page so far has shown
        that the newest comes first, and what follows is older than the first creating call.
        """
        token, before, descending = "", float("inf"), True
        for _ in range(PAGES_MAX):
            query = {"pageSize": PAGE, "pageToken": token or None}
            path, field = f"/{self._version}/batches", "operations"
            page = await page_of(
                self._rest, path, query, field, name=self._name, onward="nextPageToken"
            )
            batches = page.batches
            yield batches
            token = text(page.body, "nextPageToken")
            if not token:
                return
            for batch in batches:
                made = unix(text(batch, "metadata", "createTime"))
                descending = descending and 0.0 < made <= before
                before = made
            if descending and len(batches) > 1 and before < oldest(offer, self._clock.now(), page):
                return
        raise _EndlessError(f"{self._name}: its list of batches has no end")

    async def _look(self, offer: Offer) -> Operation:
        """Return the batch. That it is not there is believed only where its list agrees."""
        try:
            return await self._record(offer)
        except ProviderGone as gone:
            if young(offer, self._clock):
                raise ProviderBusy(str(gone), retry_at=0.0) from gone
            try:
                async for batches in self._pages(offer):
                    if any(text(batch, "name") == offer.upstream_id for batch in batches):
                        words = f"{gone} But it is in the list of batches."
                        raise ProviderBusy(words, retry_at=0.0) from gone
            except (_EndlessError, ProviderGone) as no:  # without a list, base_url may be wrong
                raise ProviderBusy(f"{gone} {no}", retry_at=0.0) from gone
            raise

    async def _record(self, offer: Offer) -> Operation:
        answer = await self._rest.call("GET", f"/{self._version}/{_id(offer)}")
        try:
            return gemini_operation.parse(answer.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ProviderBroke(f"{self._name}: no record of a batch ({error})") from error

    # -- waiting ----------------------------------------------------------------------------------

    async def check(self, offer: Offer) -> Checked:
        """Ask how far it is."""
        batch = await self._look(offer)
        return Checked(batch.ended, progress(offer, *batch.counts, self._note(batch)))

    def _note(self, batch: Operation) -> str:
        """Return what a person should know: a state that is new, or a long wait in the queue."""
        if batch.ended:
            return ""
        if batch.state not in gemini_operation.UNDER_WAY:
            return f"{self._name} says: {batch.metadata.state}"
        waited_h = (self._clock.now() - unix(batch.metadata.createTime)) / 3600
        if batch.state != "PENDING" or not WAIT_TOLD_H < waited_h < WINDOW_H:
            return ""
        # Seen for days (python-genai#1482, 2025-10 to 2026-03).
        left_h = WINDOW_H - waited_h
        return f"not begun for {waited_h:.0f} h; {self._name} gives it up in {left_h:.0f} h"

    async def cancel(self, offer: Offer) -> None:
        """Ask it to stop; where that is answered by a no, its state says whether that matters."""
        try:
            await self._rest.json("POST", f"/{self._version}/{_id(offer)}:cancel")
        except ProviderGone as gone:
            if young(offer, self._clock):
                raise ProviderBusy(str(gone), retry_at=0.0) from gone
        except (ProviderBusy, ProviderRefused) as no:
            if getattr(no, "failure", None) == Failure.ACCOUNT:
                raise
            batch = await self._look(offer)
            if not batch.ended and batch.state != "CANCELLING":
                raise

    # -- collecting -------------------------------------------------------------------------------

    async def results(self, offer: Offer) -> AsyncIterator[Sequence[Result]]:
        """Yield the lines of the file of results or of the record, and what was never run."""
        batch = await self._look(offer)
        must_have_ended(batch.ended, self._name, batch.state)
        seen: set[str] = set()
        async for found in self._answers(batch, offer):
            seen.update(result.custom_id for result in found)
            yield found
        if _keyless(batch):
            # Some users' answers came back without the keys (python-genai#2008, 2026-01). Nobody
            # can tell whose they are: the rows are missing, and what follows travels as files.
            self._keyless.parent.mkdir(parents=True, exist_ok=True)
            self._keyless.touch()
        elif batch.state == "SUCCEEDED" and not (seen or batch.inlined) and batch.counts[0]:
            raise ProviderBroke(f"{self._name}: {batch.name} has succeeded, and shows no results")
        wanted = "content" if offer.dialect == GEMINI_EMBED else "contents"
        async for found in unrun(offer, batch.state, seen, batch.error, wanted):
            yield found

    async def _answers(self, batch: Operation, offer: Offer) -> AsyncIterator[Sequence[Result]]:
        def parse(line: bytes) -> Result | None:
            return gemini.parse_line(line, offer.dialect)

        name = batch.results_file
        if not name:
            given = () if _keyless(batch) else batch.inlined
            inline = results_of(_lines(given), parse, LINE_BYTES_MAX, batch.name, gemini.salvaged)
            async for found in inline:
                yield found
            return
        called = f"{self._name}: {name}"
        try:
            async with self._files.download(name) as body:
                told = results_of(body.chunks(), parse, LINE_BYTES_MAX, called, gemini.salvaged)
                async for found in filled(told, batch.counts[0], called):
                    yield found
        except (ProviderGone, ProviderRefused) as no:
            if getattr(no, "failure", Failure.INVALID_MEDIA) != Failure.INVALID_MEDIA:
                raise
            ended_at = unix(batch.metadata.endTime or batch.metadata.updateTime)
            if self._clock.now() < ended_at + FRESH_S:
                raise ProviderBusy(str(no), retry_at=0.0) from no
            raise ProviderGone(str(no)) from no

    # -- afterwards -------------------------------------------------------------------------------

    async def tidy(self, offer: Offer) -> None:
        """
        Delete the input and the results.

        The record of a batch holds them itself where they were sent inline, and goes too. That of
        any other stays: it is the proof of what was bought.
        """
        if offer.upstream_id:
            try:
                batch = await self._record(offer)
            except ProviderGone:
                batch = Operation()
            if batch.metadata.displayName == offer.shard_id:
                if batch.results_file:
                    await self._files.delete(batch.results_file)
                if offer.ref == setup.INLINE:
                    await self._files.delete(offer.upstream_id)
        if offer.ref and offer.ref != setup.INLINE:
            await self._files.delete(offer.ref)

    async def probe(self) -> str:
        """Ask for a model."""
        found = await self._rest.json("GET", f"/{self._version}/models", query={"pageSize": 1000})
        return f"the key is good; {len(objects(found, 'models')):,} models"


class _EndlessError(Exception):
    """A list that goes on for ever proves nothing."""


def _keyless(batch: Operation) -> bool:
    """Say whether answers came with the record, and not one says whose it is."""
    given = () if batch.results_file else batch.inlined
    return bool(given) and not any(map(_named, given))


def _named(raw: msgspec.Raw) -> bool:
    try:
        gemini.parse_line(bytes(raw), GEMINI_GENERATE)
    except UNREADABLE:
        return False
    return True


async def _lines(given: Sequence[msgspec.Raw]) -> AsyncIterator[bytes]:
    for raw in given:
        yield bytes(raw).replace(b"\n", b" ") + b"\n"


def _id(offer: Offer) -> str:
    return quoted(offer.upstream_id or "")


def _open(context: Context) -> Provider:
    return GeminiProvider(context) if context.lane == "batch" else setup.live(context)


PROVIDER = ProviderSpec(
    title="Google Gemini API",
    base_url="https://generativelanguage.googleapis.com",
    key_variable="GEMINI_API_KEY",
    key_fallbacks=("GOOGLE_API_KEY",),
    dialects=(GEMINI_GENERATE, GEMINI_EMBED),
    lanes=("batch", "live"),
    # A file may have 2 GB; no number of rows is published. What has not ended after 48 h is lost
    # whole, so a batch is kept small enough to end; a hundred of them may wait at once.
    limits=Limits(requests_max=50_000, bytes_max=192 * MIB, request_bytes_max=19 * MIB),
    # Sixteen megabytes may travel in the creating call itself.
    timeout_s=120.0,
    leave_within_s=5.0,
    live=LIVE_TERMS,
    windows=("48h",),
    found_by="its display name, in the list of batches",
    discount="50%",
    # To its own files, and to films: what others have travels as bytes.
    links=(
        "https://generativelanguage.googleapis.com/",
        "https://www.youtube.com/",
        "https://youtu.be/",
    ),
    options=setup.OPTIONS,
    open=_open,
)
