"""Events, shards and batches as JSON text, and back."""

import base64
import json
from collections.abc import Mapping
from typing import Any, Final, TypeVar, get_args

import msgspec

from batchmill.core.batch import Batch
from batchmill.core.rowset import RowSet
from batchmill.core.shard import Event, Shard
from batchmill.errors import StorageTrouble

T = TypeVar("T")

#: What the log calls each event.
EVENTS: Final[Mapping[str, type[Event]]] = {kind.__name__: kind for kind in get_args(Event)}

#: What SQL asks for has a column; everything else a shard or a batch knows is one JSON text. A
#: field added to the rest needs no migration, only a default.
SHARD_COLUMNS: Final = (
    "id",
    "batch_id",
    "n",
    "provider",
    "lane",
    "state",
    "due_at",
    "owner",
    "upstream_id",
    "provisional",
    "trouble",
    "version",
)
SHARD_FACTS: Final = tuple(
    name for name in Shard.__dataclass_fields__ if name not in {*SHARD_COLUMNS, "rows"}
)
BATCH_COLUMNS: Final = (
    "id",
    "created_at",
    "deadline",
    "provider",
    "lane",
    "cancel_wanted",
    "held",
    "version",
)
#: Columns whose words come from outside.
WORDS: Final = frozenset({"provider", "lane", "owner", "upstream_id", "held"})
BATCH_FACTS: Final = tuple(n for n in Batch.__dataclass_fields__ if n not in BATCH_COLUMNS)


def to_text(value: object) -> str:
    """
    Return *value* as JSON in pure ASCII.

    The standard library's writer and not msgspec's, which has no words for an infinite moment or
    for the half of a surrogate pair (a file name that is no UTF-8), and would leave NUL, which
    PostgreSQL refuses, to its reader.
    """
    return json.dumps(msgspec.to_builtins(value, enc_hook=_plain), separators=(",", ":"))


def from_text(text: str, kind: type[T]) -> T:
    """Return the *kind* of value in *text*; raise `StorageTrouble` where it is none."""
    try:
        return msgspec.convert(json.loads(text), kind, dec_hook=_typed)
    except (ValueError, msgspec.ValidationError) as error:
        raise _unreadable(kind.__name__, error) from error


def event_name(event: Event) -> str:
    return type(event).__name__


def event_from(name: str, payload: str) -> Event:
    """Return the event the log calls *name*."""
    if name not in EVENTS:
        raise StorageTrouble(
            f"the database's log has an event {name!r} that this batchmill does not know: it was "
            "written by a newer batchmill. Upgrade the program."
        )
    return from_text(payload, EVENTS[name])


def facts_of(value: Shard | Batch) -> str:
    """Return what has no column of its own."""
    names = SHARD_FACTS if isinstance(value, Shard) else BATCH_FACTS
    return to_text({name: getattr(value, name) for name in names})


def columns_of(value: Shard | Batch) -> dict[str, Any]:
    """Return what has a column of its own."""
    names = SHARD_COLUMNS if isinstance(value, Shard) else BATCH_COLUMNS
    return {n: quoted(getattr(value, n)) if n in WORDS else getattr(value, n) for n in names}


def quoted(words: str | None) -> str | None:
    """
    Return *words* as a column may hold them: a NUL or half a surrogate pair travels as JSON.

    JSON is recognised by its quote, so words that begin with one go that way too.
    """
    if not words or (words.isprintable() and words[0] != '"'):
        return words
    return json.dumps(words)


def unquoted(column: str | None) -> str | None:
    """Return the words that `quoted` was given."""
    return _loaded(column) if column and column[0] == '"' else column


def shard_from(columns: Mapping[str, Any], rows: bytes, facts: str) -> Shard:
    """Return the shard that `columns_of`, `rows_bytes` and `facts_of` were made from."""
    return _whole(Shard, {**_loaded(facts), **_spoken(columns), "rows": rows_from(rows)})


def batch_from(columns: Mapping[str, Any], facts: str) -> Batch:
    return _whole(Batch, {**_loaded(facts), **_spoken(columns)})


def rows_bytes(rows: RowSet) -> bytes:
    return rows.serialize()


def rows_from(data: bytes) -> RowSet:
    try:
        return RowSet.deserialize(data)
    except ValueError as error:
        raise _unreadable("RowSet", error) from error


def _spoken(columns: Mapping[str, Any]) -> dict[str, Any]:
    return {name: unquoted(v) if name in WORDS else v for name, v in columns.items()}


def _loaded(facts: str) -> Any:
    try:
        return json.loads(facts)
    except ValueError as error:
        raise _unreadable("facts", error) from error


def _whole(kind: type[T], parts: Mapping[str, Any]) -> T:
    try:
        return msgspec.convert(parts, kind, dec_hook=_typed)
    except msgspec.ValidationError as error:
        raise _unreadable(kind.__name__, error) from error


def _plain(value: object) -> object:
    if isinstance(value, RowSet):
        return base64.b64encode(value.serialize()).decode()
    if isinstance(value, Mapping):
        return dict(value)
    raise NotImplementedError(f"a {type(value).__name__} has no place in the database")


def _typed(kind: type, value: object) -> object:
    if isinstance(value, kind):
        return value
    if kind is RowSet and isinstance(value, str):
        return RowSet.deserialize(base64.b64decode(value))
    raise NotImplementedError(f"nothing in the database becomes a {kind.__name__}")


def _unreadable(what: str, error: Exception) -> StorageTrouble:
    return StorageTrouble(
        f"the database holds a {what} that cannot be read ({error}): it is damaged, or was written "
        "by a newer batchmill. Upgrade the program, or restore the database from a backup."
    )
