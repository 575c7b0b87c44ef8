"""
OpenAI's Files and Batches: the verbs of every vendor that sells batches in this form.

A batch carries our mark in its metadata, and is found again by it or by its input file. Sources:
the vendor's API reference and openapi file (read 2026-08-21), and what its official SDKs send.
"""

from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Final
from urllib.parse import quote

from batchmill.core.failure import Failure
from batchmill.core.outcome import Outcome, Result
from batchmill.core.shard import Accepted, CannotTell, NotThere
from batchmill.errors import (
    InvalidSetting,
    ProviderBroke,
    ProviderBusy,
    ProviderGone,
    ProviderRefused,
    ProviderSilent,
)
from batchmill.ports import Checked, Found, Offer
from batchmill.providers import Context
from batchmill.providers._counts import filled, must_have_ended, progress
from batchmill.providers._lines import results_of
from batchmill.providers._listing import all_older, oldest, page_of
from batchmill.providers._openai_words import (
    ENDED,
    ENDED_AT,
    MARK,
    UNDER_WAY,
    ours,
    reads,
    refusal,
    status_of,
)
from batchmill.providers._rest import Query, Rest, objects, text, whole
from batchmill.providers._spool import multipart, spooled
from batchmill.providers._unrun import YOUNG_S, refused, young
from batchmill.wire import openai
from batchmill.wire.translate import complaint

#: A file that is still on its way through the vendor's own house.
PENDING: Final = frozenset({"pending", "running", "notrunning"})

#: How long results are kept; a batch that is younger than that is there.
KEPT_S: Final = 30 * 86_400.0
PAGE: Final = 100
PAGES_MAX: Final = 1_000
#: A request of 32 MiB may be answered by as much, with its JSON escaped once more.
LINE_BYTES_MAX: Final = 256 << 20

