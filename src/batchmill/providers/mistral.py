"""
Mistral: batch jobs over an uploaded file of lines, and its live endpoints.

The vendor looks at the lines when they are uploaded, and names the ones it does not take: they are
left out of the file before anything is spent, and become failed rows when the rest is collected.
Always a file, although a job takes up to ten thousand requests in the creating call itself: so that
call stays small, and nobody has to guess whether half of a large body arrived.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from math import ceil
from typing import Final

import msgspec

from batchmill.core.failure import Failure
from batchmill.core.limits import MIB, Limits
from batchmill.core.outcome import Outcome, Result
from batchmill.core.request import MISTRAL_CHAT, OPENAI_EMBEDDINGS
from batchmill.core.shard import Accepted, NotThere
from batchmill.errors import ProviderBroke, ProviderBusy, ProviderGone, ProviderRefused
from batchmill.ports import Checked, Found, Offer, Provider
from batchmill.providers import LIVE_TERMS, Context, ProviderSpec
from batchmill.providers._counts import filled, must_have_ended, progress
from batchmill.providers._left_out import Input, blamed, untold, without
from batchmill.providers._left_out import named as named_in
from batchmill.providers._lines import results_of
from batchmill.providers._listing import all_older, oldest, page_of
from batchmill.providers._rest import Query, Rest, Words, at, objects, one_line, text, whole
from batchmill.providers._spool import multipart, spooled
from batchmill.providers._unrun import YOUNG_S, refused, young
from batchmill.providers.live import (
    HttpEndpoint,
    LiveProvider,
    checked_base_url,
    concurrency_of,
    known_options,
)
from batchmill.wire import mistral
from batchmill.wire.translate import complaint

#: Where our mark is: a name of at most 32 letters with a value of at most 512.
MARK: Final = "batchmill_shard"
JOBS: Final = "/v1/batch/jobs"
FILES: Final = "/v1/files"
OPTIONS: Final = ("concurrency",)
PAGE: Final = 100
PAGES_MAX: Final = 1_000
HOURS: Final = 24
HOURS_MAX: Final = 168

RUNNING: Final = ("QUEUED", "RUNNING", "CANCELLATION_REQUESTED")
#: What became of the rows that have no line, by how their job ended.
ENDINGS: Final[Mapping[str, tuple[Outcome, Failure, str] | None]] = {
    "SUCCESS": None,
    "FAILED": None,
    "TIMEOUT_EXCEEDED": (
        Outcome.EXPIRED,
        Failure.EXPIRED,
        "the window was over before it was run",
    ),
    "CANCELLED": (Outcome.CANCELED, Failure.CANCELED, "cancelled before it was run"),
}

#: A file that is refused goes up again without the lines at fault, so often and without so many;
#: where that is not enough, it is cut in halves.
UPLOADS_MAX: Final = 6
LEFT_OUT_MAX: Final = 200
LINE_BYTES_MAX: Final = 64 * MIB


class MistralBatches:
    """The verbs over Mistral's files and batch jobs."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._clock = context.clock
        self._name = context.name
        self._base_url = _host(checked_base_url(context.name, context.knobs))
        self._http = context.http()
        self._rest = self._calls({})

    def _calls(self, named: dict[int, str]) -> Rest:
        """Return a way to call the vendor; *named* hears which lines of an upload it refuses."""
        knobs = self._context.knobs

        def reads(status: int, body: bytes) -> Words:
            named.update(mistral.named_lines(body))
            return _reads(status, body)

        return Rest(
            self._http,
            self._clock,
            name=self._name,
            base_url=self._base_url,
            headers={"authorization": f"Bearer {(knobs.key or '').strip()}"},
            reads=reads,
            timeout_s=knobs.timeout_s,
            idle_timeout_s=knobs.idle_timeout_s,
        )

    # -- buying ---------------------------------------------------------------------------------

    async def prepare(self, offer: Offer) -> str:
        """Upload the lines; what the vendor names as unacceptable is left out, and remembered."""
        left_out: dict[str, str] = {}
        for _ in range(UPLOADS_MAX):
            named: dict[int, str] = {}
            try:
                return Input(await self._upload(offer, left_out, named), left_out).ref
            except ProviderRefused as no:
                if not named:
                    raise blamed(no, offer) from no
                left_out |= await named_in(without(offer, left_out), named)
                if len(left_out) >= offer.count:
                    raise ProviderRefused(str(no)) from no
                if len(left_out) > LEFT_OUT_MAX:
                    break
        words = f"{self._name}: refused for more lines than can be left out"
        raise ProviderRefused(words, failure=Failure.NOT_RUN)

    async def _upload(
        self, offer: Offer, left_out: Mapping[str, str], named: dict[int, str]
    ) -> str:
        boundary = f"batchmill-{self._context.ids.token()}"
        head, tail = multipart([("purpose", "batch")], "file", f"{offer.shard_id}.jsonl", boundary)
        offered = without(offer, left_out)
        async with spooled(
            offered, self._context.folder, mistral.render_request_line, last=b"\n"
        ) as file:
            try:
                answer = await self._calls(named).call(
                    "POST",
                    FILES,
                    headers={"content-type": f"multipart/form-data; boundary={boundary}"},
                    body=file.upload(head, tail),
                )
            except ProviderGone as gone:  # nothing of ours is gone: there is no such place
                words = f"{gone} Is base_url right? {self._base_url}"
                raise ProviderRefused(words, failure=Failure.ACCOUNT) from gone
        return self._id(self._rest.object(answer), "file")

    async def submit(self, offer: Offer) -> str:
        """Create the job, marked in its metadata."""
        job: dict[str, object] = {
            "endpoint": offer.url,
            "input_files": [Input.of(offer).file_id],
            "model": offer.model,
            "metadata": {MARK: offer.shard_id},
            "timeout_hours": _hours(offer.window_s),
        }
        try:
            return self._id(await self._rest.json("POST", JOBS, json=job, create=offer), "job")
        except ProviderRefused as no:
            if no.failure == Failure.MISSING:  # the input is deleted or expired: upload it again
                raise ProviderGone(str(no)) from no
            raise

    async def find(self, offer: Offer) -> Found:
        """Page through the jobs since our first call, newest first."""
        # A filter that a server does not know may as well let nothing pass: only a list without it
        # is a proof that there is none.
        for mark in ({MARK: offer.shard_id}, {}):
            async for job in self._jobs(offer, mark):
                job_id = text(job, "id")
                if job_id not in offer.strangers and _is_ours(job, offer):
                    return Accepted(job_id)
        return NotThere()

    async def _jobs(
        self, offer: Offer, mark: Mapping[str, str]
    ) -> AsyncIterator[dict[str, object]]:
        # Not `created_after`: our clock may be wrong, and would hide what is looked for.
        query: dict[str, str | int | None] = {"page_size": PAGE, "order_by": "-created", **mark}
        seen: set[str] = set()
        for page in range(PAGES_MAX):
            asked: Query = {**query, "page": page}
            answer = await page_of(self._rest, JOBS, asked, "data", name=self._name)
            found = {text(job, "id"): job for job in answer.batches}
            for job in found.values():
                yield job
            total = whole(answer.body, "total")
            told = "total" in answer.body  # else an empty page is the end
            more = not told or total > len(seen | found.keys()) or len(found) >= PAGE
            times = [whole(job, "created_at") for job in found.values()]
            since = oldest(offer, self._clock.now(), answer)
            if (found and not more) or all_older(times, since):
                return
            if not found and (mark or total <= len(seen)):
                return
            if found.keys() <= seen:
                break
            seen |= found.keys()
        raise ProviderBroke(f"{self._name}: its list of jobs has no end")

    # -- watching -------------------------------------------------------------------------------

    async def check(self, offer: Offer) -> Checked:
        job = await self._job(offer)
        status = text(job, "status")
        ended = status in ENDINGS
        unknown = "" if ended or status in RUNNING else f"{self._name} says {status or 'nothing'}"
        failed = whole(job, "failed_requests") + len(Input.of(offer).left_out)
        return Checked(ended, progress(offer, whole(job, "succeeded_requests"), failed, unknown))

    async def _job(self, offer: Offer) -> dict[str, object]:
        """Return the job; a 404 counts only once it is not new any more, and not listed either."""
        try:
            return await self._rest.json("GET", f"{JOBS}/{offer.upstream_id}")
        except ProviderGone as gone:
            if young(offer, self._clock):
                raise ProviderBusy(f"not there yet: {gone}", retry_at=0.0) from gone
            if isinstance(await self.find(offer), Accepted):
                raise ProviderBusy(f"listed all the same: {gone}", retry_at=0.0) from gone
            raise

    async def cancel(self, offer: Offer) -> None:
        """Ask for it; a no is fine where the job has ended or is about to."""
        try:
            await self._rest.json("POST", f"{JOBS}/{offer.upstream_id}/cancel")
        except (ProviderBusy, ProviderRefused, ProviderGone) as no:
            if getattr(no, "failure", None) == Failure.ACCOUNT:
                raise
            if text(await self._job(offer), "status") not in (*ENDINGS, RUNNING[-1]):
                raise ProviderBusy(str(no), retry_at=getattr(no, "retry_at", 0.0)) from no

    # -- collecting -----------------------------------------------------------------------------

    async def results(self, offer: Offer) -> AsyncIterator[Sequence[Result]]:
        """Yield what both files hold, and what became of the rows that are in neither."""
        job, put_in = await self._job(offer), Input.of(offer)
        status = text(job, "status")
        must_have_ended(status in ENDINGS, self._name, status)
        others, told = without(offer, put_in.left_out), set[str]()
        async for chunk in self._told(job, offer):
            if status != "SUCCESS":
                told.update(result.custom_id for result in chunk)
            yield chunk
        if status == "FAILED" and not told:
            looks_at = partial(complaint, offer.dialect)
            async for chunk in refused(others, self._refusal(job), {}, looks_at):
                yield chunk
        elif (ending := ENDINGS[status]) is not None:
            async for chunk in untold(others, told, *ending):
                yield chunk
        if put_in.left_out:
            yield put_in.results()

    async def _told(
        self, job: Mapping[str, object], offer: Offer
    ) -> AsyncIterator[Sequence[Result]]:
        """Yield what both files hold. Without the output nothing is: it is what was paid for."""
        ended_at, paid = whole(job, "completed_at"), whole(job, "succeeded_requests")
        now = self._clock.now()
        fresh = now < ended_at + YOUNG_S if ended_at else young(offer, self._clock)
        for kind, counted in (("output_file", paid), ("error_file", 0)):
            file = text(job, kind)
            if not file and counted and fresh:
                words = f"{self._name}: {paid:,} rows were answered, and there is no file of them"
                raise ProviderBusy(words, retry_at=0.0)
            if not file:
                continue
            try:
                async for chunk in filled(
                    self._results_in(file, offer), counted, f"{self._name}: {file}"
                ):
                    yield chunk
            except ProviderGone as gone:
                if fresh:
                    raise ProviderBusy(f"not there yet: {gone}", retry_at=0.0) from gone
                if kind == "output_file":
                    raise
                # Nothing in it was paid for: its rows have no line, and are asked for again.

    async def _results_in(self, file: str, offer: Offer) -> AsyncIterator[Sequence[Result]]:
        def parsed(line: bytes) -> Result:
            if (result := mistral.parse_result_line(line, offer.dialect)) is None:
                raise msgspec.ValidationError("it names no request")
            return result

        headers = {"accept": "application/octet-stream"}
        async with self._rest.download(f"{FILES}/{file}/content", headers=headers) as found:
            async for chunk in results_of(
                found.chunks(), parsed, LINE_BYTES_MAX, f"{self._name}: {file}"
            ):
                yield chunk

    def _refusal(self, job: Mapping[str, object]) -> Words:
        said = [text(error, "message") for error in objects(job, "errors")]
        words = "; ".join(one_line(message) for message in said if message)
        message = words or "the job failed, and no reason is given"
        return Words(mistral.job_failure(words), f"{self._name}: {message}")

    # -- afterwards -----------------------------------------------------------------------------

    async def tidy(self, offer: Offer) -> None:
        """Delete the input and the result files; the job itself stays as a line in the list."""
        files = [Input.of(offer).file_id]
        if offer.upstream_id is not None:
            try:
                job = await self._rest.json("GET", f"{JOBS}/{offer.upstream_id}")
            except ProviderGone:
                job = {}
            if _is_ours(job, offer):
                files += [text(job, "output_file"), text(job, "error_file")]
        for file in filter(None, files):
            try:
                await self._rest.call("DELETE", f"{FILES}/{file}")
            except ProviderGone:
                continue

    async def probe(self) -> str:
        """Ask for the list of models."""
        count = len(objects(await self._rest.json("GET", "/v1/models"), "data"))
        return f"answers, and the key is good; {count:,} models"

    def _id(self, found: Mapping[str, object], of: str) -> str:
        if not (its_id := text(found, "id")):
            raise ProviderBroke(f"{self._name} answered with a {of} that has no id")
        return its_id


