"""The lifecycle, read as sentences."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchmill.core import shard as life
from batchmill.core.failure import Failure
from batchmill.core.rowset import row_range, rows_of
from batchmill.core.shard import (
    TRANSITIONS,
    Command,
    Shard,
    State,
    Tally,
    advance,
    next_command,
    rebuild,
)
from batchmill.errors import IllegalTransition

ROWS = row_range(0, 3)
EVENTS: dict[str, life.Event] = {
    type(e).__name__: e
    for e in (
        life.Prepared("file-1"),
        life.Submitting(at=1.0, owner="me", lease_until=61.0, find_at=121.0),
        life.Accepted("up-1", 70.0),
        life.NotAccepted(90.0, "busy"),
        life.Unprepared(90.0, "the upload has expired"),
        life.NotThere(),
        life.CannotTell(150.0, "the list does not answer"),
        life.Refused("no such model"),
        life.Dropped(),
        life.Progressed(130.0),
        life.CancelSent(140.0),
        life.Ended(),
        life.Postponed(160.0, "502"),
        life.Collected("0001-abc", Tally(succeeded=2, failed={Failure.SERVER: rows_of([1])})),
        life.NotOurs(200.0),
        life.Vanished("past retention"),
        life.Tidied(),
    )
}


def planned(**changes: object) -> Shard:
    facts: dict[str, object] = {"id": "b-0001", "batch_id": "b", "n": 1, "rows": ROWS}
    return Shard(**{**facts, "provider": "sim", "lane": "batch", **changes})  # type: ignore[arg-type]


STORIES = {
    "all goes well": """
        planned
        Prepared     planned
        Submitting   submitting
        Accepted     in_progress
        Progressed   in_progress
        Ended        collecting
        Collected    settled
    """,
    "busy first, then refused": """
        planned
        Submitting   submitting
        NotAccepted  planned
        Submitting   submitting
        Refused      settled
    """,
    "a lost reply is looked up, and found": """
        planned
        Submitting   submitting
        CannotTell   submitting
        Accepted     in_progress
    """,
    "a lost request is looked up, and offered again": """
        planned
        Submitting   submitting
        NotThere     planned
        Submitting   submitting
    """,
    "an answer that comes after the look-up is still welcome": """
        planned
        Submitting   submitting
        NotThere     planned
        Accepted     in_progress
    """,
    "a cancelled shard is collected, as its finished rows were paid for": """
        planned
        Submitting   submitting
        Accepted     in_progress
        CancelSent   cancelling
        Progressed   cancelling
        Ended        collecting
        Postponed    collecting
        Collected    settled
    """,
    "a provisional adoption that proves wrong": """
        planned
        Submitting   submitting
        Accepted     in_progress
        Ended        collecting
        NotOurs      submitting
        NotThere     planned
    """,
    "cancelled before any provider saw it": """
        planned
        Dropped      settled
    """,
    "an upload that expired while the shard was waiting": """
        planned
        Prepared     planned
        Submitting   submitting
        Unprepared   planned
        Prepared     planned
        Submitting   submitting
        Accepted     in_progress
    """,
    "tidied up at the second try": """
        planned
        Submitting   submitting
        Accepted     in_progress
        Ended        collecting
        Collected    settled
        Postponed    settled
        Tidied       settled
    """,
    "deleted upstream": """
        planned
        Submitting   submitting
        Accepted     in_progress
        Vanished     settled
    """,
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_a_life_reads_top_to_bottom(story: str) -> None:
    first_state, *steps = story.split()
    shard = planned()
    assert shard.state == first_state
    for event, state in zip(steps[::2], steps[1::2], strict=True):
        shard = advance(shard, EVENTS[event])
        assert shard.state == state


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS)
def test_whatever_the_table_does_not_say_is_illegal(state: State, event: life.Event) -> None:
    shard = planned(state=state)
    if (state, type(event)) in TRANSITIONS:
        after = advance(shard, event)
        assert after.state is TRANSITIONS[state, type(event)]
        assert after.version == shard.version + 1
        assert after.rows == shard.rows
    else:
        with pytest.raises(IllegalTransition, match=type(event).__name__):
            advance(shard, event)


def test_every_event_has_a_line_and_every_state_a_way_to_the_end() -> None:
    assert {event for _, event in TRANSITIONS} == {type(e) for e in EVENTS.values()}
    reaches_the_end = {State.SETTLED}
    for _ in State:
        reaches_the_end |= {s for (s, _), after in TRANSITIONS.items() if after in reaches_the_end}
    assert reaches_the_end == set(State)
    after_the_end = {e for s, e in TRANSITIONS if s is State.SETTLED}
    assert after_the_end == {life.Postponed, life.Tidied}


def test_the_only_way_into_in_progress_is_an_upstream_id() -> None:
    into = {e for (s, e), after in TRANSITIONS.items() if after is State.IN_PROGRESS and s != after}
    assert into == {life.Accepted}


def test_intent_is_the_only_way_from_planned_to_an_open_question() -> None:
    into = {(s, e) for (s, e), after in TRANSITIONS.items() if after is State.SUBMITTING}
    assert into == {
        (State.PLANNED, life.Submitting),
        (State.SUBMITTING, life.CannotTell),
        (State.COLLECTING, life.NotOurs),
    }


@given(st.lists(st.sampled_from(list(EVENTS.values())), max_size=30))
def test_replaying_the_log_rebuilds_the_shard(events: list[life.Event]) -> None:
    shard, log = planned(), []
    for event in events:
        if (shard.state, type(event)) in TRANSITIONS:
            shard = advance(shard, event)
            log.append(event)
    assert rebuild(planned(), log) == shard
    assert shard.version == len(log)


def test_the_first_intent_bounds_the_look_up_for_ever() -> None:
    first = life.Submitting(at=1.0, owner="a", lease_until=2.0, find_at=3.0)
    second = life.Submitting(at=50.0, owner="b", lease_until=52.0, find_at=53.0)
    shard = rebuild(planned(), [first, life.NotThere(), second])
    assert shard.submitted_at == 1.0
    assert (shard.owner, shard.lease_until, shard.due_at) == ("b", 52.0, 53.0)


def test_what_was_not_ours_is_remembered_and_never_adopted_again() -> None:
    shard = advance(planned(state=State.COLLECTING, upstream_id="other"), life.NotOurs(9.0))
    assert shard.strangers == ("other",)
    assert shard.upstream_id is None


def test_what_has_expired_upstream_is_prepared_anew() -> None:
    shard = rebuild(planned(), [EVENTS["Prepared"], EVENTS["Submitting"], EVENTS["Unprepared"]])
    assert shard.ref is None
    assert next_command(shard, 90.0) is Command.PREPARE


def test_only_what_is_left_upstream_and_certainly_ours_is_tidied_up() -> None:
    bought = [EVENTS[e] for e in ("Prepared", "Submitting", "Accepted", "Ended", "Collected")]
    settled = rebuild(planned(), bought)
    assert settled.open
    assert next_command(settled, 0.0) is Command.TIDY
    assert next_command(advance(settled, life.Tidied()), 0.0) is None
    dropped = advance(planned(), life.Dropped())
    assert not dropped.open, "no provider has heard of it"


def test_a_batch_without_a_line_of_ours_is_not_proven_and_left_alone() -> None:
    provisional = planned(state=State.COLLECTING, upstream_id="up", provisional=True)
    unproven = life.Collected("k", Tally(failed={Failure.MISSING: ROWS}))
    proven = life.Collected("k", Tally(succeeded=1, failed={Failure.SERVER: rows_of([1, 2])}))
    assert not advance(provisional, unproven).open
    assert next_command(advance(provisional, proven), 0.0) is Command.TIDY


def test_what_may_hold_a_paid_answer_is_left_upstream() -> None:
    collecting = planned(state=State.COLLECTING, ref="f", upstream_id="up")
    short = life.Collected("k", Tally(succeeded=2, failed={Failure.MISSING: rows_of([2])}))
    assert not advance(collecting, short).open
    assert not advance(collecting, life.Vanished("404")).open


def test_trouble_with_tidying_up_changes_no_word_about_the_batch() -> None:
    settled = advance(
        planned(state=State.COLLECTING, ref="f"), life.Collected("k", Tally(), "no credit")
    )
    later = advance(settled, life.Postponed(500.0, "502"))
    assert later.note == "no credit"
    assert next_command(later, 499.0) is None
    assert next_command(later, 500.0) is Command.TIDY


def test_refused_and_dropped_rows_have_their_class() -> None:
    refused = advance(planned(), life.Refused("too big", Failure.TOO_LONG))
    dropped = advance(planned(), life.Dropped(Failure.DEADLINE))
    assert refused.tally.failed == {Failure.TOO_LONG: ROWS}
    assert dropped.tally.failed == {Failure.DEADLINE: ROWS}


# -- what to do next ----------------------------------------------------------------------------


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("cancel_wanted", [True, False])
@pytest.mark.parametrize("late", [True, False])
def test_only_a_settled_shard_has_nothing_left_to_do(
    state: State, cancel_wanted: bool, late: bool
) -> None:
    command = next_command(planned(state=state), 0.0, cancel_wanted=cancel_wanted, late=late)
    assert (command is None) == (state is State.SETTLED)


def test_an_uncertain_submission_is_looked_up_never_repeated() -> None:
    shard = advance(planned(ref="f"), EVENTS["Submitting"])
    assert next_command(shard, 120.9) is None
    assert next_command(shard, 121.0) is Command.FIND


def test_no_wish_hurries_an_uncertain_submission() -> None:
    shard = advance(planned(), EVENTS["Submitting"])
    assert next_command(shard, 100.0, cancel_wanted=True, late=True) is None
    assert next_command(shard, 130.0, cancel_wanted=True, late=True) is Command.FIND


def test_a_shard_is_prepared_before_it_is_submitted() -> None:
    assert next_command(planned(), 0.0) is Command.PREPARE
    assert next_command(planned(ref=""), 0.0) is Command.SUBMIT


def test_a_held_batch_offers_nothing_but_goes_on_with_what_is_upstream() -> None:
    assert next_command(planned(), 0.0, held=True) is None
    assert next_command(planned(state=State.IN_PROGRESS), 0.0, held=True) is Command.CHECK
    assert next_command(planned(state=State.COLLECTING), 0.0, held=True) is Command.COLLECT


def test_a_cancel_reaches_a_held_batch_too() -> None:
    assert next_command(planned(), 0.0, held=True, cancel_wanted=True) is Command.DROP


def test_a_provisional_adoption_is_never_cancelled() -> None:
    shard = planned(state=State.IN_PROGRESS, provisional=True)
    assert next_command(shard, 0.0, cancel_wanted=True) is Command.CHECK


def test_a_cancel_that_failed_waits_for_its_turn() -> None:
    shard = planned(state=State.IN_PROGRESS, due_at=50.0)
    assert next_command(shard, 0.0, cancel_wanted=True) is Command.CANCEL
    failed = advance(shard, life.Postponed(60.0, "502"))
    assert next_command(failed, 10.0, cancel_wanted=True) is None
    assert next_command(failed, 60.0, cancel_wanted=True) is Command.CANCEL


def test_the_picture_has_a_line_for_every_transition() -> None:
    picture = life.mermaid().splitlines()
    assert len(picture) == len(TRANSITIONS) + 2
    assert "    submitting --> planned: NotThere" in picture
