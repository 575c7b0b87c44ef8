"""Images made smaller before they are sent: pixels cost tokens, and most models need few."""

import io
import threading
import warnings
from importlib.util import find_spec
from typing import Any, Final

from batchmill.errors import InvalidRow, MissingExtra

#: An image of so many is 360 MB in memory; Pillow warns from here on too.
PIXELS_MAX: Final = 89_000_000
_ORIENTATION: Final = 0x0112  #: the EXIF tag that says which way is up
_QUALITY: Final = 90
_FORMATS: Final = {
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/gif": "GIF",
    "image/webp": "WEBP",
}
_opening = threading.Lock()


def check_pillow() -> None:
    """Raise `MissingExtra` where Pillow is not installed."""
    if find_spec("PIL") is None:
        raise MissingExtra(
            "--image-max-side: making images smaller needs the package pillow: "
            "pip install 'batchmill[images]'."
        )


def shrunk(data: bytes, kind: str, max_side: int) -> bytes:
    """
    Return the image with no side longer than *max_side* pixels, in its own format, upright.

    One that is small and upright already comes back as it was. Raises `InvalidRow` with the words
    for one that cannot be read, or would not fit into memory.
    """
    check_pillow()
    from PIL import ImageOps, UnidentifiedImageError

    try:
        with _opened(data, _FORMATS[kind]) as image:
            upright = image.getexif().get(_ORIENTATION, 1) in (0, 1)
            if upright and max(image.size) <= max_side:
                return data
            image.draft("RGB", (max_side, max_side))  # a JPEG is then read at a fraction of itself
            smaller = ImageOps.exif_transpose(_drawable(image))
            smaller.thumbnail((max_side, max_side), _lanczos())
            return _written(smaller, kind, image.info)
    except InvalidRow:
        raise
    except UnidentifiedImageError as error:
        raise InvalidRow("the image is damaged") from error
    # Readers of images raise whatever a broken file makes them stumble over.
    except Exception as error:
        words = " ".join(str(error).split())[:200] or type(error).__name__
        raise InvalidRow(f"the image cannot be made smaller ({words})") from error


def _opened(data: bytes, format: str) -> Any:
    from PIL import Image

    # Header only. Too many pixels are a warning to Pillow at first; filters are everybody's.
    with _opening, warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            image = Image.open(io.BytesIO(data), formats=(format,))
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise _too_many() from error
    # Whoever uses us as a library may have told Pillow to look away.
    if image.width * image.height > PIXELS_MAX:
        raise _too_many()
    return image


def _too_many() -> InvalidRow:
    most = PIXELS_MAX // 1_000_000
    return InvalidRow(f"the image says it has more than {most} million pixels. Make it smaller")


def _drawable(image: Any) -> Any:
    """Return the (first) picture in colours that can be mixed; palettes and bitmaps cannot."""
    if image.mode == "P":
        return image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode == "1":
        return image.convert("L")
    if image.mode.startswith("I"):  # 16 bits of grey, which models do not look at
        return image.convert("I").point(lambda value: value / 256).convert("L")
    image.load()
    return image


def _written(image: Any, kind: str, info: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    more: dict[str, Any] = {"icc_profile": info.get("icc_profile")}
    if kind in ("image/jpeg", "image/webp"):
        more["quality"] = _QUALITY
    if kind == "image/gif":
        more = {}
    image.save(out, _FORMATS[kind], **more)
    return out.getvalue()


def _lanczos() -> Any:
    from PIL import Image

    return Image.Resampling.LANCZOS
