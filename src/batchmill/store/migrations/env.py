"""What alembic runs: our tables, on the connection it was handed."""

from alembic import context

from batchmill.store.opening import VERSION_TABLE
from batchmill.store.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=VERSION_TABLE,
    render_as_batch=True,  # SQLite changes a table by copying it
    compare_type=True,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
