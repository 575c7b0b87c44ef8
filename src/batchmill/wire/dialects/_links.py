"""Kinds of media, and what a link's ending tells of them."""

from batchmill.wire.hub import Media

_ENDINGS = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".pdf": "application/pdf",
}


def media_type_of(media: Media) -> str:
    """Return the media type that is said, or that the link's ending tells; "" if neither."""
    if media.media_type or media.url is None:
        return media.media_type
    path = media.url.partition("?")[0].partition("#")[0].lower()
    return next((kind for end, kind in _ENDINGS.items() if path.endswith(end)), "")
