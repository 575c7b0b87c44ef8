"""PostgreSQL: a few connections, ordinary transactions."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.util import find_spec
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL

from batchmill.errors import MissingExtra, StorageTrouble
from batchmill.store.opening import Found, look, migrate
from batchmill.store.trouble import translated

T = TypeVar("T")

CONNECTIONS = 4

#: The advisory lock under which the tables are made or changed; any number will do.
MIGRATION_LOCK = 0x62617463686D


class PostgresDatabase:
    """Blocking work in a small pool of threads: half the price of SQLAlchemy's asyncio."""

    shared = True

    def __init__(self, engine: Engine, place: str) -> None:
        self.place = place
        self._engine = engine
        self._threads = ThreadPoolExecutor(CONNECTIONS, "batchmill-postgres")

    @classmethod
    def open(cls, url: URL, *, busy_timeout_s: float) -> "PostgresDatabase":
        """Open the database at *url*; make its tables where there are none."""
        if find_spec("psycopg") is None:
            raise MissingExtra(
                "PostgreSQL needs a package that is missing: pip install 'batchmill[postgres]'"
            )
        place = url.render_as_string(hide_password=True)
        with translated(place):
            engine = _engine(url, busy_timeout_s)
            try:
                _prepare(engine, place)
            except BaseException:
                engine.dispose()
                raise
            return cls(engine, place)

    async def write(self, work: Callable[[Connection], T]) -> T:
        return await asyncio.wrap_future(self._submit(self._once, work))

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await asyncio.wrap_future(self._submit(self._once, work, "REPEATABLE READ"))

    async def aclose(self) -> None:
        """Finish what is waiting, then close."""
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        self._threads.shutdown()
        self._engine.dispose()

    def _submit(self, work: Callable[..., T], *args: Any) -> Future[T]:
        try:
            return self._threads.submit(work, *args)
        except RuntimeError as error:
            raise StorageTrouble(f"{self.place}: it has been closed.") from error

    def _once(self, work: Callable[[Connection], T], isolation: str = "READ COMMITTED") -> T:
        with translated(self.place), self._engine.connect() as connection:
            connection.execution_options(isolation_level=isolation)
            with connection.begin():
                return work(connection)


def _engine(url: URL, busy_timeout_s: float) -> Engine:
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        connect_args={"application_name": "batchmill"},
        pool_size=CONNECTIONS,
        max_overflow=0,
        hide_parameters=True,  # prompts have no place in anybody's log
        pool_pre_ping=True,  # a server that was restarted has forgotten us
    )

    @event.listens_for(engine, "connect")
    def furnish(raw: Any, record: object) -> None:
        # Not as a start-up option, which connection poolers refuse.
        raw.execute(f"SET lock_timeout = {int(busy_timeout_s * 1000)}")
        raw.commit()

    return engine


def _prepare(engine: Engine, place: str) -> None:
    with engine.connect() as connection:
        found = look(connection, place)
    if found is Found.CURRENT:
        return
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": MIGRATION_LOCK})
        if look(connection, place) is not Found.CURRENT:
            migrate(connection)
