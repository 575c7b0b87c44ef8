"""Request bodies: JSON that is the same for every row, around the texts that are not."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from batchmill.core.batch import Recipe
from batchmill.errors import InvalidRecipe, InvalidRequest, InvalidRow
from batchmill.rows.asked import PROMPT_MARK, SYSTEM_MARK, body_of, media_hole
from batchmill.rows.chunk import Chunk
from batchmill.rows.images import Images
from batchmill.rows.reach import Reach
from batchmill.rows.template import SEPARATOR, Template, check_uses_columns
from batchmill.wire.translate import part

#: Lines that are handed on together, where each may be large, or take its time.
BLOCK_BYTES = 4 << 20
BLOCK_ROWS = 128

_encode = msgspec.json.Encoder().encode
_SEPARATOR = SEPARATOR.encode()


class Slot(Protocol):
    """What differs from row to row in a body."""

    def fragments(self, chunk: Chunk) -> Iterable[bytes]:
        """Return JSON for each row, to be put between the constant parts."""
        ...


@dataclass(frozen=True, slots=True)
class Text:
    """A JSON string: a prompt."""

    template: Template

    def fragments(self, chunk: Chunk) -> list[bytes]:
        return [_encode(text) for text in self.template.texts(chunk)]


@dataclass(frozen=True, slots=True)
class Medias:
    """Parts of a message, a comma before each: the images and documents of a row."""

    dialect: str
    images: Images

    def fragments(self, chunk: Chunk) -> Iterator[bytes]:
        for index, found in enumerate(self.images.parts(chunk)):
            try:
                parts = [_encode(part(self.dialect, media)) for media in found]
            except InvalidRequest as error:
                raise InvalidRow(f"{chunk.where(index)}: {error}") from error
            yield b"".join(b"," + encoded for encoded in parts)


class Bodies:
    """Makes request bodies of chunks of rows, as a recipe says."""

    def __init__(self, recipe: Recipe, reach: Reach) -> None:
        """Raise `InvalidRecipe` where the recipe makes no sense."""
        self._recipe = recipe
        self._templates, self._slots, self._constants = _form(recipe, reach)
        self._single = (
            self._slots[0].template
            if len(self._slots) == 1 and isinstance(self._slots[0], Text)
            else None
        )

    def check(self, columns: Sequence[str]) -> None:
        """Raise `InvalidRecipe` where the prompts do not fit a table of these columns."""
        for template in self._templates:
            template.check(columns)
        for column in self._recipe.images:
            Template(f'{{{{ row["{column}"] }}}}', "--image").check(columns)
        if not self._recipe.same_prompt and not self._recipe.images:
            check_uses_columns(self._templates, columns)

    def lines(self, chunk: Chunk) -> Iterator[bytes]:
        """Yield bodies, a line feed after each; a block holds any number of whole lines."""
        if not len(chunk):
            return
        if self._single is not None and (text := self._single.joined(chunk)) is not None:
            yield self._at_once(text)
            return
        first, *others = self._constants
        if not self._slots:
            yield (first + b"\n") * len(chunk)
            return
        columns = [slot.fragments(chunk) for slot in self._slots]
        rows = (
            b"".join((first, *_interleaved(row, others), b"\n"))
            for row in zip(*columns, strict=True)
        )
        # A row with images may be many megabytes, a chunk of them more than there is memory.
        yield from blocks(rows) if self._recipe.images else (b"".join(rows),)

    def _at_once(self, text: str) -> bytes:
        """
        Encode a whole chunk's texts as one JSON string, then put what stands between two bodies
        in the place of each separator: 300 ns a row where a call for each takes two thousand.
        """
        before, after = self._constants
        between = b'"' + after + b"\n" + before + b'"'
        joined = _encode(text)[1:-1].replace(_SEPARATOR, between)
        return before + b'"' + joined[: len(joined) - len(before) - 1]


def blocks(rows: Iterable[bytes]) -> Iterator[bytes]:
    """Hand on rows some at a time: not one by one, nor more at once than memory has room for."""
    block, size = list[bytes](), 0
    for row in rows:
        block.append(row)
        size += len(row)
        if size >= BLOCK_BYTES or len(block) == BLOCK_ROWS:
            yield b"".join(block)
            block, size = [], 0
    if block:
        yield b"".join(block)


def _interleaved(row: Sequence[bytes], constants: Sequence[bytes]) -> Iterator[bytes]:
    for fragment, constant in zip(row, constants, strict=True):
        yield fragment
        yield constant


def _form(recipe: Recipe, reach: Reach) -> tuple[list[Template], list[Slot], list[bytes]]:
    """Return the templates, the slots in the order of the body, and the constants around them."""
    if not recipe.prompt:
        raise InvalidRecipe("prompt: is missing. Say what to ask, e.g. --prompt '{{ title }}'.")
    prompt = Template(recipe.prompt, "prompt")
    templates = [prompt]
    holes: dict[bytes, Slot] = {_encode(PROMPT_MARK): Text(prompt)}
    system: str | None = None
    if recipe.system is not None:
        template = Template(recipe.system, "system prompt")
        templates.insert(0, template)
        system = template.constant
        if system is None:
            system = SYSTEM_MARK
            holes[_encode(SYSTEM_MARK)] = Text(template)
    encoded = _encode(body_of(recipe, system))
    if recipe.images:
        holes[media_hole(recipe.dialect)] = Medias(recipe.dialect, Images(recipe, reach))
    slots: list[Slot] = []
    constants: list[bytes] = []
    for hole in sorted(holes, key=encoded.find):
        before, *after = encoded.split(hole)
        if len(after) != 1:
            raise InvalidRecipe("prompt: holds null bytes. Take them out.")
        constants.append(before)
        slots.append(holes[hole])
        encoded = after[0]
    return templates, slots, [*constants, encoded]
