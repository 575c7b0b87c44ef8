"""Shards, their logs and their alarms in SQL. Every function is (part of) one transaction."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, update
from sqlalchemy import text as literal
from sqlalchemy.dialects import postgresql, sqlite

from batchmill.core.shard import Event, Shard, State, advance
from batchmill.errors import IllegalTransition, InDoubt, Overtaken
from batchmill.ports import Logged
from batchmill.store.codec import (
    SHARD_COLUMNS,
    columns_of,
    event_from,
    event_name,
    facts_of,
    quoted,
    rows_bytes,
    rows_from,
    shard_from,
    to_text,
    unquoted,
)
from batchmill.store.lost import not_found
from batchmill.store.schema import OPEN, doubts, events, shards, strays

#: What an event can change. The rows never do.
CHANGING = (
    "state", "due_at", "owner", "upstream_id", "provisional", "trouble", "version", "open", "facts"
)  # fmt: skip

_INSERT = insert(shards)
_ONE = select(shards).where(shards.c.id == bindparam("wanted"))
_OF_BATCH = select(shards).where(shards.c.batch_id == bindparam("wanted")).order_by(shards.c.n)
_IDS = select(shards.c.id)
_SAVE = (
    update(shards)
    .where(shards.c.id == bindparam("wanted"), shards.c.version == bindparam("read"))
    .values({name: bindparam(name) for name in CHANGING})
)
_APPEND = insert(events)
_LOG = (
    select(events.c.version, events.c.at, events.c.type, events.c.payload)
    .where(events.c.shard_id == bindparam("wanted"))
    .order_by(events.c.version)
)
_LAST_AT = (
    select(events.c.at)
    .where(events.c.shard_id == shards.c.id)
    .order_by(events.c.version.desc())
    .limit(1)
    .scalar_subquery()
)
_MOVED_AT = select(func.max(_LAST_AT)).where(shards.c.batch_id == bindparam("wanted"))
_STRAY = {
    "sqlite": sqlite.insert(strays).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(strays).on_conflict_do_nothing(),
}
_STRAYS = (
    select(strays.c.shard_id, strays.c.upstream_id)
    .join(shards, shards.c.id == strays.c.shard_id)
    .where(shards.c.batch_id == bindparam("wanted"))
    .order_by(strays.c.at, shards.c.n, strays.c.upstream_id)
)


_DOUBT = {
    # Returning, and not the count of rows: psycopg's is -1 here.
    "sqlite": sqlite.insert(doubts).on_conflict_do_nothing().returning(doubts.c.account),
    "postgresql": postgresql.insert(doubts).on_conflict_do_nothing().returning(doubts.c.account),
}
_NO_DOUBT = delete(doubts).where(doubts.c.shard_id == bindparam("wanted"))
# What is provisional proves nothing, not even that it is not another's.
_UPSTREAM = select(shards.c.upstream_id).where(
    shards.c.provider == bindparam("provider"),
    shards.c.id != bindparam("besides"),
    shards.c.upstream_id.is_not(None),
    shards.c.provisional.is_(False),
)
_IN_FLIGHT = select(shards).where(
    literal(f"shards.{OPEN}"),
    shards.c.provider == bindparam("provider"),
    shards.c.state.in_([s.value for s in (State.SUBMITTING, State.IN_PROGRESS, State.CANCELLING)]),
)


def add(connection: Connection, planned: Sequence[Shard]) -> None:
    if planned:
        connection.execute(_INSERT, [_row_of(shard) for shard in planned])


def one(connection: Connection, shard_id: str) -> Shard:
    """Raise `NotFound` with the nearest ids where there is none."""
    return _from_row(_row(connection, shard_id))


def planned(connection: Connection, shard_id: str) -> Shard:
    """Return the shard as it was before its first event."""
    row = _row(connection, shard_id)
    now = _from_row(row)
    return Shard(
        id=now.id,
        batch_id=now.batch_id,
        n=now.n,
        provider=now.provider,
        lane=now.lane,
        rows=rows_from(row.rows),
        attempt=now.attempt,
        max_tokens=now.max_tokens,
        due_at=row.planned_due_at,
    )


def of_batch(connection: Connection, batch_id: str) -> list[Shard]:
    return [_from_row(row) for row in connection.execute(_OF_BATCH, {"wanted": batch_id})]


def record(
    connection: Connection, before: Shard, event: Event, at: float, account: str = ""
) -> Shard:
    """Append *event* and save where it leads, if the shard is still what was read."""
    after = advance(before, event)
    values = {**columns_of(after), "open": after.open, "facts": facts_of(after)}
    parameters = {name: values[name] for name in CHANGING}
    parameters |= {"wanted": before.id, "read": before.version}
    if connection.execute(_SAVE, parameters).rowcount != 1:
        raise Overtaken(f"{before.id}: it is no longer version {before.version}")
    line = {
        "shard_id": before.id,
        "version": after.version,
        "at": at,
        "type": event_name(event),
        "payload": to_text(event),
    }
    connection.execute(_APPEND, line)
    if account and after.state is State.SUBMITTING:
        _doubt(connection, account, before)
    elif before.state is State.SUBMITTING:
        connection.execute(_NO_DOUBT, {"wanted": before.id})
    return after


def _doubt(connection: Connection, account: str, shard: Shard) -> None:
    """Enter that this shard's create is in doubt; raise `InDoubt` if another one's is."""
    line = {"account": account, "shard_id": shard.id}
    entered = connection.execute(_DOUBT[connection.dialect.name], line).first()
    # A look-up that could not tell has had its turn, and holds up nobody any more.
    if entered is None and shard.state is State.PLANNED:
        raise InDoubt(f"{shard.id}: another submission to this account waits for its answer")


def upstream_ids(connection: Connection, provider: str, besides: str) -> list[str]:
    rows = connection.execute(_UPSTREAM, {"provider": quoted(provider), "besides": besides})
    return [unquoted(row.upstream_id) or "" for row in rows]


def in_flight(connection: Connection, provider: str) -> list[Shard]:
    return [
        _from_row(row) for row in connection.execute(_IN_FLIGHT, {"provider": quoted(provider)})
    ]


def settle(connection: Connection, before: Shard, event: Event, at: float) -> Shard:
    after = record(connection, before, event, at)
    if after.state is not State.SETTLED:
        raise IllegalTransition(f"{before.id}: {event_name(event)} does not settle it")
    return after


def log(connection: Connection, shard_id: str) -> list[Logged]:
    lines = connection.execute(_LOG, {"wanted": shard_id})
    return [Logged(r.version, r.at, event_from(r.type, r.payload)) for r in lines]


def moved_at(connection: Connection, batch_id: str) -> float | None:
    return connection.scalar(_MOVED_AT, {"wanted": batch_id})


def stray(connection: Connection, shard_id: str, upstream_id: str, at: float) -> None:
    _row(connection, shard_id)
    note = {"shard_id": shard_id, "upstream_id": quoted(upstream_id), "at": at}
    connection.execute(_STRAY[connection.dialect.name], note)


def strays_of(connection: Connection, batch_id: str) -> list[tuple[str, str]]:
    rows = connection.execute(_STRAYS, {"wanted": batch_id})
    return [(row.shard_id, unquoted(row.upstream_id) or "") for row in rows]


def _row(connection: Connection, shard_id: str) -> Row[Any]:
    row = connection.execute(_ONE, {"wanted": shard_id}).one_or_none()
    if row is None:
        raise not_found("shard", shard_id, connection.scalars(_IDS))
    return row


def _from_row(row: Row[Any]) -> Shard:
    columns = {name: getattr(row, name) for name in SHARD_COLUMNS}
    return shard_from(columns, row.rows, row.facts)


def _row_of(shard: Shard) -> dict[str, Any]:
    return {
        **columns_of(shard),
        "open": shard.open,
        "planned_due_at": shard.due_at,
        "facts": facts_of(shard),
        "rows": rows_bytes(shard.rows),
    }
