"""A set of row numbers, compressed: ten million pending rows cost kilobytes."""

from collections.abc import Iterable

from pyroaring import FrozenBitMap

#: Immutable, hashable, with set algebra (`|`, `&`, `-`); iterates in ascending order.
RowSet = FrozenBitMap

NO_ROWS = RowSet()


def row_range(start: int, count: int) -> RowSet:
    """Return the rows `start … start + count - 1`, without ever listing them."""
    return RowSet(range(start, start + count))


def rows_of(numbers: Iterable[int]) -> RowSet:
    return RowSet(numbers)


def compact(rows: RowSet) -> RowSet:
    """Return the same rows in their smallest form; set algebra leaves runs spelled out."""
    return RowSet(rows)
