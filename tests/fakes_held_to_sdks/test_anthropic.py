"""The fake of Anthropic, held to the vendor's official SDK: an old and a new version."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.fakes._anthropic_rows import ROW_ERRORS
from tests.fakes.anthropic import FakeAnthropic
from tests.sdks import VERSIONS, flow


@pytest.fixture
async def vendor() -> AsyncIterator[FakeAnthropic]:
    made = FakeAnthropic()
    await made.up()
    yield made
    await made.down()


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_sdk_gets_through_its_whole_batch_flow(
    vendor: FakeAnthropic, version: str
) -> None:
    saw: dict[str, Any] = await flow(version, "anthropic", vendor.host, vendor.key, vendor.model)

    assert saw == {
        "created": ["message_batch", "in_progress", 5],
        "expires_after_s": 86_400.0,
        "counts": {"processing": 0, "succeeded": 3, "errored": 1, "canceled": 0, "expired": 1},
        "told": {
            "r-0": ["end_turn", "say a"],
            "r-1": ["end_turn", "say b"],
            "r-2": ["overloaded_error", ROW_ERRORS["server"][1]],
            "r-3": ["refusal"],
            "r-4": ["expired"],
        },
        "listed": True,
        "canceling": "canceling",
        "canceled": {"x": ["end_turn", "say x"]},
        "deleted": "message_batch_deleted",
        "beta": {"b": ["end_turn", "say beta"]},
        "no_batch": [404, "not_found_error", True],
        "twice": [400, "invalid_request_error", True],
        "odd_id": [400, "invalid_request_error", True],
        "no_key": [401, "authentication_error", True],
        "live": "say live",
        "models": [vendor.model],
    }
    assert vendor.unknown == []
    assert [words.split(":")[0] for words in vendor.complaints] == [
        "requests.1.custom_id",
        "requests.0.custom_id",
    ]


@pytest.mark.parametrize("version", VERSIONS)
async def test_what_the_sdk_sends_is_what_the_captures_show(
    vendor: FakeAnthropic, version: str
) -> None:
    await flow(version, "anthropic", vendor.host, vendor.key, vendor.model)

    call, headers = vendor.headers[0]
    assert call == "POST /v1/messages/batches"
    assert headers["content-type"] == "application/json"
    results = [sent for call, sent in vendor.headers if call.endswith("/results")]
    assert {sent["accept"] for sent in results} == {"application/binary"}
    if version == "new":
        assert headers["authorization"] == f"Bearer {vendor.key}"
        assert headers["anthropic-version"] == "2026-10-21"
        assert "x-api-key" not in headers
    else:
        assert headers["x-api-key"] == vendor.key
        assert headers["anthropic-version"] == "2023-06-01"
        assert "authorization" not in headers
    betas = {sent["anthropic-beta"] for _, sent in vendor.headers if "anthropic-beta" in sent}
    marked = [asked for asked in vendor.asked if asked.endswith("?beta=true")]
    if version == "new":
        assert (betas, marked) == ({"output-300k-2026-03-24"}, [])
    else:
        assert "output-300k-2026-03-24,message-batches-2024-09-24" in betas
        assert "POST /v1/messages/batches?beta=true" in marked
        assert len(marked) >= 2


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_sdk_buys_three_where_one_answer_is_lost(
    vendor: FakeAnthropic, version: str
) -> None:
    """So that a provider must not be built on it."""
    vendor.weather.lost["create"] = 3

    assert await flow(version, "anthropic_lost", vendor.host, vendor.key, vendor.model) == (
        "APIConnectionError"
    )

    assert len(vendor.sold) == 3
    assert [sent["x-stainless-retry-count"] for _, sent in vendor.headers] == ["0", "1", "2"]
