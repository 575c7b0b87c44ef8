"""
An append-only log of a live shard's finished rows; what it holds is never bought again.

A file is a magic line and then frames: length and checksum (little-endian u32), kind (one byte),
and MessagePack: an array of rows, or a stop. Rows are written and made durable in groups, by one
thread for all ledgers of a process, at most one `fdatasync` per ledger in 10 ms: a crash loses at
most that.
"""

import errno
import os
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from zlib import crc32

import msgspec

from batchmill.core.failure import POLICIES, Failure
from batchmill.core.outcome import Outcome, Result
from batchmill.errors import Conflict, StorageTrouble

if sys.platform != "win32":
    import fcntl

MAGIC: Final = b"batchmill ledger 1\n"
SYNC_S: Final = 0.01
ROOM_S: Final = 1.0  #: a full disk is tried again after this long
READ_ROWS: Final = 1000  #: results in one chunk of `read`

_HEAD: Final = struct.Struct("<IIB")
_ROWS, _STOPPED = 1, 2
_FRAME_ROWS: Final = 256  # encoded in one call; and one damaged frame costs no more than these
_FRAME_BYTES_MAX: Final = (1 << 32) - 1
_FULL: Final = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})
# macOS has no fdatasync; its fsync is at least as strong.
_sync: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)
_encode = msgspec.msgpack.Encoder().encode
_rows = msgspec.msgpack.Decoder(list[Result]).decode


class Stopped(msgspec.Struct, frozen=True):
    """A run was told to stop, for good: what its remaining rows become."""

    failure: Failure
    detail: str

    def result(self, custom_id: str) -> Result:
        """Return what became of a row that was not sent any more."""
        called = Outcome(POLICIES[self.failure].called)
        return Result(custom_id, called, self.failure, self.detail)


_stopped = msgspec.msgpack.Decoder(Stopped).decode


@dataclass(slots=True)
class Replayed:
    """What a ledger says has happened."""

    done: set[str] = field(default_factory=set[str])  #: custom_ids
    succeeded: int = 0
    stopped: Stopped | None = None
    end: int = len(MAGIC)  #: where the last whole frame ends

    @property
    def unsuccessful(self) -> int:
        return len(self.done) - self.succeeded


def create(path: Path) -> None:
    """Make an empty ledger, durably and whole or not at all; one that is there stays as it is."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            return
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.write_bytes(MAGIC)
        _sync_file(draft)
        try:
            os.link(draft, path)  # unlike a rename, it never replaces a ledger with paid rows
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        if sys.platform != "win32":
            _sync_file(path.parent)
    except OSError as error:
        raise _trouble(path, error) from error


def replay(path: Path) -> Replayed:
    """Read a whole ledger, up to a torn tail. Blocking; keeps the ids, not the answers."""
    found = Replayed()
    for found.end, kind, payload in _frames(path):
        if kind == _STOPPED:
            found.stopped = _stopped(payload)
            continue
        for row in _rows(payload):
            if row.custom_id not in found.done:
                found.done.add(row.custom_id)
                found.succeeded += row.outcome is Outcome.SUCCEEDED
    return found


def read(path: Path) -> Iterator[list[Result]]:
    """Yield the finished rows in chunks, in the order in which they finished. Blocking."""
    chunk: list[Result] = []
    for _, kind, payload in _frames(path):
        if kind == _ROWS:
            chunk += _rows(payload)
        if len(chunk) >= READ_ROWS:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _frames(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Yield (where it ends, kind, payload) of every sound frame."""
    try:
        with path.open("rb", buffering=1 << 20) as file:
            size = os.fstat(file.fileno()).st_size
            if file.read(len(MAGIC)) != MAGIC:
                raise StorageTrouble(
                    f"{path}: not a ledger of batchmill, or damaged; move it away."
                )
            at = len(MAGIC)
            while len(head := file.read(_HEAD.size)) == _HEAD.size:
                length, checksum, kind = _HEAD.unpack(head)
                at += _HEAD.size + length
                if at > size:
                    return  # a torn tail: the process died while it wrote
                payload = file.read(length)
                if crc32(payload, kind) == checksum:  # a damaged one must not hide those behind it
                    yield at, kind, payload
    except OSError as error:
        raise _trouble(path, error) from error


class Syncer:
    """The thread that makes ledgers durable: at most once in `interval_s` each."""

    def __init__(self, interval_s: float = SYNC_S) -> None:
        self.interval_s = interval_s
        self._lock = threading.Lock()
        self._waiting: list[Ledger] = []
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._full: list[Ledger] = []  # whose disk has no room; tried again and again
        self._hopeless = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def wake_for(self, ledger: "Ledger") -> None:
        with self._lock:
            self._waiting.append(ledger)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="ledgers", daemon=True)
                self._thread.start()
        self._wake.set()

    @property
    def waiting_for_room(self) -> int:
        """How many answers are in memory alone, as the disk is full."""
        return sum(ledger.waiting for ledger in self._full)

    @property
    def hopeful(self) -> bool:
        return not self._hopeless.is_set()

    def give_up_waiting(self) -> None:
        """Try a full disk once more, and from then on call it trouble."""
        self._hopeless.set()
        self._wake.set()

    def close(self) -> None:
        """Write what is waiting, then end the thread."""
        self._hopeless.set()
        self._closing.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while True:
            self._wake.wait(ROOM_S if self._full else None)
            self._wake.clear()
            started = time.monotonic()
            with self._lock:
                new = [ledger for ledger in self._waiting if ledger not in self._full]
                waiting, self._waiting = [*self._full, *new], []
            for ledger in waiting:
                ledger.write_now()
            self._full = [ledger for ledger in waiting if ledger.full]
            if self._closing.is_set() and not self._waiting:
                return
            # Rows that finish meanwhile share the next sync.
            self._closing.wait(max(0.0, self.interval_s - (time.monotonic() - started)))


