"""
Gemini on Google Cloud's Vertex: batch prediction jobs over Cloud Storage or BigQuery.

A job carries our mark as its display name. Its lines have no name of their own: the request comes
back with the answer, and in it the label we gave it. Sources: the vendor's batch guides (read
2026-11), and what its SDK sends.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from batchmill.core.failure import Failure
from batchmill.core.limits import MIB, Limits
from batchmill.core.outcome import Result
from batchmill.core.request import GEMINI_GENERATE
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
from batchmill.providers import _vertex_setup as setup
from batchmill.providers._counts import must_have_ended, progress
from batchmill.providers._google import FRESH_S, unix, unrun
from batchmill.providers._listing import page_of
from batchmill.providers._rest import text, whole
from batchmill.providers._unrun import young
from batchmill.wire import gemini, google
from batchmill.wire.gemini import Echo

ENDED: Final = frozenset({"SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED", "PARTIALLY_SUCCEEDED"})
UNDER_WAY: Final = frozenset({"QUEUED", "PENDING", "RUNNING", "CANCELLING", "UPDATING"})
PAGE: Final = 100
PAGES_MAX: Final = 1_000
#: A job waits 72 h at most, and is cancelled 24 h after it has begun (the guide, 2026).
QUEUE_MAX_S: Final = 72 * 3600.0
RUN_MAX_S: Final = 24 * 3600.0
_NEARLY: Final = 0.98


class VertexProvider:
    """The verbs over `batchPredictionJobs`."""

    def __init__(self, context: Context) -> None:
        self._name = context.name
        self._clock, self._ids = context.clock, context.ids
        self._place = setup.place(context)
        self._rest = setup.rest(context, self._place)
        self._storage = setup.storage(context, self._place)

    # -- offering ---------------------------------------------------------------------------------

    async def prepare(self, offer: Offer) -> str:
        """Put the requests where the vendor reads them, under a name of their own."""
        return await self._storage.put(offer, self._ids.token())

    async def submit(self, offer: Offer) -> str:
        """Make the job, once. `ProviderGone`: its input is not there any more."""
        await self._storage.ready(offer)
        wanted = {
            "displayName": offer.shard_id,
            "model": setup.model_name(offer.model),
            **self._storage.configs(offer),
        }
        try:
            job = await self._rest.json("POST", self._place.jobs, json=wanted, create=offer)
        except ProviderRefused as refusal:
            if not await self._storage.there(offer):
                raise ProviderGone(f"{offer.ref} is not there any more") from refusal
            # What the path names is not there: the project, or all of it where base_url is wrong.
            if str(refusal).startswith(f"{self._name}: 404"):
                raise ProviderRefused(str(refusal), failure=Failure.ACCOUNT) from refusal
            raise
        upstream_id = text(job, "name")
        if not upstream_id:
            raise ProviderSilent(f"{self._name} took a job and gave it no name")
        return upstream_id

    # -- finding ----------------------------------------------------------------------------------

    async def find(self, offer: Offer) -> Found:
        """Ask for the jobs of our name: the vendor's filter does the search."""
        query = {"filter": f'display_name="{offer.shard_id}"', "pageSize": PAGE}
        token = ""
        for _ in range(PAGES_MAX):
            page = await page_of(
                self._rest,
                self._place.jobs,
                {**query, "pageToken": token or None},
                "batchPredictionJobs",
                name=self._name,
                onward="nextPageToken",
            )
            for job in page.batches:
                name = text(job, "name")
                ours = text(job, "displayName") == offer.shard_id
                if ours and name and name not in offer.strangers:
                    return Accepted(name)
            token = text(page.body, "nextPageToken")
            if not token:
                return NotThere()
        words = f"{self._name}: its list of jobs has no end"
        return CannotTell(self._clock.now() + FRESH_S, words)

    async def _look(self, offer: Offer) -> dict[str, object]:
        """Return the job. That it is not there is believed only where its list agrees."""
        try:
            return await self._rest.json("GET", self._place.job(offer.upstream_id or ""))
        except ProviderGone as gone:
            if young(offer, self._clock):
                raise ProviderBusy(str(gone), retry_at=0.0) from gone
            try:
                found = await self.find(offer)
            except ProviderGone as no:  # without a list, base_url may be wrong
                raise ProviderBusy(str(no), retry_at=0.0) from gone
            if isinstance(found, CannotTell):
                raise ProviderBusy(f"{gone} {found.reason}", retry_at=0.0) from gone
            if isinstance(found, Accepted) and found.upstream_id == offer.upstream_id:
                words = f"{gone} But it is in the list of jobs."
                raise ProviderBusy(words, retry_at=0.0) from gone
            raise

    # -- waiting ----------------------------------------------------------------------------------

    async def check(self, offer: Offer) -> Checked:
        """Ask how far it is."""
        job = await self._look(offer)
        state = _state(job)
        done = whole(job, "completionStats", "successfulCount")
        failed = whole(job, "completionStats", "failedCount")
        known = state in ENDED or state in UNDER_WAY
        note = "" if known else f"{self._name} says: {text(job, 'state') or 'no state'}"
        return Checked(state in ENDED, progress(offer, done, failed, note))

    async def cancel(self, offer: Offer) -> None:
        """Ask it to stop; where that is answered by a no, its state says whether that matters."""
        try:
            await self._rest.json("POST", f"{self._place.job(offer.upstream_id or '')}:cancel")
        except ProviderGone as gone:
            if young(offer, self._clock):
                raise ProviderBusy(str(gone), retry_at=0.0) from gone
        except (ProviderBusy, ProviderRefused) as no:
            if getattr(no, "failure", None) == Failure.ACCOUNT:
                raise
            if _state(await self._look(offer)) not in ENDED | {"CANCELLING"}:
                raise

    # -- collecting -------------------------------------------------------------------------------

    async def results(self, offer: Offer) -> AsyncIterator[Sequence[Result]]:
        """Yield the lines of all files of results, and what became of the rows never run."""
        job = await self._look(offer)
        must_have_ended(_state(job) in ENDED, self._name, _state(job))
        whose, seen = _Whose(offer), set[str]()
        async for twice, echoes in self._storage.answers(job, offer):
            found = [await whose.result(echo) for echo in echoes]
            if twice:
                found = [result for result in found if result.custom_id not in seen]
            seen.update(result.custom_id for result in found)
            yield found
        if not seen and (done := whole(job, "completionStats", "successfulCount")) > 0:
            raise ProviderBroke(f"{self._name}: {done:,} rows have succeeded, and are in no file")
        error = google.read(job["error"]) if job.get("error") else None
        async for found in unrun(offer, _ending(job), seen, error):
            yield found

    # -- afterwards -------------------------------------------------------------------------------

    async def tidy(self, offer: Offer) -> None:
        """Delete what is stored of the shard. The record of a job has no rows in it."""
        await self._storage.clear(offer)

    async def probe(self) -> str:
        """Ask for a job."""
        await self._rest.json("GET", self._place.jobs, query={"pageSize": 1})
        return f"the credentials are good for project {self._place.project}"


