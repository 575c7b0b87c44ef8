"""The words for an id that nobody knows."""

import difflib
from collections.abc import Iterable

from batchmill.errors import NotFound


def not_found(kind: str, wanted: str, known: Iterable[str]) -> NotFound:
    """Return the error that says there is no such *kind*, and which ids come nearest."""
    near = difflib.get_close_matches(wanted, list(known), n=3, cutoff=0.6)
    if near:
        hint = f"Did you mean {' or '.join(near)}?"
    else:
        hint = "`batchmill list` shows what there is."
    return NotFound(f"there is no {kind} {wanted!r}. {hint}")
