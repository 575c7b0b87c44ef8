"""The fake of Gemini, held to the vendor's official SDK: an old and a new version."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.gemini import FakeGemini
from tests.sdks import VERSIONS, flow

PREFIX = {"old": "/v1beta", "new": "/v1"}


@pytest.fixture
async def vendor() -> AsyncIterator[FakeGemini]:
    made = FakeGemini()
    await made.up()
    yield made
    await made.down()


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_sdk_gets_through_its_whole_batch_flow(
    vendor: FakeGemini, version: str, tmp_path: Path
) -> None:
    saw: dict[str, Any] = await flow(
        version, "gemini", vendor.host, vendor.key, vendor.model, str(tmp_path)
    )

    assert saw == {
        "uploaded": ["files/my-own-name", "ACTIVE", True],
        "got": "files/my-own-name",
        "listed_files": ["files/my-own-name"],
        "same_name": [409, "ALREADY_EXISTS"],
        "created": ["job-1", "JOB_STATE_RUNNING"],
        "ended": ["JOB_STATE_SUCCEEDED", True],
        "told": {"k-0": "say a", "k-1": "say b", "k-2": 14},
        "gone": [403, "PERMISSION_DENIED"],
        "large": [True, True],
        "inline": [["c", "say c"], ["d", 3]],
        "vector": [3.0, 0.5, -0.25],
        "inline_vector": [2.0, 0.5, -0.25],
        "cancelled": "JOB_STATE_CANCELLED",
        "listed": ["to-be-cancelled", saw["listed"][1]],
        "deleted": [404, "NOT_FOUND"],
        "no_model": [404, "NOT_FOUND"],
        "no_key": [400, "INVALID_ARGUMENT"],
        "live": "say live",
    }
    assert vendor.unknown == []
    # Each version speaks of its own part of the paths, and both are served.
    paths = [asked.split()[1] for asked in vendor.asked if "upload_id" not in asked]
    assert all(path.removeprefix("/upload").startswith(f"{PREFIX[version]}/") for path in paths)
    # Nine megabytes travel in two pieces, each under the address that the start was answered with.
    assert sum("upload_id" in asked for asked in vendor.asked) == 4


@pytest.mark.parametrize("version", VERSIONS)
async def test_what_the_sdk_writes_is_what_is_sold(
    vendor: FakeGemini, version: str, tmp_path: Path
) -> None:
    await flow(version, "gemini", vendor.host, vendor.key, vendor.model, str(tmp_path))

    file, inline, vectors, bare, cancelled = vendor.sold
    assert [sold.mark for sold in (file, inline, vectors, cancelled)] == [
        "job-1",
        "job-2",
        "e",
        "to-be-cancelled",
    ]
    assert file.facts["file"] == "files/my-own-name"
    assert list(file.requests) == ["k-0", "k-1", "k-2"]
    assert list(inline.requests) == ["c", "d"]
    assert inline.requests["c"]["generationConfig"] == {"temperature": 0.5}
    assert vectors.facts["embeds"]
    assert bare.requests["#0"]["outputDimensionality"] == 8
