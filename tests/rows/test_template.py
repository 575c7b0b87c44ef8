"""Prompts: whatever the quick way makes is what the sandbox makes; nothing gets out of it."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchmill.errors import InvalidRecipe, InvalidRow
from batchmill.rows.chunk import LinesChunk, Place, TableChunk
from batchmill.rows.template import SEPARATOR, Template

HERE = Place(name="t.csv", part=0, start=0, start_in_part=0)


def chunk_of(**columns) -> TableChunk:
    return TableChunk(HERE, pa.record_batch(columns))


def render(text: str, **columns) -> list[str]:
    return Template(text, "prompt").texts(chunk_of(**columns))


cells = {
    pa.string(): st.none() | st.text(st.characters(codec="utf-8")),
    pa.large_string(): st.none() | st.text(st.characters(codec="utf-8")),
    pa.int64(): st.none() | st.integers(-(2**63), 2**63 - 1),
    pa.uint8(): st.none() | st.integers(0, 255),
    pa.float64(): st.none() | st.floats(),
    pa.bool_(): st.none() | st.booleans(),
    pa.timestamp("ns"): st.none() | st.integers(0, 2**60),
    pa.decimal128(20, 4): st.none() | st.decimals(-9999, 9999, places=4),
    pa.list_(pa.int64()): st.none() | st.lists(st.integers(-9, 9)),
    pa.dictionary(pa.int32(), pa.string()): st.none() | st.sampled_from(["x", "y"]),
}
columns = st.sampled_from(list(cells)).flatmap(
    lambda kind: st.lists(cells[kind], min_size=3, max_size=3).map(lambda v: pa.array(v, kind))
)
words = st.text(st.characters(blacklist_characters="{}%#", codec="utf-8"))
piece = words | st.sampled_from(
    ["{{ a }}", "{{a}}", '{{ row["b c"] }}', "{{ row.a }}", "{{- a -}}", "{{ row['a'] }}", "\n"]
)


@given(st.lists(piece), columns, columns)
def test_the_fast_path_renders_byte_for_byte_what_the_sandbox_renders(pieces, a, b):
    text = "".join(pieces)
    chunk = TableChunk(HERE, pa.RecordBatch.from_arrays([a, b], ["a", "b c"]))
    fast, slow = Template(text, "prompt"), Template(text, "prompt", fast=False)
    assert fast.pieces is not None
    assert slow.pieces is None
    assert fast.texts(chunk) == slow.texts(chunk)
    together = fast.joined(chunk)
    assert together == slow.joined(chunk)
    if together is not None:
        assert together.split(SEPARATOR) == [*slow.texts(chunk), ""]


def test_a_slice_renders_its_own_rows():
    chunk = chunk_of(a=["1", "2", "3", "4"]).slice(1, 2)
    assert Template("<{{ a }}>", "prompt").joined(chunk) == f"<2>{SEPARATOR}<3>{SEPARATOR}"
    assert Template("<{{ a }}>", "prompt", fast=False).texts(chunk) == ["<2>", "<3>"]


def test_a_text_with_the_separator_in_it_stays_apart():
    assert Template("{{ a }}", "prompt").joined(chunk_of(a=["x\x7fy", "z"])) is None


def test_a_null_renders_as_nothing():
    assert render("[{{ a }}]", a=[None, "x"]) == ["[]", "[x]"]
    assert render("[{{ a }}]{% if a is none %}!{% endif %}", a=[None, "x"]) == ["[]!", "[x]"]


def test_logic_filters_and_loops_work():
    text = (
        "{% if n > 1 %}many{% else %}one{% endif %} {{ t|upper|trim }} "
        "{% for w in t.split() %}{{ loop.index }}{{ w }}{% endfor %}"
        "{% set t = t|title %} {{ t }} {{ '%.1f'|format(n) }} {{ t.replace('A', 'b') }}"
    )
    assert render(text, n=[1, 2], t=["a b", "c"]) == [
        "one A B 1a2b A B 1.0 b B",
        "many C 1c C 2.0 C",
    ]


def test_what_one_row_sets_the_next_does_not_see():
    text = "{% if a == 'x' %}{% set seen = 'yes' %}{% endif %}{{ seen|default('no') }}"
    assert render(text, a=["x", "y"]) == ["yes", "no"]


def test_the_whole_row_can_be_walked_through():
    assert render("{% for k, v in row.items() %}{{ k }}={{ v }};{% endfor %}", a=[1], b=["x"]) == [
        "a=1;b=x;"
    ]


def test_any_column_can_be_reached_through_row():
    assert render(
        '{{ row["my col"] }}{{ row["row"] }}{{ row["items"] }}',
        **{"my col": ["1"], "row": ["2"], "items": ["3"]},
    ) == ["123"]


def test_columns_named_like_built_ins_are_columns():
    assert render("{{ range }}{{ loop }}{{ dict }}", range=["1"], loop=["2"], dict=["3"]) == ["123"]


def test_rows_of_json_lines_may_lack_a_column():
    chunk = LinesChunk(HERE, [1, 2], [b"", b""], [{"a": 1}, {"b": {"c": [2]}}])
    assert Template("{{ a }}-{{ b }}", "prompt").texts(chunk) == ["1-", '-{"c":[2]}']
    nested = "{% if b %}{{ b.c[0] }}{% endif %}"
    assert Template(nested, "prompt").texts(chunk) == ["", "2"]


# ---------------------------------------------------------------------------------- what is wrong


@pytest.mark.parametrize("text", ["{{ titel }}", '{{ row["titel"] }}', "{{ row.titel|upper }}"])
def test_an_unknown_column_is_named_with_the_nearest(text):
    with pytest.raises(InvalidRecipe, match=r"no column 'titel'. Did you mean {{ title }}\?"):
        Template(text, "prompt").check(["title", "price"])


def test_the_row_is_not_mistaken_for_a_column_called_row():
    with pytest.raises(InvalidRecipe, match=r'write {{ row\["row"\] }}'):
        Template("{{ row }}", "prompt").check(["row"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{{ a", "prompt, line 1: "),
        ("x\n{% if a %}", "prompt, line 2: "),
        ("{{ my col }}", r'written {{ row\["my col"\] }}'),
        ("{{ a|shout }}", "shout"),
        ("{% macro f() %}{% endmacro %}", "macro .* no place in a prompt"),
        ('{% include "/etc/passwd" %}', "include .* no place in a prompt"),
        ("{% for a in b recursive %}{% endfor %}", "recursive loop"),
        ("{{ " + "(" * 3000 + "a" + ")" * 3000 + " }}", "nested too deeply"),
    ],
)
def test_a_template_with_a_mistake_is_refused_with_its_line(text, words):
    with pytest.raises(InvalidRecipe, match=words) as caught:
        Template(text, "prompt")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "{{ a.__class__.__mro__ }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
        "{{ row.pop('a') }}",
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% for i in range(100000000) %}{% endfor %}",
        "{{ 'x' * 1000000000 }}",
        "{{ 10 ** 10000000 }}",
        "{% set n = namespace(t='xx') %}{% for i in range(99) %}{% set n.t = n.t ~ n.t %}{% endfor %}",
        "{% set n = namespace(t='xx') %}{% for i in range(99) %}{% set n.t = n.t + n.t %}{% endfor %}",
        "{{ '%0999999999d' % 1 }}",
        "{{ '%0999999999d'|format(1) }}",
        "{{ '{:0999999999d}'.format(1) }}",
        "{{ a.center(1000000000) }}",
        "{{ a|center(1000000000) }}",
        "{{ a + 1 }}",
        "{{ 1 / 0 }}",
        "{{ a.b.c }}",
    ],
)
def test_what_a_prompt_must_not_or_cannot_do_is_an_error_that_names_the_row(text):
    with pytest.raises(
        InvalidRow, match=r"t\.csv, row 1: the prompt cannot be rendered \("
    ) as caught:
        render(text, a=["x"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["{{ '{:0999999999d}'.format(1) }}", "{{ '%*d' % (999999999, 1) }}"]
)
def test_a_width_is_refused_before_a_text_of_that_width_is_built(text):
    with pytest.raises(InvalidRow, match="a format has a width that is too large"):
        render(text, a=["x"])
