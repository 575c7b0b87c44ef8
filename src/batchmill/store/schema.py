"""The tables. What can be derived is not in them, and neither is any request."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

# Every constraint has a name, as SQLite can only change what has one.
METADATA: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

#: Shards with a future. Always literal: a partial index is found by the words of its condition.
OPEN: Final = "open"

# Ids are ASCII and sorted by byte on both databases, not by somebody's language.
_ID: Final = String().with_variant(String(collation="C"), "postgresql")

batches: Final = Table(
    "batches",
    METADATA,
    Column("id", _ID, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("deadline", Double),
    Column("provider", Text, nullable=False),
    Column("lane", Text, nullable=False),
    Column("cancel_wanted", Boolean, nullable=False),
    Column("held", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("facts", Text, nullable=False),  # JSON, see codec.py
    PrimaryKeyConstraint("id"),
)

ranges: Final = Table(
    "ranges",
    METADATA,
    Column("batch_id", _ID, ForeignKey("batches.id"), nullable=False),
    Column("n", Integer, nullable=False),
    Column("start", BigInteger, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    PrimaryKeyConstraint("batch_id", "n"),
)

shards: Final = Table(
    "shards",
    METADATA,
    Column("id", _ID, nullable=False),
    Column("batch_id", _ID, ForeignKey("batches.id"), nullable=False),
    Column("n", Integer, nullable=False),
    Column("provider", Text, nullable=False),
    Column("lane", Text, nullable=False),
    Column("state", String, nullable=False),
    Column("due_at", Double, nullable=False),
    Column("owner", Text, nullable=False),
    Column("upstream_id", Text),
    Column("provisional", Boolean, nullable=False),
    Column("trouble", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("open", Boolean, nullable=False),  # there is something to do: `Shard.open`, for indexes
    # When it was first due: with it and the log, the shard can be rebuilt from nothing.
    Column("planned_due_at", Double, nullable=False),
    Column("facts", Text, nullable=False),  # JSON, see codec.py
    Column("rows", LargeBinary, nullable=False),  # a compressed bitmap of row numbers
    PrimaryKeyConstraint("id"),
    UniqueConstraint("batch_id", "n"),
)

# What `due` and `next_due` read: whole answers from the index; what is done with costs nothing.
Index(
    "ix_shards_due",
    shards.c.due_at,
    shards.c.state,
    shards.c.batch_id,
    shards.c.id,
    sqlite_where=text(OPEN),
    postgresql_where=text(OPEN),
)
Index(
    "ix_shards_open",
    shards.c.batch_id,
    shards.c.state,
    shards.c.due_at,
    sqlite_where=text(OPEN),
    postgresql_where=text(OPEN),
)

events: Final = Table(
    "events",
    METADATA,
    Column("shard_id", _ID, ForeignKey("shards.id"), nullable=False),
    Column("version", Integer, nullable=False),  # of the shard, after the event
    Column("at", Double, nullable=False),
    Column("type", String, nullable=False),
    Column("payload", Text, nullable=False),  # JSON
    PrimaryKeyConstraint("shard_id", "version"),
)

strays: Final = Table(
    "strays",
    METADATA,
    Column("shard_id", _ID, ForeignKey("shards.id"), nullable=False),
    Column("upstream_id", Text, nullable=False),
    Column("at", Double, nullable=False),
    PrimaryKeyConstraint("shard_id", "upstream_id"),
)

#: Where a new upstream batch carries no mark: whose creating call is in doubt, one an account.
doubts: Final = Table(
    "doubts",
    METADATA,
    Column("account", String, nullable=False),
    Column("shard_id", _ID, ForeignKey("shards.id"), nullable=False),
    PrimaryKeyConstraint("account"),
)

#: The right to work, where many machines share a database; all times are the database's own.
workers: Final = Table(
    "workers",
    METADATA,
    Column("name", String, nullable=False),
    Column("owner", String, nullable=False),
    Column("seen_at", Double, nullable=False),
    Column("lease_until", Double, nullable=False),
    PrimaryKeyConstraint("name"),
)
