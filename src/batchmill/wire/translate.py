"""
One dialect's request or answer into another's, through the hub form.

What the other dialect cannot say is an `InvalidRequest` that names the field; nothing is dropped
in silence (`wire.dialects` says what may be left out, and why).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import msgspec

from batchmill.core.request import (
    ANTHROPIC_MESSAGES,
    BEDROCK_CONVERSE,
    DIALECTS,
    GEMINI_EMBED,
    GEMINI_GENERATE,
    MISTRAL_CHAT,
    OPENAI_CHAT,
    OPENAI_EMBEDDINGS,
    OPENAI_RESPONSES,
)
from batchmill.errors import InvalidRequest
from batchmill.wire import hub
from batchmill.wire.dialects import (
    anthropic_messages,
    bedrock_converse,
    gemini_embed,
    gemini_generate,
    mistral_chat,
    openai_chat,
    openai_embeddings,
    openai_responses,
)
from batchmill.wire.dialects._fields import UNREADABLE, decoded
from batchmill.wire.dialects._models import wants_completion_tokens

#: The highest temperature, where it is not 2.
_HOTTEST: Mapping[str, float] = MappingProxyType(
    {ANTHROPIC_MESSAGES: 1, BEDROCK_CONVERSE: 1, MISTRAL_CHAT: mistral_chat.HOTTEST}
)

_encode = msgspec.json.Encoder().encode
_raw_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

Asked = hub.Chat | hub.Embed


@dataclass(frozen=True, slots=True)
class _Tongue:
    """What one dialect's module can do."""

    read_request: Callable[[dict[str, Any], list[str]], Any]
    write_request: Callable[[Any], dict[str, Any]]
    read_answer: Callable[[dict[str, Any]], Any]
    write_answer: Callable[[Any], dict[str, Any]]
    part: Callable[[hub.Media | hub.Text], dict[str, Any]] | None
    max_tokens: tuple[tuple[str, ...], ...]


def _tongue(module: Any) -> _Tongue:
    return _Tongue(
        module.read_request,
        module.write_request,
        module.read_answer,
        module.write_answer,
        getattr(module, "part", None),
        module.MAX_TOKENS,
    )


_TONGUES: Mapping[str, _Tongue] = MappingProxyType(
    {
        OPENAI_CHAT: _tongue(openai_chat),
        OPENAI_RESPONSES: _tongue(openai_responses),
        OPENAI_EMBEDDINGS: _tongue(openai_embeddings),
        ANTHROPIC_MESSAGES: _tongue(anthropic_messages),
        GEMINI_GENERATE: _tongue(gemini_generate),
        GEMINI_EMBED: _tongue(gemini_embed),
        MISTRAL_CHAT: _tongue(mistral_chat),
        BEDROCK_CONVERSE: _tongue(bedrock_converse),
    }
)


def read(dialect: str, body: bytes, lost: list[str] | None = None) -> Asked:
    """
    Read a request; raise `InvalidRequest` where it is none in *dialect*.

    What the hub has no word for is added to *lost*, as paths into the body.
    """
    return _TONGUES[dialect].read_request(decoded(body), [] if lost is None else lost)


def write(dialect: str, asked: Asked) -> dict[str, Any]:
    """Return a request as a body of *dialect*; raise `InvalidRequest` naming what it cannot say."""
    if isinstance(asked, hub.Embed) != (DIALECTS[dialect].endpoint == "embeddings"):
        kind = "embeddings" if isinstance(asked, hub.Embed) else "a chat"
        raise InvalidRequest(f"the body: {dialect} is no way to ask for {kind}.")
    return _TONGUES[dialect].write_request(asked)


def part(dialect: str, media: hub.Media | hub.Text) -> dict[str, Any]:
    """Return a picture, a PDF or a text as a part of a user's turn."""
    found = _TONGUES[dialect].part
    if found is None:
        raise InvalidRequest(f"images: {dialect} takes text only.")
    return found(media)


def takes_link(dialect: str, media: hub.Media) -> bool:
    """Say whether *dialect* takes this picture or PDF by its link; else its bytes are needed."""
    try:
        part(dialect, media)
    except InvalidRequest:
        return False
    return True


def request(body: bytes, from_: str, to: str, model: str) -> bytes:
    """
    Return a request of one dialect as one of another, for *model* ("" keeps the body's own).

    In its own dialect it stays as it is, down to the last digit, but for the model. Raises
    `InvalidRequest` naming every field that has no counterpart, or the first that cannot be said.
    """
    if from_ == to:
        return remodelled(body, to, model)
    return written(to, understood(body, from_, to, model))


def understood(body: bytes, from_: str, to: str, model: str) -> Asked:
    """
    Read a request of one dialect that is to be told in another, for *model* ("": its own).

    Raises `InvalidRequest` naming every field that would not come along.
    """
    lost: list[str] = []
    asked = read(from_, body, lost)
    if lost and from_ == to:
        named = next(iter(_links(asked)), "a link")
        raise InvalidRequest(
            f"{', '.join(dict.fromkeys(lost))}: cannot be kept where {named} is replaced by what "
            f"it leads to. Take it out, or put the bytes there yourself."
        )
    if lost:
        raise InvalidRequest(
            f"{', '.join(dict.fromkeys(lost))}: only {from_} knows this, {to} does not. Take it "
            f"out, or stay with a provider that speaks {from_}."
        )
    if isinstance(asked, hub.Chat) and not _same_mind(from_, to):
        _check_thoughts(asked, to)
    return replace(asked, model=model) if model else asked


