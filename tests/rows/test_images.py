"""What is in a cell becomes a part of the request: a link where that is taken, else the bytes."""

import base64
import os
import threading
import time
from typing import Any

import pyarrow as pa
import pytest

from batchmill.core.batch import Recipe
from batchmill.errors import InvalidRecipe, InvalidRow
from batchmill.rows.ahead import in_order
from batchmill.rows.chunk import Place, TableChunk
from batchmill.rows.images import AT_ONCE, Images
from batchmill.rows.kinds import MEDIA_BYTES_MAX
from batchmill.rows.reach import UNUSABLE_MAX, Reach
from batchmill.wire.hub import Document, Image

PNG = b"\x89PNG\r\n\x1a\nrest"
PDF = b"%PDF-1.7\nrest"
PLACE = Place(name="t.csv", part=0, start=0, start_in_part=0)


def coded(data) -> str:
    return base64.b64encode(data).decode()


def rows(cells, reach=None, **recipe) -> list[list[Any]]:
    """Return the media of a table with one column, row by row; raise what its end would raise."""
    chunk = TableChunk(PLACE, pa.record_batch({"i": pa.array(cells)}))
    reach = reach or Reach()
    images = Images(Recipe(model="m", images=("i",), **recipe), reach)
    found = list(images.parts(chunk))
    reach.check()
    return found


def only(cell, reach=None, **recipe):
    [[media]] = rows([cell], reach, **recipe)
    return media


def why(cell, reach=None, **recipe) -> str:
    with pytest.raises(InvalidRow) as raised:
        only(cell, reach, **recipe)
    words = str(raised.value)
    assert words.startswith("t.csv, row 1, column i: ")
    return words


def fetching(found):
    return Reach(fetch=found.__getitem__)


# -------------------------------------------------------------------------------------------- links


def test_a_link_that_the_vendor_takes_travels_as_it_is():
    link = "https://x.test/a%20b.jpg?sig=1"

    assert only(link) == Image(url=link, media_type="image/jpeg")
    assert only(f"  {link}\n").url == link
    assert only("https://x.test/any").media_type == ""


def test_a_link_that_it_does_not_take_is_fetched():
    reach = fetching({"https://x.test/i": PNG, "http://x.test/i": PNG})

    assert only("https://x.test/i", reach, links=()).data == coded(PNG)
    assert only("http://x.test/i", reach, links=("gs", "https")).media_type == "image/png"


def test_a_link_to_a_bucket_stays_one_where_the_vendor_takes_it_and_its_kind_is_known():
    gs = {"links": ("gs", "https"), "dialect": "gemini.generate"}

    assert only("gs://b/k.png", **gs) == Image(url="gs://b/k.png", media_type="image/png")
    assert only("gs://b/k.pdf", **gs) == Document(url="gs://b/k.pdf", name="k.pdf")


def test_where_the_kind_must_be_said_and_a_link_does_not_tell_the_bytes_travel():
    reach = fetching({"https://x.test/i": PNG})

    media = only("https://x.test/i", reach, links=("https",), dialect="gemini.generate")

    assert media == Image(data=coded(PNG), media_type="image/png")


def test_a_pdf_is_a_document_by_link_or_by_its_bytes():
    link = "https://x.test/report.PDF?x=1"
    reach = fetching({link: PDF})

    assert only(link, dialect="openai.responses") == Document(url=link, name="report.PDF")
    assert only(link, reach) == Document(data=coded(PDF), name="report.PDF")  # no links in chat
    assert only(PDF) == Document(data=coded(PDF))
    assert only(b"\xef\xbb\xbf\n" + PDF).media_type == "application/pdf"


@pytest.mark.parametrize("link", ["https://", "https:///a.png", "http://[::1/x.png"])
def test_what_is_no_usable_link_is_named(link):
    assert "no usable link" in why(link)


@pytest.mark.parametrize("link", ["ftp://x/y.png", "blob:https://x", "chrome://x/y"])
def test_a_link_of_another_kind_is_refused(link):
    assert "leads nowhere" in why(link) or "cannot be read" in why(link)


# -------------------------------------------------------------------------------------------- bytes


