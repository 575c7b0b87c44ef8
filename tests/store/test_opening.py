"""Opening: a fresh database is made, an older one mended, a stranger's left alone."""

import json
import sqlite3
import subprocess
import sys

import psycopg
import pytest
from alembic import command, op
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

from batchmill.errors import InvalidSetting, MissingExtra, StorageTrouble
from batchmill.store import open_store, postgres
from batchmill.store.opening import HEAD, MIGRATIONS, OUR_TABLES, VERSION_TABLE
from batchmill.store.schema import METADATA


@pytest.fixture(params=["sqlite", "postgres"])
def empty(request, tmp_path):
    """The url of a database that does not exist yet, or is empty."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'batchmill.db'}"
    return request.getfixturevalue("new_postgres")()


def execute(url, *statements):
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    else:
        connection = psycopg.connect(url)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


async def differences(store):
    def compare(connection):
        options = {"compare_type": True, "version_table": VERSION_TABLE}
        context = MigrationContext.configure(connection, opts=options)
        return compare_metadata(context, METADATA)

    return await store.database.read(compare)


async def test_the_migrations_lead_to_the_tables_of_today(url):
    async with await open_store(url) as store:
        assert await differences(store) == []


async def test_the_way_back_and_forth_leads_to_the_same_tables(empty):
    def back(connection):
        if not connection.in_transaction():
            connection.begin()
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.downgrade(config, "base")

    async with await open_store(empty) as store:
        await store.database.write(back)
    async with await open_store(empty) as store:
        assert await differences(store) == []


def test_the_newest_migration_is_the_one_opening_asks_for():
    numbers = sorted(path.name[:4] for path in MIGRATIONS.glob("versions/[0-9]*.py"))
    assert numbers[-1] == HEAD
    assert len(set(numbers)) == len(numbers)
    assert set(METADATA.tables) == OUR_TABLES


def test_every_constraint_has_a_name():
    for table in METADATA.tables.values():
        assert all(c.name for c in table.constraints)
        assert all(i.name for i in table.indexes)


def run_at_once(program, url, count):
    """Run a program several times over; return exit status and output of each."""
    children = [
        subprocess.Popen(
            [sys.executable, "-c", program, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(count)
    ]
    said = [child.communicate(b"go\n")[0] for child in children]
    return [(child.returncode, out) for child, out in zip(children, said, strict=True)]


# One after another in one interpreter; each import below would cost hundreds of milliseconds.
LOADED = """
import asyncio, json, sys
heavy = lambda: [m for m in ("sqlalchemy", "alembic", "psycopg") if m in sys.modules]
import batchmill.store, batchmill.store.turn, batchmill.testing.store
loaded = [heavy()]
async def main():
    async with await batchmill.store.open_store(sys.argv[1]):
        loaded.append(heavy())
asyncio.run(main())
print(json.dumps(loaded))
"""


async def test_opening_imports_no_more_than_it_needs(tmp_path):
    url = f"sqlite:///{tmp_path / 'batchmill.db'}"
    async with await open_store(url):
        pass
    [(status, said)] = run_at_once(LOADED, url, 1)
    assert (status, json.loads(said)) == (0, [[], ["sqlalchemy"]])


OPENER = """
import asyncio, sys
from batchmill.store import open_store
from batchmill.store.sql import SqlStore
sys.stdin.readline()
async def main():
    async with await open_store(sys.argv[1]) as store:
        assert await store.batches() == []
