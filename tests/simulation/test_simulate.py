"""Whole lives from seeds: all promises kept, always the same life, and weather bad enough to matter."""

from collections import Counter
from functools import cache

import pytest

from batchmill.core.failure import Failure
from batchmill.core.shard import TRANSITIONS
from batchmill.testing import Broken, simulate
from batchmill.testing.life import Life
from batchmill.testing.lives import Sum, live_through
from batchmill.testing.simulate import main

LIVES = 300

EVENTS = {event.__name__ for _, event in TRANSITIONS}
ACCIDENTS = {
    "cancel",
    "clock set forward",
    "crash",
    "deleted upstream",
    "duplicate line",
    "foreign line",
    "frozen",
    "neighbour buys",
    "overtaken",
    "resume",
    "retry",
    "shard asked for by a person",
    *(f"died at {place}" for place in ("sim.submit", "sim.submit answered", "sim.results")),
    *(f"died at store.{place}" for place in ("shard", "record", "settle")),
}
ENDINGS = {f"batch {word}" for word in ("completed", "cancelled", "expired", "failed")}
#: What only a person's schema can bring, or a plan that is not built yet.
NOT_HERE = {Failure.SCHEMA, Failure.BUDGET, Failure.CANARY}


@cache
def lived() -> Sum:
    return live_through(range(LIVES))


def test_every_life_keeps_every_promise() -> None:
    assert lived().broken == []


def test_the_weather_is_bad_enough_to_mean_something() -> None:
    seen = lived().made_of

    never = [what for what in sorted(EVENTS | ACCIDENTS | ENDINGS) if not seen[what]]
    assert never == []
    assert [f for f in Failure if not seen[f"row {f}"] and f not in NOT_HERE] == []
    assert seen["row succeeded"] > LIVES


def test_a_seed_is_one_life_and_no_other() -> None:
    lives = [simulate(seed) for seed in (3, 3, 4)]

    assert lives[0] == lives[1]
    assert lives[0].trace != lives[2].trace


def test_a_life_can_be_told() -> None:
    told: list[str] = []

    history = simulate(5, told.append)

    assert history.trace == simulate(5).trace
    assert told[0].startswith("seed 5: Weather(")
    assert any("Submitting(" in line for line in told)


def test_a_broken_promise_names_the_command_that_lives_it_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(self: Life) -> Counter[str]:
        raise Broken("batch_b01-0001 was bought 2 times")

    monkeypatch.setattr(Life, "live", broken)

    with pytest.raises(Broken, match=r"bought 2 times\n.*\./dev simulate-one 7"):
        simulate(7)


def test_the_command_sums_up(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["4", "--cores", "1"]) == 0

    assert capsys.readouterr().out.splitlines()[-1].endswith("every promise kept")