def test_a_data_url_is_read_and_told_what_it_is_whatever_it_says():
    assert only("data:image/jpeg;base64," + coded(PNG)) == Image(
        data=coded(PNG), media_type="image/png"
    )
    assert only("DATA:;base64," + coded(PNG).rstrip("=")).data == coded(PNG)
    assert only("data:image/png,%89PNG%0D%0A").media_type == "image/png"
    for bad in ("data:image/png;base64", "data:;base64,???", "data:;base64,A"):
        assert "no data: URL that can be read" in why(bad)
    assert "is no PNG" in why("data:image/png;base64," + coded(b"<svg>"))


def test_bytes_and_what_hugging_face_keeps_beside_them():
    assert only(PNG).data == coded(PNG)
    assert only({"bytes": PNG, "path": "a.png"}).data == coded(PNG)
    assert only({"bytes": PDF, "path": "x/a b.pdf"}).name == "a b.pdf"
    assert only({"bytes": None, "path": "https://x.test/i"}).url == "https://x.test/i"


def test_files_are_found_by_path_and_by_url(tmp_path, monkeypatch):
    path = tmp_path / "an image.png"
    path.write_bytes(PNG)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))

    for cell in (
        str(path),
        "an image.png",
        "~/an image.png",
        f"file://{tmp_path}/an%20image.png",
        f"file://localhost{tmp_path}/an%20image.png",
    ):
        assert only(cell).data == coded(PNG)


def test_what_is_no_image_is_told_apart():
    assert "is no PNG, JPEG, GIF or WebP image and no PDF" in why(b"hello")
    assert "but a page of text" in why(b"<!doctype html><title>404</title>")
    assert "is no PNG" in why(b"RIFF....AVI ")
    assert "int is no image" in why(7)


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")

    for path in (tmp_path / "pipe.png", tmp_path, tmp_path / "none.png", "/dev/zero"):
        assert "cannot be read" in why(str(path))
    assert "cannot be read" in why("nul\0byte.png")


