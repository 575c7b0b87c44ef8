"""
Reading what is not quite what its own specification says. Slow, and only for what failed before.

An answer that reached us is paid for: it is not thrown away for an odd decoration.
"""

import json
import math
from types import UnionType
from typing import TypeVar, Union, cast, get_args, get_origin

import msgspec
from msgspec import ValidationError

S = TypeVar("S", bound=msgspec.Struct)

MARK = b"\xef\xbb\xbf"  #: of byte order, which some servers put before JSON
#: What a foreign body can raise while it is read.
UNREADABLE = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)


def loads(data: bytes) -> tuple[object, bytes]:
    """
    Read JSON with a mark, half a surrogate pair, stray bytes or `NaN` in it; else raise.

    Also returns it as JSON that everybody can read: the very bytes, where they are that already.
    """
    data = data.removeprefix(MARK)
    try:
        return msgspec.json.decode(data), data
    except (msgspec.MsgspecError, UnicodeDecodeError):
        pass
    try:
        found = _mended(json.loads(data.decode(errors="replace"), parse_int=_whole))
    except ValueError as error:
        raise msgspec.DecodeError(str(error)) from error
    return found, json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode()


def sound(data: bytes) -> bytes:
    """Return a body as JSON that everybody can read; empty where it is none."""
    try:
        return loads(data)[1]
    except UNREADABLE:
        return b""


def struct(kind: type[S], value: object) -> S:
    """Read a struct; a field of an odd shape counts as absent where it may be, else it raises."""
    if not isinstance(value, dict):
        raise ValidationError(f"expected an object, got {type(value).__name__}")
    given = cast("dict[str, object]", value)
    kept: dict[str, object] = {}
    for field in msgspec.structs.fields(kind):
        if field.encode_name not in given:
            if field.required:
                raise ValidationError(f"there is no {field.encode_name}")
            continue
        try:
            kept[field.name] = _shaped(given[field.encode_name], field.type)
        except ValidationError:
            # What has no other shape than an object's is the answer itself, not its decoration.
            if field.required or _is_struct(field.type):
                raise
    return kind(**kept)


def _shaped(value: object, kind: object) -> object:
    if get_origin(kind) in (Union, UnionType):
        inner = [each for each in get_args(kind) if _is_struct(each)]
        return _shaped(value, inner[0]) if inner and value is not None else _strict(value, kind)
    if _is_struct(kind):
        return struct(cast("type[msgspec.Struct]", kind), value)
    if get_origin(kind) is list and isinstance(value, list) and _is_struct(get_args(kind)[0]):
        return [_shaped(each, get_args(kind)[0]) for each in cast("list[object]", value)]
    return _strict(value, kind)


def _is_struct(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _strict(value: object, kind: object) -> object:
    return msgspec.convert(value, cast("type[object]", kind))


def _mended(value: object) -> object:
    if isinstance(value, str):
        return _whole_characters(value)
    if isinstance(value, list):
        return [_mended(each) for each in cast("list[object]", value)]
    if isinstance(value, dict):
        pairs = cast("dict[str, object]", value).items()
        return {_whole_characters(name): _mended(each) for name, each in pairs}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _whole_characters(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _whole(digits: str) -> int | None:
    # Python refuses to read thousands of digits; nobody counts that far.
    return int(digits) if len(digits) < 20 else None
