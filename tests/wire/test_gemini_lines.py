"""Gemini's result lines and inline responses: whose they are, and what they say."""

import json

import msgspec
import pytest

from batchmill.core.failure import Failure
from batchmill.core.outcome import Result
from batchmill.core.request import GEMINI_GENERATE
from batchmill.wire import gemini

RESPONSE = json.dumps(
    {"candidates": [{"content": {"parts": [{"text": "hi"}]}, "finishReason": "STOP"}]}
).encode()


def told(line: bytes) -> Result:
    found = gemini.parse_line(line, GEMINI_GENERATE)
    assert found is not None
    return found


def test_lines_and_inline_answers_are_known_by_their_key() -> None:
    line = told(b'{"key":"k","response":%b}' % RESPONSE)
    inline = told(b'{"metadata":{"key":"k"},"response":%b}' % RESPONSE)

    assert line == inline
    assert line.body == RESPONSE


@pytest.mark.parametrize(
    "line", [b'{"response":{}}', b'{"key":"","metadata":{}}', b'{"key":7}', b"[]", b"{"]
)
def test_a_line_without_a_key_is_nobodys(line: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        gemini.parse_line(line, GEMINI_GENERATE)


@pytest.mark.parametrize(
    "line",
    [b'{"key":"k"}', b'{"key":"k","response":null,"error":null}', b'{"metadata":{"key":"k"}}'],
)
def test_a_line_that_names_its_row_and_nothing_more_is_none(line: bytes) -> None:
    assert gemini.parse_line(line, GEMINI_GENERATE) is None


def test_an_error_of_another_shape_is_told_in_its_words() -> None:
    odd = told(b'{"key":"k","error":"out of order"}')

    assert "out of order" in odd.detail


def test_on_vertex_a_line_without_request_and_answer_is_none() -> None:
    with pytest.raises(msgspec.ValidationError, match="temporarily"):
        gemini.parse_vertex_line(b'{"error":{"message":"temporarily"}}', GEMINI_GENERATE)


def test_what_can_be_told_of_an_unreadable_line_is_told() -> None:
    found = gemini.salvaged(b'{"key":"b-1","response":{"candidates":[{"co')

    assert found is not None
    assert (found.custom_id, found.failure) == ("b-1", Failure.SERVER)
    assert gemini.salvaged(b'{"key":"b-1"}{"key":"b-2"') is None
    assert gemini.salvaged(b"\x00\x01") is None
