"""Files by key, in a folder of this machine or in a bucket; visible at once and whole."""

import errno
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast

from batchmill.errors import StorageTrouble
from batchmill.ports import Blobs
from batchmill.rows.bucket import BucketFiles, is_remote

_numbers = itertools.count()


def open_blobs(url: str) -> Blobs:
    """Return the store at *url*: a folder's path, `file://…` or `s3://bucket/prefix`."""
    if is_remote(url):
        return Bucket(url)
    return Folder(url.removeprefix("file://"))


def trouble(path: str, error: OSError, doing: str) -> StorageTrouble:
    """Return what to tell a person about a file the system would not let us have."""
    advice = {
        errno.ENOSPC: "Free some space there, then try again.",
        errno.EDQUOT: "Free some space there, then try again.",
        errno.EACCES: "Check who may write there.",
        errno.EROFS: "The file system is read-only.",
    }.get(error.errno or 0, "")
    words = error.strerror or str(error)
    return StorageTrouble(f"{path}: cannot be {doing} ({words}). {advice}".rstrip())


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """
    Open a file for writing that takes its place only when it is whole, also after a power cut.

    Raises `StorageTrouble`; after any error the file is as it was before.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{next(_numbers)}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        temporary.replace(path)
        if durable:
            sync_folder(path.parent)
    except OSError as error:
        raise trouble(str(path), error, "written") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; a rename is only safe once its folder is."""
    with suppress(PermissionError):  # Windows opens no folders, and needs no such thing
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class Folder:
    """`ports.Blobs` in a folder."""

    def __init__(self, root: str, *, durable: bool = True) -> None:
        self._root = Path(root).absolute()
        self._durable = durable

    def path(self, key: str) -> Path:
        """Return where a key's bytes lie, for readers that map files into memory."""
        return self._root / key

    @contextmanager
    def create(self, key: str) -> Iterator[BinaryIO]:
        path = self.path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise trouble(str(path.parent), error, "made") from error
        with replacing(path, durable=self._durable) as file:
            yield file

    @contextmanager
    def open(self, key: str) -> Iterator[BinaryIO]:
        path = self.path(key)
        try:
            file = path.open("rb")
        except OSError as error:
            raise trouble(str(path), error, "read") from error
        with file:
            yield cast("BinaryIO", file)

    def exists(self, key: str) -> bool:
        return self.path(key).is_file()

    def list(self, prefix: str) -> list[str]:
        """Return the keys that begin with *prefix*, sorted; unfinished files are not among them."""
        folder = self._root / prefix.rpartition("/")[0]
        found = (p for p in folder.rglob("*") if p.is_file() and not _unfinished(p.name))
        keys = (p.relative_to(self._root).as_posix() for p in found)
        return sorted(key for key in keys if key.startswith(prefix))

    def delete(self, prefix: str) -> None:
        try:
            if prefix.endswith("/"):
                shutil.rmtree(self._root / prefix)
                return
            for key in self.list(prefix):
                self.path(key).unlink(missing_ok=True)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise trouble(str(self._root / prefix), error, "deleted") from error


def _unfinished(name: str) -> bool:
    return name.startswith(".") and name.endswith(".tmp")


class Bucket:
    """`ports.Blobs` under a prefix of a bucket (`s3://bucket/prefix`)."""

    def __init__(self, url: str) -> None:
        self._files = BucketFiles.of(url)
        prefix = self._files.key.strip("/")
        self._prefix = f"{prefix}/" if prefix else ""

    @contextmanager
    def create(self, key: str) -> Iterator[BinaryIO]:
        # A bucket shows an object when its upload is complete; until then it waits on our disk.
        try:
            file = tempfile.TemporaryFile()  # noqa: SIM115
        except OSError as error:
            raise trouble(tempfile.gettempdir(), error, "written") from error
        with file:
            try:
                yield cast("BinaryIO", file)
                file.flush()
            except OSError as error:
                raise trouble(tempfile.gettempdir(), error, "written") from error
            file.seek(0)
            self._files.put(self._prefix + key, cast("BinaryIO", file))

    @contextmanager
    def open(self, key: str) -> Iterator[BinaryIO]:
        with self._files.open(self._prefix + key) as file:
            yield file

    def exists(self, key: str) -> bool:
        return self._files.head(self._prefix + key) is not None

    def list(self, prefix: str) -> list[str]:
        found = self._files.list(self._prefix + prefix)
        return [entry.key.removeprefix(self._prefix) for entry in found]

    def delete(self, prefix: str) -> None:
        self._files.delete([self._prefix + key for key in self.list(prefix)])
