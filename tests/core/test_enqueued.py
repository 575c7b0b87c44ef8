"""Prompt tokens that wait at a provider, counted on our side."""

import pytest

from batchmill.core import enqueued
from batchmill.core.limits import Range
from batchmill.core.outcome import Usage
from batchmill.core.rowset import rows_of
from batchmill.core.shard import Shard, Tally

RANGES = [Range(1, 0, 10, 1000), Range(2, 10, 10, 4000)]


def a_shard(rows: object, tally: Tally = Tally()) -> Shard:  # noqa: B008  # it is frozen
    return Shard(
        id="b-0001",
        batch_id="b",
        n=1,
        provider="p",
        lane="batch",
        rows=rows_of(rows),  # type: ignore[arg-type]
        tally=tally,
    )


def test_a_shard_over_several_ranges_has_its_share_of_each() -> None:
    assert enqueued.size_bytes(a_shard(range(5, 15)), RANGES) == 500 + 2000


def test_without_answers_the_usual_ratio_holds() -> None:
    assert enqueued.bytes_per_token([a_shard(range(10))], RANGES) == enqueued.BYTES_PER_TOKEN
    assert enqueued.tokens(a_shard(range(10)), RANGES, 4.0) == 250


def test_answers_correct_the_ratio() -> None:
    told = Tally(succeeded=10, usage=Usage(input_tokens=2_000))
    assert enqueued.bytes_per_token([a_shard(range(10, 20), told)], RANGES) == 2.0


@pytest.mark.parametrize(
    ("words", "limit"),
    [
        # openai-python#2084, as recorded
        (
            "Enqueued token limit reached for m in organization o. Limit: 90,000 enqueued tokens.",
            90_000,
        ),
        ("Limit: 1350000000 enqueued tokens", 1_350_000_000),
        # learn.microsoft.com Q&A 2285577 names none
        ("The number of enqueued tokens has surpassed the configured limit", None),
        ("Rate limit reached: 20 requests a minute", None),
        ("", None),
    ],
)
def test_a_limit_is_taken_from_the_vendors_words(words: str, limit: int | None) -> None:
    assert enqueued.limit_in(words) == limit
