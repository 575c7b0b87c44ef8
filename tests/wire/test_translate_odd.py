"""Whatever a stranger's body holds: an `InvalidRequest`, or a translation, and nothing else."""

import contextlib
import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.wire.hubs import DIALECTS, answers, chats

from batchmill.errors import InvalidRequest
from batchmill.wire import translate

encode = msgspec.json.encode
CHATS = sorted(DIALECTS)

odd = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**70) | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "text", "role", "url", "x"]), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in items:
        found += places(inner, (*path, key))
    return found


def broken(data: st.DataObject, body: dict[str, Any]) -> bytes:
    """Put something odd somewhere in a body, or leave something out."""
    body = copy.deepcopy(body)
    *path, last = data.draw(st.sampled_from(places(body)))
    at: Any = body
    for key in path:
        at = at[key]
    if data.draw(st.booleans()):
        at[last] = data.draw(odd)
    else:
        del at[last]
    return encode(body)


@pytest.mark.parametrize("dialect", CHATS)
@settings(max_examples=60)
@given(st.data())
def test_a_broken_request_is_an_invalid_request_at_worst(dialect: str, data: st.DataObject) -> None:
    written = msgspec.json.decode(encode(translate.write(dialect, data.draw(chats(dialect)))))
    body = broken(data, written)
    assert isinstance(translate.complaint(dialect, body), str)
    assert isinstance(translate.links(dialect, body), list)
    to = data.draw(st.sampled_from(CHATS))
    with contextlib.suppress(InvalidRequest):
        translate.request(body, dialect, to, "m")


@pytest.mark.parametrize("dialect", CHATS)
@settings(max_examples=60)
@given(st.data())
def test_a_broken_answer_is_an_invalid_request_at_worst(dialect: str, data: st.DataObject) -> None:
    answer = translate._TONGUES[dialect].write_answer(data.draw(answers(dialect)))
    body = broken(data, msgspec.json.decode(encode(answer)))
    with contextlib.suppress(InvalidRequest):
        translate.answer(body, dialect, data.draw(st.sampled_from(CHATS)))


@pytest.mark.parametrize("to", CHATS)
def test_arguments_that_were_cut_short_are_kept_as_they_are(to: str) -> None:
    call = {"id": "abcdefghi", "type": "function", "function": {"name": "f", "arguments": '{"a":'}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    choice = {"index": 0, "message": message, "finish_reason": "length"}
    body = encode({"id": "i", "model": "m", "choices": [choice]})
    assert b'{\\"a\\":' in translate.answer(body, "openai.chat", to)
