"""Jinja2 for prompts of strangers: no way out, no way to last for ever."""

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from jinja2 import StrictUndefined, nodes
from jinja2.exceptions import SecurityError, TemplateSyntaxError
from jinja2.filters import make_attrgetter  # pyright: ignore[reportUnknownVariableType]
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

from batchmill.rows.bounds import (
    TEXT_MAX,
    check_format,
    check_operation,
    check_replaced,
    check_text,
    check_width,
    checked_items,
    size_of,
    weight,
)
from batchmill.rows.values import printed, text_of, tojson

#: Turns of all loops while one row is rendered.
TURNS_MAX = 1_000_000

#: Characters built, copied or looked through while one row is rendered: a second or two.
WORK_MAX = 2 << 30

#: Characters printed, also into blocks that are set: those may be printed once more.
_OUT_MAX = 4 * TEXT_MAX

_FORBIDDEN = {
    nodes.Macro: "macro",
    nodes.CallBlock: "call",
    nodes.Block: "block",
    nodes.Extends: "extends",
    nodes.Include: "include",
    nodes.Import: "import",
    nodes.FromImport: "from … import",
}
_NARROW_FILTERS = ("center", "batch", "slice", "round")
#: They print what they are given, or more than once.
_WEIGHED_FILTERS = ("pprint", "string", "xmlattr", "urlize", "escape", "e", "forceescape", "sort")
_UNSAFE_OF_TEXTS = frozenset({"center", "ljust", "rjust", "zfill", "expandtabs", "format_map"})
_UNSAFE_OF_NUMBERS = frozenset({"to_bytes", "from_bytes"})
_NESTED = (list, tuple, set, dict)