def test_too_large_is_named_wherever_it_comes_from(tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(PNG)
    os.truncate(path, MEDIA_BYTES_MAX + 1)

    assert "is larger than 20 MiB" in why(str(path))
    assert "is larger than 20 MiB" in why(PNG + bytes(MEDIA_BYTES_MAX))


def test_a_server_opens_neither_its_files_nor_its_buckets_for_strangers():
    reach = Reach(local=False)

    for cell in ("/etc/passwd", "file:///etc/passwd", {"bytes": None, "path": "/etc/passwd"}):
        assert "expected a URL" in why(cell, reach)
        reach = Reach(local=False)
    for cell in ("s3://b/k.png", "gs://b/k.png"):
        assert "leads nowhere from here" in why(cell, Reach(local=False))
    assert only(PNG, Reach(local=False)).data == coded(PNG)


# ------------------------------------------------------------------------------------------ buckets


def test_objects_of_a_bucket_are_read(bucket):
    from batchmill.rows.bucket import BucketFiles

    files = BucketFiles.of(bucket)
    import io

    files.put("in/a b.pdf", io.BytesIO(PDF))
    files.put("in/i", io.BytesIO(PNG))
    files.put("in/none", io.BytesIO(b""))

    assert rows([f"{bucket}/in/i", f"{bucket}/in/a b.pdf"]) == [
        [Image(data=coded(PNG), media_type="image/png")],
        [Document(data=coded(PDF), name="a b.pdf")],
    ]
    assert f"{bucket}/in/gone: there is no such object" in why(f"{bucket}/in/gone")
    assert f"{bucket}/in/none: is no PNG" in why(f"{bucket}/in/none")


# ------------------------------------------------------------------------------------- many of them


def test_all_that_cannot_be_used_is_told_at_once_and_only_then():
    found = {f"https://x.test/{n}": PNG for n in (0, 2, 5)}

    def fetch(link):
        if link in found:
            return found[link]
        raise InvalidRow("its server answers 404 Not Found")

    with pytest.raises(InvalidRow) as raised:
        rows([f"https://x.test/{n}" for n in range(6)], Reach(fetch=fetch), links=())

    assert str(raised.value) == (
        "t.csv, row 2, column i: https://x.test/1: its server answers 404 Not Found. 2 more cannot "
        "be used: t.csv, row 4, column i; t.csv, row 5, column i. Nothing has been sent. Mend such "
        "rows, or say --skip-bad-images to leave them out."
    )


def test_where_nothing_can_be_fetched_at_all_it_ends_soon():
    asked = []

    def fetch(link):
        asked.append(link)
        raise InvalidRow("there is no such host")

    with pytest.raises(InvalidRow, match=r"99 more cannot be used.*and 79 more\. Reading ended"):
        rows([f"https://x.test/{n}" for n in range(5000)], Reach(fetch=fetch), links=())
    assert len(asked) < UNUSABLE_MAX + 2 * AT_ONCE


def test_rows_without_their_image_can_be_left_out_and_are_told_with_the_reason():
    def fetch(link):
        if link.endswith("1"):
            raise InvalidRow("its server answers 404 Not Found")
        return PNG

    reach = Reach(fetch=fetch, skip=True)
    rows([f"https://x.test/{n}" for n in range(3)], reach, links=())

    assert reach.check() == {1: "https://x.test/1: its server answers 404 Not Found"}


def test_where_most_rows_have_no_image_something_greater_is_wrong_and_it_ends():
    def fetch(link):
        raise InvalidRow("its host cannot be looked up now")

    with pytest.raises(InvalidRow, match=r"Nothing has been sent\.$"):
        rows([f"https://x.test/{n}" for n in range(500)], Reach(fetch=fetch, skip=True), links=())


def test_links_are_fetched_several_at_once_and_come_in_the_order_of_rows():
    together = threading.Barrier(AT_ONCE, timeout=10)

    def fetch(link):
        together.wait()  # ends only if so many are under way
        time.sleep(0.001 * (hash(link) % 5))
        return PNG + link.encode()

    links = [f"https://x.test/{n}" for n in range(3 * AT_ONCE)]

    found = rows(links, Reach(fetch=fetch), links=())

    assert [base64.b64decode(media.data)[len(PNG) :].decode() for [media] in found] == links


def test_no_more_than_a_few_are_in_memory_at_once():
    begun = []

    def job(n):
        return lambda: begun.append(n) or n

    stream: Any = in_order((job(n) for n in range(1000)), 8)
    for n in range(10):
        assert next(stream) == n
        assert len(begun) <= n + 9
    stream.close()
    assert len(begun) < 30


def test_a_row_may_have_several_images_and_an_empty_cell_is_none(world):
    path = world.folder / "i.png"
    path.write_bytes(PNG)
    table = world.table("t.csv", f"a,b\n{path},https://x.test/i\n,https://x.test/j\n,\n")

    world.cut(table, prompt="What?", images=("a", "b"))

    found = [
        [part["image_url"]["url"] for part in body["messages"][-1]["content"][1:]]
        if isinstance(body["messages"][-1]["content"], list)
        else []
        for body in world.bodies()
    ]
    data = "data:image/png;base64," + coded(PNG)
    assert found == [[data, "https://x.test/i"], ["https://x.test/j"], []]


@pytest.mark.parametrize(
    ("flag", "recipe"),
    [
        ("--image-max-side", {"image_max_side": 64}),
        ("--skip-bad-images", {"skip_bad_images": True}),
    ],
)
def test_flags_of_images_without_images_are_a_mistake(world, flag, recipe):
    with pytest.raises(InvalidRecipe, match=flag):
        world.cut(world.table("t.csv", "a\n1\n"), prompt="{{ a }}", **recipe)


def test_pictures_in_ready_made_lines_are_not_made_smaller(world):
    lines = '{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{}}\n'
    with pytest.raises(InvalidRecipe, match="--image-max-side"):
        world.cut(world.table("t.jsonl", lines), image_max_side=64)


def test_a_table_of_large_images_is_cut_in_little_memory(world):
    # given: 80 images of 5 MiB, which together are 560 MB of requests
    import resource

    path = world.folder / "i.png"
    path.write_bytes(PNG + os.urandom(5 << 20))
    table = world.table("t.csv", "i\n" + f"{path}\n" * 80)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    # when
    world.cut(table, prompt="What?", images=("i",))

    # then
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 340 << 10  # KiB