asyncio.run(main())
"""


async def test_processes_that_open_a_fresh_database_at_once_are_safe(empty):
    assert run_at_once(OPENER, empty, 2) == [(0, b"")] * 2


async def test_a_migration_that_failed_half_way_is_run_again(empty, monkeypatch, make):
    def broken(*_, **__):
        raise OSError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(op, "create_index", broken)
        with pytest.raises(StorageTrouble, match="power cut"):
            await open_store(empty)
    execute(empty, "CREATE TABLE batches (id int)", "DROP TABLE batches")  # nothing of it is left
    async with await open_store(empty) as store:
        await make.create(store)
        assert await differences(store) == []


async def test_a_migration_that_was_cut_in_half_is_completed(empty, make):
    async with await open_store(empty):
        pass
    execute(empty, "DROP TABLE events", "DROP INDEX ix_shards_open", f"DELETE FROM {VERSION_TABLE}")
    async with await open_store(empty) as store:
        assert await differences(store) == []
        await make.create(store)


async def test_a_newer_database_is_left_alone(empty):
    async with await open_store(empty):
        pass
    execute(empty, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    with pytest.raises(StorageTrouble, match=r"newer batchmill\. Upgrade the program"):
        await open_store(empty)


async def test_a_database_whose_tables_are_somebody_elses_is_left_alone(empty):
    execute(empty, "CREATE TABLE batches (id INTEGER PRIMARY KEY)")
    with pytest.raises(StorageTrouble, match="no batchmill database"):
        await open_store(empty)


async def test_a_foreign_sqlite_file_stays_as_it_was(tmp_path):
    path = tmp_path / "photos.db"
    execute(f"sqlite:///{path}", "CREATE TABLE photos (id INTEGER)")
    was = path.read_bytes()
    with pytest.raises(StorageTrouble, match=r"photos\.db: it is no batchmill database"):
        await open_store(f"sqlite:///{path}")
    assert path.read_bytes() == was


@pytest.mark.parametrize("content", [b"id,title\n1,a chair\n" * 100, b"id,title\n", b"x"])
async def test_a_file_that_is_no_database_stays_as_it_was(tmp_path, content):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(StorageTrouble, match=r"table\.csv: it is no batchmill database"):
        await open_store(f"sqlite:///{path}")
    assert path.read_bytes() == content


async def test_an_empty_file_becomes_a_database(tmp_path, make):
    (tmp_path / "new.db").touch()
    async with await open_store(f"sqlite:///{tmp_path / 'new.db'}") as store:
        await make.create(store)


async def test_a_folder_is_no_database(tmp_path):
    with pytest.raises(StorageTrouble, match="no batchmill database"):
        await open_store(f"sqlite:///{tmp_path}")


async def test_a_folder_that_cannot_be_made_is_trouble(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageTrouble, match=r"file/x\.db: "):
        await open_store(f"sqlite:///{tmp_path / 'file' / 'x.db'}")


async def test_another_programs_tables_may_live_beside_ours_in_postgresql(new_postgres, make):
    url = new_postgres()
    execute(url, "CREATE TABLE photos (id int)", "CREATE TABLE alembic_version (version_num text)")
    async with await open_store(url) as store:
        await make.create(store)


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "mysql://host/db", "nonsense", ""]
)
async def test_a_url_that_names_no_database_of_ours_is_refused(url):
    with pytest.raises(InvalidSetting, match="sqlite:///PATH"):
        await open_store(url)


@pytest.mark.parametrize("url", ["postgresql://host:nonsense/db", "postgresql://[::1/db"])
async def test_a_url_that_cannot_be_read_is_refused(url):
    with pytest.raises(InvalidSetting, match="database_url"):
        await open_store(url)


async def test_a_server_that_is_not_there_is_trouble_and_the_password_stays_secret(tmp_path):
    url = f"postgresql://me:secret@/db?host={tmp_path}"
    with pytest.raises(StorageTrouble, match="cannot be reached") as caught:
        await open_store(url)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is not None


async def test_a_database_that_the_server_does_not_have_is_trouble(postgres):
    with pytest.raises(StorageTrouble, match="nowhere"):
        await open_store(postgres.replace("DATABASE", "nowhere"))


async def test_without_psycopg_postgresql_is_an_extra(monkeypatch):
    monkeypatch.setattr(postgres, "find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"batchmill\[postgres\]"):
        await open_store("postgresql://localhost/db")


async def test_what_was_stored_is_there_after_opening_again(url, make):
    async with await open_store(url) as store:
        batch, shards = await make.create(store)
        await store.wish_cancel(batch.id)
    async with await open_store(url) as store:
        assert await store.shards(batch.id) == shards
        assert (await store.batch(batch.id)).cancel_wanted
