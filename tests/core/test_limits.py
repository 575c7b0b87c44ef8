"""Cutting a table into ranges that fit."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchmill.core.limits import ENVELOPE_BYTES, Limits, cut
from batchmill.errors import InvalidRow

sizes = st.lists(st.integers(0, 1000), max_size=60)


@given(sizes, st.integers(1, 10), st.integers(1000 + ENVELOPE_BYTES, 5000))
def test_ranges_cover_the_table_in_order_and_fit_by_count_and_bytes(
    sizes: list[int], requests_max: int, bytes_max: int
) -> None:
    limits = Limits(requests_max=requests_max, bytes_max=bytes_max, request_bytes_max=2000)
    ranges = list(cut(sizes, limits))
    assert [row for r in ranges for row in range(r.start, r.start + r.count)] == list(
        range(len(sizes))
    )
    assert [r.n for r in ranges] == list(range(1, len(ranges) + 1))
    for r in ranges:
        assert 0 < r.count <= requests_max
        assert r.size_bytes == sum(sizes[r.start : r.start + r.count])
        assert r.size_bytes + r.count * ENVELOPE_BYTES <= bytes_max


@given(sizes)
def test_no_range_is_smaller_than_it_must_be(sizes: list[int]) -> None:
    limits = Limits(requests_max=7, bytes_max=3000, request_bytes_max=2000)
    ranges = list(cut(sizes, limits))
    for here, following in pairwise(ranges):
        one_more = here.size_bytes + sizes[following.start] + (here.count + 1) * ENVELOPE_BYTES
        assert here.count == 7 or one_more > 3000


def test_a_range_is_known_before_the_rest_of_the_table_is_read() -> None:
    def table() -> object:
        yield from [1, 1, 1]
        raise AssertionError("read too far")

    limits = Limits(requests_max=2, bytes_max=5000, request_bytes_max=2000)
    assert next(cut(table(), limits)).count == 2  # type: ignore[arg-type]


def test_a_row_that_fits_nowhere_is_named_with_the_limit() -> None:
    limits = Limits(requests_max=10, bytes_max=1000, request_bytes_max=300)
    with pytest.raises(InvalidRow, match=r"row 2: its request has 301 bytes.*at most 300"):
        list(cut([1, 301], limits))
