"""The fake of Bedrock, held to boto3 and to what it was captured sending."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from tests.fakes import _aws
from tests.fakes.bedrock import MODELS, ROLE, FakeBedrock
from tests.sdks import flow


class Watched(FakeBedrock):
    """Notes what it is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[str, dict[str, str], bytes]] = []

    async def weathered(self, name: str, request: web.Request, respond: Any) -> web.StreamResponse:
        headers = {key.lower(): value for key, value in request.headers.items()}
        call = f"{request.method} {request.raw_path}"
        self.heard.append((call, headers, await request.read()))
        return await super().weathered(name, request, respond)


@pytest.fixture
async def vendor() -> AsyncIterator[Watched]:
    made = Watched()
    await made.up()
    yield made
    await made.down()


async def told(vendor: FakeBedrock) -> dict[str, Any]:
    bucket = vendor.door.bucket
    return await flow(
        "new", "bedrock", vendor.host, _aws.KEY_ID, _aws.SECRET, bucket, ROLE, *MODELS
    )


async def test_the_sdk_gets_through_its_whole_batch_flow(vendor: Watched) -> None:
    rows = [f"RECORD{n:05d}" for n in range(5)]

    saw = await told(vendor)

    assert saw == {
        "again": True,
        "conflict": [400, "ConflictException"],
        "states": ["Validating", "Completed"],
        "job": [3, 2, 5],
        "token": "tok1",
        "told": dict(zip(rows, ["end_turn", "end_turn", 500, 400, "refusal"], strict=True)),
        "manifest": {
            "totalRecordCount": 5,
            "processedRecordCount": 5,
            "successRecordCount": 3,
            "errorRecordCount": 2,
            "inputTokenCount": 15,
            "outputTokenCount": 9,
        },
        "stopping": 200,
        "stopped": "Stopped",
        "told_in_converse": dict(
            zip(rows, ["end_turn", "end_turn", 500, 400, "content_filtered"], strict=True)
        ),
        "too_late": [400, "ConflictException"],
        "listed": [True, "tok1"],
        "converse": "say live",
        "invoke": "say native",
        "wrong_secret": [403, "InvalidSignatureException"],
        "wrong_key": [403, "UnrecognizedClientException"],
        "no_model": [400, "ValidationException"],
        "no_job": [404, "ResourceNotFoundException"],
    }
    assert vendor.unknown == []
    assert len(vendor.sold) == 2


async def test_what_the_sdk_sends_is_what_the_captures_show(vendor: Watched) -> None:
    await told(vendor)

    call, headers, body = next(one for one in vendor.heard if "model-invocation-job" in one[0])
    assert call == "POST /model-invocation-job"
    assert headers["content-type"] == "application/json"
    assert "SignedHeaders=content-type;host;x-amz-date," in headers["authorization"]
    assert {"jobName", "roleArn", "modelId", "clientRequestToken"} < set(json.loads(body))
    arn = vendor.sold[0].id.replace(":", "%3A").replace("/", "%2F")
    assert f"GET /model-invocation-job/{arn}" in [one[0] for one in vendor.heard]
    tokens = [json.loads(b).get("clientRequestToken") for c, _, b in vendor.heard if c == call]
    assert None not in tokens, "boto3 makes up a token where none is given"
