"""What goes into the database as text comes out as it was, whatever it was."""

import dataclasses
from decimal import Decimal
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchmill.core.batch import Batch, Recipe, Source
from batchmill.core.failure import Failure
from batchmill.core.outcome import Usage
from batchmill.core.rowset import RowSet, row_range
from batchmill.core.shard import Event, Progress, Shard, State, Tally
from batchmill.errors import StorageTrouble
from batchmill.store import codec

# Every character there is, halves of surrogate pairs and NUL included.
WORDS = st.text(st.characters(codec=None), max_size=12)
MOMENTS = st.floats(allow_nan=False)
COUNTS = st.integers(0, 1 << 40)
ROWS = st.one_of(
    st.sets(st.integers(0, (1 << 32) - 1), max_size=20).map(RowSet),
    st.builds(row_range, st.integers(0, 10_000_000), st.integers(0, 200_000)),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 60), 1 << 60) | MOMENTS | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(WORDS, JSON, max_size=3)

st.register_type_strategy(str, WORDS)
st.register_type_strategy(float, MOMENTS)
st.register_type_strategy(RowSet, ROWS)
st.register_type_strategy(Usage, st.builds(Usage, COUNTS, COUNTS, COUNTS, COUNTS))
TALLIES = st.builds(
    Tally,
    succeeded=COUNTS,
    failed=st.dictionaries(st.sampled_from(Failure), ROWS, max_size=3),
    usage=st.from_type(Usage),
    cost_usd=st.none() | st.decimals(allow_nan=False),
    list_usd=st.none() | st.decimals(allow_nan=False),
    unpriced=COUNTS,
    stated=COUNTS,
    foreign=COUNTS,
    duplicate=COUNTS,
)
PROGRESS = st.builds(Progress, succeeded=COUNTS, errored=COUNTS, note=WORDS)
st.register_type_strategy(Tally, TALLIES)
st.register_type_strategy(Progress, PROGRESS)

SHARDS = st.builds(
    Shard,
    id=WORDS,
    batch_id=WORDS,
    n=COUNTS,
    provider=WORDS,
    lane=WORDS,
    rows=ROWS,
    attempt=COUNTS,
    state=st.sampled_from(State),
    ref=st.none() | WORDS,
    owner=WORDS,
    lease_until=MOMENTS,
    submitted_at=st.none() | MOMENTS,
    upstream_id=st.none() | WORDS,
    provisional=st.booleans(),
    strangers=st.lists(WORDS, max_size=3).map(tuple),
    due_at=MOMENTS,
    progress=PROGRESS,
    note=WORDS,
    trouble=COUNTS,
    kept=WORDS,
    tally=TALLIES,
    version=COUNTS,
)
BATCHES = st.builds(
    Batch,
    name=WORDS,
    deadline=st.none() | MOMENTS,
    recipe=st.builds(
        Recipe,
        prompt=st.none() | WORDS,
        schema=st.none() | OBJECTS,
        images=st.lists(WORDS, max_size=2).map(tuple),
        params=OBJECTS,
    ),
    source=st.builds(
        Source, url=WORDS, parts=st.lists(st.tuples(WORDS, COUNTS, WORDS), max_size=2).map(tuple)
    ),
    target=st.none() | WORDS,
    held=WORDS,
)


@pytest.mark.parametrize("kind", get_args(Event), ids=lambda kind: kind.__name__)
def test_every_event_comes_back_as_it_went(kind):
    @given(st.from_type(kind))
    def check(event):
        payload = codec.to_text(event)
        assert payload.isascii()
        assert "\0" not in payload
        assert codec.event_from(codec.event_name(event), payload) == event

    check()


@given(SHARDS)
def test_a_shard_comes_back_as_it_went(shard):
    columns, rows, facts = (
        codec.columns_of(shard),
        codec.rows_bytes(shard.rows),
        codec.facts_of(shard),
    )
    assert codec.shard_from(columns, rows, facts) == shard


@given(BATCHES)
def test_a_batch_comes_back_as_it_went(batch):
    assert codec.batch_from(codec.columns_of(batch), codec.facts_of(batch)) == batch


@given(WORDS)
def test_a_column_of_words_never_holds_what_a_database_refuses(words):
    column = codec.quoted(words) or ""
    assert "\0" not in column
    column.encode()  # raises where there is half a surrogate pair
    assert codec.unquoted(column) == words


def test_plain_words_are_stored_as_they_are():
    assert codec.quoted("file-123 ü") == "file-123 ü"
    assert codec.quoted(None) is None


def test_every_field_has_exactly_one_place():
    for kind, columns, facts in [
        (Shard, (*codec.SHARD_COLUMNS, "rows"), codec.SHARD_FACTS),
        (Batch, codec.BATCH_COLUMNS, codec.BATCH_FACTS),
    ]:
        assert sorted([*columns, *facts]) == sorted(f.name for f in dataclasses.fields(kind))


def test_keys_of_a_tally_are_failure_classes_again():
    tally = Tally(failed={Failure.SERVER: row_range(0, 3)}, cost_usd=Decimal("1.50"))
    back = codec.from_text(codec.to_text(tally), Tally)
    assert [type(key) for key in back.failed] == [Failure]
    assert str(back.cost_usd) == "1.50"


def test_a_tally_of_a_time_without_list_prices_is_read_all_the_same():
    old = '{"succeeded":2,"failed":{},"usage":{"input_tokens":5},"cost_usd":"0.10"}'
    back = codec.from_text(old, Tally)
    assert (back.cost_usd, back.list_usd, back.unpriced) == (Decimal("0.10"), None, 0)


def test_ten_million_rows_cost_less_than_a_few_kilobytes():
    assert len(codec.rows_bytes(row_range(0, 10_000_000))) < 4096


def test_facts_without_a_field_of_today_take_its_default():
    batch = codec.batch_from(
        {
            "id": "b",
            "created_at": 1.0,
            "provider": "sim",
            "lane": "batch",
            "held": "",
            "version": 0,
        },
        '{"recipe":{"model":"m"},"source":{"url":"/t","format":"csv"},"rows":3,"newer_fact":1}',
    )
    assert (batch.name, batch.target, batch.recipe.max_tokens) == ("", None, None)
    assert (batch.recipe.links, batch.recipe.image_max_side) == (("http", "https"), None)


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("Collected", "{"),
        ("Collected", "[]"),
        ("Collected", '{"kept":1,"tally":{}}'),
        ("Collected", '{"kept":"a","tally":{"failed":{"no such class":"AAAA"}}}'),
        ("Collected", '{"kept":"a","tally":{"failed":{"server":"AAAA"}}}'),
        ("Teleported", "{}"),
    ],
)
def test_what_cannot_be_read_is_trouble_with_words(name, payload):
    with pytest.raises(StorageTrouble, match="newer batchmill"):
        codec.event_from(name, payload)


def test_bytes_that_are_no_row_set_are_trouble():
    with pytest.raises(StorageTrouble, match="RowSet"):
        codec.rows_from(b"nonsense")


def test_what_has_no_place_in_the_database_is_refused():
    with pytest.raises(NotImplementedError, match="object has no place"):
        codec.to_text(object())
