"""Lines of JSON: every one comes out with its number, whatever the blocks they were read in."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchmill.errors import InvalidTable
from batchmill.wire import jsonl


class Slow:
    """A stream that gives a few bytes at a time."""

    def __init__(self, data: bytes, step: int) -> None:
        self._data, self._step = io.BytesIO(data), step

    def read(self, size: int = -1, /) -> bytes:
        return self._data.read(self._step)


def lines_of(stream, **how) -> list[tuple[int, bytes]]:
    return [
        pair
        for chunk in jsonl.chunks(stream, "a.jsonl", **how)
        for pair in zip(chunk.numbers, chunk.lines, strict=True)
    ]


plain = st.text(st.characters(blacklist_characters="\n\ufeff", codec="utf-8"))


@given(st.lists(plain), st.integers(1, 9))
def test_every_line_that_is_not_blank_comes_with_its_number(texts, step):
    data = "\n".join(texts).encode()
    want = [(n, t.encode()) for n, t in enumerate(texts, 1) if t.encode().strip()]
    assert lines_of(Slow(data, step)) == want


def test_a_byte_order_mark_is_no_part_of_the_first_line():
    assert lines_of(io.BytesIO(b"\xef\xbb\xbf{}\n")) == [(1, b"{}")]


def test_other_encodings_become_utf8():
    assert lines_of(io.BytesIO('{"a":"é"}\n'.encode("latin-1")), encoding="latin-1") == [
        (1, '{"a":"é"}'.encode())
    ]
    assert lines_of(io.BytesIO('{"a":"é"}\n\n{}'.encode("utf-16")), encoding="utf-16") == [
        (1, '{"a":"é"}'.encode()),
        (3, b"{}"),
    ]


def test_invalid_utf8_is_named_by_line_with_advice():
    with pytest.raises(
        InvalidTable, match=r"a\.jsonl, line 3: byte 0xff is not valid UTF-8.*--enc"
    ):
        lines_of(io.BytesIO(b"{}\n{}\n\xff\n"))


def test_bytes_outside_another_encoding_are_named_by_line():
    with pytest.raises(InvalidTable, match="near line 2: not valid ascii"):
        lines_of(io.BytesIO(b"{}\n\xff\n"), encoding="ascii")


def test_a_line_that_never_ends_is_refused_before_memory_is_full():
    with pytest.raises(InvalidTable, match="line 2: longer than 100 bytes"):
        lines_of(Slow(b"{}\n" + b"x" * 500, 50), line_bytes_max=100)


@pytest.mark.parametrize("line", [b"[1]", b"{", b'{"a":1}{', b'{"a":"\xff"}', b"[" * 9000, b"NaN"])
def test_a_line_that_is_no_object_is_named(line):
    with pytest.raises(InvalidTable, match=r"a\.jsonl, line 7: not a JSON object"):
        jsonl.decode_object(line, 7, "a.jsonl")


def test_an_object_is_decoded():
    assert jsonl.decode_object(b'{"a": [1, null]}', 1, "a") == {"a": [1, None]}
