"""Instances of a JSON Schema, made up: what `sim/json` answers with."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import jsonschema_rs
import msgspec

from batchmill.providers._sim_pattern import matching

#: Different examples made of one schema; the row's name decides which one it gets.
VARIANTS: Final = 16
DEEPEST: Final = 24  #: a schema that refers to itself must come to an end somewhere

WORDS: Final = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heath")

FORMATS: Final[Mapping[str, str]] = {
    "date": "2026-02-03",
    "date-time": "2026-02-03T04:05:06Z",
    "time": "04:05:06Z",
    "duration": "P1DT2H",
    "email": "a.person@example.com",
    "idn-email": "a.person@example.com",
    "hostname": "example.com",
    "idn-hostname": "example.com",
    "ipv4": "192.0.2.7",
    "ipv6": "2001:db8::7",
    "uri": "https://example.com/a",
    "uri-reference": "/a",
    "iri": "https://example.com/a",
    "uri-template": "https://example.com/{a}",
    "json-pointer": "/a/0",
    "regex": "^a$",
    "uuid": "0f0e0d0c-0b0a-4908-8706-050403020100",
}

Schema = Mapping[str, Any]


@lru_cache(maxsize=64)
def examples(schema: bytes) -> tuple[bytes, ...]:
    """
    Return instances of *schema* (JSON) as JSON; each has been validated. Empty: we found none.

    Raises `ValueError` where it is no JSON Schema.
    """
    root: object = msgspec.json.decode(schema)
    if not isinstance(root, dict | bool):
        raise ValueError("a JSON Schema is an object")  # noqa: TRY004 - one kind of error for both
    try:
        judge = jsonschema_rs.validator_for(root)
    except jsonschema_rs.ValidationError as error:
        raise ValueError(f"not a JSON Schema: {error.message}") from error
    found: dict[bytes, None] = {}
    for salt in range(VARIANTS):
        try:
            instance = _Maker(root, salt).make(root, 0)
        except RecursionError:
            continue
        if judge.is_valid(instance):
            found[msgspec.json.encode(instance)] = None
    return tuple(found)


class _Maker:
    """Makes one instance; the salt turns every choice that the schema leaves open."""

    def __init__(self, root: object, salt: int) -> None:
        self._root, self._salt = root, salt

    def make(self, schema: Any, depth: int) -> Any:
        if depth > DEEPEST:
            raise RecursionError
        if not isinstance(schema, dict):
            return WORDS[self._salt % len(WORDS)]
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return schema["enum"][self._salt % len(schema["enum"])]
        if "$ref" in schema:
            rest = {k: v for k, v in schema.items() if k != "$ref"}
            return self.make(_merged(self._resolved(schema["$ref"]), rest), depth + 1)
        if schema.get("allOf"):
            whole = {k: v for k, v in schema.items() if k != "allOf"}
            for part in schema["allOf"]:
                whole = _merged(whole, self._flat(part))
            return self.make(whole, depth + 1)
        for choice in ("anyOf", "oneOf"):
            if schema.get(choice):
                return self._either(schema, choice, depth)
        return self._typed(schema, self._type_of(schema), depth)

    def _either(self, schema: Schema, choice: str, depth: int) -> Any:
        """Make one of the alternatives; near the bottom the plainest one, so that it ends."""
        ways = list(schema[choice])
        rest = {k: v for k, v in schema.items() if k != choice}
        if depth > DEEPEST // 3:
            ways.sort(key=lambda way: len(msgspec.json.encode(self._flat(way))))
            return self.make(_merged(rest, self._flat(ways[0])), depth + 1)
        way = ways[self._salt % len(ways)]
        return self.make(_merged(rest, self._flat(way)), depth + 1)

    def _flat(self, schema: Any) -> Schema:
        while isinstance(schema, dict) and "$ref" in schema:
            rest = {k: v for k, v in schema.items() if k != "$ref"}
            schema = _merged(self._resolved(schema["$ref"]), rest)
        return schema if isinstance(schema, dict) else {}

    def _resolved(self, ref: str) -> Schema:
        found: Any = self._root
        for part in ref.removeprefix("#").split("/"):
            key = part.replace("~1", "/").replace("~0", "~")
            if key:
                found = found[int(key)] if isinstance(found, list) else found.get(key, {})
        return found if isinstance(found, dict) else {}

    def _type_of(self, schema: Schema) -> str:
        kind = schema.get("type")
        if isinstance(kind, list):
            useful = [k for k in kind if k != "null"] or ["null"]
            return str(useful[self._salt % len(useful)])
        if kind:
            return str(kind)
        for hint, meant in _HINTS.items():
            if hint in schema:
                return meant
        return "string"

    def _typed(self, schema: Schema, kind: str, depth: int) -> Any:
        match kind:
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "string":
                return self._string(schema)
            case "integer":
                return int(self._number(schema, whole=True))
            case "number":
                return self._number(schema, whole=False)
            case "boolean":
                return self._salt % 2 == 0
            case _:
                return None

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        known: Schema = schema.get("properties") or {}
        wanted: Sequence[str] = schema.get("required") or ()
        # What is optional is left out far down, where it may be the way into an endless circle.
        keys = dict.fromkeys((*wanted, *(known if depth < DEEPEST // 4 else ())))
        made = {key: self.make(known.get(key, True), depth + 1) for key in keys}
        further = schema.get("additionalProperties", True)
        while len(made) < schema.get("minProperties", 0):
            made[f"key_{len(made)}"] = self.make(further, depth + 1)
        return made

    def _array(self, schema: Schema, depth: int) -> list[Any]:
        low = schema.get("minItems", 1 if depth < DEEPEST // 4 else 0)
        count = min(max(low, schema.get("minContains", 0)), schema.get("maxItems", 1 << 30))
        first: Sequence[Any] = schema.get("prefixItems") or ()
        items = schema.get("items", schema.get("contains", True))
        made: list[Any] = []
        for i in range(max(count, min(len(first), schema.get("maxItems", 1 << 30)))):
            maker = _Maker(self._root, self._salt + i)  # neighbours differ, as uniqueItems wants
            made.append(maker.make(first[i] if i < len(first) else items, depth + 1))
        return made

    def _string(self, schema: Schema) -> str:
        low, high = schema.get("minLength", 0), schema.get("maxLength", 1 << 30)
        if pattern := schema.get("pattern"):
            return matching(str(pattern), self._salt)
        text = FORMATS.get(str(schema.get("format"))) or WORDS[self._salt % len(WORDS)]
        if len(text) < low:
            text = (f"{text} " * (low // len(text) + 1))[:low].replace(" ", "-")
        return text[:high]

    def _number(self, schema: Schema, *, whole: bool) -> float:
        low = schema.get("minimum", schema.get("exclusiveMinimum"))
        high = schema.get("maximum", schema.get("exclusiveMaximum"))
        step = schema.get("multipleOf") or (1 if whole else 0)
        if low is None:
            low = 0 if high is None or high >= 0 else high - 1000
        if "exclusiveMinimum" in schema and low <= schema["exclusiveMinimum"]:
            low = schema["exclusiveMinimum"] + (step or _narrow(schema, high))
        value = low if step else low + 0.5
        if step:
            value = -(-low // step) * step + (self._salt % 7) * step
        if high is not None and (value > high or value == schema.get("exclusiveMaximum")):
            value = -(-low // step) * step if step else low
        return value


_HINTS: Final[Mapping[str, str]] = {
    "properties": "object",
    "required": "object",
    "additionalProperties": "object",
    "items": "array",
    "prefixItems": "array",
    "minItems": "array",
    "minimum": "number",
    "maximum": "number",
    "multipleOf": "number",
}


def _narrow(schema: Schema, high: float | None) -> float:
    return 1.0 if high is None else (high - schema["exclusiveMinimum"]) / 2


def _merged(one: Schema, other: Schema) -> Schema:
    """Return what both schemas ask for, as far as that can be said without thinking."""
    whole = {**one, **other}
    if "properties" in one and "properties" in other:
        whole["properties"] = {**one["properties"], **other["properties"]}
    if "required" in one and "required" in other:
        whole["required"] = list(dict.fromkeys((*one["required"], *other["required"])))
    return whole
