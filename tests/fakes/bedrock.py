"""
Amazon Bedrock on loopback: model invocation jobs, Converse and InvokeModel; S3 is moto's server.

Requests are held to botocore's own service models and signatures. Written from the vendor's user
guide and the capture of boto3 1.44.5; what is not known for certain says so.
"""

import asyncio
import json
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from aiohttp import web
from tests.fakes import _aws, _bedrock_rows
from tests.fakes._s3 import Door
from tests.fakes.vendor import FakeVendor, Sold, jsonl, operation

ARN = "arn:aws:bedrock:us-east-1:123456789012:model-invocation-job/"
ROLE = "arn:aws:iam::123456789012:role/batches"
ENDINGS = {
    "completed": "Completed",
    "expired": "Expired",
    "cancelled": "Stopped",
    "failed": "Failed",
}
CODES = {
    400: "ValidationException",
    401: "UnrecognizedClientException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    409: "ConflictException",
    429: "ThrottlingException",
    503: "ServiceUnavailableException",
}
#: A Claude model is spoken to in Anthropic's tongue, any other in Converse.
MODELS = ("anthropic.claude-haiku-4-5-20251001-v1:0", "amazon.nova-lite-v1:0")
#: Where a client's credentials are found, and what could lead it to somebody else's.
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": _aws.KEY_ID,
    "AWS_SECRET_ACCESS_KEY": _aws.SECRET,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/nonexistent",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    "AWS_SESSION_TOKEN": None,
    "AWS_PROFILE": None,
    "AWS_ENDPOINT_URL": None,
    "AWS_ENDPOINT_URL_S3": None,
}