class MistralEndpoint(HttpEndpoint):
    """Its live endpoints. The base URL is the host alone."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.base_url = _host(self.base_url)

    models_path = "/v1/models"

    def place(self, url: str) -> str:
        return self.base_url + url

    def reads(self, status: int, body: bytes) -> Words:
        return _reads(status, body)


def _host(base_url: str) -> str:
    return base_url.rstrip("/").removesuffix("/v1")


def _reads(status: int, body: bytes) -> Words:
    """Return what an error of any call says; `missing` is a thing that is not there."""
    said = mistral.complaint(body)
    failure = mistral.failure_of(status, said.code, said.message)
    if status == 404 and failure is Failure.INVALID_REQUEST:
        failure = Failure.MISSING
    return Words(failure, f"{status} {said}")


def _is_ours(job: Mapping[str, object], offer: Offer) -> bool:
    """Say whether a job carries our mark or, where it carries none, has our file as its input."""
    marked = at(job, "metadata", MARK)
    if marked is not None:
        return marked == offer.shard_id
    put_in, file_id = at(job, "input_files"), Input.of(offer).file_id
    return bool(file_id) and isinstance(put_in, list) and file_id in put_in


def _hours(window_s: float | None) -> int:
    return HOURS if window_s is None else min(max(ceil(window_s / 3600), 1), HOURS_MAX)


def _open(context: Context) -> Provider:
    known_options(context.name, context.knobs, OPTIONS)
    if context.lane == "batch":
        return MistralBatches(context)
    endpoint = MistralEndpoint(context)
    return LiveProvider(
        context,
        endpoint,
        concurrency=concurrency_of(context),
        label=f"endpoint {endpoint.base_url}",
        judge=mistral.result,
        names_account=mistral.names_account,
    )


PROVIDER = ProviderSpec(
    title="Mistral",
    base_url="https://api.mistral.ai",
    key_variable="MISTRAL_API_KEY",
    dialects=(MISTRAL_CHAT, OPENAI_EMBEDDINGS),
    lanes=("batch", "live"),
    # The pages say 1,000,000 rows in one place and 100,000 in another; 512 MB in one file. Half of
    # that is up and down in half the time, and nothing is lost by it.
    limits=Limits(requests_max=100_000, bytes_max=256 * MIB, request_bytes_max=32 * MIB),
    live=LIVE_TERMS,
    windows=("24h", "168h"),
    found_by="our mark in the job's metadata, or our input file",
    discount="50%",
    options=OPTIONS,
    open=_open,
)
