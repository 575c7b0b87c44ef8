"""
Mistral's chat completions.

Source: the types of the vendor's SDK 3.7 (`chatcompletionrequest` and the chunks of content). A
call's id has exactly nine letters or digits: others are replaced, always by the same.
"""

import re
from typing import Any

from batchmill.core.request import MISTRAL_CHAT
from batchmill.errors import InvalidRequest
from batchmill.wire import hub
from batchmill.wire.dialects import _shape
from batchmill.wire.dialects._answers import write_usage
from batchmill.wire.dialects._fields import Fields, fitting_id, lacks, refused
from batchmill.wire.dialects.openai_chat import image_part, read_image, read_image_part
from batchmill.wire.hub import Answer, Chat, Document, Text, Thinking

MAX_TOKENS = (("max_tokens",),)

#: The highest temperature: the vendor's check of an uploaded file refuses more.
HOTTEST = 1.5

_CALL_ID = re.compile(r"[A-Za-z0-9]{9}")


def read_request(body: dict[str, Any], lost: list[str]) -> Chat:
    """Read a body; add to *lost* what no other vendor could be told."""
    found = Fields(body, lost)
    found.neutral("stream", False)
    found.neutral("n", 1)
    found.neutral("safe_prompt", False)
    found.neutral("logprobs", False)
    found.value("prompt_cache_key")  # where the vendor caches by itself
    return _shape.read_chat(
        found,
        WAYS,
        max_tokens=found.whole("max_tokens"),
        top_k=found.whole("top_k"),
        seed=found.whole("random_seed"),
    )


def write_request(chat: Chat) -> dict[str, Any]:
    """Return the body; raise `InvalidRequest` naming what cannot be said in it."""
    lacks(chat, MISTRAL_CHAT, ("user", "thinking_tokens"))
    if chat.temperature is not None and chat.temperature > HOTTEST:
        raise InvalidRequest(f"temperature: {MISTRAL_CHAT} takes 0 to {HOTTEST}.")
    return _shape.write_chat(
        chat, WAYS, max_tokens=chat.max_tokens, top_k=chat.top_k, random_seed=chat.seed
    )


def part(media: hub.Media | Text) -> dict[str, Any]:
    """Return a part of a message."""
    if isinstance(media, Text):
        return {"type": "text", "text": media.text}
    if isinstance(media, Document):
        url = media.url or f"data:{media.media_type};base64,{media.data}"
        if media.url is not None and not url.startswith(("http://", "https://")):
            raise refused("document", MISTRAL_CHAT, f"takes only http(s) links, not {url}")
        named = {"document_name": media.name} if media.name else {}
        return {"type": "document_url", "document_url": url, **named}
    return image_part(media, MISTRAL_CHAT)


def _read_part(found: Fields) -> hub.Part:
    kind = found.needed_text("type")
    if kind == "text":
        return Text(found.needed_text("text"))
    if kind == "image_url":
        if isinstance(found.left.get("image_url"), str):
            return read_image(found.text("image_url"))
        return read_image_part(found)
    if kind == "document_url":
        url, name = found.needed_text("document_url"), found.text("document_name")
        data = hub.data_url(url)
        if data is None:
            return Document(url=url, name=name)
        return Document(data=data[1], media_type=data[0], name=name)
    if kind == "thinking":
        said = [text.text("text") for text in found.inners("thinking")]
        found.value("closed")
        return Thinking(text="".join(said), signature=found.text("signature"))
    found.lose(kind)
    found.left = {}
    return Text("")


def read_answer(body: dict[str, Any]) -> Answer:
    return _shape.read_answer(body, WAYS)


def write_answer(answer: Answer) -> dict[str, Any]:
    """Return a chat completion; thoughts are a chunk of its content here."""
    body = _shape.write_answer(answer, WAYS)
    body.setdefault(
        "usage", write_usage(hub.Usage(), *_shape.TOKENS)
    )  # the vendor's clients insist on it
    message = body["choices"][0]["message"]
    if message.pop("refusal"):
        body["choices"][0]["finish_reason"] = "error"
    if thoughts := message.pop("reasoning_content", ""):
        chunk = {"type": "thinking", "thinking": [{"type": "text", "text": thoughts}]}
        texts = [part(p) for p in answer.parts if isinstance(p, Text)]
        message["content"] = [chunk, *texts]
    return body


def _call_id(id: str) -> str:
    return fitting_id(id, _CALL_ID, 9)


WAYS = _shape.Ways(MISTRAL_CHAT, part, _read_part, required="any", call_id=_call_id)
