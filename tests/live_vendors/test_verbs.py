"""
The verbs of every provider, asked of the vendors themselves: `README.md` says how and at what cost.

Skipped but where somebody wishes it and the vendor's key is in the environment.
"""

import pytest
from tests.live_vendors.conftest import LiveShard

from batchmill.core.failure import Failure
from batchmill.core.outcome import Outcome, Result
from batchmill.core.shard import Accepted, CannotTell
from batchmill.ports import Offer


async def collected(live: LiveShard, offer: Offer) -> list[Result]:
    """Return whatever results an ended batch has, all of them rows of ours, once each."""
    results = await live.results(offer)
    names = [result.custom_id for result in results]
    assert len(names) == len(set(names))
    assert set(names) <= live.names
    assert all((r.failure is None) == (r.outcome is Outcome.SUCCEEDED) for r in results)
    return results


async def stopped(live: LiveShard, offer: Offer) -> bool:
    """Ask it to stop, twice; say whether it has ended by the time nobody waits any longer."""
    for _ in range(2):
        await live.patiently(lambda: live.provider.cancel(offer))
    return (await live.ended(offer)).ended


async def tidied(live: LiveShard, offer: Offer) -> None:
    for _ in range(2):
        await live.tidied(offer)


async def test_a_key_is_good(live: LiveShard) -> None:
    assert await live.patiently(live.provider.probe)


async def test_a_batch_is_bought_found_and_collected(live: LiveShard) -> None:
    offer = await live.bought()

    found = await live.found(offer)
    other = await live.provider.find(live.offer(f"{live.shard_id}9"))
    in_time = (await live.ended(offer)).ended
    ended = in_time or await stopped(live, offer)

    assert isinstance(found, Accepted | CannotTell)
    if isinstance(found, Accepted) and not found.provisional:
        assert found.upstream_id == offer.upstream_id
    assert not isinstance(other, Accepted) or other.provisional
    if not ended:
        pytest.skip(f"{offer.upstream_id} has not ended, not even after it was cancelled")
    results = await collected(live, offer)
    await tidied(live, offer)
    if not in_time:
        pytest.skip(f"cancelled after {live.wait_s:g} s, with {len(results)} results collected")
    assert {result.custom_id for result in results} == live.names
    assert {result.failure for result in results} <= {None, Failure.TRUNCATED}
    assert all(r.answer and r.model and r.usage and r.usage.input_tokens for r in results)


async def test_a_cancelled_batch_is_collected(live: LiveShard) -> None:
    offer = await live.bought()

    ended = await stopped(live, offer)

    if not ended:
        pytest.skip(f"{offer.upstream_id} has not ended {live.wait_s:g} s after its cancelling")
    await live.patiently(lambda: live.provider.cancel(offer))
    failures = {result.failure for result in await collected(live, offer)}
    await tidied(live, offer)
    assert failures <= {None, Failure.CANCELED, Failure.TRUNCATED}
