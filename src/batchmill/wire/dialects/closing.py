"""JSON Schemas as vendors of strict output insist on them: objects closed, nothing optional."""

from collections.abc import Mapping
from typing import Any

#: Whose values are data, and no schemas.
_DATA = {"enum", "const", "default", "examples", "required"}
_NAMED = {"properties", "$defs", "definitions"}


def closed_schema(schema: Any) -> Any:
    """Say of every object that it has no properties but its own: the vendor insists on it."""
    if isinstance(schema, list):
        return list(map(closed_schema, schema))
    if not isinstance(schema, Mapping):
        return schema
    closed = {
        name: {key: closed_schema(inner) for key, inner in value.items()}
        if name in _NAMED and isinstance(value, Mapping)
        else value
        if name in _DATA
        else closed_schema(value)
        for name, value in schema.items()
    }
    if schema.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    return closed


def is_strict(schema: Any) -> bool:
    """
    Say whether OpenAI's strict mode takes a closed schema: all properties of objects are required.

    It refuses any other for every row: "'required' is required to be supplied and to be an array
    including every key in properties" (structured outputs guide, read 2026-11).
    """
    if isinstance(schema, list):
        return all(map(is_strict, schema))
    if not isinstance(schema, Mapping):
        return True
    properties = schema.get("properties", {})
    if schema.get("type") == "object" or properties:
        required = schema.get("required", [])
        if schema.get("additionalProperties") is not False or set(required) != set(properties):
            return False
    inner = (
        list(value.values()) if name in _NAMED and isinstance(value, Mapping) else value
        for name, value in schema.items()
        if name not in _DATA
    )
    return all(map(is_strict, inner))
