"""The receipt is a few lines that say where the money went, and data that say the same."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from tests.cli.test_screen import shard, view

from batchmill.cli import spending, text
from batchmill.core.batch import Counts, Status
from batchmill.core.outcome import Usage
from batchmill.core.rowset import row_range
from batchmill.core.shard import Shard, State, Tally
from batchmill.service.inspect import View

from .conftest import Command

BATCH = replace(
    shard(1, State.SETTLED),
    provider="bedrock",
    tally=Tally(
        succeeded=10_000,
        usage=Usage(1_200_000, 400_000, 300_000),
        cost_usd=Decimal("0.021"),
        list_usd=Decimal("0.042"),
    ),
)
LIVE = replace(
    shard(2, State.SETTLED),
    provider="bedrock",
    lane="live",
    rows=row_range(10_000, 12),
    attempt=2,
    tally=Tally(succeeded=12, usage=Usage(1_440, 480), cost_usd=Decimal("0.0005")),
)


def ended(*shards: Shard, retried: int = 0) -> View:
    costs = [s.tally.cost_usd for s in shards if s.tally.cost_usd is not None]
    counts = Counts(
        total=10_000,
        succeeded=10_000,
        retried=retried,
        usage=sum((s.tally.usage for s in shards), Usage()),
        cost_usd=sum(costs, Decimal(0)) if costs else None,
    )
    return view(*shards, status=Status.COMPLETED, counts=counts, eta=None)


def lines(*shards: Shard, retried: int = 0) -> list[str]:
    return text.receipt(ended(*shards, retried=retried), "/o.csv")


def test_one_lane_is_told_in_one_line() -> None:
    assert lines(BATCH)[3:6] == [
        "  through  bedrock, batch lane · 1 upstream batch",
        "  tokens   1,200,000 in (300,000 cached) · 400,000 out",
        "  cost     $0.021 · $0.021 saved by the batch discount",
    ]


def test_several_lanes_are_a_small_table() -> None:
    found = lines(BATCH, LIVE, retried=12)
    assert found[3:6] == [
        "  attempts  12 beyond the first · $0.0005",
        "  tokens    1,201,440 in (300,000 cached) · 400,480 out",
        "  cost      $0.0215 · $0.021 saved by the batch discount",
    ]
    batch, live = found[6:8]
    assert batch.split("  ")[6:] == [
        *("bedrock batch", "10,000 rows", "1 upstream batch", "1,200,000 in (300,000 cached)"),
        *("400,000 out", " $0.021"),
    ]
    assert live.split()[:4] == ["bedrock", "live", "12", "rows"]
    assert live.endswith("480 out  $0.0005")
    assert max(map(len, found)) <= 110


def test_an_unknown_price_is_never_nothing() -> None:
    unknown = replace(BATCH, tally=Tally(usage=Usage(10, 10), unpriced=10_000))
    assert "  cost     unknown: no price is known for sim/echo" in lines(unknown)
    mixed = lines(unknown, LIVE)
    assert "  cost     $0.0005, and 10,000 rows of unknown price" in mixed
    assert next(line for line in mixed if "bedrock batch" in line).endswith("unknown")


def test_what_was_never_run_cost_nothing() -> None:
    assert "  cost     nothing: no row was run" in lines(replace(BATCH, tally=Tally()))


def test_what_is_under_way_has_no_price_yet() -> None:
    under_way = view(shard(1, State.IN_PROGRESS), counts=Counts(total=10_000, pending=10_000))
    assert ("cost", "comes with the answers") in spending.facts(under_way)


def test_a_discount_that_is_in_no_price_list_is_said_to_be_the_vendors_word() -> None:
    told = lines(replace(BATCH, tally=replace(BATCH.tally, stated=7)))
    assert "           of 7 rows the discount is what bedrock states; no price list has it" in told


def test_data_say_the_same() -> None:
    found = spending.as_data(ended(BATCH, LIVE, retried=12))
    assert bytes(found["saved_usd"]) == b"0.021"
    assert found["attempts"]["beyond_the_first"] == 12
    batch, live = found["lanes"]
    assert (batch["upstream_batches"], live["upstream_batches"]) == (1, 0)
    assert batch["tokens"] == {"input": 1_200_000, "cached": 300_000, "output": 400_000}
    assert bytes(batch["list_usd"]) == b"0.042"


def test_run_and_show_give_the_receipt(here: Path, ask: Command, call: Command) -> None:
    last = ask("--json").lines[-1]
    assert last["receipt"]["cost_usd"] == 0
    [lane] = last["receipt"]["lanes"]
    assert (lane["provider"], lane["lane"], lane["rows"]) == ("sim", "batch", 6)
    assert call("show", "last", "--json").json["receipt"] == last["receipt"]
    assert "sim, batch lane · 1 upstream batch" in call("show", "last").out
    assert "sim, batch lane · 1 upstream batch" in call("watch", "last").out
