"""Settled shards may have something left to tidy up; one create an account may be in doubt."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

INDEXES = {
    "ix_shards_due": ["due_at", "state", "batch_id", "id"],
    "ix_shards_open": ["batch_id", "state", "due_at"],
}


# Safe to repeat: look before you create, drop or fill (if_not_exists=True, if_exists=True).
def upgrade() -> None:
    columns = {c["name"] for c in sa.inspect(op.get_bind()).get_columns("shards")}
    if "open" not in columns:
        # What was settled before this day is left as it is upstream.
        op.add_column(
            "shards", sa.Column("open", sa.Boolean(), nullable=False, server_default=sa.false())
        )
    op.execute(sa.text("UPDATE shards SET open = (state <> 'settled')"))
    _index(sa.text("open"))
    op.create_table(
        "doubts",
        sa.Column("account", sa.String(), nullable=False),
        sa.Column(
            "shard_id",
            sa.String().with_variant(sa.String(collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(["shard_id"], ["shards.id"], name="fk_doubts_shard_id"),
        sa.PrimaryKeyConstraint("account", name="pk_doubts"),
        if_not_exists=True,
    )


def downgrade() -> None:
    op.drop_table("doubts", if_exists=True)
    _index(sa.text("state <> 'settled'"))
    op.drop_column("shards", "open")


def _index(where: sa.TextClause) -> None:
    for name, columns in INDEXES.items():
        op.drop_index(name, "shards", if_exists=True)
        op.create_index(name, "shards", columns, sqlite_where=where, postgresql_where=where)
