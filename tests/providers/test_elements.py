"""A large JSON object is split while it arrives, wherever it is torn into chunks."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchmill.providers import _elements
from batchmill.providers._elements import Elements

scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=20)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=8,
)


def chunks(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def split(data: bytes, size: int) -> tuple[list[object], dict[str, object]]:
    elements = Elements("results")
    found = [item for chunk in chunks(data, size) for item in elements.feed(chunk)]
    last, head = elements.end()
    return [json.loads(item) for item in (*found, *last)], head


@given(
    before=st.dictionaries(st.text(max_size=8), values, max_size=4),
    after=st.dictionaries(st.text(max_size=8), values, max_size=4),
    items=st.lists(values, max_size=5),
    size=st.integers(1, 40),
    spaced=st.booleans(),
)
def test_items_and_the_rest_are_what_was_written(
    before: dict[str, object],
    after: dict[str, object],
    items: list[object],
    size: int,
    spaced: bool,
) -> None:
    given_object = {**before, "results": items, **after} | {"results": items}
    data = json.dumps(given_object, indent=1 if spaced else None).encode()

    assert split(data, size) == (items, {**given_object, "results": []})


@given(items=st.lists(values, min_size=1, max_size=4), size=st.integers(1, 40))
def test_what_is_cut_anywhere_is_not_whole(items: list[object], size: int) -> None:
    data = json.dumps({"a": '"]}', "results": items, "b": [{}]}).encode()
    for cut in range(len(data)):
        elements = Elements("results")
        for chunk in chunks(data[:cut], size):
            elements.feed(chunk)
        with pytest.raises(ValueError, match="breaks off"):
            elements.end()


def test_the_head_is_known_as_soon_as_the_list_begins() -> None:
    elements = Elements("results")
    assert elements.feed(b'{"status":"completed","counts":{"results":[1]},"results":[{"a":1') == []
    assert elements.opened
    assert elements.so_far() == {
        "status": "completed",
        "counts": {"results": [1]},
        "results": [],
    }
    assert elements.feed(b'},{"b":"]}') == [b'{"a":1}']


def test_a_list_that_is_null_has_no_items() -> None:
    assert split(b'{"results":null,"error":{"message":"no"}}', 7) == (
        [],
        {"results": None, "error": {"message": "no"}},
    )


@pytest.mark.parametrize("data", [b"[]", b'"x"', b"nothing", b"", b'{"a":}'])
def test_what_is_no_object_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="it"):
        split(data, 3)


@given(
    texts=st.lists(st.sampled_from(['a "}, {" b', "},{", "x" * 40, '"', "\\"]), max_size=60),
    size=st.integers(40, 3000),
    spaced=st.booleans(),
)
def test_many_items_are_found_at_once_whatever_their_texts_look_like(
    texts: list[str], size: int, spaced: bool
) -> None:
    items: list[object] = [{"n": n, "x": [{"t": text}, {"u": {}}]} for n, text in enumerate(texts)]
    separators = (", ", ": ") if spaced else (",", ":")
    data = json.dumps({"results": items, "z": 1}, separators=separators).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_elements, "LEAP_BYTES", 8)
        assert split(data, size) == (items, {"results": [], "z": 1})


def test_a_long_string_is_read_in_time_that_grows_with_its_length() -> None:
    elements, text = Elements("results"), "x" * 4_000_000
    data = json.dumps({"results": [{"text": text}]}).encode()
    found = [item for chunk in chunks(data, 4096) for item in elements.feed(chunk)]
    last, _ = elements.end()
    assert [json.loads(item)["text"] for item in (*found, *last)] == [text]
