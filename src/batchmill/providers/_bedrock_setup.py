"""What a person sets for Bedrock, what is missing of it, and where its two planes are."""

import hashlib
import os
import re
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final
from urllib.parse import quote

import msgspec

from batchmill.core.request import ANTHROPIC_MESSAGES, Request
from batchmill.errors import InvalidSetting, ProviderRefused
from batchmill.ports import Answer, Http, Offer
from batchmill.providers import Context, Knobs
from batchmill.providers._rest import Rest
from batchmill.providers._sigv4 import Aws, lacking
from batchmill.wire.bedrock import invoke_body

OPTIONS: Final = (
    "region",
    "profile",
    "bucket",
    "role_arn",
    "s3_endpoint",
    "runtime_url",
    "timeout_hours",
    "requests_min",
)
REQUESTS_MIN: Final = 100
NO_ACCESS: Final = "AccessDeniedException"
_HOURS: Final = (24, 168)
_S3_ENDPOINTS: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
#: As botocore 1.44.5 has them.
_S3_URI: Final = re.compile(r"s3://[a-z0-9][-.a-z0-9]{1,61}[a-z0-9](/[-!_*'().a-z0-9A-Z]+)*/?")
_ROLE_ARN: Final = re.compile(r"arn:aws(-[^:]+)?:iam::([0-9]{12})?:role/.+")
#: A job's name has at most so many letters; a token may have more, and is the same word.
_MARK_MAX: Final = 63

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSettings:
    """What the batch lane needs to know."""

    bucket: str  #: `s3://bucket/prefix`: input and output lie below it
    role_arn: str  #: whom Bedrock becomes to read and write there
    s3_endpoint: str | None
    timeout_hours: int | None  #: None: what the client is willing to wait
    requests_min: int


def aws(context: Context) -> Aws:
    knobs, name = context.knobs, context.name
    profile, region = _text(knobs, name, "profile"), _text(knobs, name, "region")
    return Aws(context.clock, name=name, profile=profile, region=region, bearer=knobs.key)


def batch_settings(context: Context) -> BatchSettings:
    """Read them; raise `InvalidSetting` naming what is missing or wrong."""
    knobs, name = context.knobs, context.name
    bucket, role_arn = _text(knobs, name, "bucket"), _text(knobs, name, "role_arn")
    if missing := [each for each in ("bucket", "role_arn") if not _text(knobs, name, each)]:
        raise InvalidSetting(
            f"provider {name} needs {' and '.join(missing)} for its batch lane: set them under "
            f"[providers.{name}] in batchmill.toml."
        )
    assert bucket
    assert role_arn
    if _S3_URI.fullmatch(bucket) is None:
        raise InvalidSetting(
            f"[providers.{name}] bucket = {bucket!r}: expected s3://bucket/prefix, of letters, "
            "digits and -_.!*'()."
        )
    if _ROLE_ARN.fullmatch(role_arn) is None:
        raise InvalidSetting(
            f"[providers.{name}] role_arn = {role_arn!r}: expected arn:aws:iam::ACCOUNT:role/NAME."
        )
    return BatchSettings(
        bucket=bucket.rstrip("/"),
        role_arn=role_arn,
        s3_endpoint=_text(knobs, name, "s3_endpoint"),
        timeout_hours=_number(knobs, name, "timeout_hours", *_HOURS),
        requests_min=_number(knobs, name, "requests_min", 1, 100_000) or REQUESTS_MIN,
    )


def ready(knobs: Knobs) -> str | None:
    """Return what is missing on this machine, in one line; no server is asked."""
    batches = knobs.lane == "batch"  # nothing lies in a bucket on the way of a live call
    own = [name for name in ("bucket", "role_arn") if batches and not knobs.options.get(name)]
    if batches and find_spec("obstore") is None:
        own.append("the package obstore (pip install 'batchmill[s3]')")
    profile, region = knobs.options.get("profile"), knobs.options.get("region")
    own += lacking(
        str(profile) if profile else None,
        str(region) if region else None,
        # A key of Bedrock's own does for its calls; the bucket of a batch does not know it.
        signs=batches or not (knobs.key or "").strip(),
    )
    return f"set {', '.join(own)}" if own else None


def storage(settings: BatchSettings, region: str) -> dict[str, object]:
    """Return where S3 is, in the words of obstore."""
    named = next((found for name in _S3_ENDPOINTS if (found := os.environ.get(name))), None)
    endpoint = settings.s3_endpoint or named
    return {"region": region, "endpoint": endpoint} if endpoint else {"region": region}


def control_url(knobs: Knobs, region: str) -> str:
    return knobs.base_url or f"https://bedrock.{region}.amazonaws.com"


def mark(shard_id: str) -> str:
    """Return the word that names a shard's job: letters, digits and single dashes."""
    word = re.sub(r"[^a-zA-Z0-9]+", "-", shard_id).strip("-")
    if len(word) <= _MARK_MAX and word.count("-") == len(re.findall(r"[^a-zA-Z0-9]", shard_id)):
        return word
    digest = hashlib.sha256(shard_id.encode()).hexdigest()[:16]
    return f"{word[: _MARK_MAX - 17].strip('-') or 'b'}-{digest}"


def runtime_path(offer: Offer) -> str:
    """
    Return where a live request goes.

    A Claude body goes to InvokeModel as it is: the same body as in a batch, and nothing lost on
    a way through Converse, which has no word for half of what Anthropic's API can say.
    """
    operation = "invoke" if offer.dialect == ANTHROPIC_MESSAGES else "converse"
    return f"/model/{quote(offer.model, safe='')}/{operation}"


class RuntimeEndpoint:
    """`live.Endpoint` over InvokeModel and Converse."""

    def __init__(self, context: Context, http: Http, control: Rest, region: str) -> None:
        knobs = context.knobs
        own = _text(knobs, context.name, "runtime_url")
        default = knobs.base_url or f"https://bedrock-runtime.{region}.amazonaws.com"
        self._base_url = (own or default).rstrip("/")
        self._http = http
        self._control = control
        self._timeout_s = knobs.idle_timeout_s

    async def send(self, request: Request, url: str) -> Answer:
        native = url.endswith("/invoke")
        try:
            return await self._http.request(
                "POST",
                self._base_url + url,
                headers={"content-type": "application/json", "accept": "application/json"},
                body=invoke_body(request.body) if native else request.body,
                timeout_s=self._timeout_s,
            )
        except ProviderRefused as refusal:
            # There are no credentials to sign with. It is no row's fault, and what AWS itself would
            # have said to a call without them stops the run and tells the person.
            return Answer(403, {}, _encode({"__type": NO_ACCESS, "message": str(refusal)}))

    async def probe(self) -> str:
        """Ask the control plane, where the same credentials count, and asking is free."""
        await self._control.json("GET", "/model-invocation-jobs", query={"maxResults": 1})
        return "answers, and the credentials are good"


def _text(knobs: Knobs, name: str, option: str) -> str | None:
    value = knobs.options.get(option)
    if value is not None and not isinstance(value, str):
        raise InvalidSetting(f"[providers.{name}] {option} = {value!r}: expected a text.")
    return value or None


def _number(knobs: Knobs, name: str, option: str, least: int, most: int) -> int | None:
    value = knobs.options.get(option)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidSetting(
            f"[providers.{name}] {option} = {value!r}: expected a whole number from {least:,} to "
            f"{most:,}."
        )
    return value
