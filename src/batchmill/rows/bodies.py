"""Request bodies: JSON that is the same for every row, around the texts that are not."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from batchmill.core.batch import Recipe
from batchmill.core.request import OPENAI_CHAT, OPENAI_EMBEDDINGS, OPENAI_RESPONSES
from batchmill.errors import InvalidRecipe
from batchmill.rows.chunk import Chunk
from batchmill.rows.images import Images
from batchmill.rows.schema import Judge
from batchmill.rows.template import SEPARATOR, Template, check_uses_columns

_encode = msgspec.json.Encoder().encode
_SEPARATOR = SEPARATOR.encode()

#: Stands for a slot while the body around it is encoded.
_MARK = "\x00slot\x00"
_MARK_JSON = _encode(_MARK)


class Slot(Protocol):
    """What differs from row to row in a body."""

    def fragments(self, chunk: Chunk) -> list[bytes]:
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

    def fragments(self, chunk: Chunk) -> list[bytes]:
        texts = self.template.texts(chunk)
        images = self.images.parts(chunk)
        return [
            _encode([{"type": self.text_type, "text": text}, *found])
            for text, found in zip(texts, images, strict=True)
        ]


class Bodies:
    """Makes request bodies of chunks of rows, as a recipe says."""

    def __init__(self, recipe: Recipe, *, local_images: bool = True) -> None:
        """Raise `InvalidRecipe` where the recipe makes no sense."""
        self._recipe = recipe
        self._templates, self._slots, body = _form(recipe, local_images=local_images)
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
        step = max(1, len(chunk) // 64) if self._recipe.images else len(chunk)
        for start in range(0, len(chunk), step):
            part = chunk.slice(start, min(step, len(chunk) - start))
            columns = [slot.fragments(part) for slot in self._slots]
            first, *others = self._constants
            yield (
                b"".join(
                    b"".join((first, *_interleaved(row, others), b"\n"))
                    for row in zip(*columns, strict=True)
                )
                if columns
                else (first + b"\n") * len(part)
            )

    def _at_once(self, text: str) -> bytes:
        """
        Encode a whole chunk's texts as one JSON string, then put what stands between two bodies
        in the place of each separator: 300 ns a row where a call for each takes two thousand.
        """
        before, after = self._constants
        between = b'"' + after + b"\n" + before + b'"'
        joined = _encode(text)[1:-1].replace(_SEPARATOR, between)
        return before + b'"' + joined[: len(joined) - len(before) - 1]


def _interleaved(row: Sequence[bytes], constants: Sequence[bytes]) -> Iterator[bytes]:
    for fragment, constant in zip(row, constants, strict=True):
        yield fragment
        yield constant


def _form(
    recipe: Recipe, *, local_images: bool
) -> tuple[list[Template], list[Slot], dict[str, Any]]:
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
    slots.append(_user(recipe, prompt, local_images=local_images))
    if recipe.dialect not in _DIALECTS:
        raise InvalidRecipe(f"dialect {recipe.dialect!r}: prompts cannot be put in it yet.")
    _DIALECTS[recipe.dialect](body, recipe, system)
    for name in recipe.params:
        if name in body or name in {"messages", "input", "instructions", "stream"}:
            raise InvalidRecipe(f"--param {name}: is set by batchmill itself. Leave it out.")
    # What a person adds comes last, so no slot can come after it: marks keep their order.
    return templates, slots, body | dict(recipe.params)


def _user(recipe: Recipe, prompt: Template, *, local_images: bool) -> Slot:
    if not recipe.images:
        return Text(prompt)
    if recipe.dialect == OPENAI_EMBEDDINGS:
        raise InvalidRecipe("--image: embeddings take text only. Leave it out.")
    responses = recipe.dialect == OPENAI_RESPONSES
    images = Images(recipe.images, responses=responses, local=local_images)
    return Parts(prompt, images, "input_text" if responses else "text")


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
