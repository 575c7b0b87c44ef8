"""What breaks, what is slow, what was given up: none of it costs anything twice."""

import pytest
from tests.service.town import Town

from batchmill.core.batch import Status
from batchmill.core.failure import Failure
from batchmill.core.shard import Event, Shard
from batchmill.errors import (
    Conflict,
)
from batchmill.ports import Offer
from batchmill.providers._sim_weather import Faults
from batchmill.service import plan
from batchmill.service.cancel import cancel


async def test_a_batch_with_a_broken_provider_is_held_and_the_others_go_on() -> None:
    town = Town(rows=2)

    async def breaks(offer: Offer) -> str:
        raise KeyError("no such field in the vendor's answer")

    town.provider.prepare = breaks
    batch = await town.batch()
    held = await town.until(lambda v: bool(v.batch.held), batch)
    assert "a bug" in held.batch.held
    assert "no such field" in held.batch.held


async def test_a_submit_that_breaks_is_as_silent_as_any_other_and_held() -> None:
    town = Town(rows=2)
    real = town.provider.submit

    async def accepts_and_breaks(offer: Offer) -> str:
        await real(offer)
        raise UnicodeError("the vendor's answer is no text")

    town.provider.submit = accepts_and_breaks
    batch = await town.batch()
    await town.until(lambda v: bool(v.batch.held), batch)
    await plan.resume(town.store, batch.id)
    assert (await town.finished(batch)).counts.succeeded == 2
    assert len(town.shelf.sales()) == 1


async def test_the_providers_words_about_the_account_reach_the_person() -> None:
    town = Town(Faults(failures={Failure.ACCOUNT: 1.0}), rows=2)
    batch = await town.batch()
    held = await town.until(lambda v: bool(v.batch.held), batch)
    assert "401" in held.batch.held
    assert held.eta is None


async def test_a_disk_that_is_slow_to_keep_the_intent_is_waited_for() -> None:
    town = Town(rows=2)
    real = town.store.record

    async def slow(before: Shard, event: Event, at: float, **more: str) -> Shard:
        town.clock.pass_by(1.7)
        return await real(before, event, at, **more)

    town.store.record = slow
    view = await town.finished(await town.batch())
    assert view.counts.succeeded == 2
    assert len(town.shelf.sales()) == 1


async def test_a_cancelled_batch_is_taken_up_again_by_whoever_asks_for_more() -> None:
    town = Town()
    batch = await town.batch()
    for _ in ("prepare", "submit"):
        await town.advancer.advance(f"{batch.id}-0001")
    await cancel(town.store, batch.id)
    with pytest.raises(Conflict, match="still being cancelled"):
        await plan.retry(town.store, town.clock, batch.id)
    canceled = (await town.finished(batch)).counts.canceled
    assert await plan.retry(town.store, town.clock, batch.id) == canceled
    view = await town.finished(batch)
    assert (view.status, view.counts.succeeded) == (Status.COMPLETED, 4)


async def test_a_retry_may_give_more_room_and_its_own_retries_keep_it() -> None:
    town = Town(Faults(failures={Failure.TRUNCATED: 1.0}), rows=2)
    batch = await town.batch()
    await town.finished(batch)
    await plan.retry(town.store, town.clock, batch.id, max_tokens=500)
    view = await town.view(batch)
    assert [s.max_tokens for s in view.shards] == [None, 500]
