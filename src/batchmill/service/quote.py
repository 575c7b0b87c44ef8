"""What a table would come to: rows, bytes, tokens, shards. Spends, sends and keeps nothing."""

from dataclasses import dataclass

from batchmill.core import plan
from batchmill.core.rowset import row_range, rows_of
from batchmill.ports import Cutting
from batchmill.wire.translate import max_tokens_of

#: English prose comes to about four bytes a token; other scripts to fewer (2 to 4). The estimate
#: is shown with its name; prices wait for a count that is calibrated by what providers return.
BYTES_PER_TOKEN = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What would be sent."""

    rows: int  #: without those left out
    left_out: int  #: rows whose image cannot be read
    live_rows: int  #: rows that are too few for a batch, and go through the live lane
    size_bytes: int
    input_tokens: int  #: estimated from bytes
    output_tokens_max: int | None  #: None where nothing bounds the answers, or each request does
    each_says: bool  #: ready-made lines: what bounds the answers, if anything, is theirs to say
    shards: int
    provider: str
    lane: str
    model: str
    first_body: bytes


def quote(
    cutting: Cutting,
    provider: str,
    lane: str,
    model: str,
    max_tokens: int | None,
    requests_min: int = 1,
    *,
    dialect: str,
) -> Quote:
    each_says = max_tokens is None and cutting.source.format == "requests"
    if max_tokens is None and not each_says and cutting.first_body:
        # Some vendors want a limit in each request; of a table, all have the same.
        max_tokens = max_tokens_of(cutting.first_body, dialect)
    left_out = rows_of(cutting.unusable.keys())
    rows = cutting.rows - len(left_out)
    fewest = requests_min if lane == "batch" else 1
    return Quote(
        rows=rows,
        left_out=len(left_out),
        live_rows=plan.too_few(cutting.ranges, fewest, left_out),
        size_bytes=cutting.size_bytes,
        input_tokens=round(cutting.size_bytes / BYTES_PER_TOKEN),
        output_tokens_max=None if max_tokens is None else max_tokens * rows,
        each_says=each_says,
        shards=sum(bool(row_range(r.start, r.count) - left_out) for r in cutting.ranges),
        provider=provider,
        lane=lane,
        model=model,
        first_body=cutting.first_body,
    )
