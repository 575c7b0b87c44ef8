"""The tables."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision: str | None = None
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

# A migration keeps its own words: schema.py speaks of today, this file of its day.
OPEN = sa.text("state <> 'settled'")


def an_id(name: str) -> sa.Column[str]:
    kind = sa.String().with_variant(sa.String(collation="C"), "postgresql")
    return sa.Column(name, kind, nullable=False)


# Safe to repeat: look before you create, drop or fill (if_not_exists=True, if_exists=True).
def upgrade() -> None:
    op.create_table(
        "batches",
        an_id("id"),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("deadline", sa.Double(), nullable=True),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("cancel_wanted", sa.Boolean(), nullable=False),
        sa.Column("held", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_batches"),
        if_not_exists=True,
    )
    op.create_table(
        "ranges",
        an_id("batch_id"),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name="fk_ranges_batch_id"),
        sa.PrimaryKeyConstraint("batch_id", "n", name="pk_ranges"),
        if_not_exists=True,
    )
    create_shards()
    create_what_speaks_of_shards()
    op.create_table(
        "workers",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.Column("lease_until", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_workers"),
        if_not_exists=True,
    )


def create_shards() -> None:
    op.create_table(
        "shards",
        an_id("id"),
        an_id("batch_id"),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("due_at", sa.Double(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("upstream_id", sa.Text(), nullable=True),
        sa.Column("provisional", sa.Boolean(), nullable=False),
        sa.Column("trouble", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("planned_due_at", sa.Double(), nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("rows", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name="fk_shards_batch_id"),
        sa.PrimaryKeyConstraint("id", name="pk_shards"),
        sa.UniqueConstraint("batch_id", "n", name="uq_shards_batch_id_n"),
        if_not_exists=True,
    )
    for name, columns in {
        "ix_shards_due": ["due_at", "state", "batch_id", "id"],
        "ix_shards_open": ["batch_id", "state", "due_at"],
    }.items():
        op.create_index(
            name,
            "shards",
            columns,
            sqlite_where=OPEN,
            postgresql_where=OPEN,
            if_not_exists=True,
        )


def create_what_speaks_of_shards() -> None:
    op.create_table(
        "events",
        an_id("shard_id"),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["shard_id"], ["shards.id"], name="fk_events_shard_id"),
        sa.PrimaryKeyConstraint("shard_id", "version", name="pk_events"),
        if_not_exists=True,
    )
    op.create_table(
        "strays",
        an_id("shard_id"),
        sa.Column("upstream_id", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["shard_id"], ["shards.id"], name="fk_strays_shard_id"),
        sa.PrimaryKeyConstraint("shard_id", "upstream_id", name="pk_strays"),
        if_not_exists=True,
    )


def downgrade() -> None:
    for table in ("workers", "strays", "events", "shards", "ranges", "batches"):
        op.drop_table(table, if_exists=True)
