"""Prompts that would never end or never fit: refused before the work is done, by naming the limit."""

import time

import pyarrow as pa
import pytest

from batchmill.errors import InvalidRow
from batchmill.rows.chunk import Place, TableChunk
from batchmill.rows.template import Template

HERE = Place(name="t.csv", part=0, start=0, start_in_part=0)
BITS = "more than 4,096 bits"
TEXT = "longer than 33,554,432 characters"
WIDTH = "more than 10,000"


def render(text: str, **columns) -> list[str]:
    return Template(text, "prompt").texts(TableChunk(HERE, pa.record_batch(columns)))


def loop(body: str, start: str = "'xx'") -> str:
    return f"{{% set n = namespace(x={start}) %}}{{% for i in range(40) %}}{body}{{% endfor %}}"


BOMBS = [
    (loop("{% set n.x = n.x * n.x %}", "10"), BITS),
    (loop("{% set n.x = n.x ** 60 %}", "10"), BITS),
    (loop("{% set n.x = n.x + n.x %}", "10 ** 1200"), BITS),
    ("{{ 10 ** 10000000 }}", BITS),
    ("{{ 2 ** (2 ** 62) }}", BITS),
    ("{{ (1).from_bytes(('x' * 9999).encode(), 'big') }}", "unsafe"),
    ("{{ (1).to_bytes(1000000000, 'big') }}", "unsafe"),
    ("{{ ('1' * 99999)|int(0, 2) }}", BITS),
    ("{{ 1|round(-1000000000) }}", WIDTH),
    ("{{ 1|round(1000000000, 'floor') }}", WIDTH),
    ("{{ ('x' * 30000)|replace('x', 'y' * 30000) }}", TEXT),
    ("{{ ('x' * 30000)|replace('', 'y' * 30000) }}", TEXT),
    ("{{ ('x' * 30000).replace('x', 'y' * 30000) }}", TEXT),
    ("{{ ('x' * 30000)['replace']('x', 'y' * 30000) }}", TEXT),
    ("{{ (('x' * 30000)|attr('replace'))('x', 'y' * 30000) }}", TEXT),
    ("{{ (('x' * 30000).encode()).replace('x'.encode(), ('y' * 30000).encode()) }}", TEXT),
    ("{{ ('y' * 3000).join('x' * 30000) }}", TEXT),
    ("{{ ('x' * 30000)|join('y' * 30000) }}", TEXT),
    ("{{ range(40000)|join('y' * 30000) }}", TEXT),
    ("{{ (['x' * 30000] * 30000)|join }}", TEXT),
    ("{{ ['x' * 30000]|map('replace', 'x', 'y' * 30000)|list }}", TEXT),
    ("{{ a|center(1000000000) }}", WIDTH),
    ("{{ a.encode().center(1000000000) }}", "unsafe"),
    ("{{ a.ljust(1000000000) }}", "unsafe"),
    ("{{ ('%s' * 9000) % ((('x' * 30000,) * 9000)) }}", TEXT),
    ("{{ ('%(x)s' * 9000) % {'x': 'x' * 30000} }}", TEXT),
    ("{{ ('%(x)s' * 9000)|format(x='x' * 30000) }}", TEXT),
    ("{{ ('{0}' * 9000).format('x' * 30000) }}", TEXT),
    ("{{ '%9999s' * 9000 % ((1,) * 9000) }}", TEXT),
    ("{{ ('x\n' * 30000)|indent(9999) }}", TEXT),
    ("{{ ('x ' * 9000)|wordwrap(1, wrapstring='y' * 30000) }}", TEXT),
    ("{{ ('x' * 9000)|wordwrap(1, wrapstring='y' * 30000) }}", TEXT),
    (loop("{% set n.x = [n.x, n.x] %}"), "nested"),
    (loop("{% set n.x = {'a': n.x, 'b': n.x} %}"), "nested"),
    (loop("{% set n.x = n.x + n.x %}", "[1]"), "longer than"),
    (loop("{% set n.x = [1]|batch(99, n.x)|list %}"), "nested"),
    (loop("{% set n.x = namespace(a=n.x, b=n.x) %}") + "{{ n.x }}{{ 1 / 0 }}", "division"),
    ("{{ ([[1] * 100000] * 100000)|sum(start=[]) }}", "longer than"),
    (loop("{% set n.x %}{{ n.x }}{{ n.x }}{% endset %}"), TEXT),
    ("{% set x %}{% for i in range(99999) %}" + "y" * 9999 + "{% endfor %}{% endset %}", TEXT),
    ("{% for i in range(99999) %}{{ 'y' * 9999 }}{% endfor %}", TEXT),
    ("{% for i in range(99999) %}{% set x = 'y' * 30000000 %}{% endfor %}", "too much work"),
]


@pytest.mark.parametrize(("text", "words"), BOMBS)
def test_a_bomb_is_refused_before_it_goes_off(text, words):
    began = time.process_time()
    with pytest.raises(InvalidRow, match=rf"row 1: the prompt cannot be rendered \(.*{words}"):
        render(text, a=["x"])
    assert time.process_time() - began < 10, "refused only after the work was done"


def test_what_people_do_in_prompts_still_works():
    text = (
        "{{ t.replace('a', 'bb') }} {{ t|replace('a', 'b', 1) }} {{ ', '.join(['x', 'y']) }} "
        "{{ l|join('; ') }} {{ d|join(', ', attribute='k') }} {{ '%s-%05.1f'|format(t, 2.5) }} "
        "{{ '%s' % t }} {{ '{}/{x}'.format(t, x=1) }} {{ t|center(9) }} {{ 7 * 6 }} {{ 2 ** 10 }} "
        "{{ 7 // 2 }} {{ 7 % 4 }} {{ 1.5 * 2 }} {{ 2 ** 0.5 > 1 }} {{ '12'|int + 1 }} "
        "{{ 123456|round }} {{ 2.345|round(2) }} {{ l|sum }} {{ 'a\nb'|indent(2) }} "
        "{{ 'aa bb'|wordwrap(2) }} {{ l|batch(2)|list }} {{ 'x' * 3 }} {{ l * 2 }} {{ t ~ l }}"
    )
    found = render(text, t=["aXa"], l=[[1, 2, 3]], d=[[{"k": "v"}, {"k": None}]])
    want = (
        "bbXbb bXa x, y 1; 2; 3 v,  aXa-002.5 aXa aXa/1    aXa    42 1024 3 3 3.0 True 13 "
        "123456 2.35 6 a\n  b aa\nbb [[1,2],[3]] xxx [1,2,3,1,2,3] aXa[1,2,3]"
    )
    assert found == [want]


def test_a_namespace_and_a_growing_list_work_over_many_rows():
    text = (
        "{% set n = namespace(x=[]) %}{% for i in range(50) %}{% set n.x = n.x + [i] %}{% endfor %}"
        "{{ n.x|length }}{% set k = 3 %}{% with j = k %}{{ j }}{% endwith %}"
    )
    assert render(text, a=["x"] * 50) == ["503"] * 50


def test_long_texts_of_the_table_are_no_bombs():
    long = "word " * 400_000
    text = "{% if a %}{{ a|upper|replace('WORD', 'w') }}{{ '%s|%s' % (a, a) }}{% endif %}"
    assert render(text, a=[long]) == ["w " * 400_000 + long + "|" + long]
