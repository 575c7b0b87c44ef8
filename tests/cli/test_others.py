"""What one command does to other batches than the one it names, it says; and no more than that."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from batchmill.providers import openrouter, sim

from .conftest import Command, settings


def test_a_run_says_that_it_moves_the_other_unfinished_batches_too(
    here: Path, ask: Command, call: Command
) -> None:
    # given: nothing that is unfinished
    assert "also moves" not in ask().err
    other = ask("--detach", "--force").out.strip()

    # when, then: one other is named, more are counted
    assert f"also moves 1 other unfinished batch: {other}" in ask("--force").err
    for _ in range(3):
        ask("--detach", "--force")
    told = call("resume", "last", "--force").err
    assert "also moves 2 other unfinished batches; see batchmill list" in told


def test_a_held_batch_is_moved_along_only_to_be_cancelled(
    here: Path, ask: Command, call: Command
) -> None:
    settings(here, failures="{ account = 1.0 }")
    held = ask().err.split(":")[0]
    settings(here)
    assert "also moves" not in ask("--force").err
    call("cancel", held)
    assert f"also moves 1 other unfinished batch: {held}" in ask("--force").err


def test_a_resume_names_the_table_first(here: Path, ask: Command, call: Command) -> None:
    batch_id = ask("--detach").out.strip()
    assert call("resume", "last").err.splitlines()[0] == f"{batch_id}: t.csv"


def test_a_retry_that_has_nothing_to_offer_leaves_a_hold_alone(
    here: Path, ask: Command, call: Command
) -> None:
    # given: a batch that is held, with no failed row
    settings(here, account=1.0)
    ask()
    settings(here)
    # when
    told = call("retry", "last")
    # then: nothing was bought, and the hold still stands
    assert told.status == 2
    assert "is held: " in told.err
    assert call("show", "last", "--json").json["rows"]["pending"] == 6
    assert call("show", "last", "--json").json["held"]
    assert call("resume", "last").status == 0


def test_a_cancel_says_what_a_provider_that_cannot_cancel_runs_to_its_end(
    here: Path, ask: Command, call: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given: a batch that is upstream at a provider that cannot cancel
    assert not openrouter.PROVIDER.cancels
    settings(here, turnaround_s=3600)
    ask("--detach")
    _submitted()
    # when
    monkeypatch.setattr(sim, "PROVIDER", replace(sim.PROVIDER, cancels=False))
    told = call("cancel", "last").out
    # then
    assert "sim cannot cancel: nothing more is offered, but 6 rows that it has will run" in told


def _submitted() -> None:
    """Work until the batch is upstream."""
    from batchmill.cli.house import Stop, in_house
    from batchmill.core.shard import State
    from batchmill.wiring import House

    async def work(house: House, _: Stop) -> int:
        batch_id = (await house.store.batches())[0].id

        async def there() -> bool:
            return all(s.state is State.IN_PROGRESS for s in await house.store.shards(batch_id))

        over = False

        def stop() -> bool:
            return over

        engine = asyncio.create_task(house.engine.run(stop))
        while not await there():
            await house.clock.sleep(0.01)
        over = True
        await engine
        return 0

    in_house(work)
