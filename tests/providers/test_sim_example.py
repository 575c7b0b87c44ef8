"""Made-up instances of JSON Schemas: each is one, as another library judges."""

import json
import re
from typing import Any

import jsonschema_rs
import msgspec
import pytest

from batchmill.providers._sim_example import examples
from batchmill.providers._sim_pattern import matching

SCHEMAS: list[dict[str, Any]] = [
    {"type": "object", "properties": {"brand": {"type": "string"}}, "required": ["brand"]},
    {"enum": ["a", 2, None]},
    {"const": {"a": 1}},
    {"type": ["integer", "null"], "minimum": 3, "maximum": 5},
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    {"type": "integer", "multipleOf": 7, "minimum": 10},
    {"type": "array", "items": {"type": "integer"}, "minItems": 3, "uniqueItems": True},
    {"type": "string", "minLength": 40, "maxLength": 45},
    {"type": "string", "pattern": r"^[A-Z]{2}-\d{4}(-x)?$"},
    {"type": "string", "format": "date-time"},
    {"anyOf": [{"type": "string"}, {"type": "integer"}]},
    {"oneOf": [{"type": "null"}, {"type": "object", "required": ["x"]}]},
    {"allOf": [{"properties": {"a": {"type": "integer"}}, "required": ["a"]}, {"required": ["b"]}]},
    {
        "$defs": {"node": {"type": "object", "properties": {
            "value": {"type": "integer"},
            "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
        }, "required": ["value", "next"], "additionalProperties": False}},
        "$ref": "#/$defs/node",
    },
    {"type": "object", "minProperties": 2, "additionalProperties": {"type": "boolean"}},
    {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False},
]  # fmt: skip


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda s: json.dumps(s)[:40])
def test_examples_are_instances_of_their_schema(schema: dict[str, Any]) -> None:
    found = examples(msgspec.json.encode(schema))

    assert found
    judge = jsonschema_rs.validator_for(schema)
    assert all(judge.is_valid(json.loads(text)) for text in found)


def test_what_is_no_schema_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON Schema"):
        examples(b'{"type": "strnig"}')


@pytest.mark.parametrize(
    "pattern", [r"^\d{3}-\d{2}$", r"[a-f0-9]{8}", r"(red|green)\s+\w+", r"^[^a-z]+$", r"x?(?:ab)*c"]
)
def test_a_text_matches_its_pattern(pattern: str) -> None:
    assert all(re.search(pattern, matching(pattern, salt)) for salt in range(5))
