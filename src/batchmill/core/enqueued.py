"""
How many prompt tokens wait at a provider: no vendor tells, so they are counted on our side.

A vendor limits the prompt tokens of one model that all upstream batches of an account may hold
together. What counts here is an estimate; where the vendor refuses all the same, its own words may
name the limit.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from batchmill.core.limits import Range
from batchmill.core.rowset import row_range
from batchmill.core.shard import Shard

#: English text has about four bytes a token; a body has JSON around it, and other scripts have more
#: bytes a character.
BYTES_PER_TOKEN: Final = 4.0
#: Until so many tokens have come back, the estimate is not corrected by what did.
CALIBRATED_FROM: Final = 2_000

_LIMIT = re.compile(
    r"limit[^0-9]{0,40}([0-9][0-9,._ ]*[0-9])\s*(?:enqueued )?tokens", re.IGNORECASE
)


def size_bytes(shard: Shard, ranges: Iterable[Range]) -> int:
    """Return about how many bytes the bodies of a shard's requests have."""
    found = 0.0
    for origin in ranges:
        rows = shard.rows.intersection_cardinality(row_range(origin.start, origin.count))
        if rows:
            found += origin.size_bytes * rows / origin.count
    return round(found)


def bytes_per_token(shards: Iterable[Shard], ranges: Sequence[Range]) -> float:
    """Return what the answers so far say that a prompt token has in bytes; else the usual."""
    tokens = sent = 0
    for shard in shards:
        if shard.tally.succeeded:
            share = shard.tally.succeeded / len(shard.rows)
            tokens += shard.tally.usage.input_tokens
            sent += round(size_bytes(shard, ranges) * share)
    if tokens < CALIBRATED_FROM or not sent:
        return BYTES_PER_TOKEN
    return min(max(sent / tokens, 0.5), 40.0)


def tokens(shard: Shard, ranges: Sequence[Range], token_bytes: float) -> int:
    """Return about how many prompt tokens a shard holds."""
    return round(size_bytes(shard, ranges) / token_bytes)


def limit_in(words: str) -> int | None:
    """Return the limit that a vendor names, e.g. `Limit: 90,000 enqueued tokens`."""
    found = _LIMIT.search(words)
    if found is None:
        return None
    digits = re.sub(r"[^0-9]", "", found[1])
    return int(digits) if 0 < len(digits) < 16 else None
