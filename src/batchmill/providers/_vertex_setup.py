"""What a person sets for Vertex, what is missing of it, and where its parts are."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Final
from urllib.parse import quote

import msgspec

from batchmill.core.request import Request
from batchmill.errors import InvalidSetting, NotSent, ProviderError, ProviderRefused
from batchmill.ports import Answer, Offer
from batchmill.providers import Context, Knobs
from batchmill.providers._bigquery import URL as BIGQUERY
from batchmill.providers._bigquery import BigQuery
from batchmill.providers._buckets import Bucket
from batchmill.providers._google import reads
from batchmill.providers._google_auth import GoogleAuth
from batchmill.providers._google_auth import missing as nobody
from batchmill.providers._rest import Rest, Words
from batchmill.providers._vertex_storage import InBucket, InTables, Storage
from batchmill.providers.live import HttpEndpoint, LiveProvider, concurrency_of, known_options
from batchmill.wire import gemini, google

OPTIONS: Final = (
    "project",
    "location",
    "bucket",
    "credentials",
    "api_version",
    "storage_url",
    "bigquery_url",
    "concurrency",
)
LOCATION: Final = "us-central1"
_WORD: Final = re.compile(r"[a-z0-9][a-z0-9:.-]*")  # also `example.com:project`


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where our jobs are, and who asks."""

    base_url: str
    version: str
    project: str
    location: str
    auth: GoogleAuth

    @property
    def root(self) -> str:
        return f"/{self.version}/projects/{self.project}/locations/{self.location}"

    @property
    def jobs(self) -> str:
        return f"{self.root}/batchPredictionJobs"

    def job(self, name: str) -> str:
        """Return the path of a job, by its whole name or by its number alone."""
        return f"/{self.version}/{_quoted(name)}" if "/" in name else f"{self.jobs}/{_quoted(name)}"

    def model(self, model: str) -> str:
        """Return the path of a model that answers at once."""
        name = model_name(model)
        return f"/{self.version}/{name}" if name.startswith("projects/") else f"{self.root}/{name}"


def place(context: Context) -> Place:
    """Read the settings; raise a `UserError` naming what is missing or wrong."""
    name, knobs = context.name, context.knobs
    known_options(name, knobs, OPTIONS)
    version = _text(name, knobs, "api_version") or "v1"
    if not re.fullmatch(r"v\d\w*", version):
        raise InvalidSetting(
            f"[providers.{name}] api_version = {version!r}: expected e.g. v1 or v1beta1."
        )
    auth = GoogleAuth(context)
    project = _text(name, knobs, "project") or os.environ.get("GOOGLE_CLOUD_PROJECT", "")
    project = project or auth.project
    location = _location(name, knobs)
    if not project:
        raise InvalidSetting(
            f"provider {name} needs a project: set it under [providers.{name}] in batchmill.toml, "
            "or GOOGLE_CLOUD_PROJECT in the environment."
        )
    for option, value in (("project", project), ("location", location)):
        if not _WORD.fullmatch(value):
            raise InvalidSetting(f"[providers.{name}] {option} = {value!r}: no name of one.")
    host = "aiplatform" if location == "global" else f"{location}-aiplatform"
    base_url = knobs.base_url.rstrip("/") or f"https://{host}.googleapis.com"
    return Place(base_url=base_url, version=version, project=project, location=location, auth=auth)


def rest(context: Context, place: Place, base_url: str = "") -> Rest:
    return Rest(
        context.http(),
        context.clock,
        name=context.name,
        base_url=base_url or place.base_url,
        headers={},
        reads=reads,
        timeout_s=context.knobs.timeout_s,
        idle_timeout_s=context.knobs.idle_timeout_s,
        sign=place.auth.sign,
    )


