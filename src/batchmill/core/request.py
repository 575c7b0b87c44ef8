"""One call to a model, and the name it travels under."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import msgspec

#: Dialects: the form of a request body.
OPENAI_CHAT = "openai.chat"
OPENAI_RESPONSES = "openai.responses"
OPENAI_EMBEDDINGS = "openai.embeddings"
ANTHROPIC_MESSAGES = "anthropic.messages"
GEMINI_GENERATE = "gemini.generate"
GEMINI_EMBED = "gemini.embed"
MISTRAL_CHAT = "mistral.chat"
BEDROCK_CONVERSE = "bedrock.converse"


@dataclass(frozen=True, slots=True)
class Dialect:
    """What can be said of a dialect without knowing it."""

    endpoint: str  #: what a person calls it: chat, responses, embeddings
    url: str  #: of its request lines; where a vendor's paths hold the model, what follows it
    names_model: bool = True  #: whether `model` is a field of the body


#: In the order in which a provider that speaks several is addressed.
DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {
        OPENAI_CHAT: Dialect("chat", "/v1/chat/completions"),
        OPENAI_RESPONSES: Dialect("responses", "/v1/responses"),
        OPENAI_EMBEDDINGS: Dialect("embeddings", "/v1/embeddings"),
        ANTHROPIC_MESSAGES: Dialect("chat", "/v1/messages"),
        GEMINI_GENERATE: Dialect("chat", ":generateContent", names_model=False),
        GEMINI_EMBED: Dialect("embeddings", ":embedContent", names_model=False),
        MISTRAL_CHAT: Dialect("chat", "/v1/chat/completions"),
        BEDROCK_CONVERSE: Dialect("chat", "/converse", names_model=False),
    }
)

#: What a person calls an endpoint -> (dialect, url of the request line), as OpenAI has them.
ENDPOINTS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        found.endpoint: (name, found.url)
        for name, found in DIALECTS.items()
        if name.startswith("openai.")
    }
)


def dialect_for(endpoint: str, spoken: Iterable[str]) -> str | None:
    """Return the first of a provider's dialects that serves *endpoint*; None if none does."""
    return next((name for name in spoken if DIALECTS[name].endpoint == endpoint), None)


# A struct and not a dataclass: ten million of these are made.
class Request(msgspec.Struct, frozen=True, gc=False):
    """One call to a model. Method and url are the same for the whole shard (`ports.Offer`)."""

    custom_id: str  #: ours: shard id, dash, row number; `[A-Za-z0-9_-]{1,64}`
    body: bytes  #: JSON in the shard's dialect, one line


def custom_id_of(shard_id: str, row: int) -> str:
    """Return the name row number *row* travels under: proof of shard and place at once."""
    return f"{shard_id}-{row}"


def row_of(custom_id: str, shard_id: str) -> int | None:
    """Return the row number in *custom_id*, or None if it was never in this shard's name."""
    head, dash, tail = custom_id.rpartition("-")
    if head != shard_id or not dash or not tail.isascii() or not tail.isdigit():
        return None
    row = int(tail)
    return row if str(row) == tail else None
