"""A real PostgreSQL for the engine's tests, the same one that the stores are held to."""

from tests.store.conftest import new_postgres, postgres

__all__ = ["new_postgres", "postgres"]
