"""The receipt adds up what was bought, lane by lane, and never says 0 where nobody knows."""

from decimal import Decimal

from batchmill.core.failure import Failure
from batchmill.core.outcome import Usage
from batchmill.core.rowset import row_range
from batchmill.core.shard import Shard, State, Tally
from batchmill.service.receipt import again_usd, saved_usd, spent


def shard(
    n: int, lane: str = "batch", *, attempt: int = 1, rows: int = 10, **tally: object
) -> Shard:
    return Shard(
        id=f"batch_1-{n:04d}",
        batch_id="batch_1",
        n=n,
        provider="openai",
        lane=lane,
        rows=row_range(0, rows),
        attempt=attempt,
        state=State.SETTLED,
        upstream_id=f"up_{n}",
        tally=Tally(**tally),
    )


def test_each_lane_has_its_own_line():
    # given two upstream batches, and a remainder that went live
    first = shard(1, usage=Usage(100, 10, 40), cost_usd=Decimal("0.1"), list_usd=Decimal("0.2"))
    second = shard(2, usage=Usage(50, 5), cost_usd=Decimal("0.05"), list_usd=Decimal("0.1"))
    live = shard(3, "live", rows=2, usage=Usage(9, 9), cost_usd=Decimal("0.3"))
    # when
    batch, rest = spent([live, second, first])
    # then
    assert (batch.lane, batch.rows, batch.bought) == ("batch", 20, 2)
    assert batch.usage == Usage(150, 15, 40)
    assert (batch.paid_usd, batch.list_usd) == (Decimal("0.15"), Decimal("0.3"))
    assert (rest.lane, rest.rows, rest.bought) == ("live", 2, 0)
    assert (rest.paid_usd, rest.saved_usd) == (Decimal("0.3"), 0)
    assert saved_usd([batch, rest]) == Decimal("0.15")


def test_what_nobody_knows_is_not_nothing():
    [lane] = spent([shard(1, usage=Usage(100, 10), unpriced=10)])
    assert lane.run
    assert lane.paid_usd is None
    assert lane.saved_usd is None
    assert saved_usd([lane]) is None


def test_rows_that_were_never_run_cost_nothing():
    [lane] = spent([shard(1, failed={Failure.EXPIRED: row_range(0, 10)})])
    assert not lane.run


def test_what_is_under_way_is_bought_but_has_no_price_yet():
    from dataclasses import replace

    waiting = replace(shard(2), state=State.IN_PROGRESS, tally=Tally())
    [lane] = spent([shard(1, cost_usd=Decimal(1)), waiting])
    assert (lane.rows, lane.bought, lane.paid_usd) == (10, 2, 1)


def test_later_offers_have_their_price():
    first = shard(1, cost_usd=Decimal(5))
    again = shard(2, attempt=2, cost_usd=Decimal("0.5"))
    assert again_usd([first, again]) == Decimal("0.5")
    assert again_usd([first]) is None


def test_sums_lose_no_digit():
    prices = [Decimal("1e-24"), Decimal(10**9)]
    [lane] = spent([shard(n, cost_usd=price) for n, price in enumerate(prices, 1)])
    assert f"{lane.paid_usd:f}" == "1000000000.000000000000000000000001"
