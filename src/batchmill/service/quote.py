"""What a table would come to: rows, bytes, tokens, shards. Spends, sends and keeps nothing."""

from dataclasses import dataclass

from batchmill.ports import Cutting

#: English prose comes to about four bytes a token; other scripts to fewer (2 to 4). The estimate
#: is shown with its name; prices wait for a count that is calibrated by what providers return.
BYTES_PER_TOKEN = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What would be sent."""

    rows: int
    size_bytes: int
    input_tokens: int  #: estimated from bytes
    output_tokens_max: int | None  #: None where nothing bounds the answers
    shards: int
    provider: str
    lane: str
    model: str
    first_body: bytes


def quote(cutting: Cutting, provider: str, lane: str, model: str, max_tokens: int | None) -> Quote:
    return Quote(
        rows=cutting.rows,
        size_bytes=cutting.size_bytes,
        input_tokens=round(cutting.size_bytes / BYTES_PER_TOKEN),
        output_tokens_max=None if max_tokens is None else max_tokens * cutting.rows,
        shards=len(cutting.ranges),
        provider=provider,
        lane=lane,
        model=model,
        first_body=cutting.first_body,
    )