_UNRUN: Final = {
    "expired": (Outcome.EXPIRED, Failure.EXPIRED, "the window was over before it was run"),
    "cancelled": (Outcome.CANCELED, Failure.CANCELED, "cancelled before it was run"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """Where a vendor's Files and Batches are, and how they differ from OpenAI's own."""

    base_url: str
    headers: Mapping[str, str]
    query: Mapping[str, str] = field(default_factory=dict[str, str])  #: of every call
    url_of: Callable[[str], str] = str  #: how a request line's url is written here
    window_of: Callable[[float | None], str] = lambda _: "24h"
    files_wait: bool = False  #: a file may have to be waited for before a batch is made of it


class OpenAIBatches:
    """The verbs over an upload, one creating call, polling, and two files of results."""

    def __init__(self, context: Context, surface: Surface) -> None:
        self._clock = context.clock
        self._ids = context.ids
        self._name = context.name
        self._folder = context.folder / "uploads"
        self._surface = surface
        self._rest = Rest(
            context.http(),
            context.clock,
            name=context.name,
            base_url=surface.base_url,
            headers=surface.headers,
            reads=reads,
            timeout_s=context.knobs.timeout_s,
            idle_timeout_s=context.knobs.idle_timeout_s,
        )

    # -- offering ---------------------------------------------------------------------------------

    async def prepare(self, offer: Offer) -> str:
        """Upload the requests; return the file's id."""
        url = self._surface.url_of(offer.url)
        boundary = f"batchmill-{self._ids.token()}-{self._ids.token()}"
        head, tail = multipart([("purpose", "batch")], "file", f"{offer.shard_id}.jsonl", boundary)
        async with spooled(
            offer, self._folder, lambda request: openai.render_request_line(request, url)
        ) as file:
            try:
                answer = await self._rest.call(
                    "POST",
                    "/files",
                    query=self._query(),
                    headers={"content-type": f"multipart/form-data; boundary={boundary}"},
                    body=file.upload(head, tail),
                )
            except ProviderGone as gone:  # nothing of ours is gone: there is no such place
                raise self._lost(f"{gone} Is base_url right? {self._surface.base_url}") from gone
        file_id = text(self._rest.object(answer), "id")
        if not file_id:
            raise ProviderBroke(f"{self._name} took a file and gave it no id")
        return file_id

    async def submit(self, offer: Offer) -> str:
        """Make the batch, once. `ProviderGone`: its input is not there any more."""
        if self._surface.files_wait:
            await self._file_is_ready(offer)
        wanted = {
            "input_file_id": offer.ref,
            "endpoint": self._surface.url_of(offer.url),
            "completion_window": self._surface.window_of(offer.window_s),
            "metadata": {MARK: offer.shard_id},
        }
        try:
            found = await self._rest.json(
                "POST", "/batches", query=self._query(), json=wanted, create=offer
            )
        except ProviderRefused as refusal:
            if refusal.failure == Failure.INVALID_REQUEST:
                await self._why(offer, refusal)
            raise
        upstream_id = text(found, "id")
        if not upstream_id:
            raise ProviderSilent(f"{self._name} took a batch and gave it no id")
        return upstream_id

    async def _why(self, offer: Offer, refusal: ProviderRefused) -> None:
        """Raise what a refusal at once really is about: the file, or the place."""
        said = str(refusal)
        if "file" in said.lower():
            await self._file(offer)  # where that is gone, it says so
        if said.startswith((f"{self._name}: 404", f"{self._name}: 405")):
            raise self._lost(said) from refusal

    async def _file(self, offer: Offer) -> dict[str, object]:
        return await self._rest.json("GET", f"/files/{_quoted(offer.ref)}", query=self._query())

    async def _file_is_ready(self, offer: Offer) -> None:
        status = text(await self._file(offer), "status")
        if status.lower() in PENDING:
            words = f"{self._name}: the uploaded file is {status}; no batch can be made of it yet"
            raise ProviderBusy(words, retry_at=0.0)

    # -- finding ----------------------------------------------------------------------------------

    async def find(self, offer: Offer) -> Found:
        """Look through the list for our mark, or for a batch of our input file."""
        try:
            async for batches in self._pages(offer):
                for batch in batches:
                    upstream_id = text(batch, "id")
                    if upstream_id and upstream_id not in offer.strangers and ours(batch, offer):
                        return Accepted(upstream_id)
        except _Endless as endless:
            return CannotTell(0.0, str(endless))
        return NotThere()

    async def _pages(self, offer: Offer) -> AsyncIterator[list[dict[str, object]]]:
        """Yield the account's batches, newest first, as far back as ours can lie."""
        seen: set[str] = set()
        after: str | None = None
        for _ in range(PAGES_MAX):
            query = self._query(limit=PAGE, after=after)
            try:
                page = await page_of(self._rest, "/batches", query, "data", name=self._name)
            except ProviderGone as gone:  # a list is always there, if the place is right
                raise self._lost(f"{gone} Is base_url right? {self._surface.base_url}") from gone
            batches = page.batches
            fresh = [batch for batch in batches if text(batch, "id") not in seen]
            if fresh:
                yield fresh
            more = page.body.get("has_more")
            if more is False or (not batches and more is None):
                return
            # Groq's list has no word about its end, and may not know `after`: then it repeats.
            if not fresh and more is None:
                return
            times = [whole(batch, "created_at") for batch in batches]
            if all_older(times, oldest(offer, self._clock.now(), page)):
                return
            if not fresh or not (after := text(batches[-1], "id")):
                break
            seen.update(text(batch, "id") for batch in fresh)
        raise _Endless(f"{self._name}: its list of batches has no end")

    async def _look(self, offer: Offer) -> dict[str, object]:
        """Return the batch. That it is not there is believed only where its list agrees."""
        place = f"/batches/{_quoted(offer.upstream_id)}"
        try:
            return await self._rest.json("GET", place, query=self._query())
        except ProviderGone as gone:
            if young(offer, self._clock):
                raise ProviderBusy(str(gone), retry_at=0.0) from gone
            try:
                async for batches in self._pages(offer):
                    if any(text(batch, "id") == offer.upstream_id for batch in batches):
                        words = f"{gone} But it is in the list of batches."
                        raise ProviderBusy(words, retry_at=0.0) from gone
            except _Endless as endless:
                raise ProviderBusy(str(endless), retry_at=0.0) from gone
            if self._clock.now() < (offer.submitted_at or 0.0) + KEPT_S:
                # Nobody can delete a batch there. It is another account's, or the key is.
                words = f"{gone} Does the key belong to the project that {offer.shard_id} is in?"
                raise self._lost(words) from gone
            raise

    def _lost(self, words: str) -> ProviderRefused:
        return ProviderRefused(words, failure=Failure.ACCOUNT)

    # -- waiting ----------------------------------------------------------------------------------

    async def check(self, offer: Offer) -> Checked:
        """Ask how far it is."""
        batch = await self._look(offer)
        status = status_of(batch)
        done = whole(batch, "request_counts", "completed")
        failed = whole(batch, "request_counts", "failed")
        known = status in ENDED or status in UNDER_WAY
        note = "" if known else f"{self._name} says: {status or 'nothing of its state'}"
        return Checked(status in ENDED, progress(offer, done, failed, note))

    async def cancel(self, offer: Offer) -> None:
        """Ask it to stop; where that is answered by a no, its state says whether that matters."""
        place = f"/batches/{_quoted(offer.upstream_id)}/cancel"
        try:
            kind = {"content-type": "application/json"}  # of nothing, as the official clients do
            await self._rest.call("POST", place, query=self._query(), headers=kind)
        except ProviderGone as gone:
            if young(offer, self._clock):
                raise ProviderBusy(str(gone), retry_at=0.0) from gone
        except (ProviderBusy, ProviderRefused) as no:
            if getattr(no, "failure", None) == Failure.ACCOUNT:
                raise
            if status_of(await self._look(offer)) not in ENDED | {"cancelling"}:
                raise

    # -- collecting -------------------------------------------------------------------------------

    async def results(self, offer: Offer) -> AsyncIterator[Sequence[Result]]:
        """Yield the lines of both files, and what became of the rows that were never run."""
        batch = await self._look(offer)
        status = status_of(batch)
        self._whole(batch, offer)
        told: set[str] = set()
        paid = whole(batch, "request_counts", "completed")
        for kind, counted in (("output_file_id", paid), ("error_file_id", 0)):
            if file_id := text(batch, kind):
                found = self._answers(file_id, offer.dialect)
                try:
                    async with aclosing(filled(found, counted, self._called(file_id))) as chunks:
                        async for chunk in chunks:
                            if status != "completed":
                                told.update(_own(chunk, offer))
                            yield chunk
                except ProviderGone as gone:
                    if self._ended_just_now(batch, offer):
                        raise ProviderBusy(str(gone), retry_at=0.0) from gone
                    if kind == "output_file_id":
                        raise
                    # Nothing in it was paid for: its rows have no line, and are asked for again.
        if status == "failed" and not told:
            why, named = refusal(batch, offer)
            async for chunk in refused(offer, why, named, partial(complaint, offer.dialect)):
                yield chunk
        elif status in _UNRUN:
            outcome, failure, detail = _UNRUN[status]
            async for requests in offer.requests():
                yield [
                    Result(request.custom_id, outcome, failure, detail)
                    for request in requests
                    if request.custom_id not in told
                ]

    def _whole(self, batch: Mapping[str, object], offer: Offer) -> None:
        """Raise `ProviderBusy` where a batch that has ended does not look like it yet."""
        status = status_of(batch)
        must_have_ended(status in ENDED, self._name, status)
        paid = whole(batch, "request_counts", "completed")
        if paid and not text(batch, "output_file_id") and self._ended_just_now(batch, offer):
            words = f"{self._name}: {paid:,} rows were answered, and there is no file of them yet"
            raise ProviderBusy(words, retry_at=0.0)

    async def _answers(self, file_id: str, dialect: str) -> AsyncGenerator[Sequence[Result]]:
        """Yield the results in a file."""
        place, accept = f"/files/{_quoted(file_id)}/content", {"accept": "application/octet-stream"}
        async with self._rest.download(place, query=self._query(), headers=accept) as body:
            async for chunk in results_of(
                body.chunks(),
                lambda line: openai.parse_result_line(line, dialect),
                LINE_BYTES_MAX,
                self._called(file_id),
                salvaged=openai.unreadable,
            ):
                yield chunk

    def _called(self, file_id: str) -> str:
        return f"{self._name}: {file_id}"

    def _ended_just_now(self, batch: Mapping[str, object], offer: Offer) -> bool:
        """Say whether the result files are so new that their absence proves nothing."""
        ended_at = max(whole(batch, name) for name in ENDED_AT)
        if not ended_at:
            return young(offer, self._clock)
        return self._clock.now() < ended_at + YOUNG_S

    # -- afterwards -------------------------------------------------------------------------------

    async def tidy(self, offer: Offer) -> None:
        """Delete the input and the results. Of a batch without our mark, only what we uploaded."""
        files = [offer.ref or ""]
        if offer.upstream_id:
            try:
                batch = await self._look(offer)
            except ProviderGone:
                batch = {}
            if ours(batch, offer):
                kinds = ("input_file_id", "output_file_id", "error_file_id")
                files += [text(batch, kind) for kind in kinds]
        for file_id in dict.fromkeys(filter(None, files)):
            try:
                await self._rest.json("DELETE", f"/files/{_quoted(file_id)}", query=self._query())
            except ProviderGone:
                continue

    async def probe(self) -> str:
        """Ask which models there are."""
        found = await self._rest.json("GET", "/models", query=self._query())
        return f"the key is good; {len(objects(found, 'data')):,} models"

    def _query(self, **more: str | int | None) -> Query:
        return {**self._surface.query, **more}


class _Endless(Exception):
    """A list that goes on for ever proves nothing."""


def _own(results: Iterable[Result], offer: Offer) -> Iterator[str]:
    return (r.custom_id for r in results if r.custom_id.startswith(offer.shard_id))


def worded(context: Context, option: str) -> str:
    """Return a knob that must be a text; empty where it is not set."""
    value = context.knobs.options.get(option, "")
    if not isinstance(value, str):
        raise InvalidSetting(f"[providers.{context.name}] {option} = {value!r}: expected a text.")
    return value.strip()


def _quoted(id_: str | None) -> str:
    return quote(id_ or "", safe="")
