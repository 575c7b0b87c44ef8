"""Batches and their ranges in SQL. Every function is (part of) one transaction."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from batchmill.core.batch import Batch
from batchmill.core.limits import Range
from batchmill.errors import Overtaken
from batchmill.store.codec import BATCH_COLUMNS, batch_from, columns_of, facts_of, quoted
from batchmill.store.lost import not_found
from batchmill.store.schema import batches, ranges

_INSERT = insert(batches)
_INSERT_RANGES = insert(ranges)
_ALL = select(batches).order_by(batches.c.created_at.desc(), batches.c.id.desc())
_ONE = select(batches).where(batches.c.id == bindparam("wanted"))
_IDS = select(batches.c.id)
_RANGES = (
    select(ranges.c.n, ranges.c.start, ranges.c.count, ranges.c.size_bytes)
    .where(ranges.c.batch_id == bindparam("wanted"))
    .order_by(ranges.c.n)
)
_REPLAN = (
    update(batches)
    .where(batches.c.id == bindparam("wanted"), batches.c.version == bindparam("read"))
    .values(version=batches.c.version + 1)
)
# A wish changes what may be planned, so whoever is planning at this moment decides anew.
_WISH_CANCEL = (
    update(batches)
    .where(batches.c.id == bindparam("wanted"), batches.c.cancel_wanted.is_(False))
    .values(cancel_wanted=True, version=batches.c.version + 1)
)
_TAKE_BACK = update(batches).where(batches.c.id == bindparam("wanted")).values(cancel_wanted=False)
_HOLD = update(batches).where(batches.c.id == bindparam("wanted")).values(held=bindparam("words"))


def create(connection: Connection, batch: Batch, cut: Sequence[Range]) -> None:
    connection.execute(_INSERT, {**columns_of(batch), "facts": facts_of(batch)})
    if cut:
        rows = [
            {
                "batch_id": batch.id,
                "n": r.n,
                "start": r.start,
                "count": r.count,
                "size_bytes": r.size_bytes,
            }
            for r in cut
        ]
        connection.execute(_INSERT_RANGES, rows)


def one(connection: Connection, batch_id: str) -> Batch:
    """Raise `NotFound` with the nearest ids where there is none."""
    row = connection.execute(_ONE, {"wanted": batch_id}).one_or_none()
    if row is None:
        raise not_found("batch", batch_id, ids(connection))
    return _from_row(row)


def everyone(connection: Connection) -> list[Batch]:
    return [_from_row(row) for row in connection.execute(_ALL)]


def ids(connection: Connection) -> list[str]:
    return list(connection.scalars(_IDS))


def ranges_of(connection: Connection, batch_id: str) -> list[Range]:
    return [Range(*row) for row in connection.execute(_RANGES, {"wanted": batch_id})]


def grow(connection: Connection, batch: Batch) -> None:
    """Claim the right to change the batch's plan; raise `Overtaken` if that has been changed."""
    changed = connection.execute(_REPLAN, {"wanted": batch.id, "read": batch.version})
    if changed.rowcount != 1:
        raise Overtaken(f"{batch.id}: its plan is no longer version {batch.version}")


def wish_cancel(connection: Connection, batch_id: str) -> None:
    if connection.execute(_WISH_CANCEL, {"wanted": batch_id}).rowcount != 1:
        one(connection, batch_id)  # wished already, or not there at all


def take_back_cancel(connection: Connection, batch_id: str) -> None:
    connection.execute(_TAKE_BACK, {"wanted": batch_id})


def hold(connection: Connection, batch_id: str, words: str) -> None:
    """Hold the batch; without *words*, end the hold."""
    changed = connection.execute(_HOLD, {"wanted": batch_id, "words": quoted(words)})
    if changed.rowcount != 1:
        raise not_found("batch", batch_id, ids(connection))


def _from_row(row: Row[Any]) -> Batch:
    return batch_from({name: getattr(row, name) for name in BATCH_COLUMNS}, row.facts)
