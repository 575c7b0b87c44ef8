"""Images of a row: links stay links, files of this machine travel inside the request."""

import base64
import os
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from batchmill.errors import InvalidRow
from batchmill.rows.chunk import Chunk

IMAGE_BYTES_MAX = 20 << 20

_LINKS = ("http://", "https://", "data:", "gs://")
_KINDS = (
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"RIFF", "image/webp"),
)


class Images:
    """Columns that hold images: a URL, a data: URL, a path, or the bytes themselves."""

    def __init__(self, columns: tuple[str, ...], *, responses: bool, local: bool) -> None:
        self._columns = columns
        self._responses = responses
        self._local = local

    def parts(self, chunk: Chunk) -> Iterator[list[dict[str, Any]]]:
        """Yield, for each row, its images as parts of a message; an empty cell is none."""
        columns = [(name, chunk.values(name)) for name in self._columns]
        for index in range(len(chunk)):
            yield [
                self._part(self._link(values[index], f"{chunk.where(index)}, column {name}"))
                for name, values in columns
                if values[index] is not None and values[index] != ""
            ]

    def _part(self, url: str) -> dict[str, Any]:
        if self._responses:
            return {"type": "input_image", "image_url": url}
        return {"type": "image_url", "image_url": {"url": url}}

    def _link(self, value: object, where: str) -> str:
        if isinstance(value, Mapping):  # {bytes, path}: how Hugging Face keeps images in Parquet
            value = value.get("bytes") or value.get("path")
        if isinstance(value, bytes):
            return _data_url(value, where)
        if not isinstance(value, str):
            raise InvalidRow(
                f"{where}: {type(value).__name__} is no image. Expected a URL, a data: URL or the "
                f"path of a file."
            )
        return value if value.startswith(_LINKS) else self._file(value, where)

    def _file(self, path: str, where: str) -> str:
        if not self._local:
            raise InvalidRow(
                f"{where}: expected a URL or a data: URL, as files stay where they are."
            )
        path = unquote(path.removeprefix("file://")) if path.startswith("file://") else path
        try:
            if os.path.getsize(path) > IMAGE_BYTES_MAX:
                raise InvalidRow(
                    f"{where}: {path} is larger than {IMAGE_BYTES_MAX >> 20} MiB. Make it smaller."
                )
            with open(path, "rb") as file:
                return _data_url(file.read(), where)
        except (OSError, ValueError) as error:
            words = getattr(error, "strerror", None) or str(error)
            raise InvalidRow(
                f"{where}: the image {path!r} cannot be read ({words}). Paths are meant from "
                f"{os.getcwd()}."
            ) from error


def _data_url(data: bytes, where: str) -> str:
    for magic, kind in _KINDS:
        if data.startswith(magic):
            return f"data:{kind};base64,{base64.b64encode(data).decode()}"
    raise InvalidRow(f"{where}: is no PNG, JPEG, GIF or WebP image.")