class _Whose:
    """Tells whose a line is: by its label, else by the request that came back with the answer."""

    def __init__(self, offer: Offer) -> None:
        self._offer = offer
        self._told: set[str] = set()
        self._names: dict[bytes, list[str]] | None = None

    async def result(self, echo: Echo) -> Result:
        """Return the result under the name it was sent; under none of ours if it is not ours."""
        if echo.result.custom_id:
            self._told.add(echo.result.custom_id)
            return echo.result
        if self._names is None:
            self._names = await self._by_fingerprint()
        mark = gemini.fingerprint(echo.request)
        names = self._names.get(mark, [])
        # Of two rows that ask the same, each gets one of the answers; a further one is a duplicate.
        name = next((each for each in names if each not in self._told), None)
        name = name or (names[0] if names else mark.hex())
        self._told.add(name)
        return replace(echo.result, custom_id=name)

    async def _by_fingerprint(self) -> dict[bytes, list[str]]:
        found: dict[bytes, list[str]] = {}
        async for requests in self._offer.requests():
            for request in requests:
                found.setdefault(gemini.fingerprint(request.body), []).append(request.custom_id)
        return found


def _state(job: Mapping[str, object]) -> str:
    return text(job, "state").removeprefix("JOB_STATE_")


def _ending(job: Mapping[str, object]) -> str:
    """Return how a job ended: one whose time was up is called cancelled as well."""
    state, ended_at = _state(job), unix(text(job, "endTime"))
    begun_at = unix(text(job, "startTime"))
    waited_s = (begun_at or ended_at) - (unix(text(job, "createTime")) or ended_at)
    ran_s = ended_at - (begun_at or ended_at)
    if state == "CANCELLED" and (waited_s > QUEUE_MAX_S * _NEARLY or ran_s > RUN_MAX_S * _NEARLY):
        return "EXPIRED"
    return state


def _open(context: Context) -> Provider:
    return VertexProvider(context) if context.lane == "batch" else setup.live(context)


PROVIDER = ProviderSpec(
    title="Gemini on Google Cloud (Vertex)",
    key_variable="GOOGLE_OAUTH_ACCESS_TOKEN",
    key_fallbacks=("CLOUDSDK_AUTH_ACCESS_TOKEN",),
    key_required=False,  # a service account or a login is the rule
    dialects=(GEMINI_GENERATE,),
    lanes=("batch", "live"),
    # 200,000 rows and 1 GB a file; a line of results holds the request once more.
    limits=Limits(requests_max=100_000, bytes_max=512 * MIB, request_bytes_max=19 * MIB),
    leave_within_s=10.0,  # for a token that has to be fetched first
    live=LIVE_TERMS,
    windows=("96h",),
    found_by="its display name, by the filter of the list of jobs",
    discount="50%",
    links=("gs", "https"),
    options=setup.OPTIONS,
    ready=setup.ready,
    open=_open,
)
