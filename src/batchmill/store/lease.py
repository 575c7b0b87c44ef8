"""Whose turn it is among many machines: a row that its holder renews while it lives."""

from sqlalchemy import Connection, text

from batchmill.ports import Clock
from batchmill.store.sql import SqlStore

LEASE_S = 15.0
HEARTBEAT_S = 5.0

# The database's clock, and not its transaction's beginning: a statement may have waited for a row.
NOW = "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS double precision)"

TAKE = text(f"""
    INSERT INTO workers (name, owner, seen_at, lease_until)
    VALUES ('loop', :owner, {NOW}, {NOW} + :lease_s)
    ON CONFLICT (name) DO UPDATE
    SET owner = :owner, seen_at = {NOW}, lease_until = {NOW} + :lease_s
    WHERE workers.owner = :owner OR workers.lease_until <= {NOW}
""")  # noqa: S608 - nothing foreign in it
GIVE_UP = text(
    f"UPDATE workers SET lease_until = {NOW} WHERE name = 'loop' AND owner = :owner"  # noqa: S608
)
LAST_SEEN = text(
    f"SELECT lease_until > {NOW}, seen_at FROM workers WHERE name = 'loop'"  # noqa: S608
)


class LeaseTurn:
    """
    The turn among many machines: one row of a PostgreSQL database, renewed while its holder lives.

    *owner* is a name nobody else has, one for each `LeaseTurn`. A worker that was frozen longer
    than its lease finds out when it asks again; what it records meanwhile is guarded by versions.
    """

    def __init__(
        self, store: SqlStore, clock: Clock, owner: str, *, lease_s: float = LEASE_S
    ) -> None:
        self._database = store.database
        self._clock = clock
        self._owner = owner
        self._lease_s = lease_s
        self._renew_at = 0.0  # by `Clock.awake`, which a suspended machine cannot stop
        self._held = False

    async def take(self) -> bool:
        """Try to become, or stay, the worker; speaks to the database at every third of a lease."""
        awake = self._clock.awake()
        if self._held and awake < self._renew_at:
            return True

        def work(connection: Connection) -> bool:
            lease = {"owner": self._owner, "lease_s": self._lease_s}
            return connection.execute(TAKE, lease).rowcount == 1

        self._held = await self._database.write(work)
        self._renew_at = awake + self._lease_s * HEARTBEAT_S / LEASE_S
        return self._held

    async def give_up(self) -> None:
        self._held = False
        await self._database.write(lambda c: c.execute(GIVE_UP, {"owner": self._owner}))

    async def last_seen(self) -> tuple[bool, float | None]:
        """Return whether a lease stands, and the last heartbeat by the database's clock."""

        def work(connection: Connection) -> tuple[bool, float | None]:
            row = connection.execute(LAST_SEEN).one_or_none()
            return (False, None) if row is None else (bool(row[0]), float(row[1]))

        return await self._database.read(work)
