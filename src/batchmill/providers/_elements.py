"""One large JSON object as it arrives: the items of its long list one at a time, the rest apart."""

import re
from collections.abc import AsyncGenerator
from typing import Final

import msgspec

from batchmill.errors import ProviderSilent
from batchmill.providers._rest import Query, Rest

CHUNK_BYTES: Final = 4 << 20

#: A string, or a character that means something; a quote alone is a string not yet whole.
_TOKEN: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\],"]', re.DOTALL)
#: Whatever comes before the next bracket, strings included; a quote is a string not yet whole.
_BRACKET: Final = re.compile(
    rb'(?:[^"{}\[\]]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+([{}\[\]"])', re.DOTALL
)
_OPENING: Final = b"{["
#: Between two items that are objects, most likely.
_SEAM: Final = re.compile(rb"\}\s*,\s*(?=\{)")
#: A leap is worth its trouble over so many bytes, and is tried at so many seams.
LEAP_BYTES: Final = 1 << 13
LEAPS_MAX: Final = 4

_decode = msgspec.json.Decoder(dict[str, object]).decode
_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Elements:
    """
    Splits a JSON object whose member *name* is a list that may be larger than memory.

    Bytes go in by `feed`, which returns the items that are whole by now, as they were written.
    """

    def __init__(self, name: str) -> None:
        self._name = msgspec.json.encode(name)
        self._buffer = bytearray()
        self._at = 0  #: up to here it is understood
        self._start = 0  #: of what is neither in the head nor in an item yet
        self._head = bytearray()  #: the object without the items
        self._depth = 0
        self._key = b""
        self._key_next = False
        self._enough = 0  #: below this many bytes a string that is not whole is not looked at again
        self._inside = False
        self.opened = False  #: the list has begun
        self.closed = False  #: the object is whole

    def feed(self, data: bytes) -> list[bytes]:
        self._buffer += data
        if len(self._buffer) < self._enough:
            return []
        return self._split()

    def so_far(self) -> dict[str, object]:
        """Return the members before the list, once it has begun."""
        return _decode(bytes(self._head) + (b"]}" if self._inside else b""))

    def end(self) -> tuple[list[bytes], dict[str, object]]:
        """Return the last items, and the object without any; raise `ValueError` where it is cut."""
        found = self._split()
        if not self.closed:
            raise ValueError("it breaks off")
        try:
            return found, _decode(bytes(self._head))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"it is no JSON object ({error})") from error

    def _split(self) -> list[bytes]:
        found: list[bytes] = []
        self._enough = 0
        leapt = False
        while not self.closed:
            if self._inside and self._depth == 2 and self._at == self._start and not leapt:
                leapt = True
                found += self._leap()
            deep = self._depth > (2 if self._inside else 1)
            if deep:
                token = _BRACKET.match(self._buffer, self._at)
            else:
                token = _TOKEN.search(self._buffer, self._at)
            if token is None:
                break
            at, sign = (token.start(1), token[1]) if deep else (token.start(), token[0])
            if sign == b'"':
                # A string that is far from whole is not read again with each chunk.
                self._at, self._enough = at, 2 * (len(self._buffer) - self._start)
                break
            self._at = token.end()
            if deep:
                self._depth += 1 if sign in _OPENING else -1
            else:
                self._token(sign, at, found)
        if not self._inside:
            self._head += self._buffer[self._start : self._at]
            self._start = self._at
        del self._buffer[: self._start]
        self._at -= self._start
        self._start = 0
        return found

    def _leap(self) -> list[bytes]:
        """
        Return many items at once, ten times as fast as token by token.

        From where an item begins to a place that looks like the seam between two: if all of that is
        a list of whole items, the seam is one, and no text that only looks like it.
        """
        end, tried = len(self._buffer), 0
        while tried < LEAPS_MAX:
            end = self._buffer.rfind(b"}", self._at + LEAP_BYTES, end)
            if end < 0:
                break
            if (seam := _SEAM.match(self._buffer, end)) is None:
                continue
            tried += 1
            try:
                items = _list(b"[%b]" % self._buffer[self._at : end + 1])
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                continue
            self._at = self._start = seam.end()
            return [bytes(item) for item in items]
        return []

    def _token(self, sign: bytes, at: int, found: list[bytes]) -> None:
        """Take in what means something at the level of the object, or of its list."""
        if self._inside and sign in b",]":
            if item := bytes(self._buffer[self._start : at]).strip():
                found.append(item)
            self._start = self._at
            if sign == b"]":
                self._head += sign
                self._inside, self._depth = False, 1
        elif sign in _OPENING:
            self._depth += 1
            if self._depth == 1:
                self._key_next = True
            elif self._depth == 2 and not self._inside and self._is_the_list(sign):
                self._inside = self.opened = True
                self._head += self._buffer[self._start : self._at]
                self._start = self._at
        elif sign in b"}]":
            self._depth -= 1
            self.closed = self._depth <= 0
        elif sign == b",":
            self._key_next = True
        elif self._depth == 1 and self._key_next:
            self._key, self._key_next = sign, False

    def _is_the_list(self, sign: bytes) -> bool:
        return sign == b"[" and self._key == self._name


async def parts_of(
    rest: Rest, path: str, name: str, query: Query | None = None
) -> AsyncGenerator[tuple[list[bytes], dict[str, object]], None]:
    """
    Fetch a large object; yield items of its list *name* and the members known by then.

    The first part comes as soon as the list begins, the last one when the object is whole, with all
    its members. Raises `ProviderSilent` where it is cut.
    """
    elements = Elements(name)
    items: list[bytes] = []
    begun = False
    async with rest.download(path, query=query) as body:
        async for chunk in body.chunks():
            items += elements.feed(chunk)
            if not elements.opened or elements.closed:
                continue
            if not begun or sum(map(len, items)) >= CHUNK_BYTES:
                begun = True
                yield items, elements.so_far()
                items = []
    try:
        last, whole = elements.end()
    except ValueError as error:
        raise ProviderSilent(f"{rest.url(path)}: {error}") from error
    yield [*items, *last], whole
