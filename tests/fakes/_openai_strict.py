"""What OpenAI-shaped vendors refuse at once: odd forms, odd batches. Each is (words, code)."""

import json
from collections.abc import Container, Iterable
from typing import Any

from tests.fakes._forms import Part

KINDS = {"string": str, "object": dict}
CREATE_FIELDS = {
    "input_file_id": "string",
    "endpoint": "string",
    "completion_window": "string",
    "metadata": "object",
    "output_expires_after": "object",
}
NEEDED = ("input_file_id", "endpoint", "completion_window")
FORM_FIELDS = {"purpose", "file", "expires_after[anchor]", "expires_after[seconds]"}

Wrong = tuple[str, str]


def missing(name: str) -> Wrong:
    return f"Missing required parameter: '{name}'.", "missing_required_parameter"


def odd_form(found: Iterable[Part], expiry_s: tuple[int, int]) -> Wrong | None:
    """Return what is wrong with an upload."""
    given = {part.name: part for part in found}
    if unknown := sorted(set(given) - FORM_FIELDS):
        return f"Unknown parameter: '{unknown[0]}'.", "unknown_parameter"
    for name in ("purpose", "file"):
        if name not in given:
            return missing(name)
    if given["purpose"].data != b"batch":
        return "Invalid value for 'purpose'.", "invalid_value"
    file = given["file"]
    if list(given)[-1] != "file" or not file.filename:
        return "The file must be the last part, and have a name.", ""
    if "expires_after[seconds]" in given:
        low, high = expiry_s
        if not low <= int(given["expires_after[seconds]"].data) <= high:
            return "Invalid 'expires_after.seconds'.", "invalid_value"
    try:
        json.loads(next(iter(file.data.splitlines()), b""))
    except ValueError:
        return "Invalid file format for Batch API. Must be .jsonl", ""
    return None


def odd_create(
    wanted: dict[str, Any], endpoints: Container[str], windows: Container[str]
) -> Wrong | None:
    """Return what is wrong with a batch that shall be made."""
    for name in NEEDED:
        if wanted.get(name) is None:
            return missing(name)
    for name, value in wanted.items():
        kind = CREATE_FIELDS.get(name)
        if kind is None:
            return f"Unknown parameter: '{name}'.", "unknown_parameter"
        if value is not None and not isinstance(value, KINDS[kind]):
            return f"Invalid type for '{name}': expected {kind}.", "invalid_type"
    if wanted["endpoint"] not in endpoints:
        words = f"Invalid endpoint: {wanted['endpoint']}. Supported values: {endpoints}"
        return words, "invalid_value"
    if wanted["completion_window"] not in windows:
        return "Invalid value for 'completion_window'.", "invalid_value"
    pairs: dict[str, Any] = wanted.get("metadata") or {}
    if len(pairs) > 16:
        return "Too many properties in 'metadata'.", "object_above_max_properties"
    for key, value in pairs.items():
        if not isinstance(value, str) or len(key) > 64 or len(value) > 512:
            return f"Invalid type for 'metadata.{key}'.", "invalid_type"
    return None
