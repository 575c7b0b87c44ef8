"""What every store promises about creates in doubt, upstream ids, and tidying up."""

import pytest
from tests.store.test_contract import INTENT, collecting

from batchmill.core.shard import (
    Accepted,
    CannotTell,
    Collected,
    NotAccepted,
    NotThere,
    Postponed,
    Refused,
    State,
    Tally,
    Tidied,
)
from batchmill.errors import InDoubt

# -- one create an account in doubt -------------------------------------------------------------


async def test_one_create_of_an_account_may_be_in_doubt(store, make):
    _, (first, second) = await make.create(store, count=2)
    doubtful = await store.record(first, INTENT, 100.0, account="a")

    with pytest.raises(InDoubt):
        await store.record(second, INTENT, 100.0, account="a")
    other = await store.record(second, INTENT, 100.0, account="b")

    assert other.state is State.SUBMITTING
    assert (await store.shard(first.id))[0] == doubtful
    assert [line.version for line in await store.log(second.id)] == [1]


@pytest.mark.parametrize(
    "answer",
    [Accepted("up-1"), NotAccepted(9.0), NotThere(), Refused("no"), CannotTell(9.0)],
    ids=lambda event: type(event).__name__,
)
async def test_an_answer_or_a_look_up_ends_the_doubt(store, make, answer):
    batch, (first, second) = await make.create(store, count=2)
    first = await store.record(first, INTENT, 100.0, account="a")

    if isinstance(answer, Refused):
        await store.settle(first, answer, 101.0, batch, [], "")
    else:
        await store.record(first, answer, 101.0)

    assert (await store.record(second, INTENT, 102.0, account="a")).state is State.SUBMITTING


async def test_upstream_ids_that_are_certain_are_told_to_those_who_look_for_theirs(store, make):
    _, (first, second) = await make.create(store, count=2)
    first = await store.record(first, INTENT, 100.0)
    first = await store.record(first, Accepted("up-\ud800", provisional=True), 101.0)
    assert await store.upstream_ids(first.provider, second.id) == []
    second = await store.record(second, INTENT, 100.0)
    second = await store.record(second, Accepted("up-2"), 101.0)

    assert await store.upstream_ids(first.provider, first.id) == ["up-2"]
    assert await store.upstream_ids(first.provider, second.id) == []
    assert await store.upstream_ids("somebody", first.id) == []
    assert {s.id for s in await store.in_flight(first.provider)} == {first.id, second.id}


async def test_what_is_left_upstream_of_a_settled_shard_is_due_until_it_is_tidied(store, make):
    batch, (first, *_) = await make.create(store, count=2)
    shard = await collecting(store, first)
    shard = await store.settle(shard, Collected("k", Tally(succeeded=9)), 110.0, batch, [], "")
    assert first.id in await store.due(111.0)

    shard = await store.record(shard, Postponed(500.0, "502"), 112.0)
    assert first.id not in await store.due(113.0)
    assert await store.next_due(113.0) is not None
    assert first.id in await store.due(500.0)

    shard = await store.record(shard, Tidied(), 501.0)
    assert first.id not in await store.due(1e9)
    assert (await store.shard(first.id))[0] == shard
