"""What a recipe asks of every row, as one body of its dialect with marks where rows differ."""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from batchmill.core.batch import Recipe
from batchmill.core.request import DIALECTS
from batchmill.errors import InvalidRecipe, InvalidRequest
from batchmill.rows.schema import Judge
from batchmill.wire import translate
from batchmill.wire.dialects.closing import closed_schema, is_strict
from batchmill.wire.hub import EFFORTS, USER, Chat, Embed, Image, Part, Schema, Text, Turn

_encode = msgspec.json.Encoder().encode

#: Stand for what differs from row to row while the body around it is encoded.
SYSTEM_MARK: Final = "\x00system\x00"
PROMPT_MARK: Final = "\x00prompt\x00"
_MEDIA_MARK = Image(data="\x00media\x00", media_type="image/png")

#: Parameters that every vendor has its own place for: `--param NAME=VALUE` -> (hub's name, type).
_NUMBER = (int, float)
_KNOWN: Mapping[str, tuple[str, tuple[type, ...], str]] = {
    "max_tokens": ("max_tokens", (int,), "a whole number"),
    "temperature": ("temperature", _NUMBER, "a number"),
    "top_p": ("top_p", _NUMBER, "a number"),
    "top_k": ("top_k", (int,), "a whole number"),
    "seed": ("seed", (int,), "a whole number"),
    "stop": ("stop", (str, list), "a string or an array of strings"),
    "frequency_penalty": ("frequency_penalty", _NUMBER, "a number"),
    "presence_penalty": ("presence_penalty", _NUMBER, "a number"),
    "reasoning_effort": ("effort", (str,), f"one of {', '.join(EFFORTS)}"),
    "dimensions": ("dimensions", (int,), "a whole number"),
}
#: What makes a request what it is: no parameter may say it otherwise.
_OURS = frozenset(
    {"model", "modelId", "messages", "input", "instructions", "contents", "content", "stream"}
    | {"system", "systemInstruction", "system_instruction"}
)
_FLAGS: Mapping[str, str] = {
    "max_tokens": "--max-tokens",
    "response_format": "--schema",
    "tools": "--schema",
    "images": "--image",
    "image": "--image",
}


def body_of(recipe: Recipe, system: str | None) -> dict[str, Any]:
    """
    Return the body with marks; *system* is the system prompt, or its mark, or None.

    Raises `InvalidRecipe` naming the flag that makes no sense in the recipe's dialect.
    """
    if recipe.dialect not in DIALECTS:
        raise InvalidRecipe(f"dialect {recipe.dialect!r}: prompts cannot be put in it yet.")
    known, raw = _parted(recipe)
    embeds = DIALECTS[recipe.dialect].endpoint == "embeddings"
    try:
        asked = _embed(recipe, system, known) if embeds else _chat(recipe, system, known)
        body = translate.write(recipe.dialect, asked)
    except InvalidRequest as error:
        name, _, words = str(error).partition(": ")
        spelled = "reasoning_effort" if name == "effort" else name
        flag = f"--param {spelled}" if spelled in recipe.params else _FLAGS.get(name, name)
        raise InvalidRecipe(f"{flag}: {words}") from error
    for name, value in raw.items():
        _add(body, name, value)
    return body


def media_hole(dialect: str) -> bytes:
    """Return what is encoded where the media of a row go, with the comma before it."""
    return b"," + _encode(translate.part(dialect, _MEDIA_MARK))


def _parted(recipe: Recipe) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part the parameters into those with a place of their own and those that are the vendor's."""
    known: dict[str, Any] = {}
    raw: dict[str, Any] = {}
    embeds = DIALECTS[recipe.dialect].endpoint == "embeddings"
    for name, value in recipe.params.items():
        if name not in _KNOWN or (name == "dimensions") != embeds:
            raw[name] = value
        elif name == "max_tokens" and recipe.max_tokens is not None:
            raise InvalidRecipe("--param max_tokens: is set by --max-tokens. Leave one out.")
        else:
            known[_KNOWN[name][0]] = _checked(name, value)
    if recipe.dialect.startswith("openai."):
        # Many endpoints speak these dialects, and some know more than the vendor's own.
        for name in _lacking(recipe.dialect, known):
            raw[name] = known.pop(name)
    return known, raw


def _lacking(dialect: str, known: Mapping[str, Any]) -> list[str]:
    lacking: list[str] = []
    for name, value in known.items():
        if name == "dimensions":
            continue
        try:
            translate.write(dialect, Chat(**{name: value}))
        except InvalidRequest:
            lacking.append(name)
    return lacking


def _checked(name: str, value: object) -> object:
    _, types, expected = _KNOWN[name]
    wrong = isinstance(value, bool) or not isinstance(value, types)
    if name == "reasoning_effort":
        wrong = value not in EFFORTS
    texts = [value] if isinstance(value, str) else value
    if isinstance(texts, list):
        wrong = wrong or not all(isinstance(text, str) for text in texts)
    if wrong:
        raise InvalidRecipe(f"--param {name}: expected {expected}, not {value!r}.")
    return tuple(texts) if name == "stop" and isinstance(texts, list) else value


def _add(body: dict[str, Any], name: str, value: object) -> None:
    """Put a parameter of the vendor's own into the body; what is there already stays."""
    there = body.get(name)
    if isinstance(there, dict) and isinstance(value, Mapping) and not there.keys() & value.keys():
        body[name] = there | dict(value)
    elif name in body or name in _OURS:
        raise InvalidRecipe(f"--param {name}: is set by batchmill itself. Leave it out.")
    else:
        body[name] = value


def _chat(recipe: Recipe, system: str | None, known: Mapping[str, Any]) -> Chat:
    parts: tuple[Part, ...] = (Text(PROMPT_MARK),)
    if recipe.images:
        parts += (_MEDIA_MARK,)
    more: dict[str, Any] = dict(known)
    if recipe.max_tokens is not None:
        more["max_tokens"] = recipe.max_tokens
    return Chat(
        model=recipe.model,
        system=() if system is None else (Text(system),),
        turns=(Turn(USER, parts),),
        schema=None if recipe.schema is None else _named(recipe.schema, recipe.dialect),
        **more,
    )


def _embed(recipe: Recipe, system: str | None, known: Mapping[str, Any]) -> Embed:
    for flag, given in (
        ("--system", system),
        ("--max-tokens", recipe.max_tokens),
        ("--schema", recipe.schema),
        ("--image", recipe.images or None),
    ):
        if given is not None:
            raise InvalidRecipe(f"{flag}: embeddings have no use for it. Leave it out.")
    return Embed(model=recipe.model, texts=(PROMPT_MARK,), **known)


def _named(schema: Mapping[str, object], dialect: str) -> Schema:
    Judge(schema)  # says so now if it is no JSON Schema
    title = re.sub(r"[^A-Za-z0-9_-]+", "_", str(schema.get("title") or "answer"))[:64]
    name, closed = title or "answer", closed_schema(schema)
    if dialect.startswith("openai.") and not is_strict(closed):
        # Its strict mode would refuse every row; every answer is judged here all the same.
        return Schema(name=name, strict=False, schema=dict(schema))
    wanted = closed if dialect.startswith("openai.") else dict(schema)
    return Schema(name=name, strict=True, schema=wanted)
