"""How far an upstream batch is, and what a collected shard brought."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from batchmill.core.failure import Failure
from batchmill.core.outcome import Usage
from batchmill.core.rowset import RowSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an upstream batch is, in rows, as far as the provider tells."""

    succeeded: int = 0
    errored: int = 0
    note: str = ""  #: what a person should know now, e.g. "endpoint does not answer since 14:02"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What a collected shard brought."""

    succeeded: int = 0
    failed: Mapping[Failure, RowSet] = field(default_factory=dict[Failure, RowSet])
    usage: Usage = Usage()
    cost_usd: Decimal | None = None  #: None where no price is known
    list_usd: Decimal | None = None  #: what the same rows cost at the standard price
    unpriced: int = 0  #: rows that were run, and whose price nobody knows
    stated: int = 0  #: rows whose batch discount is the vendor's word, and in no price table
    foreign: int = 0  #: lines that belong to no row of the shard: counted, kept aside, never used
    duplicate: int = 0  #: further lines for a row that had one already