class PromptEnvironment(ImmutableSandboxedEnvironment):
    """A sandbox in which texts, numbers and loops have bounds, and a null prints as nothing."""

    intercepted_binops = frozenset({"*", "**", "+", "-", "/", "//", "%"})

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, finalize=self._printed)
        self.begin_row()
        for name in ("lipsum", "cycler", "joiner"):
            del self.globals[name]
        self.globals["namespace"] = _Namespace
        filters: dict[str, Any] = self.filters  # pyright: ignore[reportAssignmentType]
        for name in _NARROW_FILTERS:
            filters[name] = _narrow(filters[name])
        for name in _WEIGHED_FILTERS:
            filters[name] = _weighed(filters[name])
        filters["indent"] = _indented(filters["indent"])
        filters["wordwrap"] = _wrapped(filters["wordwrap"])
        filters["sum"] = _summed(filters["sum"])
        filters["int"] = _sized(filters["int"])
        filters["format"] = _formatted
        filters["join"] = self._joined
        filters["replace"] = _replaced
        filters["tojson"] = _weighed(tojson)
        filters["_counted"] = self._counted
        filters["_bounded"] = self._bounded
        filters["_kept"] = self._kept
        filters["_text"] = text_of

    def begin_row(self) -> None:
        """Count anew: every limit is meant for one row."""
        self._turns = self._work = self._out = 0

    def _spend(self, work: int) -> None:
        self._work += work
        if self._work > WORK_MAX:
            raise SecurityError(f"it is too much work: over {WORK_MAX:,} characters are moved")

    def _print(self, length: int) -> None:
        self._out += length
        if self._out > _OUT_MAX:
            check_text(self._out)

    def _printed(self, value: Any) -> Any:
        if type(value) is not str:  # what most cells are costs no more than this look
            if isinstance(value, _NESTED):
                weight(value)
            value = printed(value)
            if not isinstance(value, str):
                return value
        self._out += len(value)
        if self._out > _OUT_MAX:
            check_text(self._out)
        return value

    def _counted(self, values: Iterable[Any], data: int) -> Iterator[Any]:
        """Yield the items of a loop that prints *data* characters of the template each turn."""
        for value in values:
            self._turns += 1
            if self._turns > TURNS_MAX:
                raise SecurityError(f"its loops take more than {TURNS_MAX:,} turns")
            self._print(data)
            yield self._kept(value)

    def _bounded(self, value: Any) -> Any:
        self._spend(size_of(value))
        return value

    def _kept(self, value: Any) -> Any:
        """Return what gets a name: only by names can a thing be put twice into another."""
        if isinstance(value, _NESTED):
            self._spend(weight(value))
        return value

    def _joined(self, value: Iterable[Any], d: str = "", attribute: Any = None) -> str:
        if attribute is not None:
            value = map(make_attrgetter(self, attribute), value)
        texts = checked_items((v if isinstance(v, str) else _text(v) for v in value), d)
        return self._bounded(str(d).join(texts))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        check_operation(operator, left, right)
        return self._bounded(super().call_binop(context, operator, left, right))

    def call(self, context: Any, obj: Any, *args: Any, **named: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        owner = getattr(obj, "__self__", None)
        if isinstance(owner, str | bytes):
            if obj.__name__ == "replace":
                check_replaced(owner, *args, *([named["count"]] if "count" in named else []))
            elif obj.__name__ == "join" and args:
                args = (checked_items(args[0], owner), *args[1:])
        return self._bounded(super().call(context, obj, *args, **named))

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
        if isinstance(obj, str | bytes) and attr in _UNSAFE_OF_TEXTS:
            return False
        if isinstance(obj, int) and attr in _UNSAFE_OF_NUMBERS:
            return False
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> Any:
        safe = super().wrap_str_format(value)
        if safe is None:
            return None

        def narrow(*args: Any, **named: Any) -> str:
            check_format(value.__self__, [*args, *named.values()])
            return safe(*args, **named)

        return narrow


class _Namespace(Namespace):
    """One that does not print what it holds: it may hold others, each of them twice."""

    def __repr__(self) -> str:
        return "namespace"


class _Bounds(NodeTransformer):
    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        data = sum(len(d.data) for part in node.body for d in _data_of(part))
        self.generic_visit(node)
        node.iter = _filter(node.iter, "_counted", nodes.Const(data))
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.nodes = [_filter(n, "_text") for n in node.nodes]
        return _filter(node, "_bounded")

    def visit_Assign(self, node: nodes.Assign) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.node = _filter(node.node, "_kept")
        return node

    def visit_With(self, node: nodes.With) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.values = [_filter(value, "_kept") for value in node.values]
        return node

    def visit_AssignBlock(self, node: nodes.AssignBlock) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.filter = _filter(node.filter, "_bounded")
        return node


def _filter(node: nodes.Node | None, name: str, *args: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(node, name, list(args), [], None, None)


def _data_of(node: nodes.Node) -> Iterable[nodes.TemplateData]:
    return [node] if isinstance(node, nodes.TemplateData) else node.find_all(nodes.TemplateData)


def _text(value: Any) -> str:
    weight(value)
    return text_of(value)


# A wrapper keeps what Jinja has written on a filter: whether it wants the environment, for one.


def _narrow(filter_: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(filter_)
    def narrow(value: Any, *args: Any, **named: Any) -> Any:
        size_of(value)
        for width in (*args, *named.values()):
            check_width(width)
        return filter_(value, *args, **named)

    return narrow


def _weighed(filter_: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(filter_)
    def weighed(*args: Any, **named: Any) -> Any:
        for value in (*args, *named.values()):
            if isinstance(value, _NESTED):
                weight(value)
        if isinstance(indent := named.get("indent"), int):
            check_width(indent)
        return filter_(*args, **named)

    return weighed


def _sized(filter_: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(filter_)
    def sized(*args: Any, **named: Any) -> Any:
        found = filter_(*args, **named)
        size_of(found)
        return found

    return sized


def _indented(filter_: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(filter_)
    def indented(s: str, width: int | str = 4, *args: Any, **named: Any) -> Any:
        check_width(width)
        by = len(width) if isinstance(width, str) else width
        check_text(len(s) + (len(s.splitlines()) + 1) * max(by, 0))
        return filter_(s, width, *args, **named)

    return indented


def _wrapped(filter_: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(filter_)
    def wrapped(environment: Any, s: str, width: int = 79, *args: Any, **named: Any) -> Any:
        check_width(width)
        strings = [a for a in (*args, *named.values()) if isinstance(a, str)]
        # No more line ends than words, than pieces of the width, and than lines there are.
        ends = len(s.split()) + len(s) // max(width, 1) + len(s.splitlines()) + 1
        check_text(len(s) + ends * max(map(len, strings), default=1))
        return filter_(environment, s, width, *args, **named)

    return wrapped


def _summed(filter_: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(filter_)
    def summed(environment: Any, iterable: Any, attribute: Any = None, start: Any = 0) -> Any:
        items = list(iterable)
        if isinstance(start, _NESTED):  # each sum is a new list: no more in all than one may have
            size_of([None] * min(sum(len(i) for i in items if hasattr(i, "__len__")), 1_000_001))
        return filter_(environment, items, attribute, start)

    return summed


def _formatted(value: str, *args: Any, **named: Any) -> str:
    check_format(value, named or args)
    return str(value) % (named or args)


def _replaced(s: Any, old: str, new: str, count: int | None = None) -> str:
    text = s if isinstance(s, str) else _text(s)
    check_replaced(text, str(old), str(new), count)
    return str(text).replace(str(old), str(new), -1 if count is None else count)


__all__ = ["TEXT_MAX", "TURNS_MAX", "PromptEnvironment"]
