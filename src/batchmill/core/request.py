"""One call to a model, and the name it travels under."""

import msgspec

#: Dialects: the form of a request body.
OPENAI_CHAT = "openai.chat"
OPENAI_RESPONSES = "openai.responses"
OPENAI_EMBEDDINGS = "openai.embeddings"

#: What a person calls an endpoint -> (dialect, url of the request line).
ENDPOINTS: dict[str, tuple[str, str]] = {
    "chat": (OPENAI_CHAT, "/v1/chat/completions"),
    "responses": (OPENAI_RESPONSES, "/v1/responses"),
    "embeddings": (OPENAI_EMBEDDINGS, "/v1/embeddings"),
}


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
