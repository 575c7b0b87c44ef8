"""Reads foreign JSON field by field: each by its type, and none overlooked."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from batchmill.errors import InvalidRequest
from batchmill.wire.hub import Chat, Embed

_encode = msgspec.json.Encoder().encode
_SNAKE = re.compile(r"_([a-z0-9])")
_NOTHING = Chat()

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def decoded(body: bytes) -> dict[str, Any]:
    """Return a body as an object; raise `InvalidRequest` where it is none."""
    try:
        found = msgspec.json.decode(body)
    except UNREADABLE as error:
        words = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InvalidRequest(f"the body is no JSON ({words}).") from error
    return Fields(found, []).left


def as_text(value: object) -> str:
    """Return a value as compact JSON text."""
    return _encode(value).decode()


def as_object(text: str, where: str) -> dict[str, Any]:
    """Return the object that *text* is; raise `InvalidRequest` naming *where* if it is none."""
    try:
        found = msgspec.json.decode(text or "{}")
    except UNREADABLE as error:
        raise InvalidRequest(f"{where}: is no JSON: {text[:80]!r}.") from error
    if not isinstance(found, dict):
        raise InvalidRequest(f"{where}: expected a JSON object, got {text[:80]!r}.")
    return found


def as_arguments(text: str) -> dict[str, Any]:
    """Return the arguments in an answer; those that were cut short are kept as they are."""
    try:
        return as_object(text, "")
    except InvalidRequest:
        return {"unreadable_arguments": text}


class Fields:
    """One JSON object. What is taken from it is checked; what is left at the `end` is lost."""

    def __init__(
        self, value: object, lost: list[str], path: str = "", *, camel: bool = False
    ) -> None:
        """*camel*: names may also be written with underscores, as Google's are."""
        if not isinstance(value, dict):
            raise InvalidRequest(f"{path or 'the body'}: expected an object, got {_kind(value)}.")
        self._camel = camel
        self.left: dict[str, Any] = (
            {_SNAKE.sub(lambda m: m[1].upper(), str(name)): v for name, v in value.items()}
            if camel
            else dict(value)
        )
        self.lost = lost
        self.path = path

    def where(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def wrong(self, name: str, expected: str, found: object) -> InvalidRequest:
        return InvalidRequest(f"{self.where(name)}: expected {expected}, got {_kind(found)}.")

    def has(self, name: str) -> bool:
        return self.left.get(name) is not None

    def value(self, name: str) -> Any:
        return self.left.pop(name, None)

    def needed(self, name: str) -> Any:
        value = self.value(name)
        if value is None:
            raise InvalidRequest(f"{self.where(name)}: is missing.")
        return value

    def text(self, name: str) -> str:
        value = self.value(name)
        if value is not None and not isinstance(value, str):
            raise self.wrong(name, "a string", value)
        return value or ""

    def needed_text(self, name: str) -> str:
        value = self.needed(name)
        if not isinstance(value, str):
            raise self.wrong(name, "a string", value)
        return value

    def number(self, name: str) -> float | None:
        value = self.value(name)
        if self._camel and isinstance(value, str):  # Google reads numbers from strings, too
            value = _number(value)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise self.wrong(name, "a number", value)
        return value

    def whole(self, name: str) -> int | None:
        value = self.number(name)
        if isinstance(value, float):
            if not value.is_integer():
                raise self.wrong(name, "a whole number", value)
            return int(value)
        return value

    def count(self, name: str) -> int:
        value = self.value(name)  # Google writes 64-bit counts as strings
        try:
            return max(0, int(value or 0))
        except (TypeError, ValueError, OverflowError):
            return 0

    def flag(self, name: str) -> bool | None:
        value = self.value(name)
        if value is not None and not isinstance(value, bool):
            raise self.wrong(name, "true or false", value)
        return value

    def items(self, name: str) -> list[Any]:
        value = self.value(name)
        if value is not None and not isinstance(value, list):
            raise self.wrong(name, "an array", value)
        return value or []

    def texts(self, name: str) -> tuple[str, ...]:
        """Take a string or an array of them."""
        value = self.value(name)
        found = [value] if isinstance(value, str) else value or []
        if not isinstance(found, list) or not all(isinstance(v, str) for v in found):
            raise self.wrong(name, "a string or an array of strings", value)
        return tuple(found)

    def mapping(self, name: str) -> dict[str, Any] | None:
        """Take an object as it is: a schema, or the arguments of a tool."""
        value = self.value(name)
        if value is not None and not isinstance(value, dict):
            raise self.wrong(name, "an object", value)
        return value

    def labels(self, name: str) -> dict[str, str]:
        found = self.mapping(name) or {}
        if all(isinstance(value, str) for value in found.values()):
            return found
        self.lose(name)
        return {}

    def inner(self, name: str) -> "Fields | None":
        value = self.value(name)
        if value is None:
            return None
        return Fields(value, self.lost, self.where(name), camel=self._camel)

    def needed_inner(self, name: str) -> "Fields":
        self.left[name] = self.needed(name)
        return self.inner(name) or self.loosely(name)

    def loosely(self, name: str) -> "Fields":
        """Take an object, or an empty one for whatever else is there: where nothing hangs on it."""
        value = self.value(name)
        found = value if isinstance(value, dict) else {}
        return Fields(found, self.lost, self.where(name), camel=self._camel)

    def inners(self, name: str) -> "Iterator[Fields]":
        for index, value in enumerate(self.items(name)):
            yield Fields(value, self.lost, f"{self.where(name)}[{index}]", camel=self._camel)

    def one_of(self, name: str, known: Sequence[str]) -> str:
        """Take one of some words; a word that only this vendor knows is lost."""
        value = self.text(name)
        if value and value not in known:
            self.lose(name)
            return ""
        return value

    def neutral(self, name: str, *values: object) -> None:
        """Take a field that may be left out if it says only what is so anyhow."""
        value = self.value(name)
        if value is not None and value not in values:
            self.lose(name)

    def lose(self, name: str) -> None:
        self.lost.append(self.where(name))

    def end(self) -> None:
        """Note as lost what nobody took."""
        for name, value in self.left.items():
            if value is not None:
                self.lose(name)
        self.left = {}


def _number(text: str) -> object:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _kind(value: object) -> str:
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:40] + "…")
    if isinstance(value, bool | int | float):
        return repr(value)
    if value is None:
        return "null"
    return "an array" if isinstance(value, list) else "an object"


def lacks(asked: Chat | Embed, dialect: str, names: Iterable[str]) -> None:
    """Raise `InvalidRequest` for the first of the hub's *names* that is said, but not sayable."""
    for name in names:
        if getattr(asked, name) != getattr(_NOTHING, name):
            raise InvalidRequest(f"{name}: {dialect} has no such field. Leave it out.")


def refused(where: str, dialect: str, words: str) -> InvalidRequest:
    """Return the error of what a dialect cannot say."""
    return InvalidRequest(f"{where}: {dialect} {words}.")


def fitting_id(id: str, allowed: re.Pattern[str], length: int) -> str:
    """Return a call's id as the vendor wants it; always the same one for the same."""
    if allowed.fullmatch(id):
        return id
    return hashlib.blake2b(id.encode(), digest_size=16).hexdigest()[:length]
