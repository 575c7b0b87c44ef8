"""The fake of Mistral, held to the vendor's official SDK: an old and a new version."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.fakes.mistral import ROW_ERRORS, FakeMistral
from tests.sdks import VERSIONS, flow


@pytest.fixture
async def vendor() -> AsyncIterator[FakeMistral]:
    made = FakeMistral()
    await made.up()
    yield made
    await made.down()


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_sdk_gets_through_its_whole_batch_flow(vendor: FakeMistral, version: str) -> None:
    saw: dict[str, Any] = await flow(version, "mistral", vendor.host, vendor.key, vendor.model)

    status, _, _, words = ROW_ERRORS["invalid_media"]
    refused = saw.pop("refused")
    assert [(row, code, body["message"]) for row, code, body in refused] == [("3", status, words)]
    assert saw.pop("job_deleted", True)
    assert saw.pop("file")[:3] == ["batch_request", "upload", 4]
    refusals = {"no_uuid": 422, "no_file": 404, "no_role": 422, "no_key": 401}
    assert {name: saw.pop(name)[1] for name in refusals} == refusals
    assert saw == {
        "files": True,
        "created": ["QUEUED", {"job": "x"}],
        "listed": True,
        "others": 0,
        "ended": ["SUCCESS", 4, 4, 3, 1, ["HTTP Error, status code: 400"]],
        "answers": ["say 0", "say 1", "say 2"],
        "inline": 4,
        "signed": True,
        "retrieved": False,
        "deleted": True,
        "cancelled": ["CANCELLATION_REQUESTED", "CANCELLED"],
        "live": "live",
        "vectors": 2,
        "models": [vendor.model],
    }
    assert vendor.unknown == []
    assert vendor.complaints == []


@pytest.mark.parametrize("version", VERSIONS)
async def test_what_the_sdk_sends_is_what_the_captures_show(
    vendor: FakeMistral, version: str
) -> None:
    await flow(version, "mistral", vendor.host, vendor.key, vendor.model)

    new = version == "new"
    assert vendor.forms[0] == {"purpose": "batch"} | ({"visibility": "workspace"} if new else {})
    assert vendor.created[0].keys() == {
        "endpoint",
        "input_files",
        "model",
        "metadata",
        "timeout_hours",
    }
    assert ("job", "x") in vendor.listings[0]  # a filter by metadata is a bare parameter
    assert ("order_by", "-created") in vendor.listings[0]
    assert vendor.calls["create"] == 2
