"""Numbers, times and columns as people read them."""

from decimal import Decimal

import pytest

from batchmill.cli import words
from batchmill.core.eta import Eta


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0, "0.0 s"),
        (4.26, "4.3 s"),
        (42, "42 s"),
        (60, "1 min"),
        (125, "2 min 5 s"),
        (3599.6, "1 h"),
        (12_000, "3 h 20 min"),
        (47 * 3600 + 60, "47 h 1 min"),
        (52 * 3600, "2 d 4 h"),
        (200 * 86_400, "200 d"),
    ],
)
def test_a_duration_has_one_or_two_units(seconds: float, said: str) -> None:
    assert words.duration(seconds) == said


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.2, 0.7, "0–1 s (rate so far)"),
        (12.4, 24.1, "12–25 s (rate so far)"),
        (130, 290, "2–5 min (rate so far)"),
        (4000, 9000, "1–3 h (rate so far)"),
        (90_000, 400_000, "1–5 d (rate so far)"),
        (20, 110, "20 s – 2 min (rate so far)"),
        (1700, 170_000, "28 min – 48 h (rate so far)"),
        (600, 660, "10–11 min (rate so far)"),
    ],
)
def test_an_interval_is_rough_and_says_what_it_is_based_on(
    low: float, high: float, said: str
) -> None:
    assert words.interval(Eta(low, high, "rate so far")) == said


def test_a_guess_is_called_a_guess() -> None:
    assert words.interval(Eta(1, 200, "prior")).endswith("(a first guess)")


@pytest.mark.parametrize(
    ("rate", "said"),
    [
        (1204.4, "1,204 rows/s"),
        (2.64, "2.6 rows/s"),
        (0.083527, "301 rows/h"),
        (0.01, "36 rows/h"),
        (0.0001, "9 rows/d"),
    ],
)
def test_a_rate_has_a_unit_that_fits(rate: float, said: str) -> None:
    assert words.rate(rate) == said


@pytest.mark.parametrize(
    ("n", "said"),
    [(12, "12 bytes"), (1 << 20, "1 MiB"), (200 << 20, "200 MiB"), (1_700_000_000, "1.6 GiB")],
)
def test_a_size_has_a_unit_that_fits(n: int, said: str) -> None:
    assert words.size(n) == said


def test_money_is_never_rounded_nor_in_powers_of_ten() -> None:
    assert words.money(Decimal("0.00000012345")) == "$0.00000012345"
    assert words.money(Decimal("1E-7")) == "$0.0000001"
    assert words.money(None) == "price unknown"


def test_columns_line_up_whatever_script_they_are_in() -> None:
    lines = words.columns([("ab", "1"), ("日本", "22")], right=(1,))
    assert lines == ["ab     1", "日本  22"]


@pytest.mark.parametrize(
    ("n", "noun", "said"),
    [
        (1, "shard", "1 shard"),
        (2, "shard", "2 shards"),
        (1, "batch", "1 batch"),
        (1200, "batch", "1,200 batches"),
    ],
)
def test_nouns_have_their_plural(n: int, noun: str, said: str) -> None:
    assert words.plural(n, noun) == said


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.0, "1 s"), (7.2, "8 s"), (59.5, "1 min"), (124.1, "2 min 5 s")]
)
def test_a_wait_is_said_in_whole_seconds(seconds: float, said: str) -> None:
    assert words.whole(seconds) == said
