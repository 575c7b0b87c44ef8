"""
What can be done now, and when the next thing can: `core.shard.next_command`, said in SQL.

Whatever changes there changes here; a test draws worlds at random and compares the two.
"""

from sqlalchemy import ColumnElement, Connection, and_, bindparam, exists, func, or_, select
from sqlalchemy import text as literal

from batchmill.core.shard import State
from batchmill.store.schema import OPEN, batches, shards

_NOW = bindparam("now")
_OPEN = literal(f"shards.{OPEN}")
_OF_BATCH = shards.c.batch_id == batches.c.id


def _is(state: State) -> ColumnElement[bool]:
    return shards.c.state == state.value


_HELD = batches.c.held != ""
_STOPPED = or_(batches.c.cancel_wanted.is_(True), batches.c.deadline <= _NOW)

# A cancel or a deadline concerns these whether or not they are due.
_UNTROUBLED = and_(_is(State.IN_PROGRESS), shards.c.provisional.is_(False), shards.c.trouble == 0)
_STOPPABLE = or_(_is(State.PLANNED), _UNTROUBLED)
_BY_STATE = shards.c.state.in_([State.PLANNED.value, State.IN_PROGRESS.value])

_BY_TIME = (
    select(shards.c.id.label("shard_id"), shards.c.due_at)
    .join(batches, _OF_BATCH)
    .where(_OPEN, shards.c.due_at <= _NOW, or_(shards.c.state != State.PLANNED.value, ~_HELD))
)
# A subquery and not a join: it makes SQLite begin with the batches, and not with every open shard.
_BY_WISH = select(shards.c.id.label("shard_id"), shards.c.due_at).where(
    _OPEN,
    shards.c.batch_id.in_(select(batches.c.id).where(_STOPPED)),
    _BY_STATE,
    _STOPPABLE,
)

# The first that time alone makes due: neither held back nor due already for a wish.
_NEXT_BY_TIME = (
    select(shards.c.due_at)
    .join(batches, _OF_BATCH)
    .where(
        _OPEN,
        shards.c.due_at > _NOW,
        or_(shards.c.state != State.PLANNED.value, ~_HELD),
        # Not `~_STOPPED`: without a deadline, "deadline <= now" is not false but unknown.
        or_(
            and_(
                batches.c.cancel_wanted.is_(False),
                or_(batches.c.deadline.is_(None), batches.c.deadline > _NOW),
            ),
            ~_STOPPABLE,
        ),
    )
    .order_by(shards.c.due_at)
    .limit(1)
)


def _has(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists(select(shards.c.id).where(_OF_BATCH, _OPEN, *conditions).correlate(batches))


_NEXT_DEADLINE = select(func.min(batches.c.deadline)).where(
    batches.c.deadline > _NOW,
    batches.c.cancel_wanted.is_(False),
    or_(
        _has(_is(State.PLANNED), shards.c.due_at > _NOW),
        and_(_HELD, _has(_is(State.PLANNED))),
        _has(_UNTROUBLED, shards.c.due_at > _NOW),
    ),
)


def due(connection: Connection, now: float) -> list[str]:
    # Two queries and no ORDER BY: joined into one, SQLite walks through every open shard.
    found = {
        (row.due_at, row.shard_id)
        for query in (_BY_TIME, _BY_WISH)
        for row in connection.execute(query, {"now": now})
    }
    return [shard_id for _, shard_id in sorted(found)]


def next_due(connection: Connection, now: float) -> float | None:
    moment = connection.scalar(_NEXT_BY_TIME, {"now": now})
    deadline = connection.scalar(_NEXT_DEADLINE, {"now": now})
    return min((at for at in (moment, deadline) if at is not None), default=None)
