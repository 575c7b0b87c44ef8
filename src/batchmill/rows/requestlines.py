"""Ready-made request lines: what a batch input file for a vendor holds, whichever vendor's."""

from array import array
from collections.abc import Callable, Iterator

import msgspec
import pyarrow as pa

from batchmill.core.request import (
    ANTHROPIC_MESSAGES,
    DIALECTS,
    GEMINI_EMBED,
    GEMINI_GENERATE,
    MISTRAL_CHAT,
    OPENAI_EMBEDDINGS,
)
from batchmill.errors import InvalidTable
from batchmill.rows.chunk import Place, RequestsChunk
from batchmill.rows.kernels import pc
from batchmill.wire import jsonl
from batchmill.wire.openai import RequestLine

_NONE = msgspec.Raw()


class _OtherLine(msgspec.Struct):
    """A line of Anthropic (params), Mistral (body, but no url) or Gemini (key, request)."""

    custom_id: str | None = None
    key: str | None = None
    url: str | None = None
    params: msgspec.Raw = _NONE
    body: msgspec.Raw = _NONE
    request: msgspec.Raw = _NONE


_line = msgspec.json.Decoder(RequestLine).decode
_other = msgspec.json.Decoder(_OtherLine).decode
_body = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

#: The first dialect that goes to a url. Azure's lines leave the version out.
_BY_URL: dict[str, str] = {}
for _name, _dialect in DIALECTS.items():
    _BY_URL.setdefault(_dialect.url, _name)
    _BY_URL.setdefault(_dialect.url.removeprefix("/v1"), _name)

_UNREADABLE = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)


def looks_ready_made(line: bytes) -> bool:
    """Say whether a line of JSON is a request rather than a row: it has an id and a body."""
    try:
        found = msgspec.json.decode(line)
    except _UNREADABLE:
        return False
    if not isinstance(found, dict):
        return False
    if "custom_id" in found:
        return isinstance(found.get("body"), dict) or isinstance(found.get("params"), dict)
    return "key" in found and isinstance(found.get("request"), dict)


class RequestLines:
    """Reads request lines and remembers what must hold over all of them."""

    def __init__(self) -> None:
        self.url = ""  #: of the first line; every other must want to go there too
        self.dialect = ""  #: of the first line's body; "" where the url is nobody's
        self._first = ""
        self._hashes = array("q")  # eight bytes for each custom_id, not the id itself

    def chunk(self, place: Place, found: jsonl.Lines) -> RequestsChunk:
        """Read some lines; raise `InvalidTable` naming the first that is no request."""
        custom_ids: list[str] = []
        bodies: list[bytes] = []
        for number, line in zip(found.numbers, found.lines, strict=True):
            request = self._request(line, number, place.name)
            custom_ids.append(request.custom_id)
            bodies.append(bytes(request.body))
        self._hashes.extend(map(hash, custom_ids))
        return RequestsChunk(place, found.numbers, custom_ids, bodies, self.dialect)

    def _request(self, line: bytes, number: int, name: str) -> RequestLine:
        where = f"{name}, line {number}"
        dialect = ""
        try:
            try:
                request = _line(line)
            except msgspec.ValidationError:
                request, dialect = _other_vendors(line)
            _body(request.body)  # Raw is anything; a request is an object
        except _UNREADABLE as error:
            words = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            raise InvalidTable(
                f"{where}: is no request line ({words}). Expected an object with custom_id, "
                f"method, url and body."
            ) from error
        if request.method != "POST":
            raise InvalidTable(f"{where}: method is {request.method!r}. Expected 'POST'.")
        if request.url != self.url:
            if self.url:
                raise InvalidTable(
                    f"{where}: url is {request.url!r}, but {self._first} has {self.url!r}. All "
                    f"requests of a batch go to one url; split the file."
                )
            self.url, self._first = request.url, where
            self.dialect = dialect or _BY_URL.get(request.url, "")
        elif dialect and dialect != self.dialect:
            raise InvalidTable(
                f"{where}: is a line for {dialect}, but {self._first} is one for {self.dialect}. "
                f"All requests of a batch are of one form; split the file."
            )
        return request

    def check_unique(self, again: Callable[[], Iterator[RequestsChunk]]) -> None:
        """
        Raise `InvalidTable` naming both lines if two have the same custom_id.

        Hashes are compared first; only if two are the same are the lines read *again*.
        """
        count = len(self._hashes)
        hashes = pa.Array.from_buffers(pa.int64(), count, [None, pa.py_buffer(self._hashes)])
        if pc.count_distinct(hashes).as_py() == count:
            return
        counted = pc.value_counts(hashes)
        often = pc.greater(counted.field("counts"), 1)
        suspects = set(counted.field("values").filter(often).to_pylist())
        seen: dict[str, str] = {}
        for chunk in again():
            for index, custom_id in enumerate(chunk.custom_ids):
                if hash(custom_id) not in suspects:
                    continue
                where = chunk.where(index)
                if (first := seen.setdefault(custom_id, where)) != where:
                    raise InvalidTable(
                        f"{where}: custom_id {custom_id!r} is already that of {first}. Each "
                        f"request needs one of its own."
                    )


def _other_vendors(line: bytes) -> tuple[RequestLine, str]:
    """Read a line without method and url, and tell its dialect; raise as if it were OpenAI's."""
    found = _other(line)
    custom_id = found.custom_id or found.key
    if custom_id is not None and found.url is None:
        if bytes(found.params) and found.custom_id is not None:
            return _as_line(custom_id, ANTHROPIC_MESSAGES, found.params), ANTHROPIC_MESSAGES
        if bytes(found.request) and found.key is not None:
            embeds = "content" in _body(found.request)
            dialect = GEMINI_EMBED if embeds else GEMINI_GENERATE
            return _as_line(custom_id, dialect, found.request), dialect
        if bytes(found.body) and found.custom_id is not None:
            embeds = "input" in _body(found.body)
            dialect = OPENAI_EMBEDDINGS if embeds else MISTRAL_CHAT
            return _as_line(custom_id, dialect, found.body), dialect
    return _line(line), ""


def _as_line(custom_id: str, dialect: str, body: msgspec.Raw) -> RequestLine:
    return RequestLine(custom_id, "POST", DIALECTS[dialect].url, body)
