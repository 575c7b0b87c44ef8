"""Ready-made request lines: what a batch input file for a vendor holds."""

from array import array
from collections.abc import Callable, Iterator

import msgspec
import pyarrow as pa

from batchmill.errors import InvalidTable
from batchmill.rows.chunk import Place, RequestsChunk
from batchmill.rows.kernels import pc
from batchmill.wire import jsonl
from batchmill.wire.openai import RequestLine

_line = msgspec.json.Decoder(RequestLine).decode
_body = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def looks_ready_made(line: bytes) -> bool:
    """Say whether a line of JSON is a request rather than a row: it has a custom_id and a body."""
    try:
        found = msgspec.json.decode(line)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return False
    return isinstance(found, dict) and "custom_id" in found and isinstance(found.get("body"), dict)


class RequestLines:
    """Reads request lines and remembers what must hold over all of them."""

    def __init__(self) -> None:
        self.url = ""  #: of the first line; every other must want to go there too
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
        return RequestsChunk(place, found.numbers, custom_ids, bodies)

    def _request(self, line: bytes, number: int, name: str) -> RequestLine:
        where = f"{name}, line {number}"
        try:
            request = _line(line)
            _body(request.body)  # Raw is anything; a request is an object
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
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
