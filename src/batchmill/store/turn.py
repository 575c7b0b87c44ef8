"""Whose turn it is to work on one machine: an OS file lock. (Among many: lease.py.)"""

import fcntl
import os
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

from batchmill.errors import StorageTrouble
from batchmill.ports import Clock, Turn

if TYPE_CHECKING:
    from batchmill.store.sql import SqlStore

#: A look at the lock holds it for microseconds; somebody who wants it meanwhile asks again.
TRIES = 3
AGAIN_AFTER_S = 0.005
#: A worker gives a sign of life at least twice a second; one that is silent for so long is stopped.
STOPPED_AFTER_S = 30.0


class FileTurn:
    """
    The turn of one machine: an `flock`, which the system frees the moment its holder is gone.

    The file's modification time is the worker's last sign of life. The file itself says nothing
    and is never deleted, as a lock on a deleted file keeps nobody out.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._fd: int | None = None
        _turns.add(self)

    async def take(self) -> bool:
        """Try to become, or stay, the worker of this machine."""
        try:
            if self._fd is not None and not self._is_there(self._fd):
                self.forget()  # somebody removed the file: our lock keeps nobody out any more
            if self._fd is None:
                await self._lock()
            if self._fd is not None:
                now = self._clock.now()
                os.utime(self._fd, (now, now))
        except OSError as error:
            raise StorageTrouble(f"{self._path}: {error.strerror}.") from error
        return self._fd is not None

    async def give_up(self) -> None:
        self.forget()

    async def last_seen(self) -> tuple[bool, float | None]:
        """Return whether a worker lives, and its last sign of life; takes nothing from anybody."""
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False, None
        except OSError as error:
            raise StorageTrouble(f"{self._path}: {error.strerror}.") from error
        try:
            seen_at = os.fstat(fd).st_mtime
            try:
                fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                # Its holder may have been stopped (Ctrl-Z): it keeps the turn, and does nothing.
                return self._clock.now() - seen_at < STOPPED_AFTER_S, seen_at
            return False, seen_at
        finally:
            os.close(fd)

    def forget(self) -> None:
        """Close the lock file; in a forked child, without freeing the parent's lock."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    async def _lock(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            for tried in range(TRIES):
                if tried:
                    await self._clock.sleep(AGAIN_AFTER_S)
                if self._fd is not None:  # another task of ours was quicker
                    return
                if _is_locked(fd):
                    if self._is_there(fd):
                        self._fd = fd
                    return
        finally:
            if self._fd != fd:
                os.close(fd)

    def _is_there(self, fd: int) -> bool:
        """Say whether *fd* is still the file that others would open."""
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(fd))


def _is_locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


# A forked child shares its parent's lock, and would keep it alive after the parent's death.
_turns: weakref.WeakSet[FileTurn] = weakref.WeakSet()


def _forget_all() -> None:
    for turn in list(_turns):
        turn.forget()


os.register_at_fork(after_in_child=_forget_all)


def turn_for(store: "SqlStore", path: Path, clock: Clock, owner: str) -> Turn:
    """
    Return the kind of turn that fits *store*.

    *path* is the lock file in this machine's home, *owner* a name that nobody else has.
    """
    if not store.shared:
        return FileTurn(path, clock)
    from batchmill.store.lease import LeaseTurn

    return LeaseTurn(store, clock, owner)
