"""Images are made smaller on request: upright, in their own format, and never larger."""

import io
import struct
import sys
import zlib

import pytest
from PIL import Image

from batchmill.core.batch import Recipe
from batchmill.errors import InvalidRow, MissingExtra
from batchmill.rows.images import Images
from batchmill.rows.kinds import kind_of
from batchmill.rows.reach import Reach
from batchmill.rows.shrink import shrunk

UPRIGHT, LYING = 1, 6  # EXIF's words for which way is up


def picture(mode="RGB", size=(400, 300), format="PNG", orientation=None, **more) -> bytes:
    out = io.BytesIO()
    if orientation is not None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        more["exif"] = exif
    Image.new(mode, size).save(out, format, **more)
    return out.getvalue()


def opened(data) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.mark.parametrize(
    ("mode", "format"),
    [
        ("RGB", "PNG"),
        ("RGBA", "PNG"),
        ("P", "PNG"),
        ("1", "PNG"),
        ("LA", "PNG"),
        ("I;16", "PNG"),
        ("RGB", "JPEG"),
        ("L", "JPEG"),
        ("CMYK", "JPEG"),
        ("P", "GIF"),
        ("RGB", "WEBP"),
        ("RGBA", "WEBP"),
    ],
)
def test_a_larger_image_becomes_smaller_and_keeps_its_format(mode, format):
    data = picture(mode, format=format)

    smaller = shrunk(data, kind_of(data), 100)

    assert opened(smaller).size == (100, 75)
    assert opened(smaller).format == format
    assert kind_of(smaller) == kind_of(data)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "WEBP"])
def test_a_small_image_stays_as_it_is_down_to_the_last_byte(format):
    data = picture(format=format)

    assert shrunk(data, kind_of(data), 400) == data
    assert shrunk(data, kind_of(data), 5000) == data


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_what_its_camera_held_sideways_stands_upright(format):
    data = picture(format=format, orientation=LYING)

    for most, size in ((400, (300, 400)), (100, (75, 100))):
        turned = opened(shrunk(data, kind_of(data), most))
        assert turned.size == size
        assert turned.getexif().get(0x0112, UPRIGHT) == UPRIGHT


def test_of_a_moving_gif_the_first_picture_is_kept():
    out = io.BytesIO()
    red, blue = (Image.new("RGB", (400, 300), colour) for colour in ("red", "blue"))
    red.save(out, "GIF", save_all=True, append_images=[blue])

    smaller = opened(shrunk(out.getvalue(), "image/gif", 100))

    assert getattr(smaller, "n_frames", 1) == 1
    assert smaller.convert("RGB").getpixel((9, 9)) == (255, 0, 0)


def test_what_is_see_through_stays_so():
    data = picture("RGBA", format="PNG")

    assert opened(shrunk(data, "image/png", 100)).getpixel((9, 9)) == (0, 0, 0, 0)


def claimed(width, height) -> bytes:
    """Return a PNG that says it is so large and holds next to nothing."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_an_image_that_would_fill_the_memory_is_refused_by_its_header(side):
    with pytest.raises(InvalidRow, match="more than 89 million pixels"):
        shrunk(claimed(side, side), "image/png", 100)


def test_it_is_refused_also_where_somebody_told_pillow_to_look_away(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)

    with pytest.raises(InvalidRow, match="more than 89 million pixels"):
        shrunk(claimed(10_000, 10_000), "image/png", 100)


@pytest.mark.parametrize(
    "data",
    [
        b"\x89PNG\r\n\x1a\nrest",
        picture()[:200],
        picture(format="JPEG")[:300],
        picture(format="WEBP")[:40],
        picture(format="GIF")[:30],
        b"GIF89a",
        claimed(0, 0),
    ],
)
def test_a_broken_image_is_an_error_of_its_row(data):
    kind = kind_of(data)
    assert kind is not None
    with pytest.raises(InvalidRow, match="the image"):
        shrunk(data, kind, 100)


def test_what_a_file_is_named_does_not_choose_who_reads_it():
    # a TIFF's reader is large; one that says it is a PNG does not get there
    out = io.BytesIO()
    Image.new("RGB", (9, 9)).save(out, "TIFF")

    with pytest.raises(InvalidRow, match="is damaged"):
        shrunk(out.getvalue(), "image/png", 4)


def test_whatever_bytes_there_are_become_smaller_and_links_are_fetched_for_it(world):
    path = world.folder / "i.png"
    path.write_bytes(picture())
    table = world.table("t.csv", f"i\n{path}\nhttps://x.test/i.png\n")
    recipe = Recipe(model="m", images=("i",), image_max_side=64)
    reach = Reach(fetch=lambda _: picture(format="JPEG"))

    found = list(Images(recipe, reach).parts(chunk_of(table)))

    import base64

    sizes = [opened(base64.b64decode(media.data or "")).size for [media] in found]
    assert sizes == [(64, 48), (64, 48)]


def chunk_of(table):
    import pyarrow.csv

    from batchmill.rows.chunk import Place, TableChunk

    place = Place(name="t.csv", part=0, start=0, start_in_part=0)
    return TableChunk(place, pyarrow.csv.read_csv(table).to_batches()[0])


def test_without_pillow_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setattr("batchmill.rows.shrink.find_spec", lambda _: None)

    with pytest.raises(MissingExtra, match=r"pip install 'batchmill\[images\]'"):
        Images(Recipe(model="m", images=("i",), image_max_side=64), Reach())
