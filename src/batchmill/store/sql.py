"""The store on SQLite or PostgreSQL: `ports.Store`, each method one transaction."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, make_url
from sqlalchemy.exc import ArgumentError

from batchmill.core.batch import Batch
from batchmill.core.limits import Range
from batchmill.core.shard import Event, Shard
from batchmill.errors import InvalidSetting
from batchmill.ports import Logged
from batchmill.store import batches as in_batches
from batchmill.store import due as in_time
from batchmill.store import shards as in_shards
from batchmill.store.database import Database
from batchmill.store.postgres import PostgresDatabase
from batchmill.store.sqlite import SqliteDatabase

SQLITE = "sqlite:///"


def open_database(url: str, *, busy_timeout_s: float) -> Database:
    """Open what *url* names. Blocking."""
    if url.startswith(SQLITE):
        path = url.removeprefix(SQLITE)
        if path and path != ":memory:":
            return SqliteDatabase.open(Path(path), busy_timeout_s=busy_timeout_s)
    elif url.startswith(("postgresql://", "postgresql+psycopg://", "postgres://")):
        try:
            parsed = make_url(url).set(drivername="postgresql")
        except (ArgumentError, ValueError) as error:
            raise InvalidSetting(f"database_url: {error}") from error
        return PostgresDatabase.open(parsed, busy_timeout_s=busy_timeout_s)
    scheme = url.partition(":")[0]
    raise InvalidSetting(
        f"database_url: expected sqlite:///PATH or postgresql://…, not one that begins with "
        f"{scheme + ':'!r}."
    )


class SqlStore:
    """Small facts in SQL."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @classmethod
    def open(cls, url: str, *, busy_timeout_s: float) -> Self:
        """Open the store at *url*; see `batchmill.store.open_store`. Blocking."""
        return cls(open_database(url, busy_timeout_s=busy_timeout_s))

    @property
    def shared(self) -> bool:
        """Whether other machines may work on it too: then the turn is a lease, not a file lock."""
        return self.database.shared

    async def aclose(self) -> None:
        await self.database.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    # -- batches ------------------------------------------------------------------------------

    async def create(self, batch: Batch, ranges: Sequence[Range], shards: Sequence[Shard]) -> None:
        def work(connection: Connection) -> None:
            in_batches.create(connection, batch, ranges)
            in_shards.add(connection, shards)

        await self.database.write(work)

    async def batch(self, batch_id: str) -> Batch:
        return await self.database.read(lambda c: in_batches.one(c, batch_id))

    async def batches(self) -> list[Batch]:
        return await self.database.read(in_batches.everyone)

    async def ranges(self, batch_id: str) -> list[Range]:
        return await self.database.read(lambda c: in_batches.ranges_of(c, batch_id))

    async def wish_cancel(self, batch_id: str) -> None:
        await self.database.write(lambda c: in_batches.wish_cancel(c, batch_id))

    async def release(self, batch_id: str) -> None:
        await self.database.write(lambda c: in_batches.hold(c, batch_id, ""))

    # -- shards -------------------------------------------------------------------------------

    async def shard(self, shard_id: str) -> tuple[Shard, Batch]:
        def work(connection: Connection) -> tuple[Shard, Batch]:
            shard = in_shards.one(connection, shard_id)
            return shard, in_batches.one(connection, shard.batch_id)

        return await self.database.read(work)

    async def shards(self, batch_id: str) -> list[Shard]:
        return await self.database.read(lambda c: in_shards.of_batch(c, batch_id))

    async def planned(self, shard_id: str) -> Shard:
        """Return the shard as it was before its first event: with the log, all of its life."""
        return await self.database.read(lambda c: in_shards.planned(c, shard_id))

    async def log(self, shard_id: str) -> list[Logged]:
        return await self.database.read(lambda c: in_shards.log(c, shard_id))

    async def moved_at(self, batch_id: str) -> float | None:
        return await self.database.read(lambda c: in_shards.moved_at(c, batch_id))

    async def record(
        self, before: Shard, event: Event, at: float, *, hold: str = "", account: str = ""
    ) -> Shard:
        def work(connection: Connection) -> Shard:
            after = in_shards.record(connection, before, event, at, account)
            if hold:
                in_batches.hold(connection, before.batch_id, hold)
            return after

        return await self.database.write(work)

    async def settle(
        self,
        before: Shard,
        event: Event,
        at: float,
        batch: Batch,
        sequel: Sequence[Shard],
        hold: str,
    ) -> Shard:
        # First the shard, then its batch, here as in `record`: so two of them cannot deadlock.
        def work(connection: Connection) -> Shard:
            after = in_shards.settle(connection, before, event, at)
            in_batches.grow(connection, batch)
            in_shards.add(connection, sequel)
            if hold:
                in_batches.hold(connection, batch.id, hold)
            return after

        return await self.database.write(work)

    async def replan(self, batch: Batch, shards: Sequence[Shard]) -> None:
        def work(connection: Connection) -> None:
            in_batches.grow(connection, batch)
            in_batches.take_back_cancel(connection, batch.id)
            in_shards.add(connection, shards)

        await self.database.write(work)

    async def upstream_ids(self, provider: str, besides: str) -> list[str]:
        return await self.database.read(lambda c: in_shards.upstream_ids(c, provider, besides))

    async def in_flight(self, provider: str) -> list[Shard]:
        return await self.database.read(lambda c: in_shards.in_flight(c, provider))

    # -- time, and alarms ---------------------------------------------------------------------

    async def due(self, now: float) -> list[str]:
        return await self.database.read(lambda c: in_time.due(c, now))

    async def next_due(self, now: float) -> float | None:
        return await self.database.read(lambda c: in_time.next_due(c, now))

    async def stray(self, shard_id: str, upstream_id: str, at: float) -> None:
        await self.database.write(lambda c: in_shards.stray(c, shard_id, upstream_id, at))

    async def strays(self, batch_id: str) -> list[tuple[str, str]]:
        return await self.database.read(lambda c: in_shards.strays_of(c, batch_id))
