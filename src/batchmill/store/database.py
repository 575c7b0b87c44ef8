"""What the two databases have in common: units of work go in, each all or nothing."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from sqlalchemy import Connection

T = TypeVar("T")


class Database(Protocol):
    """
    Where units of work are done: plain functions of a connection, run outside the event loop.

    They raise our own errors, and `StorageTrouble` where the database does not do its part.
    """

    place: str  #: what a person calls it; without a password
    shared: bool  #: whether other machines can reach it too

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Do *work* in one transaction; on return it is on the disk, on an error it never was."""
        ...

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Do *work* on one consistent view; it sees every write that has returned."""
        ...

    async def aclose(self) -> None:
        """Finish what is waiting, then close."""
        ...

    def close(self) -> None:
        """Do so without an event loop. Blocking."""
        ...
