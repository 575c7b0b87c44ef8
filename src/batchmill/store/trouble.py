"""Where the errors of databases and disks end and ours begin."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from batchmill.errors import Conflict, Overtaken, StorageTrouble

FULL = "the disk is full. Make room, then go on: what was recorded is safe."
READ_ONLY = (
    "it cannot be written to. Check who owns the file and its folder, and how it is mounted."
)
LOCKED = "another program has been writing to it for too long. Try again when that has ended."
NOT_OURS = "it is no batchmill database. Name another one, or move this file away."
DAMAGED = "it is damaged. Restore it from a backup; `sqlite3 FILE .recover` may save what is left."
NO_FILE = "it cannot be opened. Check that the folder is there and may be written to."
NEWER = "it was made by a newer batchmill. Upgrade the program."
BROKEN_DISK = "the disk reports an error. Look into the system's log before you go on."
UNREACHABLE = "it cannot be reached. Check that the server runs, and the address and password."

# SQLite's primary result codes; the extended ones carry them in their last byte.
SQLITE = {
    sqlite3.SQLITE_FULL: FULL,
    sqlite3.SQLITE_READONLY: READ_ONLY,
    sqlite3.SQLITE_PERM: READ_ONLY,
    sqlite3.SQLITE_BUSY: LOCKED,
    sqlite3.SQLITE_LOCKED: LOCKED,
    sqlite3.SQLITE_NOTADB: NOT_OURS,
    sqlite3.SQLITE_CORRUPT: DAMAGED,
    sqlite3.SQLITE_CANTOPEN: NO_FILE,
    sqlite3.SQLITE_IOERR: BROKEN_DISK,
}

# PostgreSQL's SQLSTATEs, whole or by class.
POSTGRES = {
    "53100": FULL,
    "25006": READ_ONLY,
    "42501": READ_ONLY,
    "55P03": LOCKED,
    "57014": LOCKED,
    "58": BROKEN_DISK,
    "XX": DAMAGED,
    "08": UNREACHABLE,
    "28": UNREACHABLE,
    "3D": UNREACHABLE,
    "53": "it has no room for us now (connections or memory). Try again later.",
    "57": UNREACHABLE,
}

#: Deadlock and lost serialisation: somebody else was first, and nothing of ours was written.
LOST_RACE = {"40001", "40P01"}


def trouble(place: str, words: str) -> StorageTrouble:
    return StorageTrouble(f"{place}: {words}")


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Let no foreign error out; *place* is what a person calls the database."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise ours(place, error) from error
    except OSError as error:
        raise trouble(place, f"{error.strerror or error}.") from error


def ours(place: str, error: Exception) -> Exception:
    """Return what a foreign database error is called in this house."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    code = getattr(cause, "sqlite_errorcode", None)
    if isinstance(error, IntegrityError) or (code is not None and code & 0xFF == 19):
        return Conflict(f"{place}: there is one by this name already ({first_line(cause)}).")
    if code is not None:
        return trouble(place, SQLITE.get(code & 0xFF) or f"{first_line(cause)}.")
    state = getattr(cause, "sqlstate", None)
    if state in LOST_RACE:
        return Overtaken(f"{place}: {first_line(cause)}")
    if state:
        words = POSTGRES.get(state) or POSTGRES.get(state[:2]) or f"{first_line(cause)} ({state})."
        return trouble(place, words)
    if isinstance(error, DBAPIError) and type(cause).__name__ in (
        "OperationalError",
        "InterfaceError",
    ):
        return trouble(place, f"{UNREACHABLE} ({first_line(cause)})")
    return trouble(place, f"{first_line(cause)}.")


def first_line(error: object) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")
