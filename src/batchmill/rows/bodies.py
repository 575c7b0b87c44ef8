"""Request bodies: JSON that is the same for every row, around the texts that are not."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from batchmill.core.batch import Recipe
from batchmill.core.request import OPENAI_CHAT, OPENAI_EMBEDDINGS, OPENAI_RESPONSES
from batchmill.errors import InvalidRecipe
from batchmill.rows.chunk import Chunk
from batchmill.rows.images import Images
from batchmill.rows.reach import Reach
from batchmill.rows.schema import Judge
from batchmill.rows.template import SEPARATOR, Template, check_uses_columns
from batchmill.wire.hub import Document, Media

#: Lines that are handed on together, where they are large.
BLOCK_BYTES = 4 << 20

_encode = msgspec.json.Encoder().encode
_SEPARATOR = SEPARATOR.encode()

#: Stands for a slot while the body around it is encoded.
_MARK = "\x00slot\x00"
_MARK_JSON = _encode(_MARK)


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
class Parts:
    """A JSON array: a prompt and its images."""

    template: Template
    images: Images
    text_type: str  #: `text` or `input_text`

    def fragments(self, chunk: Chunk) -> Iterator[bytes]:
        texts = self.template.texts(chunk)
        part = _responses_part if self.text_type == "input_text" else _chat_part
        for text, found in zip(texts, self.images.parts(chunk), strict=True):
            yield _encode([{"type": self.text_type, "text": text}, *map(part, found)])


class Bodies:
    """Makes request bodies of chunks of rows, as a recipe says."""

    def __init__(self, recipe: Recipe, reach: Reach) -> None:
        """Raise `InvalidRecipe` where the recipe makes no sense."""
        self._recipe = recipe
        self._templates, self._slots, body = _form(recipe, reach)
        self._constants = _encode(body).split(_MARK_JSON)
        if len(self._constants) != len(self._slots) + 1:
            raise InvalidRecipe("prompt: holds null bytes. Take them out.")
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
        yield from _blocks(rows) if self._recipe.images else (b"".join(rows),)

    def _at_once(self, text: str) -> bytes:
        """
        Encode a whole chunk's texts as one JSON string, then put what stands between two bodies
        in the place of each separator: 300 ns a row where a call for each takes two thousand.
        """
        before, after = self._constants
        between = b'"' + after + b"\n" + before + b'"'
        joined = _encode(text)[1:-1].replace(_SEPARATOR, between)
        return before + b'"' + joined[: len(joined) - len(before) - 1]


def _blocks(rows: Iterable[bytes]) -> Iterator[bytes]:
    block, size = list[bytes](), 0
    for row in rows:
        block.append(row)
        size += len(row)
        if size >= BLOCK_BYTES:
            yield b"".join(block)
            block, size = [], 0
    if block:
        yield b"".join(block)


def _interleaved(row: Sequence[bytes], constants: Sequence[bytes]) -> Iterator[bytes]:
    for fragment, constant in zip(row, constants, strict=True):
        yield fragment
        yield constant


def _form(recipe: Recipe, reach: Reach) -> tuple[list[Template], list[Slot], dict[str, Any]]:
    """Return the templates, the slots in the order of the body, and the body with marks."""
    if not recipe.prompt:
        raise InvalidRecipe("prompt: is missing. Say what to ask, e.g. --prompt '{{ title }}'.")
    prompt = Template(recipe.prompt, "prompt")
    templates, slots = [prompt], list[Slot]()
    body: dict[str, Any] = {"model": recipe.model}
    system: str | None = None
    if recipe.system is not None:
        template = Template(recipe.system, "system prompt")
        templates.insert(0, template)
        system = template.constant
        if system is None:
            system = _MARK
            slots.append(Text(template))
    slots.append(_user(recipe, prompt, reach))
    if recipe.dialect not in _DIALECTS:
        raise InvalidRecipe(f"dialect {recipe.dialect!r}: prompts cannot be put in it yet.")
    _DIALECTS[recipe.dialect](body, recipe, system)
    for name in recipe.params:
        if name in body or name in {"messages", "input", "instructions", "stream"}:
            raise InvalidRecipe(f"--param {name}: is set by batchmill itself. Leave it out.")
    # What a person adds comes last, so no slot can come after it: marks keep their order.
    return templates, slots, body | dict(recipe.params)


def _user(recipe: Recipe, prompt: Template, reach: Reach) -> Slot:
    if not recipe.images:
        return Text(prompt)
    if recipe.dialect == OPENAI_EMBEDDINGS:
        raise InvalidRecipe("--image: embeddings take text only. Leave it out.")
    responses = recipe.dialect == OPENAI_RESPONSES
    return Parts(prompt, Images(recipe, reach), "input_text" if responses else "text")


def _chat_part(media: Media) -> dict[str, Any]:
    if isinstance(media, Document):
        file = {"filename": media.name or "document.pdf", "file_data": _url(media)}
        return {"type": "file", "file": file}
    return {"type": "image_url", "image_url": {"url": _url(media)}}


def _responses_part(media: Media) -> dict[str, Any]:
    if not isinstance(media, Document):
        return {"type": "input_image", "image_url": _url(media)}
    if media.url is not None:
        return {"type": "input_file", "file_url": media.url}
    return {
        "type": "input_file",
        "filename": media.name or "document.pdf",
        "file_data": _url(media),
    }


def _url(media: Media) -> str:
    return media.url or f"data:{media.media_type};base64,{media.data}"


def _chat(body: dict[str, Any], recipe: Recipe, system: str | None) -> None:
    messages = [{"role": "user", "content": _MARK}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    body["messages"] = messages
    if recipe.max_tokens is not None:
        body["max_tokens"] = recipe.max_tokens
    if recipe.schema is not None:
        named = _named_schema(recipe.schema)
        body["response_format"] = {"type": "json_schema", "json_schema": named}


def _responses(body: dict[str, Any], recipe: Recipe, system: str | None) -> None:
    if system is not None:
        body["instructions"] = system
    body["input"] = _MARK
    if recipe.images:
        body["input"] = [{"role": "user", "content": _MARK}]
    if recipe.max_tokens is not None:
        body["max_output_tokens"] = recipe.max_tokens
    if recipe.schema is not None:
        body["text"] = {"format": {"type": "json_schema", **_named_schema(recipe.schema)}}


def _embeddings(body: dict[str, Any], recipe: Recipe, system: str | None) -> None:
    for flag, given in (
        ("--system", system),
        ("--max-tokens", recipe.max_tokens),
        ("--schema", recipe.schema),
    ):
        if given is not None:
            raise InvalidRecipe(f"{flag}: embeddings have no use for it. Leave it out.")
    body["input"] = _MARK


_DIALECTS = {
    OPENAI_CHAT: _chat,
    OPENAI_RESPONSES: _responses,
    OPENAI_EMBEDDINGS: _embeddings,
}


def _named_schema(schema: Mapping[str, object]) -> dict[str, Any]:
    Judge(schema)  # says so now if it is no JSON Schema
    title = re.sub(r"[^A-Za-z0-9_-]+", "_", str(schema.get("title") or "answer"))[:64]
    return {"name": title or "answer", "strict": True, "schema": dict(schema)}
