"""What became of one request. The four words are the field's own."""

from decimal import Decimal
from enum import StrEnum, auto

import msgspec

from batchmill.core.failure import Failure


class Outcome(StrEnum):
    SUCCEEDED = auto()
    ERRORED = auto()
    CANCELED = auto()
    EXPIRED = auto()


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of one request, as the provider counted them."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0  #: part of the input tokens
    reasoning_tokens: int = 0  #: part of the output tokens

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )


# A struct and not a dataclass: ten million of these are made, and this costs a tenth.
class Result(msgspec.Struct, frozen=True, gc=False):
    """What a provider answered to one request, in our words."""

    custom_id: str  #: the one we sent: shard id, dash, row number
    outcome: Outcome
    failure: Failure | None = None  #: why not, for every outcome but `succeeded`
    detail: str = ""  #: the provider's own words about the failure
    answer: str | None = None  #: the text of the answer, kept also when it was cut short
    model: str = ""  #: who really answered, e.g. a dated model name
    usage: Usage | None = None
    cost_usd: Decimal | None = None  #: None where the price is not known
    body: bytes = b""  #: the response body, verbatim JSON; empty where there was none
    list_usd: Decimal | None = None  #: at the standard price; None: the same as `cost_usd`
    stated: bool = False  #: its batch discount is the vendor's word, and in no price table
