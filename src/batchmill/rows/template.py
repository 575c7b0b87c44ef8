"""Prompts: what a template makes of each row, quickly where it only puts columns into text."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from jinja2 import nodes
from jinja2.exceptions import TemplateError, TemplateSyntaxError

from batchmill.errors import InvalidRecipe, InvalidRow
from batchmill.rows.chunk import Chunk
from batchmill.rows.kernels import pc
from batchmill.rows.sandbox import TEXT_MAX, PromptEnvironment

#: Stands between the texts of one chunk while they are one. No JSON escape begins or ends with
#: it, and hardly any text holds it; where one does, the texts are kept apart instead.
SEPARATOR = "\x7f"


@dataclass(frozen=True, slots=True)
class Column:
    """A place in a plain prompt where the value of a column goes."""

    name: str


Piece = str | Column


class Template:
    """
    A compiled prompt.

    A prompt of nothing but text and `{{ column }}` is rendered a chunk at a time by Arrow; any
    other row by row by the sandbox. Both make the same bytes: a property test holds them to it.
    """

    def __init__(self, text: str, called: str, *, fast: bool = True) -> None:
        """Compile *text*; *called* is its name in messages (`prompt`, `system prompt`)."""
        self.text = text
        self.called = called
        self._environment = PromptEnvironment()
        self._tree = self._parsed()
        self.pieces = _plain(self._tree) if fast else None
        self.whole_row = _uses_whole_row(self._tree)
        self._names = frozenset(_names(self._tree))
        self.columns = self._names - _assigned(self._tree)  #: that must be there
        self._compiled: Any = None if self.pieces is not None else self._compile()

    @property
    def constant(self) -> str | None:
        """The text itself where the prompt is the same for every row and needs no rendering."""
        pieces = self.pieces
        if pieces is None or any(isinstance(p, Column) for p in pieces):
            return None
        return "".join(p for p in pieces if isinstance(p, str))

    def uses(self, columns: Sequence[str]) -> bool:
        """Say whether the prompt can differ from row to row."""
        return self.whole_row or not self._names.isdisjoint(columns)

    def check(self, columns: Sequence[str]) -> None:
        """Raise `InvalidRecipe` if the prompt names a column that is not among *columns*."""
        if "row" in columns and self.whole_row:
            raise InvalidRecipe(
                f"{self.called}: {{{{ row }}}} is the whole row; for the column called row, write "
                f'{{{{ row["row"] }}}}.'
            )
        unknown = sorted(self.columns - set(columns))
        if not unknown:
            return
        near = difflib.get_close_matches(unknown[0], columns, n=1, cutoff=0.5)
        hint = f"Did you mean {_reference(near[0])}? " if near else ""
        raise InvalidRecipe(
            f"{self.called}: there is no column {unknown[0]!r}. {hint}"
            f"The table has: {', '.join(map(_reference, columns))}."
        )

    def texts(self, chunk: Chunk) -> list[str]:
        """Render every row of *chunk*."""
        if self.pieces is not None:
            return self._arrow(self.pieces, chunk, "").to_pylist()
        return list(self._rendered(chunk))

    def joined(self, chunk: Chunk) -> str | None:
        """
        Render every row of *chunk* into one text, `SEPARATOR` after each.

        None where a row holds the separator itself.
        """
        if self.pieces is not None:
            array = self._arrow(self.pieces, chunk, SEPARATOR)
            _, offsets, data = array.buffers()
            ends = memoryview(offsets).cast("i")[array.offset : array.offset + len(array) + 1]
            text = "" if data is None else str(memoryview(data)[ends[0] : ends[-1]], "utf-8")
        else:
            text = SEPARATOR.join((*self._rendered(chunk), ""))
        return text if text.count(SEPARATOR) == len(chunk) else None

    def _arrow(self, pieces: Sequence[Piece], chunk: Chunk, after: str) -> pa.Array:
        parts = [chunk.texts(p.name) if isinstance(p, Column) else p for p in (*pieces, after)]
        if all(isinstance(p, str) for p in parts):
            return pa.array(["".join(map(str, parts))] * len(chunk), pa.string())
        return pc.binary_join_element_wise(*parts, "")

    def _rendered(self, chunk: Chunk) -> Iterator[str]:
        compiled, environment = self._compiled, self._environment
        names = [n for n in chunk.names() if self.whole_row or n in self._names]
        # One mapping and one context for all rows: making them anew costs as much as rendering.
        row: dict[str, Any] = {}
        scope: dict[str, Any] = dict(environment.globals)
        context = compiled.new_context(scope, shared=True)
        render, join = compiled.root_render_func, "".join
        absent = dict.fromkeys(self.columns)
        for index, values in enumerate(_rows(chunk, names)):
            row = {**absent, **values}
            scope.update(row)
            scope["row"] = row
            context.vars.clear()
            context.exported_vars.clear()
            environment.begin_row()
            try:
                text = join(render(context))
            except Exception as error:  # a template can fail in any way Python can
                raise self._broken(chunk.where(index), error) from error
            if len(text) > TEXT_MAX:
                raise self._broken(
                    chunk.where(index), TemplateError(f"longer than {TEXT_MAX:,} characters")
                )
            yield text

    def _parsed(self) -> nodes.Template:
        try:
            return self._environment.parse_prompt(self.text)
        except TemplateSyntaxError as error:
            raise self._invalid(error) from error
        except RecursionError as error:
            raise InvalidRecipe(f"{self.called}: is nested too deeply.") from error

    def _compile(self) -> Any:
        try:
            return self._environment.compile_prompt(self._parsed())
        except TemplateSyntaxError as error:
            raise self._invalid(error) from error
        except (RecursionError, SyntaxError, MemoryError, TemplateError) as error:
            raise InvalidRecipe(f"{self.called}: cannot be compiled ({error}).") from error

    def _invalid(self, error: TemplateSyntaxError) -> InvalidRecipe:
        line = f", line {error.lineno}" if error.lineno else ""
        spaced = re.search(r"{{\s*(\w+(?: \w+)+)\s*}}", self.text)
        hint = (
            f' A column with a space in its name is written {{{{ row["{spaced[1]}"] }}}}.'
            if spaced
            else " Expected Jinja2, e.g. {{ title }}."
        )
        return InvalidRecipe(f"{self.called}{line}: {error.message}.{hint}")

    def _broken(self, where: str, error: Exception) -> InvalidRow:
        words = "out of memory" if isinstance(error, MemoryError) else " ".join(str(error).split())
        return InvalidRow(f"{where}: the {self.called} cannot be rendered ({words[:300]}).")


def check_uses_columns(templates: Sequence[Template], columns: Sequence[str]) -> None:
    """Raise `InvalidRecipe` if every row would get the same prompt."""
    if any(t.uses(columns) for t in templates):
        return
    prompt = templates[-1].text
    single = [c for c in columns if re.search(r"\{\s*" + re.escape(c) + r"\s*\}", prompt)]
    example = single[0] if single else (columns[0] if columns else "title")
    hint = (
        f"Is {{{example}}} written for {{{{ {example} }}}}?"
        if single
        else f"Write a column as {_reference(example)}."
    )
    raise InvalidRecipe(
        f"prompt: uses no column of the table, so every row would buy the same answer. {hint} If "
        f"you mean it, say --same-prompt."
    )


def _reference(column: str) -> str:
    plain = column.isidentifier() and column != "row"
    return f"{{{{ {column} }}}}" if plain else f'{{{{ row["{column}"] }}}}'


def _rows(chunk: Chunk, names: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    if not names:
        return iter([{}] * len(chunk))
    columns = [chunk.values(name) for name in names]
    return (dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True))


def _column(node: nodes.Node) -> str | None:
    """Return the column a node reads from `row`; None where it does something else."""
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        owner, name = node.node, node.arg.value
    elif isinstance(node, nodes.Getattr) and not hasattr(dict, node.attr):
        owner, name = node.node, node.attr
    else:
        return None
    of_row = isinstance(owner, nodes.Name) and owner.name == "row"
    return name if of_row and isinstance(name, str) else None


def _plain(tree: nodes.Template) -> tuple[Piece, ...] | None:
    pieces: list[Piece] = []
    for output in tree.body:
        if not isinstance(output, nodes.Output):
            return None
        for node in output.nodes:
            if isinstance(node, nodes.TemplateData):
                pieces.append(node.data)
            elif isinstance(node, nodes.Name) and node.name != "row":
                pieces.append(Column(node.name))
            elif (column := _column(node)) is not None:
                pieces.append(Column(column))
            else:
                return None
    return tuple(pieces)


def _names(tree: nodes.Template) -> Iterator[str]:
    """Yield every name that may be a column."""
    called = {id(call.node) for call in tree.find_all(nodes.Call)}
    in_loop = any(True for _ in tree.find_all(nodes.For))
    for name in tree.find_all(nodes.Name):
        built_in = id(name) in called or (in_loop and name.name == "loop") or name.name == "row"
        if name.ctx == "load" and not built_in:
            yield name.name
    for node in tree.find_all((nodes.Getitem, nodes.Getattr)):
        if (column := _column(node)) is not None:
            yield column


def _assigned(tree: nodes.Template) -> set[str]:
    return {n.name for n in tree.find_all(nodes.Name) if n.ctx in {"store", "param"}}


def _uses_whole_row(tree: nodes.Template) -> bool:
    """Say whether `row` is used in any way but to read one column of it."""
    uses = sum(1 for n in tree.find_all(nodes.Name) if n.name == "row" and n.ctx == "load")
    reads = sum(1 for n in tree.find_all((nodes.Getitem, nodes.Getattr)) if _column(n) is not None)
    return uses > reads
