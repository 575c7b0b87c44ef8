"""A creating call leaves soon after its intent, or not at all; how soon depends on what it holds."""

from dataclasses import replace

import pytest
from tests.service.town import Town

from batchmill.core.shard import State
from batchmill.ports import Offer, Supplier


class Heavy(Town):
    """Its vendor takes the requests inside the creating call, which takes ten seconds to make."""

    leave_within_s = 0.0

    def __init__(self) -> None:
        super().__init__(rows=2)
        submit = self.provider.submit

        async def rendered(offer: Offer) -> str:
            self.clock.pass_by(10.0)
            return await submit(offer)

        self.provider.submit = rendered

    def supplier(self, provider: str, lane: str) -> Supplier:
        return replace(super().supplier(provider, lane), leave_within_s=self.leave_within_s)


@pytest.mark.parametrize(
    ("leave_within_s", "state"), [(0.0, State.PLANNED), (30.0, State.IN_PROGRESS)]
)
async def test_a_create_that_takes_time_to_make_is_given_it(
    leave_within_s: float, state: State
) -> None:
    town = Heavy()
    town.leave_within_s = leave_within_s
    batch = await town.batch()

    await town.step()  # prepared
    await town.step()  # submitted

    [shard] = await town.store.shards(batch.id)
    assert shard.state is state
