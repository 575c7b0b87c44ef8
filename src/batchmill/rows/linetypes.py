"""Which columns JSON lines come to, and of which types: known only once all are read."""

import pyarrow as pa

from batchmill.core.batch import Source
from batchmill.ports import Blobs
from batchmill.rows.read import Reading

_WHOLE = range(-(2**63), 2**63)


def line_schema(source: Source, blobs: Blobs) -> pa.Schema:
    """
    Read all lines and return a column for each key, in the order in which they first appear.

    Texts, whole numbers, numbers and booleans have a type; what is mixed or nested is JSON text.
    """
    kinds: dict[str, set[str]] = {}
    for chunk in Reading(source, blobs):
        for name in chunk.names():
            kinds.setdefault(name, set()).update(map(_kind, chunk.values(name)))
    return pa.schema([(name, _type_of(found - {"null"})) for name, found in kinds.items()])


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer" if value in _WHOLE else "other"
        case float():
            return "number"
        case _:
            return "string" if isinstance(value, str) else "other"


def _type_of(kinds: set[str]) -> pa.DataType:
    if kinds == {"boolean"}:
        return pa.bool_()
    if kinds == {"integer"}:
        return pa.int64()
    if kinds and kinds <= {"integer", "number"}:
        return pa.float64()
    return pa.string()
