"""Jinja2 for prompts of strangers: no way out, no way to last for ever."""

import functools
import re
from collections.abc import Iterable, Iterator
from typing import Any

from jinja2 import StrictUndefined, nodes
from jinja2.exceptions import SecurityError, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

#: Turns of all loops while one row is rendered.
TURNS_MAX = 1_000_000

#: Characters of anything a template builds; the largest request of any provider has fewer.
TEXT_MAX = 32 << 20

_FORBIDDEN = {
    nodes.Macro: "macro",
    nodes.CallBlock: "call",
    nodes.Block: "block",
    nodes.Extends: "extends",
    nodes.Include: "include",
    nodes.Import: "import",
    nodes.FromImport: "from … import",
}
_WIDE_FILTERS = ("center", "indent", "wordwrap", "batch", "slice")
_WIDE_METHODS = frozenset({"center", "ljust", "rjust", "zfill", "expandtabs", "format_map"})
_WIDE_FORMAT = re.compile(r"[0-9]{5,}|\*|\{[^}]*\{")
WIDTH_MAX = 10_000
_SIZED = (str, list, tuple)


class PromptEnvironment(ImmutableSandboxedEnvironment):
    """A sandbox in which text and loops have bounds, and a null prints as nothing."""

    intercepted_binops = frozenset({"*", "**", "+", "%"})

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, finalize=text_or_nothing)
        self.turns = 0  #: of loops, in the row being rendered
        for name in ("lipsum", "cycler", "joiner"):
            del self.globals[name]
        filters: dict[str, Any] = self.filters  # pyright: ignore[reportAssignmentType]
        for name in _WIDE_FILTERS:
            filters[name] = _narrow(filters[name])
        filters["format"] = _formatted
        filters["_counted"] = self._counted
        filters["_bounded"] = _bounded

    def _counted(self, values: Iterable[Any]) -> Iterator[Any]:
        for value in values:
            self.turns += 1
            if self.turns > TURNS_MAX:
                raise SecurityError(f"its loops take more than {TURNS_MAX:,} turns")
            yield value

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" and not (_small(left, 1 << 20) and _small(right, 64)):
            raise SecurityError("a power is too large")
        if operator == "*":
            length = max((len(v) for v in (left, right) if isinstance(v, _SIZED)), default=0)
            times = max((v for v in (left, right) if isinstance(v, int)), default=0)
            if length * times > TEXT_MAX:
                raise SecurityError(f"a text is longer than {TEXT_MAX:,} characters")
        if operator == "%" and isinstance(left, str):
            _check_format(left)
        return _bounded(super().call_binop(context, operator, left, right))

    def parse_prompt(self, text: str) -> nodes.Template:
        """Parse; raise `TemplateSyntaxError`, also at what prompts may not hold."""
        tree = self.parse(text)
        for kind, word in _FORBIDDEN.items():
            for node in tree.find_all(kind):
                raise TemplateSyntaxError(f"{{% {word} %}} has no place in a prompt", node.lineno)
        for node in tree.find_all(nodes.For):
            if node.recursive:
                raise TemplateSyntaxError("a recursive loop has no place in a prompt", node.lineno)
        return tree

    def compile_prompt(self, tree: nodes.Template) -> Any:
        """Return the compiled template, its loops counted and its texts bounded."""
        return self.from_string(_Bounds().visit(tree))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if isinstance(obj, str) and attr in _WIDE_METHODS:
            return False
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> Any:
        safe = super().wrap_str_format(value)
        if safe is None:
            return None

        def narrow(*args: Any, **named: Any) -> str:
            _check_format(value.__self__)
            return safe(*args, **named)

        return narrow


class _Bounds(NodeTransformer):
    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.iter = nodes.Filter(node.iter, "_counted", [], [], None, None)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return nodes.Filter(node, "_bounded", [], [], None, None)


def text_or_nothing(value: object) -> object:
    """Print a null as nothing."""
    return "" if value is None else value


def _narrow(filter_: Any) -> Any:
    # Keeps what Jinja has written on a filter: whether it wants the environment, for one.
    @functools.wraps(filter_)
    def narrow(*args: Any, **named: Any) -> Any:
        for value in (*args, *named.values()):
            if isinstance(value, int) and value > WIDTH_MAX:
                raise SecurityError(f"a width is more than {WIDTH_MAX:,}")
        return filter_(*args, **named)

    return narrow


def _formatted(value: str, *args: Any, **named: Any) -> str:
    _check_format(value)
    return str(value) % (named or args)


def _check_format(text: str) -> None:
    if _WIDE_FORMAT.search(text):
        raise SecurityError("a format has a width that is too large, or not written out")


def _bounded(value: Any) -> Any:
    if isinstance(value, str) and len(value) > TEXT_MAX:
        raise SecurityError(f"a text is longer than {TEXT_MAX:,} characters")
    return value


def _small(value: object, most: int) -> bool:
    return isinstance(value, float) or (isinstance(value, int) and abs(value) <= most)
