"""
OpenAI's chat completions.

Source: the types of the vendor's SDK 3.54 (`chat/completion_create_params`). Text, pictures and
PDFs; a PDF travels by its bytes, as there is no field for its link here.
"""

from typing import Any

from batchmill.core.request import OPENAI_CHAT
from batchmill.errors import InvalidRequest
from batchmill.wire import hub
from batchmill.wire.dialects import _shape
from batchmill.wire.dialects._fields import Fields, lacks, refused
from batchmill.wire.dialects._models import openai_samples, wants_completion_tokens
from batchmill.wire.hub import Answer, Chat, Document, Image, Text

#: What one more try with more room changes; the usual name first.
MAX_TOKENS = (("max_tokens",), ("max_completion_tokens",))

#: What a PDF without a name is called: bytes must have one here.
NAMELESS = "document.pdf"

_SAMPLING = ("temperature", "top_p", "frequency_penalty", "presence_penalty")


def read_request(body: dict[str, Any], lost: list[str]) -> Chat:
    """Read a body; add to *lost* what no other vendor could be told."""
    found = Fields(body, lost)
    found.neutral("stream", False)
    found.neutral("n", 1)
    found.neutral("store", False)
    found.neutral("logprobs", False)
    found.neutral("service_tier", "auto", "default")
    found.neutral("modalities", ["text"])
    found.neutral("logit_bias", {})
    # Where and how long the vendor caches by itself: it changes no answer.
    for name in ("prompt_cache_key", "prompt_cache_retention", "prompt_cache_options"):
        found.value(name)
    older = found.whole("max_tokens")
    newer = found.whole("max_completion_tokens")
    return _shape.read_chat(
        found,
        WAYS,
        max_tokens=older if newer is None else newer,
        seed=found.whole("seed"),
        user=found.text("user") or found.text("safety_identifier"),
    )


def write_request(chat: Chat) -> dict[str, Any]:
    """Return the body; raise `InvalidRequest` naming what cannot be said in it."""
    lacks(chat, OPENAI_CHAT, ("top_k", "thinking_tokens"))
    check_samples(chat, _SAMPLING)
    newer = wants_completion_tokens(chat.model)
    limit = {"max_completion_tokens" if newer else "max_tokens": chat.max_tokens}
    return _shape.write_chat(chat, WAYS, **limit, seed=chat.seed, user=chat.user or None)


def check_samples(chat: Chat, names: tuple[str, ...]) -> None:
    """Raise `InvalidRequest` for a sampling parameter that a model of OpenAI refuses."""
    if openai_samples(chat.model, chat.effort):
        return
    for name in names:
        usual = 0 if name.endswith("penalty") else 1
        if getattr(chat, name) not in {None, usual}:
            raise InvalidRequest(f"{name}: {chat.model} takes no value but {usual}. Leave it out.")


def part(media: hub.Media | Text) -> dict[str, Any]:
    """Return a part of a message."""
    if isinstance(media, Text):
        return {"type": "text", "text": media.text}
    if isinstance(media, Document):
        if media.url is not None:
            raise refused("document", OPENAI_CHAT, f"takes no link to a document ({media.url})")
        url = f"data:{media.media_type};base64,{media.data}"
        return {"type": "file", "file": {"filename": media.name or NAMELESS, "file_data": url}}
    return image_part(media, OPENAI_CHAT)


def image_part(media: Image, dialect: str) -> dict[str, Any]:
    """Return a picture as OpenAI's and Mistral's chats have it."""
    image: dict[str, Any] = {"url": link_of(media, dialect)}
    if media.detail:
        image["detail"] = media.detail
    return {"type": "image_url", "image_url": image}


def link_of(image: Image, dialect: str) -> str:
    """Return a link or a data: URL; OpenAI and Mistral can fetch the web, but no buckets."""
    if image.url is None:
        return f"data:{image.media_type};base64,{image.data}"
    if not image.url.startswith(("http://", "https://")):
        raise refused("image", dialect, f"takes only http(s) links, not {image.url}")
    return image.url


def _read_part(found: Fields) -> hub.Part:
    found.value("prompt_cache_breakpoint")
    kind = found.needed_text("type")
    if kind == "text":
        return Text(found.needed_text("text"))
    if kind == "image_url":
        return read_image_part(found)
    if kind == "file" and (file := found.inner("file")) is not None and file.has("file_data"):
        name, data = file.text("filename"), hub.data_url(file.needed_text("file_data"))
        file.end()
        if data is None:
            raise file.wrong("file_data", "a base64 data: URL", "it")
        return Document(data=data[1], media_type=data[0], name="" if name == NAMELESS else name)
    found.lose(kind)
    found.left = {}
    return Text("")


def read_image_part(found: Fields) -> Image:
    inner = found.needed_inner("image_url")
    image = read_image(inner.needed_text("url"), inner.text("detail"))
    inner.end()
    return image


def read_image(url: str, detail: str = "") -> Image:
    detail = "" if detail == "auto" else detail
    data = hub.data_url(url)
    if data is None:
        return Image(url=url, detail=detail)
    return Image(data=data[1], media_type=data[0], detail=detail)


def read_answer(body: dict[str, Any]) -> Answer:
    return _shape.read_answer(body, WAYS)


def write_answer(answer: Answer) -> dict[str, Any]:
    return _shape.write_answer(answer, WAYS)


WAYS = _shape.Ways(
    OPENAI_CHAT, part, _read_part, required="required", system_roles=("system", "developer")
)
