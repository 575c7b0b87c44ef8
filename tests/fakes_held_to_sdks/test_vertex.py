"""The fake of Vertex, held to the vendor's official SDK: an old and a new version."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.fakes.vendor import jsonl
from tests.fakes.vertex import FakeVertex
from tests.sdks import VERSIONS, flow


@pytest.fixture
async def vendor() -> AsyncIterator[FakeVertex]:
    made = FakeVertex()
    await made.up()
    yield made
    await made.down()


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_sdk_gets_through_its_whole_batch_flow(vendor: FakeVertex, version: str) -> None:
    rows = [{"request": vendor.body(text)} for text in ("say a", "fail server", "say b")]
    vendor.files["in.jsonl"] = jsonl(rows)

    saw: dict[str, Any] = await flow(
        version, "vertex", vendor.host, vendor.key, vendor.model, vendor.bucket
    )

    assert saw == {
        "created": ["job-1", "JOB_STATE_RUNNING", "publishers/google/models/gemini-2.5-flash"],
        "ended": ["JOB_STATE_SUCCEEDED", "gs://my-bucket/out", 2],
        "invented_name": True,
        "cancelled": "JOB_STATE_CANCELLED",
        "listed": [True],
        "all": 2,
        "deleted": [404, "NOT_FOUND"],
        "no_model": [404, "NOT_FOUND"],
        "no_token": [401, "UNAUTHENTICATED"],
        "live": "say live",
    }
    assert vendor.unknown == []
    assert all(asked.split()[1].startswith("/v1beta1/projects/proj/") for asked in vendor.asked)
    vendor.settle()
    written = [data for key, data in vendor.written.items() if key.startswith("out/")]
    lines = [json.loads(line) for data in written for line in data.splitlines()]
    assert sorted(bool(line["status"]) for line in lines) == [False, False, True]
    assert all(line["request"] in [row["request"] for row in rows] for line in lines)