def storage(context: Context, place: Place) -> Storage:
    """Open the bucket or the dataset for input and output, with the same credentials."""
    name, knobs = context.name, context.knobs
    url, spool = _text(name, knobs, "bucket"), context.folder / "uploads"
    if url.startswith("bq://"):
        at = _text(name, knobs, "bigquery_url").rstrip("/") or BIGQUERY
        tables = BigQuery(rest(context, place, at), url, name)
        return InTables(tables, context.clock, spool, name)
    if not url.startswith("gs://"):
        said = f"{url!r} is none" if url else "it is not set"
        raise InvalidSetting(
            f"provider {name} needs a bucket for its batch lane: {said}. Write under "
            f'[providers.{name}] in batchmill.toml e.g. bucket = "gs://my-bucket/batchmill", or '
            'bucket = "bq://my-project.my_dataset".'
        )
    at = _text(name, knobs, "storage_url")
    bucket = Bucket(
        url,
        name=name,
        idle_timeout_s=knobs.idle_timeout_s,
        config={"base_url": at} if at else {},
        credentials=place.auth.for_storage,
    )
    return InBucket(bucket, context.clock, spool, name)


def ready(knobs: Knobs) -> str | None:
    """Return what is missing on this machine, in one line; no server is asked."""
    missing: list[str] = []
    if nobody(knobs):
        missing.append("GOOGLE_APPLICATION_CREDENTIALS")
    elif not knobs.key and not (find_spec("google") and find_spec("google.auth")):
        missing.append("the package google-auth (pip install 'batchmill[vertex]')")
    if knobs.lane == "live":
        return f"set {', '.join(missing)}" if missing else None
    if not knobs.options.get("bucket"):
        missing.append("bucket (for batches)")
    elif str(knobs.options["bucket"]).startswith("gs://") and find_spec("obstore") is None:
        missing.append("the package obstore (pip install 'batchmill[s3]')")
    return f"set {', '.join(missing)}" if missing else None


def model_name(model: str) -> str:
    """Return a model as Vertex names it: a publisher's, unless it says so itself."""
    return _quoted(model if "/" in model else f"publishers/google/models/{model}")


def live(context: Context) -> LiveProvider:
    where = place(context)
    knobs = replace(context.knobs, base_url=where.base_url, key=None)
    context = replace(context, knobs=knobs)

    def url_of(offer: Offer) -> str:
        return f"{where.model(offer.model)}{offer.url}"

    return LiveProvider(
        context,
        VertexEndpoint(context, where),
        concurrency=concurrency_of(context),
        label=context.name,
        judge=gemini.result,
        names_account=google.names_account,
        url_of=url_of,
    )


class VertexEndpoint(HttpEndpoint):
    """Vertex's live API: the same bodies, and a token that is always fresh."""

    def __init__(self, context: Context, place: Place) -> None:
        super().__init__(context)
        self._auth = place.auth
        self._rest = rest(context, place)
        self._jobs = place.jobs

    def place(self, url: str) -> str:
        return self.base_url.rstrip("/") + url

    def reads(self, status: int, body: bytes) -> Words:
        return reads(status, body)

    async def send(self, request: Request, url: str) -> Answer:
        try:
            headers: Mapping[str, str] = await self._auth.sign("POST", url, self._headers, None)
        except ProviderRefused as refusal:
            # As if the endpoint itself had said it: the run stops, and the person is told.
            error = {"code": 401, "message": str(refusal), "status": "UNAUTHENTICATED"}
            return Answer(401, {}, msgspec.json.encode({"error": error}))
        except ProviderError as error:
            raise NotSent(f"no access token: {error}") from error
        return await self._http.request(
            "POST",
            self.place(url),
            headers=headers,
            body=request.body,
            timeout_s=self._timeout_s,
        )

    async def probe(self) -> str:
        """Ask for a job: it is free, and the same credentials count."""
        await self._rest.json("GET", self._jobs, query={"pageSize": 1})
        return "answers, and the credentials are good"


def _location(name: str, knobs: Knobs) -> str:
    return _text(name, knobs, "location") or os.environ.get("GOOGLE_CLOUD_LOCATION", "") or LOCATION


def _text(name: str, knobs: Knobs, option: str) -> str:
    value = knobs.options.get(option, "")
    if not isinstance(value, str):
        raise InvalidSetting(f"[providers.{name}] {option} = {value!r}: expected a text.")
    return value.strip()


def _quoted(name: str) -> str:
    return quote(name, safe="/:@")
