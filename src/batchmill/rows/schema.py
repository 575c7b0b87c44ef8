"""The JSON Schema of an answer: whether an answer fits, and which columns it brings."""

import re
from collections.abc import Mapping
from typing import Any

import jsonschema_rs
import msgspec
import pyarrow as pa

from batchmill.errors import InvalidRecipe

_decode = msgspec.json.Decoder().decode
_SIMPLE = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
}
_DETAIL_MAX = 300
_FENCE = re.compile(r"```(?:json)?(.*)```", re.DOTALL | re.IGNORECASE)


class Judge:
    """Says whether an answer is what its schema asks for."""

    def __init__(self, schema: Mapping[str, object]) -> None:
        """Raise `InvalidRecipe` if *schema* is no JSON Schema."""
        try:
            # Nothing is fetched from anywhere: a schema is one file.
            self._validator = jsonschema_rs.validator_for(dict(schema), retriever=_refuse)
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
            words = getattr(error, "message", None) or str(error)
            path = "/".join(str(p) for p in getattr(error, "instance_path", ()) or ())
            where = f"schema, at {path}" if path else "schema"
            raise InvalidRecipe(f"{where}: is no JSON Schema ({words[:_DETAIL_MAX]}).") from error

    def misfit(self, answer: str | None) -> str:
        """Return why *answer* does not fit, in one line; empty if it does."""
        try:
            value = _decode(bare(answer or ""))
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            return f"the answer is no JSON ({str(error)[:_DETAIL_MAX]})"
        try:
            if self._validator.is_valid(value):
                return ""
            error = next(iter(self._validator.iter_errors(value)))
        except (ValueError, OverflowError) as error:
            return f"the answer cannot be checked ({str(error)[:_DETAIL_MAX]})"
        path = "/".join(str(p) for p in error.instance_path)
        return f"{path + ': ' if path else ''}{error.message}"[:_DETAIL_MAX]


def bare(answer: str) -> str:
    """
    Return *answer* without the one fence that models behind vLLM and Ollama like to put around it.

    What more than a fence around the whole answer would need guessing stays as it is.
    """
    text = answer.strip()
    fenced = _FENCE.fullmatch(text)
    return text if fenced is None else fenced[1].strip()


def _refuse(uri: str) -> Any:
    raise ValueError(f"a reference to {uri} cannot be followed")


def properties(schema: Mapping[str, object] | None) -> dict[str, pa.DataType | None]:
    """
    Return the columns a schema's answers become: each top-level property and its type.

    None is what no column type is simple enough for: it is kept as JSON text.
    """
    found = (schema or {}).get("properties")
    if not isinstance(found, Mapping):
        return {}
    return {str(name): _type_of(what) for name, what in found.items()}


def _type_of(what: object) -> pa.DataType | None:
    kind = what.get("type") if isinstance(what, Mapping) else None
    if isinstance(kind, list):
        kinds = [k for k in kind if k != "null"]
        kind = kinds[0] if len(kinds) == 1 else None
    return _SIMPLE.get(kind) if isinstance(kind, str) else None
