"""The columns an answer brings, in the order of the house."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import pyarrow as pa

from batchmill.errors import InvalidTable, InvalidTarget
from batchmill.rows.kernels import pc
from batchmill.rows.schema import bare, properties
from batchmill.rows.values import as_json

#: Twenty decimals: a price per token has twelve at most, and tokens are counted in whole numbers.
COST = pa.decimal128(38, 20)

OURS: dict[str, pa.DataType] = {
    "answer": pa.string(),
    "outcome": pa.string(),
    "failure": pa.string(),
    "detail": pa.string(),
    "model": pa.string(),
    "input_tokens": pa.int64(),
    "output_tokens": pa.int64(),
    "cost_usd": pa.string(),  # plain decimal text; a number in Parquet and Arrow
    "attempts": pa.int32(),
}

_INTEGERS = range(-(2**63), 2**63)
_decode = msgspec.json.Decoder().decode


def check_clash(columns: Iterable[str], schema: Mapping[str, object] | None) -> None:
    """Raise `InvalidTable` if the table has, or the schema brings, a column that we write."""
    given = set(columns)
    for name in OURS:
        if name in given:
            raise InvalidTable(
                f"column {name!r}: the answers need a column of this name. Rename it in the table."
            )
    for name in properties(schema):
        if name in given or name in OURS:
            whose = "the table has" if name in given else "the answers have"
            raise InvalidTable(
                f"column {name!r}: is a property of the schema, but {whose} a column of this name. "
                f"Rename one of them."
            )


class Properties:
    """Takes the answers apart: a column for each top-level property of their schema."""

    def __init__(self, schema: Mapping[str, object] | None, *, without: Sequence[str] = ()) -> None:
        """*without*: properties that get no column."""
        self._types = {n: kind for n, kind in properties(schema).items() if n not in without}
        #: Those kept as JSON text, as no column type is simple enough.
        self.json_texts = frozenset(n for n, kind in self._types.items() if kind is None)

    @property
    def schema(self) -> pa.Schema:
        """Our columns, the properties last."""
        kinds = {name: kind or pa.string() for name, kind in self._types.items()}
        return pa.schema([*OURS.items(), *kinds.items()])

    def columns(self, answers: pa.Array) -> list[pa.Array]:
        """Return a column for each property; null where an answer does not have it as it should."""
        if not self._types:
            return []
        found = [_object(answer) for answer in answers.to_pylist()]
        return [
            pa.array([_fitting(row.get(name), kind) for row in found], kind or pa.string())
            for name, kind in self._types.items()
        ]


def _object(answer: str | None) -> Mapping[str, Any]:
    try:
        value = _decode(bare(answer)) if answer else None
    except (msgspec.MsgspecError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _fitting(value: Any, kind: pa.DataType | None) -> Any:
    if value is None:
        return None
    if kind is None:
        return as_json(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if pa.types.is_boolean(kind):
        return value if isinstance(value, bool) else None
    if pa.types.is_integer(kind):
        whole = is_number and value == int(value)
        return int(value) if whole and int(value) in _INTEGERS else None
    if pa.types.is_floating(kind):
        return _float(value) if is_number else None
    return value if isinstance(value, str) else None


def _float(value: float) -> float | None:
    try:
        return float(value)
    except OverflowError:  # a whole number of 400 digits; it is still in the answer
        return None


def costs_as_numbers(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return *batch* with `cost_usd` as an exact number."""
    index = batch.schema.get_field_index("cost_usd")
    try:
        costs = pc.cast(batch.column(index), COST)
    except pa.ArrowInvalid as error:  # never rounded: rather not written at all
        raise InvalidTarget(
            f"cost_usd: a price has more than {COST.scale} decimals. Write .csv or .jsonl, which "
            f"hold any number."
        ) from error
    return batch.set_column(index, "cost_usd", costs)
