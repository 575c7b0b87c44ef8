"""Links inside request bodies: which rows ask for an image that is certainly no longer there."""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import msgspec

from batchmill.core.request import Request, row_of
from batchmill.core.rowset import RowSet, rows_of
from batchmill.ports import Web

#: What bodies call a link to media, whichever vendor they are for: the key, or the last two of
#: them. `image_url` is OpenAI's and Mistral's, `source` Anthropic's, `fileData` Gemini's.
_LINK_KEYS = frozenset({"image_url", "imageUrl", "file_url", "document_url", "documentUrl"})
_HOLDER_KEYS = frozenset({"image_url", "imageUrl", "source", "fileData", "file_data"})
_INNER_KEYS = ("url", "fileUri", "file_uri")


async def gone_rows(web: Web, requests: AsyncIterator[Sequence[Request]], shard_id: str) -> RowSet:
    """Return the rows of *requests* that link to media which is certainly gone."""
    rows_by_link: dict[str, list[int]] = {}
    async for chunk in requests:
        for request in chunk:
            row = row_of(request.custom_id, shard_id)
            assert row is not None
            for link in set(links_in(request.body)):
                rows_by_link.setdefault(link, []).append(row)
    if not rows_by_link:
        return rows_of(())
    gone = await web.gone(rows_by_link.keys())
    return rows_of(row for link in gone for row in rows_by_link[link])


def links_in(body: bytes) -> Iterator[str]:
    """Yield the http(s) links to images and documents in a body of any dialect."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return
    todo = [found]  # and not a function that calls itself: bodies come from strangers
    while todo:
        value: Any = todo.pop()
        if isinstance(value, list):
            todo += reversed(value)
        elif isinstance(value, dict):
            for key, inner in value.items():
                if (link := _link(key, inner)) is not None:
                    yield link
            todo += reversed(value.values())


def _link(key: str, value: Any) -> str | None:
    if key in _HOLDER_KEYS and isinstance(value, dict):
        value = next((value[k] for k in _INNER_KEYS if k in value), None)
    elif key not in _LINK_KEYS:
        return None
    if isinstance(value, str) and value[:8].lower().startswith(("http://", "https://")):
        return value
    return None
