"""The simulated vendor's side, which survives our crashes: uploads, and a book of what was sold."""

import fcntl
import mmap
import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import msgspec

from batchmill.errors import ProviderGone


class Sale(msgspec.Struct, frozen=True, kw_only=True):
    """One accepted upstream batch: a line of the book, which is never changed afterwards."""

    upstream_id: str = msgspec.field(name="sold")
    shard_id: str = msgspec.field(name="shard")  #: the mark its buyer left
    ref: str  #: the uploaded file
    rows: int
    at: float  #: when it was accepted, in the vendor's seconds
    turnaround_s: float
    pid: int = 0  #: of the buying process; for tests that kill processes


class Lines(Protocol):
    """An uploaded file, line by line, in the order of upload."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> bytes: ...


#: Makes the sale whose number in the book is given; may raise instead, and then nothing is sold.
Sell = Callable[[int], Sale]


class Shelf(Protocol):
    """What the vendor keeps. Every method is one atomic act."""

    def upload(self, ref: str) -> "Upload":
        """Begin a file; it is visible, at once and whole, when `close` is called."""
        ...

    def lines(self, ref: str) -> Lines: ...

    def has(self, ref: str) -> bool: ...

    def discard(self, ref: str) -> None:
        """Remove a file; one that is not there is no error."""
        ...

    def sell(self, sell: Sell) -> Sale:
        """Let *sell* decide and enter its sale in the book, in one act."""
        ...

    def sales(self) -> Sequence[Sale]:
        """Return the book, oldest first."""
        ...

    def sale(self, upstream_id: str) -> Sale:
        """Raise `ProviderGone` where there is, or is no longer, such a batch."""
        ...

    def cancelled_at(self, upstream_id: str) -> float | None: ...

    def cancel(self, upstream_id: str, at: float) -> None: ...


class Upload(Protocol):
    """A file on its way in."""

    def write(self, lines: Iterable[bytes]) -> None: ...
    def close(self) -> None: ...


class MemoryShelf:
    """A shelf in memory, for simulated lives."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[bytes, ...]] = {}
        self.book: dict[str, Sale] = {}
        self.wishes: dict[str, float] = {}
        self.discarded: set[str] = set()  #: files their owner has removed
        self.gone: set[str] = set()  #: past retention: nobody gets these any more

    def upload(self, ref: str) -> Upload:
        return _MemoryUpload(self, ref)

    def lines(self, ref: str) -> Lines:
        if ref in self.discarded:
            raise ProviderGone(f"sim: {ref} was removed")
        return self.files[ref]

    def has(self, ref: str) -> bool:
        return ref in self.files and ref not in self.discarded

    def discard(self, ref: str) -> None:
        self.discarded.add(ref)

    def sell(self, sell: Sell) -> Sale:
        sale = sell(len(self.book) + 1)
        self.book[sale.upstream_id] = sale
        return sale

    def sales(self) -> Sequence[Sale]:
        return tuple(self.book.values())

    def sale(self, upstream_id: str) -> Sale:
        if upstream_id not in self.book or upstream_id in self.gone:
            raise ProviderGone(f"sim: there is no batch {upstream_id} (any more)")
        return self.book[upstream_id]

    def cancelled_at(self, upstream_id: str) -> float | None:
        return self.wishes.get(upstream_id)

    def cancel(self, upstream_id: str, at: float) -> None:
        self.wishes.setdefault(upstream_id, at)

    def snapshot(self) -> tuple[object, ...]:
        """Return everything, hashable: two equal snapshots are one state of the vendor."""
        return (
            frozenset(self.files.items()),
            tuple((s.upstream_id, s.shard_id, s.ref, s.at) for s in self.book.values()),
            frozenset(self.wishes.items()),
            frozenset(self.gone),
            frozenset(self.discarded),
        )


class _MemoryUpload:
    def __init__(self, shelf: MemoryShelf, ref: str) -> None:
        self._shelf, self._ref = shelf, ref
        self._lines: list[bytes] = []

    def write(self, lines: Iterable[bytes]) -> None:
        self._lines += lines

    def close(self) -> None:
        self._shelf.files[self._ref] = tuple(self._lines)
        self._shelf.discarded.discard(self._ref)


