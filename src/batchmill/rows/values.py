"""Values of a table as Python, as JSON and as the text of a prompt, however odd they are."""

import base64
import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import msgspec
import pyarrow as pa

from batchmill.rows.kernels import pc

_encode = msgspec.json.Encoder(enc_hook=str).encode
_DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}

#: JSON has no such numbers, and null would lose which of them it was. These names are those of
#: Protocol Buffers' JSON; `float()` of Python and `Number()` of JavaScript read them back.
_NOT_IN_JSON = {math.inf: "Infinity", -math.inf: "-Infinity"}


def python_values(array: pa.Array) -> list[Any]:
    """
    Return Python values, as templates use them.

    Nanoseconds are cut to what `datetime` can hold; a date it cannot hold at all is Arrow's text
    for it. Maps are mappings.
    """
    return _values(array, _rough)


def exact_values(array: pa.Array) -> list[Any]:
    """
    Return values that JSON can say without loss, as OUT holds them.

    A date or time that Python cannot hold (its nanoseconds, a year beyond 9999) is the text Arrow
    has for it, with the `T` of ISO 8601. A number JSON does not have is the string `NaN`,
    `Infinity` or `-Infinity`.
    """
    kind = array.type
    if pa.types.is_floating(kind):
        values = array.to_pylist()
        return values if _all_finite(array) else [_json_float(v) for v in values]
    values = _values(array, _exact)
    if pa.types.is_nested(kind) and (_holds(kind, _is_map) or not _all_finite(array)):
        return [jsonable(v, _base64) for v in values]
    return values


def text_of(value: object) -> str:
    """Return what a template prints for *value*."""
    return str(printed(value))


def printed(value: object) -> object:
    """
    Return *value* in the form whose `str()` a prompt shows.

    A null is nothing; what is nested is compact JSON; bytes are the text they hold in UTF-8, else
    base64.
    """
    if value is None:
        return ""
    if isinstance(value, Mapping | list | tuple):
        return as_json(jsonable(value, _text_or_base64))
    if isinstance(value, bytes):
        return _text_or_base64(value)
    return value


def tojson(value: Any, indent: int | None = None) -> str:
    """Return JSON text, unicode kept and nothing escaped for HTML: prompts are no web pages."""
    text = as_json(jsonable(value, _text_or_base64))
    return msgspec.json.format(text, indent=indent) if indent else text


def as_json(value: object) -> str:
    """Return *value* as JSON text; what JSON has no form for, as a string."""
    return _encode(value).decode()


def jsonable(value: Any, of_bytes: Callable[[bytes], str]) -> Any:
    """Return *value* with keys, numbers and bytes that JSON can say."""
    if isinstance(value, float):
        return _json_float(value)
    if isinstance(value, bytes):
        return of_bytes(value)
    if isinstance(value, Mapping):
        return {_key(k): jsonable(v, of_bytes) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(v, of_bytes) for v in value]
    return value


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
    text = as_json(jsonable(key, _text_or_base64))
    return msgspec.json.decode(text, type=str) if text.startswith('"') else text


def _json_float(value: float | None) -> float | str | None:
    if value is None or math.isfinite(value):
        return value
    return _NOT_IN_JSON.get(value, "NaN")


def _text_or_base64(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return _base64(data)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _values(array: pa.Array, temporal: Callable[[pa.Scalar], Any]) -> list[Any]:
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _values(array.dictionary_decode(), temporal)
    # Maps would be lists of pairs, and nanoseconds whatever pandas makes of them, if it is there.
    if not _holds(kind, _is_odd):
        try:
            return array.to_pylist()
        except (OverflowError, ValueError, LookupError):  # a date or a zone that Python has not
            pass
    return [_value(scalar, temporal) for scalar in array]


def _value(scalar: pa.Scalar, temporal: Callable[[pa.Scalar], Any]) -> Any:
    kind: Any = scalar.type
    if not scalar.is_valid:
        return None
    if pa.types.is_temporal(kind):
        return temporal(scalar)
    if pa.types.is_dictionary(kind):
        return _value(scalar.value, temporal)
    if pa.types.is_struct(kind):
        return {kind[i].name: _value(scalar[i], temporal) for i in range(kind.num_fields)}
    if pa.types.is_map(kind):
        return {_hashable(_value(p[0], temporal)): _value(p[1], temporal) for p in scalar.values}
    if pa.types.is_nested(kind) and not pa.types.is_union(kind):
        return [_value(item, temporal) for item in scalar.values]
    return scalar.as_py()


def _hashable(key: Any) -> Any:
    return _key(key) if isinstance(key, Mapping | list) else key


def _rough(scalar: pa.Scalar) -> Any:
    return _temporal(scalar, safe=False, between=" ")


def _exact(scalar: pa.Scalar) -> Any:
    return _temporal(scalar, safe=True, between="T")


def _temporal(scalar: pa.Scalar, *, safe: bool, between: str) -> Any:
    kind: Any = scalar.type
    try:
        if getattr(kind, "unit", "") == "ns":
            return pc.cast(scalar, _microseconds(kind), safe=safe).as_py()
        return scalar.as_py()
    except (OverflowError, ValueError, LookupError):
        if pa.types.is_duration(kind):
            return _seconds(scalar)
        return _arrow_text(scalar).replace(" ", between, 1)


def _microseconds(kind: Any) -> pa.DataType:
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", kind.tz)
    return pa.time64("us") if pa.types.is_time(kind) else pa.duration("us")


def _arrow_text(scalar: pa.Scalar) -> str:
    try:
        return pc.cast(scalar, pa.string()).as_py()
    except pa.ArrowInvalid:  # a zone nobody knows: the instant is known all the same
        kind: Any = scalar.type
        return pc.cast(pc.cast(scalar, pa.timestamp(kind.unit, "UTC")), pa.string()).as_py()


def _seconds(scalar: Any) -> str:
    seconds = Decimal(scalar.value).scaleb(-_DIGITS[scalar.type.unit])
    return f"{'-' if seconds < 0 else ''}PT{abs(seconds):f}S"


def _is_map(kind: pa.DataType) -> bool:
    return pa.types.is_map(kind)


def _is_odd(kind: Any) -> bool:
    return _is_map(kind) or (pa.types.is_temporal(kind) and getattr(kind, "unit", "") == "ns")


def _holds(kind: Any, wanted: Callable[[Any], bool]) -> bool:
    inner = (kind.field(i).type for i in range(kind.num_fields))
    return wanted(kind) or any(_holds(k, wanted) for k in inner)


def _all_finite(array: Any) -> bool:
    """Say whether every number in *array*, however deep, is one that JSON has."""
    kind = array.type
    if pa.types.is_floating(kind):
        return bool(pc.all(pc.is_finite(array), min_count=0).as_py())
    if not _holds(kind, pa.types.is_floating):
        return True
    if pa.types.is_struct(kind):
        return all(_all_finite(array.field(i)) for i in range(kind.num_fields))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _all_finite(array.flatten())
    return False  # rare kinds are looked at value by value
