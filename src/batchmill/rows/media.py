"""What is in a cell of `--image`: a link, or the bytes it leads to, as a part of the hub form."""

import base64
import binascii
import os
import re
import stat
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from batchmill.core.batch import Recipe
from batchmill.errors import InvalidRow
from batchmill.rows.kinds import EXPECTED, MEDIA_BYTES_MAX, PDF, kind_of, named_kind
from batchmill.rows.reach import Reach
from batchmill.rows.shrink import check_pillow, shrunk
from batchmill.wire.hub import Document, Image, Media
from batchmill.wire.translate import takes_link

Job = Callable[[], Media]

BUCKETS: Final = frozenset({"s3", "s3a", "gs", "az", "abfs", "abfss"})
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://|(data):", re.IGNORECASE)


class Cells:
    """Reads cells, as a recipe and its provider want them."""

    def __init__(self, recipe: Recipe, reach: Reach) -> None:
        """Raise `MissingExtra` where images shall be made smaller and Pillow is not there."""
        self._links = recipe.links
        self._max_side = recipe.image_max_side
        self._dialect = recipe.dialect
        self._reach = reach
        if self._max_side is not None:
            check_pillow()

    def read(self, value: object) -> Media | Job:
        """
        Return a cell's media, or what reads it and may take its time.

        Both raise `InvalidRow` with the words only: the caller knows the place.
        """
        name = ""
        if isinstance(value, Mapping):  # {bytes, path}: how Hugging Face keeps images in Parquet
            name = _base_name(value.get("path"))
            value = value.get("bytes") or value.get("path")
        if isinstance(value, bytes):
            return partial(self._held, value, name)
        if not isinstance(value, str):
            raise InvalidRow(
                f"{type(value).__name__} is no image. Expected a URL, a data: URL or the path of a "
                f"file"
            )
        link = value.strip()
        if (found := _SCHEME.match(link)) is None:
            return partial(self._file, link)
        scheme = (found[1] or found[2]).lower()
        if scheme == "data":
            return partial(self._data_url, link)
        if scheme == "file":
            return partial(self._file, _local_path(link))
        if self.follows(link) and (media := self._as_link(link)) is not None:
            return media
        return self.behind(link, scheme)

    def follows(self, link: str) -> bool:
        """Say whether the vendor itself goes to where *link* leads."""
        scheme = link.partition("://")[0].lower()
        return any(link.startswith(own) if "://" in own else own == scheme for own in self._links)

    def behind(self, link: str, scheme: str) -> Job:
        """Return what reads the bytes that *link* leads to, whoever might follow it himself."""
        if scheme in BUCKETS and self._reach.local:
            return partial(self._object, link)
        if scheme in ("http", "https"):
            return partial(self._fetched, link)
        # A server's keys open buckets for the one who runs it, not for everybody who asks.
        raise InvalidRow(f"{scheme}:// leads nowhere from here. Expected a URL or a data: URL")

    def _as_link(self, link: str) -> Media | None:
        """Return *link* as it is; None where the bytes must travel instead."""
        try:
            parsed = urlsplit(link)
            host = parsed.hostname
        except ValueError:
            host = parsed = None
        if not host or parsed is None:
            raise InvalidRow(f"{_short(link)!r} is no usable link")
        if self._max_side is not None:
            return None
        kind = named_kind(parsed.path)
        media = (
            Document(url=link, name=_base_name(parsed.path))
            if kind == PDF
            else Image(url=link, media_type=kind or "")
        )
        return media if takes_link(self._dialect, media) else None

    def _held(self, data: bytes, name: str) -> Media:
        if len(data) > MEDIA_BYTES_MAX:
            raise InvalidRow(f"is larger than {MEDIA_BYTES_MAX >> 20} MiB. Make it smaller")
        kind = kind_of(data)
        if kind is None:
            page = data[:512].lstrip()[:1] == b"<"
            raise InvalidRow(f"is no {EXPECTED}" + (" but a page of text" if page else ""))
        if kind == PDF:
            return Document(data=_base64(data), name=name)
        if self._max_side is not None:
            data = shrunk(data, kind, self._max_side)
        return Image(data=_base64(data), media_type=kind)

    def _fetched(self, link: str) -> Media:
        if self._reach.fetch is None:
            raise InvalidRow(f"{_short(link)}: cannot be fetched from here")
        try:
            data = self._reach.fetch(link)
            return self._held(data, _base_name(urlsplit(link).path))
        except InvalidRow as error:
            raise InvalidRow(f"{_short(link)}: {error}") from error

    def _object(self, url: str) -> Media:
        files, key = self._reach.bucket(url)
        entry = files.head(key)
        if entry is None:
            raise InvalidRow(f"{_short(url)}: there is no such object")
        most = MEDIA_BYTES_MAX + 1  # one more than may be, so that it shows
        length = min(entry.size_bytes, most)
        data = files.read(key, 0, length) if length else b""
        try:
            return self._held(data, _base_name(key))
        except InvalidRow as error:
            raise InvalidRow(f"{_short(url)}: {error}") from error

    def _data_url(self, url: str) -> Media:
        head, comma, payload = url.partition(",")
        try:
            if not comma:
                raise ValueError("it has no comma")
            if head.lower().endswith(";base64"):
                packed = re.sub(r"\s+", "", unquote(payload))
                data = base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
            else:
                data = unquote_to_bytes(payload)
        except (binascii.Error, ValueError) as error:
            raise InvalidRow(f"is no data: URL that can be read ({error})") from error
        return self._held(data, "")

    def _file(self, path: str) -> Media:
        if not self._reach.local:
            raise InvalidRow("expected a URL or a data: URL, as files stay where they are")
        try:
            data = _contents(os.path.expanduser(path))
        except (OSError, ValueError) as error:
            words = getattr(error, "strerror", None) or str(error)
            raise InvalidRow(
                f"the image {_short(path)!r} cannot be read ({words}). Paths are meant from "
                f"{os.getcwd()}"
            ) from error
        return self._held(data, _base_name(path))


def _contents(path: str) -> bytes:
    # A pipe would be waited for without end, and a device has none.
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError("is no file")
    with open(path, "rb") as file:
        return file.read(MEDIA_BYTES_MAX + 1)


def _local_path(url: str) -> str:
    rest = url[len("file://") :]
    return unquote(rest.removeprefix("localhost") if rest.startswith("localhost/") else rest)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _base_name(path: object) -> str:
    return os.path.basename(unquote(path)) if isinstance(path, str) else ""


def _short(link: str) -> str:
    return link if len(link) <= 200 else f"{link[:200]}…"
