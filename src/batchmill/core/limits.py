"""How much one upstream batch may hold, and the cutting of a table into ranges that fit."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from batchmill.errors import InvalidRow

MIB = 1 << 20

#: What a request costs on the wire beside its body: custom_id, method, url and punctuation.
ENVELOPE_BYTES = 192


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a provider takes in one upstream batch; both bounds hold at once."""

    requests_max: int
    bytes_max: int
    request_bytes_max: int  #: one body
    requests_min: int = 1  #: fewer go through the provider's live lane


@dataclass(frozen=True, slots=True)
class Range:
    """A contiguous run of rows, kept as one immutable segment of requests."""

    n: int  #: 1, 2, 3 … in input order
    start: int  #: number of its first row, from 0
    count: int
    size_bytes: int  #: of the bodies


def fits(body_bytes: int, row: int, limits: Limits) -> None:
    """Raise `InvalidRow` if a body of this size can be in no upstream batch at all."""
    largest = min(limits.request_bytes_max, limits.bytes_max - ENVELOPE_BYTES)
    if body_bytes > largest:
        raise InvalidRow(
            f"row {row + 1}: its request has {body_bytes:,} bytes, the provider takes at most "
            f"{largest:,} in one request. Shorten the cell, or leave the row out."
        )


def cut(sizes: Iterable[int], limits: Limits) -> Iterator[Range]:
    """
    Cut rows, given as body sizes in bytes, into contiguous ranges that fit *limits*.

    Lazy: a range is yielded as soon as the first row of the next one is seen.
    """
    n, start, count, size = 1, 0, 0, 0
    for row, body_bytes in enumerate(sizes):
        fits(body_bytes, row, limits)
        wire_bytes = size + body_bytes + (count + 1) * ENVELOPE_BYTES
        if count and (count == limits.requests_max or wire_bytes > limits.bytes_max):
            yield Range(n, start, count, size)
            n, start, count, size = n + 1, row, 0, 0
        count += 1
        size += body_bytes
    if count:
        yield Range(n, start, count, size)