class _Wish(msgspec.Struct):
    cancelled_at: float


_sale = msgspec.json.Decoder(Sale).decode
_wish = msgspec.json.Decoder(_Wish).decode
_encode = msgspec.json.Encoder().encode


class FolderShelf:
    """
    A shelf in a folder, shared by every process that buys there.

    The book is the truth: a batch is sold exactly when its line is whole in `book.jsonl`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[str, Sale] = {}  # the part of the book that has been read
        self._read_bytes = 0

    def upload(self, ref: str) -> Upload:
        return _FolderUpload(self._path("files", f"{ref}.jsonl"))

    def lines(self, ref: str) -> Lines:
        try:
            return _FileLines(self.folder / "files" / f"{ref}.jsonl")
        except FileNotFoundError:
            raise ProviderGone(f"sim: {ref} was removed") from None

    def has(self, ref: str) -> bool:
        return (self.folder / "files" / f"{ref}.jsonl").exists()

    def discard(self, ref: str) -> None:
        (self.folder / "files" / f"{ref}.jsonl").unlink(missing_ok=True)

    def sell(self, sell: Sell) -> Sale:
        book = self._path("book.jsonl")
        with self._alone(), book.open("ab") as file:
            self._read_on()
            # A writer that was killed may have left half a line: it was never sold.
            file.truncate(self._read_bytes)
            sale = sell(len(self._known) + 1)
            file.write(_encode(sale) + b"\n")
            file.flush()
            os.fsync(file.fileno())
            return sale

    def sales(self) -> Sequence[Sale]:
        self._read_on()
        return tuple(self._known.values())

    def sale(self, upstream_id: str) -> Sale:
        if upstream_id not in self._known:
            self._read_on()
        try:
            return self._known[upstream_id]
        except KeyError:
            raise ProviderGone(f"sim: there is no batch {upstream_id}") from None

    def cancelled_at(self, upstream_id: str) -> float | None:
        try:
            return _wish(self._wish_of(upstream_id).read_bytes()).cancelled_at
        except FileNotFoundError:
            return None

    def cancel(self, upstream_id: str, at: float) -> None:
        path = self._wish_of(upstream_id)
        with self._alone():
            if not path.exists():
                whole = path.with_suffix(".part")
                whole.write_bytes(_encode(_Wish(at)))
                whole.replace(path)

    def _wish_of(self, upstream_id: str) -> Path:
        return self._path("batches", f"{upstream_id}.json")

    def _path(self, *parts: str) -> Path:
        path = self.folder.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._path("lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # let go of by closing, or by dying
            yield

    def _read_on(self) -> None:
        try:
            with (self.folder / "book.jsonl").open("rb") as file:
                file.seek(self._read_bytes)
                tail = file.read()
        except FileNotFoundError:
            return
        whole = tail[: tail.rfind(b"\n") + 1]
        for line in whole.splitlines():
            sale = _sale(line)
            self._known[sale.upstream_id] = sale
        self._read_bytes += len(whole)


class _FolderUpload:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_suffix(f".{os.getpid()}.part")
        self._file = self._part.open("wb", buffering=1 << 20)

    def write(self, lines: Iterable[bytes]) -> None:
        text = b"\n".join(lines)
        if text:
            self._file.write(text)
            self._file.write(b"\n")

    def close(self) -> None:
        self._file.close()
        self._part.replace(self._path)


class _FileLines:
    """A file of lines, mapped: 200 MiB of requests cost a few bytes a line."""

    def __init__(self, path: Path) -> None:
        self._ends = array("Q")
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                return  # an empty file cannot be mapped
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        find, ends, end = self._map.find, self._ends, -1
        while (end := find(b"\n", end + 1)) >= 0:
            ends.append(end)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> bytes:
        start = self._ends[index - 1] + 1 if index else 0
        return self._map[start : self._ends[index]]
