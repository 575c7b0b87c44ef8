"""How long what a prompt builds may become, worked out before it is built."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from jinja2.exceptions import SecurityError

#: Characters of anything a template builds; the largest request of any provider has fewer.
TEXT_MAX = 32 << 20

#: Items of anything a template builds, those within it counted wherever they appear.
ITEMS_MAX = 1_000_000

#: Of a whole number. One multiplication of much larger ones holds all of Python up for minutes.
BITS_MAX = 4096

WIDTH_MAX = 10_000

_WIDE_FORMAT = re.compile(r"[0-9]{5,}|\*|\{[^}]*\{")
_ANY_SCALAR = 32  #: characters, about, that a date or a number prints as
_TEXTS = (str, bytes, bytearray)
_LISTS = (list, tuple, set, frozenset)


def check_text(length: int) -> None:
    if length > TEXT_MAX:
        raise SecurityError(f"a text is longer than {TEXT_MAX:,} characters")


def check_whole(bits: int) -> None:
    if bits > BITS_MAX:
        raise SecurityError(f"a whole number has more than {BITS_MAX:,} bits")


def check_width(value: object) -> None:
    if isinstance(value, int) and abs(value) > WIDTH_MAX:
        raise SecurityError(f"a width is more than {WIDTH_MAX:,}")


def size_of(value: Any) -> int:
    """Return how long *value* is, looking no deeper; raise `SecurityError` if that is too much."""
    if isinstance(value, _TEXTS):
        check_text(len(value))
        return len(value)
    if isinstance(value, int):
        check_whole(value.bit_length())
    elif isinstance(value, (*_LISTS, Mapping)):
        if len(value) > ITEMS_MAX:
            raise SecurityError(f"a list is longer than {ITEMS_MAX:,} items")
        return 8 * len(value)
    return 1


def weight(value: Any) -> int:
    """
    Return how many characters *value* prints as, about, everything within it counted.

    A list that holds one list twice, and so on for forty levels, is small in memory and for ever
    to print or to compare: `SecurityError` comes before that.
    """
    if isinstance(value, str):
        return size_of(value)
    total = items = 0
    waiting = [value]
    while waiting:
        found = waiting.pop()
        items += 1
        if isinstance(found, _TEXTS):
            total += len(found)
        elif isinstance(found, Mapping):
            waiting += [*found.keys(), *found.values()]
        elif isinstance(found, _LISTS):
            waiting += found
        else:
            total += _ANY_SCALAR
        if items + len(waiting) > ITEMS_MAX:
            raise SecurityError(f"what is nested has more than {ITEMS_MAX:,} items")
        if total > TEXT_MAX:
            check_text(total)
    return total + items


def check_operation(operator: str, left: Any, right: Any) -> None:
    """Raise `SecurityError` if the result of an operator would be too large to work out."""
    whole = isinstance(left, int) and isinstance(right, int)
    if whole:
        bits = left.bit_length(), right.bit_length()
        check_whole(max(bits))
        if operator == "*":
            check_whole(sum(bits))
        elif operator == "**":
            check_whole(bits[0] * max(right, 0))
    elif operator == "*":
        _check_repeated(left, right)
    elif operator == "+" and isinstance(left, (*_TEXTS, *_LISTS)):
        _check_repeated(left, 1)
    elif operator == "%" and isinstance(left, _TEXTS):
        check_format(left, right)


def _check_repeated(left: Any, right: Any) -> None:
    times, what = (left, right) if isinstance(left, int) else (right, left)
    if not isinstance(times, int):
        return
    if isinstance(what, _TEXTS):
        check_text(len(what) * times)
    elif isinstance(what, _LISTS) and len(what) * times > ITEMS_MAX:
        raise SecurityError(f"a list is longer than {ITEMS_MAX:,} items")


def check_format(text: Any, given: Any) -> None:
    """Raise `SecurityError` if *text* with *given* in its places would be too long."""
    if not isinstance(text, str):
        text = bytes(text).decode("latin-1")
    if _WIDE_FORMAT.search(text):
        raise SecurityError("a format has a width that is too large, or not written out")
    total = len(text) + sum(map(int, re.findall("[0-9]+", text)))
    if isinstance(given, tuple) and "{" not in text:
        weights = map(weight, given)  # each is used once
        check_text(total + sum(weights))
        return
    check_text(total + (text.count("%") + text.count("{")) * weight(given))


def check_replaced(text: Any, old: Any, new: Any, most: int | None = None) -> None:
    """Raise `SecurityError` if *text* would be too long with *new* for each *old*."""
    if not (isinstance(text, _TEXTS) and isinstance(old, type(text)) and isinstance(new, _TEXTS)):
        return  # Python says what is wrong
    # A text is counted first: that is a fraction of what replacing costs.
    times = text.count(old)  # pyright: ignore[reportArgumentType]
    times = times if most is None or most < 0 else min(times, most)
    check_text(len(text) + times * (len(new) - len(old)))


def checked_items(values: Iterable[Any], between: Any) -> list[Any]:
    """Return *values*; raise `SecurityError` if they are too long with *between* between them."""
    items: list[Any] = []
    total, gap = 0, len(between) if isinstance(between, _TEXTS) else 0
    for value in values:
        total += (len(value) if isinstance(value, _TEXTS) else weight(value)) + gap
        check_text(total - gap)
        items.append(value)
    return items
