"""Names, classes and intervals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchmill.core.eta import plain
from batchmill.core.failure import BACKOFF_MAX_S, POLICIES, Failure, Patience
from batchmill.core.outcome import Outcome
from batchmill.core.request import custom_id_of, row_of
from batchmill.core.rowset import compact, row_range, rows_of

shard_ids = st.from_regex(r"batch_[0-9a-z]{20}-[0-9]{4,5}", fullmatch=True)


@given(shard_ids, st.integers(0, 99_999_999))
def test_a_custom_id_leads_back_to_its_row_and_to_no_other_shard(shard_id: str, row: int) -> None:
    custom_id = custom_id_of(shard_id, row)
    assert len(custom_id) <= 64
    assert set(custom_id) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-")
    assert row_of(custom_id, shard_id) == row
    assert row_of(custom_id, shard_id + "1") is None


@pytest.mark.parametrize("foreign", ["", "7", "s-", "s--1", "s-07", "s-1.0", "t-1", "s-²", "s-1 "])
def test_what_is_not_our_name_is_no_row(foreign: str) -> None:
    assert row_of(foreign, "s") is None


def test_every_class_has_a_policy_an_outcome_and_a_hint() -> None:
    assert set(POLICIES) == set(Failure)
    for failure, policy in POLICIES.items():
        assert Outcome(policy.called) is not Outcome.SUCCEEDED, failure
        assert policy.hint, failure


def test_waits_double_where_the_class_says_so_and_end_somewhere() -> None:
    patience = Patience(wait_s=30.0)
    assert [patience.backoff_s(Failure.SERVER, n) for n in (1, 2, 3)] == [30.0, 60.0, 120.0]
    assert [patience.backoff_s(Failure.SCHEMA, n) for n in (1, 2, 3)] == [30.0, 30.0, 30.0]
    assert patience.backoff_s(Failure.SERVER, 10**6) == BACKOFF_MAX_S


def test_ten_million_pending_rows_cost_kilobytes() -> None:
    everything = row_range(0, 10_000_000)
    assert len(everything.serialize()) < 4_000
    without_some = everything - rows_of(range(0, 10_000_000, 100_000))
    assert len(compact(without_some).serialize()) < 10_000


@given(st.integers(1, 10**7), st.integers(0, 10**7), st.floats(0.1, 10**6))
def test_the_interval_contains_the_plain_guess_and_says_its_basis(
    total: int, done: int, elapsed_s: float
) -> None:
    done = min(done, total)
    eta = plain(done, total, elapsed_s, "batch")
    assert 0 <= eta.low_s <= eta.high_s
    assert eta.basis == ("prior" if done == 0 else "rate so far")
    if done:
        assert eta.low_s <= (total - done) * elapsed_s / done <= eta.high_s + 1e-6
