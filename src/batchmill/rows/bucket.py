"""Objects in a bucket: where obstore's errors end and ours begin."""

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from batchmill.errors import MissingExtra, StorageTrouble

#: One request to the bucket brings this much; a stream of a large object needs few of them.
READ_BYTES = 8 << 20

_SCHEMES = ("s3", "s3a", "gs", "az", "abfs", "abfss")


def is_remote(url: str) -> bool:
    """Say whether *url* names a bucket."""
    scheme, found, _ = url.partition("://")
    return bool(found) and scheme != "file"


@dataclass(frozen=True, slots=True)
class Entry:
    """An object as its bucket lists it."""

    key: str
    size_bytes: int
    etag: str


class BucketFiles:
    """The objects of one bucket. Every error is a `StorageTrouble` that names the object."""

    def __init__(self, root: str, key: str) -> None:
        self.root = root  #: `s3://bucket`
        self.key = key  #: what followed it
        self._store = _store(root)

    @classmethod
    def of(cls, url: str) -> "BucketFiles":
        """Open the bucket of *url*; what comes after the bucket's name is `key`."""
        scheme, _, rest = url.partition("://")
        bucket, _, key = rest.partition("/")
        if scheme not in _SCHEMES or not bucket:
            raise StorageTrouble(f"{url}: expected a path, s3://bucket/key or gs://bucket/key.")
        return cls(f"{scheme}://{bucket}", key)

    def url(self, key: str) -> str:
        return f"{self.root}/{key}"

    def head(self, key: str) -> Entry | None:
        """Return what the bucket says of an object; None where it is not there."""
        import obstore
        from obstore.exceptions import NotFoundError

        with self._border(key, "read"):
            try:
                meta = obstore.head(self._store, key)
            except (NotFoundError, FileNotFoundError):
                return None
            return _entry(meta)

    def list(self, prefix: str) -> list[Entry]:
        """Return the objects whose key begins with *prefix*, sorted by key."""
        import obstore

        # Object stores list by whole folders here; what follows the last slash is ours to compare.
        folder = prefix.rpartition("/")[0]
        with self._border(prefix, "listed"):
            pages = obstore.list(self._store, folder or None, chunk_size=1000)
            found = [_entry(meta) for page in pages for meta in page]
        return sorted((e for e in found if e.key.startswith(prefix)), key=lambda e: e.key)

    @contextmanager
    def open(self, key: str) -> Iterator[BinaryIO]:
        """Open an object for reading, with seek."""
        entry = self.head(key)
        if entry is None:
            raise StorageTrouble(f"{self.url(key)}: cannot be read (there is no such object).")
        with io.BufferedReader(_Ranges(self, entry), READ_BYTES) as file:
            yield cast("BinaryIO", file)

    def read(self, key: str, start: int, length: int) -> bytes:
        import obstore

        with self._border(key, "read"):
            return bytes(obstore.get_range(self._store, key, start=start, length=length))

    def put(self, key: str, file: BinaryIO) -> str:
        """Upload a file from where it stands; visible only once whole. Return its etag."""
        import obstore

        with self._border(key, "written"):
            meta = obstore.put(self._store, key, file)
        return str(meta.get("e_tag") or "")

    def delete(self, keys: Sequence[str]) -> None:
        import obstore

        for start in range(0, len(keys), 1000):
            with self._border(keys[start], "deleted"):
                obstore.delete(self._store, list(keys[start : start + 1000]))

    @contextmanager
    def _border(self, key: str, doing: str) -> Iterator[None]:
        from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

        try:
            yield
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise StorageTrouble(
                f"{self.url(key)}: cannot be {doing} (access denied). Check AWS_ACCESS_KEY_ID, "
                f"AWS_SECRET_ACCESS_KEY and AWS_REGION."
            ) from error
        except (BaseError, OSError) as error:
            words = " ".join(str(error).split())[:300]
            raise StorageTrouble(f"{self.url(key)}: cannot be {doing} ({words}).") from error


class _Ranges(io.RawIOBase):
    """An object as a file that can seek; each read is one ranged request."""

    def __init__(self, files: BucketFiles, entry: Entry) -> None:
        super().__init__()
        self._files = files
        self._entry = entry
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._entry.size_bytes}
        self._at = max(0, base[whence] + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        length = min(len(buffer), self._entry.size_bytes - self._at)
        if length <= 0:
            return 0
        found = self._files.read(self._entry.key, self._at, length)
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)


def _entry(meta: Any) -> Entry:
    return Entry(meta["path"], meta["size"], str(meta.get("e_tag") or ""))


def _store(root: str) -> Any:
    try:
        from obstore.exceptions import BaseError
        from obstore.store import from_url
    except ImportError as error:
        raise MissingExtra(
            f"{root}: buckets need the package obstore: pip install 'batchmill[s3]'."
        ) from error
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    options: Any = {"allow_http": True} if endpoint.startswith("http://") else None
    config: Any = {"endpoint": endpoint} if endpoint and root.startswith("s3") else None
    try:
        return from_url(root, config=config, client_options=options)
    except (BaseError, ValueError) as error:
        raise StorageTrouble(f"{root}: cannot be opened ({error}).") from error