class Ledger:
    """One ledger, open for writing by this process alone."""

    def __init__(self, path: Path, fd: int, found: Replayed, syncer: Syncer) -> None:
        self.path = path
        self.found = found  #: what it held when it was opened
        self.durable = 0  #: entries that would survive a crash, of those appended here
        self.full = False  #: its disk has no room for what is waiting
        self.trouble: StorageTrouble | None = None
        self._fd = fd
        self._end = found.end
        self._syncer = syncer
        self._waiting: list[Result | Stopped] = []
        self._appended = 0
        self._lock = threading.Lock()  # of the two above
        self._changed = threading.Condition()

    @classmethod
    def open(cls, path: Path, syncer: Syncer) -> Self:
        """
        Lock the ledger, replay it and cut off a torn tail. Blocking.

        Raises `Conflict` while another process, or another part of this one, has it open.
        """
        try:
            fd = os.open(path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
        except OSError as error:
            raise _trouble(path, error) from error
        try:
            if sys.platform != "win32":
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = replay(path)
            os.ftruncate(fd, found.end)
        except BlockingIOError as error:
            os.close(fd)
            raise Conflict(f"{path}: another process is working on this ledger.") from error
        except BaseException:
            os.close(fd)
            raise
        return cls(path, fd, found, syncer)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def append(self, result: Result) -> None:
        """Note a finished row; durable within the syncer's interval. Raises `StorageTrouble`."""
        self._add(result)

    def mark(self, stopped: Stopped) -> None:
        """Note that nothing more shall be sent, so that a restart does not go on."""
        self._add(stopped)

    def flush(self) -> None:
        """Wait until everything is durable. Blocking; raises `StorageTrouble`."""
        with self._changed:
            self._changed.wait_for(lambda: self.durable == self._appended or self.trouble)
        if self.trouble is not None:
            raise self.trouble

    def close(self) -> None:
        """Wait until everything is durable, and let go. Blocking; raises `StorageTrouble`."""
        try:
            self.flush()
        finally:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def write_now(self) -> None:
        """Write and sync what was appended so far; only the syncer's thread calls this."""
        with self._lock:
            entries, self._waiting = self._waiting, []
        end = self._end
        try:
            for data in _framed(entries):
                end += _write_all(self._fd, data, end)
            _sync(self._fd)
        except OSError as error:
            self._not_written(entries, error)
        except Exception as error:  # noqa: BLE001 (in a thread nobody else would hear of it)
            self.trouble = StorageTrouble(f"{self.path}: a row cannot be written ({error}).")
        else:
            self._end, self.full = end, False
            self.durable += len(entries)
        with self._changed:
            self._changed.notify_all()

    def _not_written(self, entries: list[Result | Stopped], error: OSError) -> None:
        self.full = error.errno in _FULL and self._syncer.hopeful
        if self.full:  # they are paid for: kept, and written at the same place when there is room
            with self._lock:
                self._waiting = [*entries, *self._waiting]
            return
        lost = sum(isinstance(entry, Result) for entry in entries)
        words = f"{lost} answers could not be kept and will be asked for again. " if lost else ""
        self.trouble = _trouble(self.path, error, words)

    def _add(self, entry: Result | Stopped) -> None:
        if self.trouble is not None:
            raise self.trouble
        with self._lock:
            self._waiting.append(entry)
            self._appended += 1
            first = len(self._waiting) == 1
        if first:
            self._syncer.wake_for(self)


def _framed(entries: Sequence[Result | Stopped]) -> Iterator[bytes]:
    rows = [entry for entry in entries if isinstance(entry, Result)]
    for start in range(0, len(rows), _FRAME_ROWS):
        group = rows[start : start + _FRAME_ROWS]
        try:
            payload = _encode(group)
        except Exception:  # noqa: BLE001 (each row is tried by itself, and says why)
            yield from (_frame(_ROWS, _row_alone(row)) for row in group)
            continue
        if len(payload) <= _FRAME_BYTES_MAX:
            yield _frame(_ROWS, payload)
        else:  # sixteen megabytes a row: embeddings of books
            yield from (_frame(_ROWS, _encode([row])) for row in group)
    for stopped in (entry for entry in entries if isinstance(entry, Stopped)):
        yield _frame(_STOPPED, _encode(Stopped(stopped.failure, _writable(stopped.detail))))


def _row_alone(row: Result) -> bytes:
    """Return a row as a group of one; one that cannot be written becomes one that says why."""
    try:
        return _encode([row])
    except Exception as error:  # noqa: BLE001 (a number beyond 64 bits, half a character, ...)
        why = _writable(f"its answer cannot be kept ({type(error).__name__}: {error})")
        lost = Result(row.custom_id, Outcome.ERRORED, Failure.SERVER, why, body=row.body)
        return _encode([lost])


def _writable(text: str) -> str:
    return text.encode(errors="replace").decode()


def _frame(kind: int, payload: bytes) -> bytes:
    return _HEAD.pack(len(payload), crc32(payload, kind), kind) + payload


def _write_all(fd: int, data: bytes, at: int) -> int:
    view = memoryview(data)
    done = 0
    while done < len(data):
        done += os.pwrite(fd, view[done:], at + done)
    return done


def _sync_file(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _trouble(path: Path, error: OSError, words: str = "") -> StorageTrouble:
    advice = "Make room, then resume." if error.errno == errno.ENOSPC else "Then resume."
    return StorageTrouble(f"{path}: {error.strerror or error}. {words}{advice}")
