"""Is a database ours, and is it of today? If it is older, bring it up to date."""

from enum import Enum, auto
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from batchmill.store.trouble import NEWER, NOT_OURS, trouble

#: The newest migration. Kept here so that opening a current database needs no alembic, whose import
#: costs a second; a test compares it with the folder.
HEAD: Final = "0002"

MIGRATIONS: Final = Path(__file__).parent / "migrations"

#: Not alembic's usual name: another program's tables may live beside ours in PostgreSQL.
VERSION_TABLE: Final = "batchmill_version"

TABLES: Final = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
    "postgresql": "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()",
}

#: In a database that other programs share, these alone say that something is in our way.
OUR_TABLES: Final = {"batches", "ranges", "shards", "events", "strays", "doubts", "workers"}


class Found(Enum):
    """What a database is, seen from this program."""

    EMPTY = auto()
    OLDER = auto()
    CURRENT = auto()


def look(connection: Connection, place: str) -> Found:
    """Say what is there, changing nothing; raise `StorageTrouble` where it is not for us."""
    dialect = connection.dialect.name
    tables = {row[0] for row in connection.exec_driver_sql(TABLES[dialect])}
    if VERSION_TABLE not in tables:
        if tables & OUR_TABLES or (tables and dialect == "sqlite"):
            raise trouble(place, NOT_OURS)
        return Found.EMPTY
    # Our table names are constants; a foreign word never gets here.
    query = f"SELECT version_num FROM {VERSION_TABLE}"  # noqa: S608
    versions = [row[0] for row in connection.exec_driver_sql(query)]
    if versions == [HEAD]:
        return Found.CURRENT
    known = {path.name.partition("_")[0] for path in MIGRATIONS.glob("versions/[0-9]*.py")}
    if not known.issuperset(versions):
        raise trouble(place, NEWER)
    return Found.OLDER


def migrate(connection: Connection) -> None:
    """
    Bring the tables up to date, in the transaction that the caller has begun.

    Both databases take back a schema change with its transaction, SQLite too as long as nobody
    commits in between; and every migration can be run again, should one ever be cut in half.
    """
    from alembic import command
    from alembic.config import Config

    if not connection.in_transaction():
        # A BEGIN that was said past SQLAlchemy; alembic would take it for none, and commit.
        connection.begin()
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
