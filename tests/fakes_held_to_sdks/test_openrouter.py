"""The fake of OpenRouter, held to the vendor's official SDK."""

from tests.fakes.openrouter import FakeOpenRouter
from tests.sdks import flow


async def test_the_sdk_gets_through_its_whole_batch_flow() -> None:
    vendor = FakeOpenRouter()
    await vendor.up()
    try:
        saw = await flow("new", "openrouter", vendor.base_url, vendor.key, f"{vendor.model}:batch")
    finally:
        await vendor.down()

    assert saw == {
        "created": "validating",
        "listed": [[True, 3]],
        "ended": ["completed", 3, 2, 1],
        "answers": ["say 0", "say 1"],
        "error": ["2", "context_length_exceeded"],
        "deleted": "deleted",
        "gone": 404,
        "no_variant": 400,
        "no_key": 401,
    }
    # It writes its window after the requests: only what says where they go must come before them.
    assert vendor.created[0] == ["endpoint", "model", "requests", "completion_window"]
    assert vendor.unknown == []
