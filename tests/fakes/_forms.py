"""Multipart forms as servers read them (RFC 7578)."""

import re
from dataclasses import dataclass


@dataclass
class Part:
    """A part of a multipart form."""

    name: str
    filename: str | None
    data: bytes
    kind: str = ""  #: its own content type


def parts(content_type: str, body: bytes) -> list[Part] | None:
    """Return the parts of a multipart form in their order; None where it is none."""
    found = re.fullmatch(r'multipart/form-data; boundary="?([^";]+)"?', content_type)
    if found is None:
        return None
    boundary = found[1].encode()
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary)
    if len(pieces) < 3 or not pieces[-1].startswith(b"--"):
        return None
    made: list[Part] = []
    for piece in pieces[1:-1]:
        head, blank, data = piece.partition(b"\r\n\r\n")
        name = re.search(rb'form-data;.* name="([^"]*)"', head)
        if not blank or name is None:
            return None
        filename = re.search(rb'; filename="([^"]*)"', head)
        kind = re.search(rb"content-type: *([^\r\n]+)", head.lower())
        made.append(
            Part(
                name=name[1].decode(),
                filename=filename[1].decode() if filename else None,
                data=data,
                kind=kind[1].decode() if kind else "",
            )
        )
    return made
