"""
Amazon Bedrock: batch jobs with input and output in S3, and its live operations.

The only vendor where a create is marked by a token that makes its repetition harmless. Sources: the
service model of botocore 1.44.5, the vendor's user guide (read 2026-08-21), and what boto3 1.44.5
really sends; odd cases carry their own source.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import ceil
from typing import Final
from urllib.parse import quote

from batchmill.core.failure import Failure
from batchmill.core.limits import MIB, Limits
from batchmill.core.outcome import Result
from batchmill.core.request import ANTHROPIC_MESSAGES, BEDROCK_CONVERSE, DIALECTS, Request
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
from batchmill.providers import _bedrock_output as output
from batchmill.providers import _bedrock_setup as setup
from batchmill.providers._buckets import Bucket
from batchmill.providers._counts import must_have_ended, progress
from batchmill.providers._listing import page_of
from batchmill.providers._rest import Rest, Words, text, whole
from batchmill.providers._sigv4 import SignedHttp
from batchmill.providers._spool import spooled
from batchmill.providers._unrun import refused, young
from batchmill.providers.live import LiveProvider, concurrency_of, known_options
from batchmill.wire import bedrock
from batchmill.wire.bedrock_failures import error_words, failure_of, names_account
from batchmill.wire.translate import complaint

JOBS: Final = "/model-invocation-job"
PAGE: Final = 100
PAGES_MAX: Final = 1_000

_ENDED: Final = ("Completed", "PartiallyCompleted", "Failed", "Stopped", "Expired")
_RUNNING: Final = ("InProgress",)
_INPUT: Final = "input.jsonl"


class BedrockProvider:
    """The verbs over model invocation jobs."""

    def __init__(self, context: Context) -> None:
        self._name = context.name
        self._clock = context.clock
        self._ids = context.ids
        self._folder = context.folder
        self._settings = setup.batch_settings(context)
        self._aws = setup.aws(context)
        self._rest = _rest(context, SignedHttp(context.http(), self._aws), self._aws.region)
        self._buckets: dict[str, Bucket] = {}
        self._idle_timeout_s = context.knobs.idle_timeout_s
        self._bucket = self._opened(self._settings.bucket)

    # -- the verbs ------------------------------------------------------------------------------

    async def prepare(self, offer: Offer) -> str:
        """Put the records into a folder of their own, where the results will lie beside them."""
        folder = f"{self._bucket.prefix}{offer.shard_id}/{self._ids.token()}"

        def render(request: Request) -> bytes:
            if offer.dialect == BEDROCK_CONVERSE and bedrock.uses_tools(request.body):
                # Each such record would fail, one by one, after hours in the queue.
                raise ProviderRefused(
                    f"{self._name}: a batch job in Converse takes no toolConfig, so this model "
                    "has neither tools nor a schema there; use --lane live"
                )
            return bedrock.render_record(request, offer.dialect)

        async with spooled(offer, self._folder, render) as file:
            return await self._bucket.put(f"{folder}/{_INPUT}", file)

    async def submit(self, offer: Offer) -> str:
        least = self._settings.requests_min
        if offer.count < least:
            raise ProviderRefused(
                f"{self._name}: a job takes at least {least:,} records, not {offer.count:,}",
                failure=Failure.NOT_RUN,
            )
        try:
            made = await self._rest.json("POST", JOBS, json=self._job(offer), create=offer)
        except ProviderRefused as refusal:
            await self._understood(refusal, offer)
            raise
        if not (arn := text(made, "jobArn")):
            raise ProviderSilent(f"{self._name}: a job was created, and its name is not told")
        return arn

    async def find(self, offer: Offer) -> Found:
        """Look through the jobs of our name for the one with our token."""
        query: dict[str, str | int | None] = {
            "nameContains": setup.mark(offer.shard_id),
            "sortBy": "CreationTime",
            "sortOrder": "Descending",
            "maxResults": PAGE,
        }
        for _ in range(PAGES_MAX):
            page = await page_of(
                self._rest,
                f"{JOBS}s",
                query,
                "invocationJobSummaries",
                name=self._name,
                onward="nextToken",
            )
            for job in page.batches:
                arn = text(job, "jobArn")
                if arn and arn not in offer.strangers and _is_ours(job, offer):
                    return Accepted(arn)
            following = text(page.body, "nextToken")
            if not following:
                return NotThere()
            if following == query.get("nextToken"):
                break
            query["nextToken"] = following
        return CannotTell(0.0, f"{self._name}: its list of jobs has no end")

    async def check(self, offer: Offer) -> Checked:
        job = await self._job_of(offer)
        status = text(job, "status")
        known = status in _ENDED or status in _RUNNING
        done, failed = whole(job, "successRecordCount"), whole(job, "errorRecordCount")
        note = "" if known else f"the vendor says: {status or 'nothing'}"
        return Checked(status in _ENDED, progress(offer, done, failed, note))

    async def cancel(self, offer: Offer) -> None:
        try:
            await self._rest.json("POST", f"{_path(offer)}/stop")
        except ProviderGone as gone:
            if young(offer, self._clock):
                raise ProviderBusy(str(gone), retry_at=0.0) from gone
        except ProviderRefused as refusal:
            if refusal.failure == Failure.ACCOUNT:
                raise  # else it has ended, or is about to: ConflictException, ValidationException

    async def results(self, offer: Offer) -> AsyncIterator[Sequence[Result]]:
        """Every ended job may hold paid records, also one that failed or was stopped."""
        job = await self._job_of(offer)
        status = text(job, "status")
        must_have_ended(status in _ENDED, self._name, status)
        place = text(job, "outputDataConfig", "s3OutputDataConfig", "s3Uri")
        bucket, folder = self._place(place or _beside(offer.ref or ""))
        found = [e.key for e in await bucket.list(folder) if e.key.endswith(".jsonl.out")]
        if not found and whole(job, "processedRecordCount"):
            raise ProviderGone(f"{self._name}: {bucket.url(folder)}: the results are gone")
        if not found and status == "Failed":
            async for chunk in refused(
                offer, output.why(text(job, "message")), {}, partial(complaint, offer.dialect)
            ):
                yield chunk
            return
        seen: set[str] = set()
        anything = False
        for key in found:
            async for chunk in output.read(bucket, key, offer):
                anything = anything or bool(chunk)
                if status in output.UNRUN:
                    seen.update(result.custom_id for result in chunk)
                yield chunk
        if not anything and (done := whole(job, "successRecordCount")) > 0:
            words = f"{self._name}: {bucket.url(folder)} holds nothing of {done:,} answers"
            raise ProviderBroke(words)
        async for chunk in output.unrun(offer, status, seen):
            yield chunk

    async def tidy(self, offer: Offer) -> None:
        """
        Delete the shard's folder: its records, and what its job wrote beside them.

        Also what a `prepare` left there whose process died before it could say so.
        """
        if not (offer.ref or "").startswith("s3://"):
            return
        bucket, key = self._place(offer.ref or "")
        above, _, name = key.rpartition("/")
        folder = above.rpartition("/")[0]
        if name == _INPUT and folder.rpartition("/")[2] == offer.shard_id:
            await bucket.delete([entry.key for entry in await bucket.list(f"{folder}/")])

    async def probe(self) -> str:
        await self._rest.json("GET", f"{JOBS}s", query={"maxResults": 1})
        return f"answers, and the credentials are good; region {self._aws.region}"

    # -- behind them ----------------------------------------------------------------------------

    def _job(self, offer: Offer) -> dict[str, object]:
        claude = offer.dialect == ANTHROPIC_MESSAGES
        return {
            "jobName": setup.mark(offer.shard_id),
            "clientRequestToken": setup.mark(offer.shard_id),
            "roleArn": self._settings.role_arn,
            "modelId": offer.model,
            "modelInvocationType": "InvokeModel" if claude else "Converse",
            "timeoutDurationInHours": self._settings.timeout_hours or _hours(offer.window_s),
            "inputDataConfig": {
                "s3InputDataConfig": {"s3Uri": offer.ref, "s3InputFormat": "JSONL"}
            },
            "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": _beside(offer.ref or "")}},
        }

    async def _understood(self, refusal: ProviderRefused, offer: Offer) -> None:
        """Raise what the refusal of a create means for us, where it means more than it says."""
        if refusal.failure in (Failure.ACCOUNT, Failure.NOT_RUN):
            return
        words = str(refusal)
        if "ConflictException" in words:
            # Our token is known already, with another input: there may be a job of ours.
            raise ProviderSilent(words) from refusal
        bucket, key = self._place(offer.ref or "")
        if key not in [entry.key for entry in await bucket.list(f"{key.rpartition('/')[0]}/")]:
            raise ProviderGone(f"{words} ({offer.ref} is gone)") from refusal
        # No record is looked at yet. What is refused is the role, the model, the bucket: the
        # batch is held, and the person told.
        raise ProviderRefused(words, failure=Failure.ACCOUNT) from refusal

    async def _job_of(self, offer: Offer) -> dict[str, object]:
        """Return a job; `ProviderGone` only where it is neither there nor in the list."""
        try:
            return await self._rest.json("GET", _path(offer))
        except (ProviderGone, ProviderRefused) as error:
            if isinstance(error, ProviderRefused) and error.failure == Failure.ACCOUNT:
                raise
            if young(offer, self._clock) or not isinstance(await self.find(offer), NotThere):
                raise ProviderBusy(str(error), retry_at=0.0) from error
            raise ProviderGone(str(error)) from error

    def _place(self, url: str) -> tuple[Bucket, str]:
        """Return the bucket of a url, which may be an older one than is set now, and the key."""
        bucket = self._bucket if self._bucket.key(url) is not None else self._opened(url)
        return bucket, bucket.key(url) or ""

    def _opened(self, url: str) -> Bucket:
        root = "/".join(url.split("/", 3)[:3])
        if root not in self._buckets:
            self._buckets[root] = Bucket(
                url,
                name=self._name,
                idle_timeout_s=self._idle_timeout_s,
                config=setup.storage(self._settings, self._aws.region),
                credentials=self._aws.for_storage,
            )
        return self._buckets[root]


class BedrockLive(LiveProvider):
    """The live lane. An answer of Converse does not say who gave it; who was asked, does."""

    async def results(self, offer: Offer) -> AsyncIterator[Sequence[Result]]:
        async for chunk in super().results(offer):
            yield [output.named(result, offer) for result in chunk]


def _rest(context: Context, http: SignedHttp, region: str) -> Rest:
    return Rest(
        http,
        context.clock,
        name=context.name,
        base_url=setup.control_url(context.knobs, region),
        headers={},
        reads=_reads,
        timeout_s=context.knobs.timeout_s,
        idle_timeout_s=context.knobs.idle_timeout_s,
    )


def _reads(status: int, body: bytes) -> Words:
    code, message = error_words(body)
    failure = failure_of(status, code, message)
    if code == "ResourceNotFoundException":
        failure = Failure.INVALID_REQUEST  # here it is a job that is not there, not a model
    return Words(failure, f"{code}: {message}" if code else f"{status}: {message}")


def _path(offer: Offer) -> str:
    return f"{JOBS}/{quote(offer.upstream_id or '', safe='')}"


def _is_ours(job: Mapping[str, object], offer: Offer) -> bool:
    ours = setup.mark(offer.shard_id)
    return (text(job, "clientRequestToken") or text(job, "jobName")) == ours


def _beside(ref: str) -> str:
    return f"{ref.rpartition('/')[0]}/out/"


def _hours(window_s: float | None) -> int:
    """Return how long a job may take: what the client is willing to wait, as far as it can be."""
    return min(max(ceil((window_s or 0.0) / 3600), 24), 168)


def _dialect(spec: ProviderSpec, endpoint: str, model: str) -> str | None:
    """Claude is spoken to in its own tongue, which says more; all others in the common one."""
    if endpoint != DIALECTS[BEDROCK_CONVERSE].endpoint:
        return None
    return ANTHROPIC_MESSAGES if "anthropic." in model else BEDROCK_CONVERSE


def _open(context: Context) -> Provider:
    known_options(context.name, context.knobs, PROVIDER.options)
    if context.lane == "batch":
        return BedrockProvider(context)
    aws = setup.aws(context)
    signed = SignedHttp(context.http(), aws)
    return BedrockLive(
        context,
        setup.RuntimeEndpoint(context, signed, _rest(context, signed, aws.region), aws.region),
        concurrency=concurrency_of(context),
        label=f"Bedrock in {aws.region}",
        judge=bedrock.result,
        names_account=names_account,
        url_of=setup.runtime_path,
    )


#: A body may have 25,000,000 bytes, in either lane; a file 1 GB, which nobody wants to send twice.
LIMITS: Final = Limits(
    requests_max=50_000, bytes_max=192 * MIB, request_bytes_max=22 * MIB, requests_min=100
)
_LIVE_LIMITS: Final = replace(LIVE_TERMS.limits, request_bytes_max=LIMITS.request_bytes_max)

PROVIDER = ProviderSpec(
    title="Amazon Bedrock",
    key_variable="AWS_BEARER_TOKEN_BEDROCK",
    key_required=False,  # most sign with AWS credentials instead
    dialects=(ANTHROPIC_MESSAGES, BEDROCK_CONVERSE),
    lanes=("batch", "live"),
    links=(),  # neither InvokeModel nor Converse follows one
    limits=LIMITS,
    live=replace(LIVE_TERMS, limits=_LIVE_LIMITS),
    windows=("24h", "168h"),
    found_by="its client token: the shard's id",
    discount="50%",
    options=(*setup.OPTIONS, "concurrency"),
    ready=setup.ready,
    dialect=_dialect,
    open=_open,
)