class FakeBedrock(FakeVendor):
    name = "bedrock"
    key = ""  # its clients sign
    model = MODELS[0]

    def __init__(self) -> None:
        super().__init__()
        self.records_min = 1  #: the vendor's is 100; tests say so where it matters
        self.jobs_max = 100  #: submitted or running at once
        self._before: dict[str, str | None] = {}
        self.door = Door(self, f"bucket-{os.getpid()}-{id(self):x}", _aws.KEY_ID)
        self._luck.seed(self.door.bucket)
        self.options = {
            "region": _aws.REGION,
            "bucket": f"s3://{self.door.bucket}/batches",
            "role_arn": ROLE,
            "requests_min": 1,
        }

    def routes(self) -> Iterable[web.RouteDef]:
        yield web.post("/model-invocation-job", self._create)
        yield web.get("/model-invocation-jobs", self._jobs)
        yield web.get("/model-invocation-job/{id}", self._get)
        yield web.post("/model-invocation-job/{id}/stop", self._stop)
        yield web.post("/model/{model}/{operation:converse|invoke}", self._live)
        yield from self.door.routes()

    def body(self, text: str) -> dict[str, Any]:
        return _bedrock_rows.body(text, self.model)

    def text_of(self, body: dict[str, Any]) -> str:
        return _bedrock_rows.text_of(body)

    def error(self, status: int, message: str = "", code: str = "") -> web.Response:
        code = code or CODES.get(status, "InternalServerException")
        kind = f"{code}:http://internal.amazon.com/coral/com.amazon.bedrock/"
        body = {"message": message or "The request cannot be served."}
        return web.json_response(body, status=status, headers={"x-amzn-ErrorType": kind})

    def batch_id(self) -> str:
        return f"{ARN}{self.token(12)}"

    async def up(self) -> None:
        await super().up()
        await asyncio.to_thread(self.door.up)
        self.options["s3_endpoint"] = self.host
        self._before = {name: os.environ.get(name) for name in ENVIRONMENT}
        _set(ENVIRONMENT)

    async def down(self) -> None:
        _set(self._before)
        await self.door.down()
        await super().down()

    # -- jobs -----------------------------------------------------------------------------------

    async def _turned_away(self, request: web.Request) -> web.Response | None:
        found = _aws.misgiving(request, await request.read())
        if found is None:
            return None
        self.complaints.append(found[1])
        return self.error(403, found[1], found[0])

    def _invalid(self, message: str) -> web.Response:
        self.complaints.append(message)
        return self.error(400, message)

    @operation("create")
    async def _create(self, request: web.Request) -> web.Response:
        if (no := await self._turned_away(request)) is not None:
            return no
        if request.content_type != "application/json":
            return self._invalid("Content-Type must be application/json")
        job = json.loads(await request.read())
        if said := _aws.complaint("bedrock", "CreateModelInvocationJob", job):
            return self._invalid(said)
        if job["modelId"] not in MODELS:
            return self._invalid("The provided model identifier is invalid.")
        known = next((s for s in self.sold if s.mark == job.get("clientRequestToken")), None)
        if known is not None and known.facts.get("job") != job:
            return self.error(400, "The token was used with another request.", "ConflictException")
        if known is not None:
            return web.json_response({"jobArn": known.id})
        if sum(not sold.ended for sold in self.sold) >= self.jobs_max:
            said = f"Your account has reached its limit of {self.jobs_max} concurrent batch jobs."
            return self.error(400, said, "ServiceQuotaExceededException")
        source = job["inputDataConfig"]["s3InputDataConfig"]["s3Uri"]
        given = await asyncio.to_thread(self.door.object, self._key(source))
        if given is None or not source.endswith(".jsonl"):
            return self._invalid(f"The input at {source} does not exist.")
        token = job.get("clientRequestToken") or self.token()
        sold = Sold(self.batch_id(), token, {}, self.now(), facts={"job": job})
        try:
            sold.requests = _bedrock_rows.records(given, self.records_min)
        except ValueError as error:
            sold.facts["invalid"] = str(error)
        self.sold.append(sold)
        return web.json_response({"jobArn": sold.id})

    async def _jobs(self, request: web.Request) -> web.StreamResponse:
        # Asking for a single one of any name is how the way to the vendor is tried.
        probe = "nameContains" not in request.query and request.query.get("maxResults") == "1"
        listed: Any = FakeBedrock._probe if probe else FakeBedrock._list
        return await listed(self, request)

    @operation("probe")
    async def _probe(self, request: web.Request) -> web.Response:
        return await self._listing(request)

    @operation("list")
    async def _list(self, request: web.Request) -> web.Response:
        return await self._listing(request)

    async def _listing(self, request: web.Request) -> web.Response:
        if (no := await self._turned_away(request)) is not None:
            return no
        query: dict[str, Any] = dict(request.query)
        if "maxResults" in query:
            query["maxResults"] = int(query["maxResults"])
        if said := _aws.complaint("bedrock", "ListModelInvocationJobs", query):
            return self._invalid(said)
        jobs = [self._told_of(sold) for sold in self.listed()]
        if query.get("sortOrder") == "Ascending":
            jobs.reverse()
        after = query.get("submitTimeAfter", "")
        wanted = [
            job
            for job in jobs
            if query.get("nameContains", "") in job["jobName"]
            and job["submitTime"] >= after
            and query.get("statusEquals", job["status"]) == job["status"]
        ]
        start = int(query.get("nextToken", "0"))
        end = start + query.get("maxResults", 100)
        more = {"nextToken": str(end)} if end < len(wanted) else {}
        return web.json_response({"invocationJobSummaries": wanted[start:end], **more})

    @operation("get")
    async def _get(self, request: web.Request) -> web.Response:
        if (no := await self._turned_away(request)) is not None:
            return no
        if (bad := self._bad_id(request)) is not None:
            return bad
        sold = self.looked_at(self._id(request))
        if sold is None:
            return self.error(404, "The requested job does not exist.")
        if sold.ended:
            await asyncio.to_thread(self._write, sold)
        return web.json_response(self._told_of(sold))

    @operation("cancel")
    async def _stop(self, request: web.Request) -> web.Response:
        if (no := await self._turned_away(request)) is not None:
            return no
        if (bad := self._bad_id(request)) is not None:
            return bad
        sold = next((one for one in self.sold if one.id == self._id(request)), None)
        if sold is None:
            return self.error(404, "The requested job does not exist.")
        if sold.ended:
            return self.error(400, "The job has ended already.", "ConflictException")
        sold.cancelled = True
        return web.json_response({})

    def _id(self, request: web.Request) -> str:
        given = unquote(request.match_info["id"])
        return given if given.startswith("arn:") else ARN + given

    def _bad_id(self, request: web.Request) -> web.Response | None:
        given = {"jobIdentifier": unquote(request.match_info["id"])}
        said = _aws.complaint("bedrock", "GetModelInvocationJob", given)
        return self._invalid(said) if said else None

    def _status(self, sold: Sold) -> str:
        if sold.ended:
            return "Failed" if "invalid" in sold.facts else ENDINGS[self.ending_of(sold)]
        if sold.cancelled:
            return "Stopping"
        return ("Submitted", "Validating", "InProgress")[min(sold.polls, 2)]

    def _told_of(self, sold: Sold) -> dict[str, Any]:
        asked = sold.facts.get("job", {"jobName": "theirs", "modelId": self.model})
        status = self._status(sold)
        facts: dict[str, Any] = {"roleArn": ROLE, "clientRequestToken": sold.mark, **asked}
        facts |= {"jobArn": sold.id, "status": status}
        facts["submitTime"] = datetime.fromtimestamp(sold.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        if status == "Failed":
            lines = [f"line {n}: {said}" for n, said in self.weather.bad_lines.items()]
            facts["message"] = sold.facts.get("invalid") or self.refusal_of(sold) or lines[0]
        if sold.ended:
            facts |= _bedrock_rows.counts(self._lines(sold))
        facts["totalRecordCount"] = 0 if status == "Submitted" else len(sold.requests)
        return facts

    # -- results --------------------------------------------------------------------------------

    def _lines(self, sold: Sold) -> list[bytes]:
        def tell() -> list[bytes]:
            if "invalid" in sold.facts:
                return []
            job = sold.facts["job"]
            answer = _bedrock_rows.answerer(job.get("modelInvocationType", "InvokeModel"))
            lines = [answer(name, sold.requests[name]) for name in self.run_rows(sold)]
            return self.odd(lines, lambda n: answer(f"theirs{n}", self.body(f"say {n}")))

        return self.told(sold, tell) if sold.ours else []

    def _write(self, sold: Sold) -> None:
        lines = self._lines(sold)
        if not lines or sold.facts.get("written"):
            return
        place = sold.facts["job"]["outputDataConfig"]["s3OutputDataConfig"]["s3Uri"]
        source = sold.facts["job"]["inputDataConfig"]["s3InputDataConfig"]["s3Uri"]
        folder = f"{self._key(place).rstrip('/')}/{sold.id.rpartition('/')[2]}"
        self.door.write(f"{folder}/{source.rpartition('/')[2]}.out", jsonl(lines))
        manifest = json.dumps(_bedrock_rows.manifest(lines)).encode()
        self.door.write(f"{folder}/manifest.json.out", manifest)
        sold.facts["written"] = True

    def _key(self, url: str) -> str:
        return url.removeprefix(f"s3://{self.door.bucket}/")

    # -- live -----------------------------------------------------------------------------------

    @operation("live")
    async def _live(self, request: web.Request) -> web.Response:
        if (no := await self._turned_away(request)) is not None:
            return no
        model, name = request.match_info["model"], request.match_info["operation"]
        if model not in MODELS:
            return self._invalid("The provided model identifier is invalid.")
        kind = "Converse" if name == "converse" else "InvokeModel"
        found = _bedrock_rows.outcome(kind, json.loads(await request.read()))
        if (error := found.get("error")) is None:
            return web.json_response(found["modelOutput"])
        return self.error(error["errorCode"], error["errorMessage"])


def _set(environment: dict[str, Any]) -> None:
    for name, value in environment.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


class FakeConverse(FakeBedrock):
    model = MODELS[1]


FAKE = FakeBedrock
