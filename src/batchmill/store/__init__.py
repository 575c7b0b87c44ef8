"""The control plane: small facts in SQL, on SQLite for one machine and PostgreSQL for many."""

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchmill.store.sql import SqlStore

BUSY_TIMEOUT_S = 10.0


async def open_store(url: str, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> "SqlStore":
    """
    Open the store at *url*, made or brought up to date where that is needed.

    `sqlite:///PATH` (four slashes for an absolute path) or `postgresql://…`. Raises
    `InvalidSetting` for any other, `MissingExtra` without psycopg, `StorageTrouble` where the
    database does not do its part. *busy_timeout_s* is how long to wait for another program that
    is writing.
    """
    return await asyncio.to_thread(_open, url, busy_timeout_s)


def _open(url: str, busy_timeout_s: float) -> "SqlStore":
    # Here and not above: SQLAlchemy takes 0.7 s to import, and most of the house needs only ports.
    from batchmill.store.sql import SqlStore

    return SqlStore.open(url, busy_timeout_s=busy_timeout_s)


__all__ = ["BUSY_TIMEOUT_S", "open_store"]
