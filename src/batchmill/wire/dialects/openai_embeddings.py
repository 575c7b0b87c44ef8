"""OpenAI's embeddings. Source: the types of the vendor's SDK 3.54 (`embedding_create_params`)."""

from typing import Any

from batchmill.errors import InvalidRequest
from batchmill.wire.dialects._fields import Fields
from batchmill.wire.hub import Embed, Vectors

MAX_TOKENS: tuple[tuple[str, ...], ...] = ()


def read_request(body: dict[str, Any], lost: list[str]) -> Embed:
    """Read a body; add to *lost* what no other vendor could be told."""
    found = Fields(body, lost)
    found.neutral("encoding_format", "float")
    if not found.has("input"):
        raise InvalidRequest("input: is missing.")
    given = found.left["input"]
    tokens = isinstance(given, list) and any(not isinstance(text, str) for text in given)
    if tokens:  # the vendor's own: nobody else knows which words they are
        found.lose("input")
        found.value("input")
    embed = Embed(
        model=found.text("model"),
        texts=("",) if tokens else found.texts("input"),
        dimensions=found.whole("dimensions"),
        user=found.text("user"),
    )
    found.end()
    return embed


def write_request(embed: Embed) -> dict[str, Any]:
    """Return the body."""
    texts = list(embed.texts)
    body: dict[str, Any] = {"model": embed.model, "input": texts[0] if len(texts) == 1 else texts}
    if embed.dimensions is not None:
        body["dimensions"] = embed.dimensions
    if embed.user:
        body["user"] = embed.user
    return body


def read_answer(body: dict[str, Any]) -> Vectors:
    """Read the vectors, in the order of the texts."""
    found = Fields(body, [])
    data = sorted(found.inners("data"), key=lambda item: item.count("index"))
    usage = found.inner("usage")
    return Vectors(
        model=found.text("model"),
        vectors=tuple(tuple(item.items("embedding")) for item in data),
        input_tokens=usage.count("prompt_tokens") if usage is not None else None,
    )


def write_answer(vectors: Vectors) -> dict[str, Any]:
    """Return the vectors as a list object."""
    data = [
        {"object": "embedding", "index": index, "embedding": list(vector)}
        for index, vector in enumerate(vectors.vectors)
    ]
    body: dict[str, Any] = {"object": "list", "data": data, "model": vectors.model}
    if (count := vectors.input_tokens) is not None:
        body["usage"] = {"prompt_tokens": count, "total_tokens": count}
    return body
