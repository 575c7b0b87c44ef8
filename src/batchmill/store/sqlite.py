"""SQLite: one thread writes, and commits what has piled up together; another reads."""

import asyncio
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from batchmill.errors import StorageTrouble
from batchmill.store.opening import Found, look, migrate
from batchmill.store.trouble import NOT_OURS, translated, trouble

T = TypeVar("T")

#: Units of work in one commit at most, so that the first of them does not wait for ever.
GROUP_MAX = 256

#: One page of the smallest size there is.
SMALLEST_BYTES = 512

#: Switching to WAL does not wait for its turn as other statements do; so it is tried again.
WAL_TRIES = 200
WAL_WAIT_S = 0.05


class Work:
    """A unit of work that somebody waits for."""

    def __init__(self, work: Callable[[Connection], Any]) -> None:
        self.work = work
        self.future: Future[Any] = Future()
        self.result: Any = None
        self.error: Exception | None = None

    def resolve(self) -> None:
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


class SqliteDatabase:
    """
    One file. A commit costs an fsync, so those who write at the same time share one.

    Each unit of work stands in a savepoint of its own: one that fails takes nobody with it.
    """

    shared = False

    def __init__(self, engine: Engine, place: str) -> None:
        self.place = place
        self._engine = engine
        self._waiting: deque[Work] = deque()
        self._writer = ThreadPoolExecutor(1, "batchmill-writer")
        self._reader = ThreadPoolExecutor(1, "batchmill-reader")
        # Held for good: a pool would cost more than the statements.
        self._write_to = _connect(engine)
        self._read_from = _connect(engine)
        self._read_from.exec_driver_sql("PRAGMA query_only = ON")

    @classmethod
    def open(cls, path: Path, *, busy_timeout_s: float) -> "SqliteDatabase":
        """Open the database file at *path*; make it, and its folder, where there is none."""
        place = str(path)
        with translated(place):
            path.parent.mkdir(parents=True, exist_ok=True)
            # SQLite takes a file of a few bytes for an empty one, and would write over it.
            if path.is_dir() or (path.exists() and 0 < path.stat().st_size < SMALLEST_BYTES):
                raise trouble(place, NOT_OURS)
            engine = _engine(path, busy_timeout_s)
            try:
                _prepare(engine, place)
                return cls(engine, place)
            except BaseException:
                engine.dispose()
                raise

    async def write(self, work: Callable[[Connection], T]) -> T:
        waiting = Work(work)
        self._waiting.append(waiting)
        self._submit(self._writer, self._flush)
        return await asyncio.wrap_future(waiting.future)

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await asyncio.wrap_future(self._submit(self._reader, self._read, work))

    async def aclose(self) -> None:
        """Finish what is waiting, then close."""
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        self._writer.shutdown()
        self._reader.shutdown()
        with translated(self.place):
            self._read_from.close()
            self._write_to.close()
            self._engine.dispose()

    def _submit(self, thread: ThreadPoolExecutor, work: Callable[..., T], *args: Any) -> Future[T]:
        try:
            return thread.submit(work, *args)
        except RuntimeError as error:
            raise StorageTrouble(f"{self.place}: it has been closed.") from error

    def _read(self, work: Callable[[Connection], T]) -> T:
        raw = _raw(self._read_from)
        with translated(self.place):
            raw.execute("BEGIN")
            try:
                return work(self._read_from)
            finally:
                _roll_back(raw)

    def _flush(self) -> None:
        """Take what is waiting, if an earlier call has not, and do it in one transaction."""
        group: list[Work] = []
        while self._waiting and len(group) < GROUP_MAX:
            waiting = self._waiting.popleft()
            if waiting.future.set_running_or_notify_cancel():
                group.append(waiting)
        if group:
            self._run(group)
        for waiting in group:
            waiting.resolve()

    def _run(self, group: list[Work]) -> None:
        raw = _raw(self._write_to)
        try:
            # Words like BEGIN go past SQLAlchemy, where they would cost a quarter of a millisecond.
            with translated(self.place):
                raw.execute("BEGIN IMMEDIATE")
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            for waiting in group:
                waiting.error = error
            return
        try:
            with translated(self.place):
                for waiting in group:
                    self._one(raw, waiting)
                raw.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - as above
            _roll_back(raw)
            if len(group) == 1:
                group[0].error = error
                return
            # Nothing of the group was kept. Alone, each succeeds or fails for itself.
            for waiting in group:
                self._run([waiting])

    def _one(self, raw: sqlite3.Connection, waiting: Work) -> None:
        waiting.error = None
        raw.execute("SAVEPOINT one")
        try:
            with translated(self.place):
                waiting.result = waiting.work(self._write_to)
        except Exception as error:
            # A full disk ends the whole transaction by itself, and the group's with it.
            if not raw.in_transaction:
                raise
            waiting.error = error
            raw.execute("ROLLBACK TO one")
        raw.execute("RELEASE one")


def _engine(path: Path, busy_timeout_s: float) -> Engine:
    url = URL.create("sqlite", database=str(path))
    # The threads are ours and each connection belongs to one of them; sqlite3 need not look.
    arguments = {"check_same_thread": False, "timeout": busy_timeout_s}
    engine = create_engine(
        url,
        connect_args=arguments,
        poolclass=NullPool,
        hide_parameters=True,  # prompts have no place in anybody's log
    )

    @event.listens_for(engine, "connect")
    def furnish(raw: sqlite3.Connection, record: object) -> None:
        raw.isolation_level = None  # BEGIN is ours to say
        for pragma in ("foreign_keys = ON", "synchronous = FULL"):
            raw.execute(f"PRAGMA {pragma}")

    return engine


def _connect(engine: Engine) -> Connection:
    return engine.connect().execution_options(isolation_level="AUTOCOMMIT")


def _prepare(engine: Engine, place: str) -> None:
    with _connect(engine) as connection:
        # Look before the first write: a stranger's file stays as it was.
        found = look(connection, place)
        _to_wal(connection)
        if found is Found.CURRENT:
            return
        # Batch migrations copy tables, which breaks references for a moment; the switch works only
        # outside of a transaction.
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        raw = _raw(connection)
        raw.execute("BEGIN IMMEDIATE")
        try:
            if look(connection, place) is not Found.CURRENT:
                migrate(connection)
            raw.execute("COMMIT")
        except BaseException:
            _roll_back(raw)
            raise


def _to_wal(connection: Connection) -> None:
    for tried in range(WAL_TRIES):
        try:
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        except Exception as error:
            code = getattr(getattr(error, "orig", None), "sqlite_errorcode", 0)
            if code & 0xFF != sqlite3.SQLITE_BUSY or tried == WAL_TRIES - 1:
                raise
            threading.Event().wait(WAL_WAIT_S)
        else:
            return


def _raw(connection: Connection) -> sqlite3.Connection:
    raw = connection.connection.dbapi_connection
    assert isinstance(raw, sqlite3.Connection)
    return raw


def _roll_back(raw: sqlite3.Connection) -> None:
    """Undo a transaction, if SQLite has not done so by itself."""
    with suppress(sqlite3.Error):
        if raw.in_transaction:
            raw.execute("ROLLBACK")
