"""The smallest worlds, seen whole."""

import pytest

from batchmill.testing import Broken
from batchmill.testing.explore import WORLDS, Explorer
from batchmill.testing.small import SmallWorld, Spec


def test_a_sunny_day_has_one_end_however_two_workers_meet() -> None:
    explored = Explorer(Spec(name="sunny")).explore()

    assert explored.endings == 1
    assert explored.states > 100


@pytest.mark.parametrize(
    "spec",
    [
        Spec(name="a crash and a lost call", crashes=1, lost=1),
        Spec(name="a freeze", freezes=1),
        Spec(name="a cancel", cancels=1),
        Spec(name="a row that fails once", fails=1),
        Spec(name="no marks, and a neighbour", lost=1, marks=False, neighbour=True),
    ],
    ids=lambda spec: spec.name,
)
def test_no_order_of_awaits_breaks_a_promise(spec: Spec) -> None:
    explored = Explorer(spec).explore()

    assert explored.endings > 1


def test_the_same_world_is_seen_again() -> None:
    spec = Spec(name="again", crashes=1)

    first, second = Explorer(spec), Explorer(spec)

    assert first.explore().states == second.explore().states
    assert first.endings == second.endings


def test_a_flaw_is_told_choice_by_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    def audited(self: SmallWorld) -> None:
        raise Broken("a flaw")

    monkeypatch.setattr(SmallWorld, "audited", audited)

    with pytest.raises(Broken, match=r"a flaw\n +1  w1 begins batch_b1-0001") as caught:
        Explorer(Spec(name="flawed")).explore()
    assert "goes on" in str(caught.value)


def test_the_worlds_have_what_the_house_promises() -> None:
    assert any(spec.crashes == 2 and spec.lost for spec in WORLDS)
    assert any(spec.cancels for spec in WORLDS)
