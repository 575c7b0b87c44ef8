"""The control law: what it does to the limit, and what it understands of what it is told."""

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchmill.live import pacing


def test_429_halves_the_limit_once_for_the_rows_of_one_round():
    pace = pacing.start(64)
    for _ in range(20):
        pace = pacing.throttled(pace, sent_at=9.0, now=10.0, named_s=1.0)
    assert pace.allowed == 32
    pace = pacing.throttled(pace, sent_at=11.0, now=12.0, named_s=1.0)
    assert pace.allowed == 16


def test_the_limit_grows_by_one_in_a_round():
    pace = pacing.throttled(pacing.start(20), sent_at=0.0, now=1.0, named_s=None)
    assert pace.allowed == 10
    for _ in range(11):
        pace = pacing.answered(pace)
    assert pace.allowed == 11


def test_unnamed_pauses_double_up_to_a_minute_and_forget_after_an_answer():
    pace, waits = pacing.start(8), []
    for n in range(9):
        now = n * 1000.0
        pace = pacing.throttled(pace, sent_at=now, now=now, named_s=None)
        waits.append(pace.closed_until - now)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    pace = pacing.throttled(pacing.answered(pace), sent_at=1e6, now=1e6, named_s=None)
    assert pace.closed_until == 1e6 + 1


def test_one_at_a_time_while_nobody_is_there_and_all_room_back_at_the_first_answer():
    pace = pacing.unreachable(pacing.start(64), 5.0)
    assert pacing.unreachable(pace, 5.1) == pace
    assert pace.allowed == 1
    assert pacing.answered(pace).allowed == 64


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "12"}, 12.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "999999999"}, 86_400.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": formatdate(1_000_040, usegmt=True)}, 40.0),
        ({"retry-after": formatdate(999_000, usegmt=True)}, 0.0),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "x", "retry-after": "9"}, 9.0),
    ],
)
def test_what_an_answer_asks_for_is_understood(headers: dict[str, str], expected: float | None):
    assert pacing.named_wait_s(headers, 1_000_000.0) == expected


@given(
    st.integers(1, 5000),
    st.lists(st.tuples(st.sampled_from("ATSU"), st.floats(0, 1e6), st.floats(0, 1e3))),
)
def test_there_is_always_room_for_one_and_never_for_more_than_allowed(
    most: int, events: list[tuple[str, float, float]]
):
    pace, now = pacing.start(most), 0.0
    for kind, age, named in events:
        now += named
        if kind == "A":
            pace = pacing.answered(pace)
        elif kind == "T":
            pace = pacing.throttled(pace, sent_at=now - age, now=now, named_s=named or None)
        elif kind == "S":
            pace = pacing.stumbled(pace, sent_at=now - age, now=now)
        else:
            pace = pacing.unreachable(pace, now)
        assert 1 <= pace.allowed <= most
