"""One file a step; alembic reads them in the order they name each other."""
