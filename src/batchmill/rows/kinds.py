"""Kinds of media that models take, told from their first bytes and never from their names."""

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

#: What one picture or document may be large, wherever it comes from.
MEDIA_BYTES_MAX: Final = 20 << 20

PDF: Final = "application/pdf"
#: The words for what may be in a cell.
EXPECTED: Final = "PNG, JPEG, GIF or WebP image and no PDF"

_KINDS = (
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"%PDF-", PDF),
)
_SUFFIXES: Mapping[str, str] = MappingProxyType(
    {
        ".png": "image/png",
        ".jpg": "image/jpeg",
        ".jpeg": "image/jpeg",
        ".gif": "image/gif",
        ".webp": "image/webp",
        ".pdf": PDF,
    }
)
#: Readers of PDF look for its mark in the first kilobyte, as some files begin with a little noise.
_NOISE_BYTES = 1024


def kind_of(data: bytes) -> str | None:
    """Return the media type of *data* (its first kilobyte is enough); None for any other kind."""
    for magic, kind in _KINDS:
        if data.startswith(magic):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    head = data[:_NOISE_BYTES].lstrip(b"\x00\t\n\f\r \xef\xbb\xbf")
    return PDF if head.startswith(b"%PDF-") else None


def named_kind(path: str) -> str | None:
    """Return the media type that the name at the end of a link's path promises."""
    return _SUFFIXES.get(os.path.splitext(path)[1].lower())
