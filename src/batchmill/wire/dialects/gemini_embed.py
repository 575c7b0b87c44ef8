"""
Gemini's embeddings: one text a request.

Source: the types of the vendor's SDK 3.4 and `captures` of its batches. The answer's count of
tokens is read where there is one.
"""

from typing import Any

from batchmill.core.request import GEMINI_EMBED
from batchmill.errors import InvalidRequest
from batchmill.wire.dialects._fields import Fields, lacks, refused
from batchmill.wire.hub import Embed, Vectors

MAX_TOKENS: tuple[tuple[str, ...], ...] = ()


def read_request(body: dict[str, Any], lost: list[str]) -> Embed:
    """Read a body; add to *lost* what no other vendor could be told."""
    found = Fields(body, lost, camel=True)
    content = found.needed_inner("content")
    content.value("role")
    texts: list[str] = []
    for part in content.inners("parts"):
        texts.append(part.needed_text("text"))
        part.end()
    content.end()
    if not texts:
        raise InvalidRequest("content.parts: is missing.")
    embed = Embed(
        model=found.text("model").removeprefix("models/"),
        texts=("".join(texts),),
        dimensions=found.whole("outputDimensionality"),
    )
    found.end()
    return embed


def write_request(embed: Embed) -> dict[str, Any]:
    """Return the body; raise `InvalidRequest` naming what cannot be said in it."""
    lacks(embed, GEMINI_EMBED, ("user",))
    if len(embed.texts) != 1:
        raise refused("input", GEMINI_EMBED, f"takes one text a request, not {len(embed.texts)}")
    body: dict[str, Any] = {"content": {"parts": [{"text": embed.texts[0]}]}}
    if embed.dimensions is not None:
        body["outputDimensionality"] = embed.dimensions
    return body


def read_answer(body: dict[str, Any]) -> Vectors:
    """Read the vector."""
    found = Fields(body, [], camel=True)
    vector = found.needed_inner("embedding").items("values")
    usage = found.inner("usageMetadata")
    return Vectors(
        vectors=(tuple(vector),),
        input_tokens=usage.count("promptTokenCount") if usage is not None else None,
    )


def write_answer(vectors: Vectors) -> dict[str, Any]:
    """Return the one vector."""
    values = [list(vector) for vector in vectors.vectors[:1]] or [[]]
    body: dict[str, Any] = {"embedding": {"values": values[0]}}
    if vectors.input_tokens is not None:
        body["usageMetadata"] = {"promptTokenCount": vectors.input_tokens}
    return body