def written(dialect: str, asked: Asked) -> bytes:
    """Return the bytes of a body; raise `InvalidRequest` naming what *dialect* cannot say."""
    return _encode(write(dialect, asked))


def _same_mind(from_: str, to: str) -> bool:
    """Say whether thoughts of one are understood by the other: both may be asking a Claude."""
    return from_ == to or {from_, to} == {ANTHROPIC_MESSAGES, BEDROCK_CONVERSE}


def _check_thoughts(chat: hub.Chat, to: str) -> None:
    for index, turn in enumerate(chat.turns):
        if any(isinstance(said, hub.Thinking) for said in turn.parts):
            raise InvalidRequest(
                f"messages[{index}].thinking: {to} cannot take what another model thought. Leave "
                f"it out."
            )


def remodelled(body: bytes, dialect: str, model: str) -> bytes:
    """Return a body for another model; where the path names the model, the body does not."""
    if not model:
        return body
    try:
        fields = _raw_fields(body)
    except UNREADABLE as error:
        raise InvalidRequest(f"the body is no JSON object ({error}).") from error
    if not DIALECTS[dialect].names_model:
        named = fields.keys() & {"model", "modelId"}
        for name in named:
            del fields[name]
        return _encode(fields) if named else body
    wanted = _encode(model)
    said = fields.get("model")
    if said is not None and bytes(said) == wanted:
        return body
    # Everything else stays as it was written, down to the last digit.
    fields["model"] = msgspec.Raw(wanted)
    return _encode(fields)


def answer(body: bytes, from_: str, to: str) -> bytes:
    """
    Return an answer of one dialect as one of another; raise `InvalidRequest` where it is none.

    It is told as fully as *to* can: what only *from_* has a place for is left out.
    """
    if from_ == to:
        return body
    found = _TONGUES[from_].read_answer(decoded(body))
    if isinstance(found, hub.Vectors) != (DIALECTS[to].endpoint == "embeddings"):
        raise InvalidRequest(f"the body: {to} is no way to tell this answer.")
    if isinstance(found, hub.Answer) and not _same_mind(from_, to):
        # Signatures and ciphers are worth nothing to another vendor.
        thoughts = (
            hub.Thinking(text=p.text) if isinstance(p, hub.Thinking) else p for p in found.parts
        )
        found = replace(found, parts=tuple(p for p in thoughts if p != hub.Thinking()))
    return _encode(_TONGUES[to].write_answer(found))


def complaint(dialect: str, body: bytes) -> str:
    """Say why this body can be no request in its dialect; "" where the vendor may well take it."""
    try:
        asked = read(dialect, body)
    except InvalidRequest as error:
        return str(error)
    if isinstance(asked, hub.Embed):
        return "" if asked.texts else "input: is empty."
    if DIALECTS[dialect].names_model and not asked.model:
        return "model: is missing."
    if not asked.turns:
        return "messages: there are none."
    if asked.max_tokens is not None and asked.max_tokens < 1:
        return f"max_tokens: must be 1 or more, not {asked.max_tokens}."
    hottest = _HOTTEST.get(dialect, 2)
    if asked.temperature is not None and not 0 <= asked.temperature <= hottest:
        return f"temperature: must be 0 to {hottest}, not {asked.temperature}."
    if asked.top_p is not None and not 0 <= asked.top_p <= 1:
        return f"top_p: must be 0 to 1, not {asked.top_p}."
    return ""


def links(dialect: str, body: bytes) -> list[str]:
    """Return the http(s) links of a body's pictures and PDFs, in order, each once."""
    try:
        return _links(read(dialect, body))
    except InvalidRequest:
        return []


def _links(asked: Asked) -> list[str]:
    urls = dict.fromkeys(media.url for media in hub.media_of(asked) if media.url is not None)
    return [url for url in urls if url[:8].lower().startswith(("http://", "https://"))]


def max_tokens_fields(dialect: str) -> tuple[tuple[str, ...], ...]:
    """Return the paths at which a body may limit its answer, the usual one first; none if none."""
    return _TONGUES[dialect].max_tokens


def max_tokens_of(body: bytes, dialect: str) -> int | None:
    """Return the limit that a request sets its answer; None where it sets none."""
    for outer, *inner in max_tokens_fields(dialect):
        found: object = msgspec.json.decode(body)
        for name in (outer, *inner):
            found = found.get(name) if isinstance(found, dict) else None
        if isinstance(found, int):
            return found
    return None


def with_max_tokens(body: bytes, dialect: str, max_tokens: int) -> bytes:
    """Return the same request with another limit of its answer; nothing else of it changes."""
    fields = _raw_fields(body)
    paths = max_tokens_fields(dialect)
    if not paths:
        return body
    path = next((p for p in paths if p[0] in fields), paths[0])
    if dialect == OPENAI_CHAT and path[0] not in fields and _wants_newer_name(fields):
        path = paths[-1]
    outer, *inner = path
    limit = msgspec.Raw(_encode(max_tokens))
    if not inner:
        fields[outer] = limit
        return _encode(fields)
    within = _raw_fields(fields[outer]) if outer in fields else {}
    known = {name for _, name in paths}
    within[next((name for name in within if name in known), inner[0])] = limit
    fields[outer] = msgspec.Raw(_encode(within))
    return _encode(fields)


def _wants_newer_name(fields: dict[str, msgspec.Raw]) -> bool:
    return "model" in fields and wants_completion_tokens(str(msgspec.json.decode(fields["model"])))
