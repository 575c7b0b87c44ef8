"""Rows whose image is certainly gone are told from those whose server is only in a bad mood."""

import asyncio
import json
import socket
import threading

import pytest
from tests.rows.strangers import stranger

from batchmill.core.rowset import NO_ROWS, rows_of
from batchmill.rows.segments import Segments
from batchmill.rows.web import Bounds, OpenWeb
from batchmill.wire.translate import links

PNG = b"\x89PNG\r\n\x1a\nrest"
LINK = "https://x.test/i.png"


class Clock:
    async def sleep(self, seconds):
        raise AssertionError("a look is not worth waiting for")


@pytest.fixture
def server():
    with stranger() as found:
        yield found


def gone(*links, **bounds) -> set[str]:
    quick = Bounds(**{"connect_s": 2, "look_s": 5, **bounds})
    return asyncio.run(OpenWeb(Clock(), allow_private=True, bounds=quick).gone(links))


# ---------------------------------------------------------------------------------- bodies' links


def user(*content):
    return {"messages": [{"role": "user", "content": list(content)}]}


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        ("mistral.chat", user({"type": "image_url", "image_url": LINK})),
        ("openai.chat", user({"type": "image_url", "image_url": {"url": LINK}})),
        (
            "openai.responses",
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": LINK}]}]},
        ),
        (
            "openai.responses",
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_url": LINK}]}]},
        ),
        (
            "anthropic.messages",
            {"max_tokens": 9, **user({"type": "image", "source": {"type": "url", "url": LINK}})},
        ),
        (
            "anthropic.messages",
            {"max_tokens": 9, **user({"type": "document", "source": {"type": "url", "url": LINK}})},
        ),
        (
            "gemini.generate",
            {"contents": [{"parts": [{"fileData": {"mimeType": "image/png", "fileUri": LINK}}]}]},
        ),
        (
            "gemini.generate",
            {"contents": [{"parts": [{"file_data": {"mime_type": "i", "file_uri": LINK}}]}]},
        ),
        ("mistral.chat", user({"type": "document_url", "document_url": LINK})),
    ],
)
def test_links_are_found_in_the_words_of_every_dialect(dialect, body):
    assert links(dialect, json.dumps(body).encode()) == [LINK]


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        ("openai.chat", {"messages": [{"role": "user", "content": f"look at {LINK}"}]}),
        ("openai.chat", user({"type": "text", "text": LINK})),
        (
            "openai.chat",
            user({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}),
        ),
        (
            "gemini.generate",
            {"contents": [{"parts": [{"fileData": {"fileUri": "gs://bucket/i.png"}}]}]},
        ),
        ("openai.chat", user() | {"metadata": {"source": "web", "url": LINK}}),
        ("openai.chat", []),
        ("openai.chat", None),
    ],
)
def test_what_only_looks_like_a_link_to_an_image_is_none(dialect, body):
    assert links(dialect, json.dumps(body).encode()) == []


def test_a_body_that_is_no_json_or_very_deep_has_no_links():
    assert links("openai.chat", b"{") == []
    assert links("openai.chat", b"[" * 100_000 + b"]" * 100_000) == []


# ---------------------------------------------------------------------------------- gone, or not


def test_what_is_not_found_any_more_is_gone(server):
    dead = {server.shows("/404", b"", status=404), server.shows("/410", b"", status=410)}

    assert gone(*dead, server.shows("/i", PNG)) == dead


@pytest.mark.parametrize("status", [401, 403, 429, 451, 500, 502, 503])
def test_a_server_in_a_bad_mood_proves_nothing(server, status):
    assert gone(server.shows("/i", b"", status=status)) == set()


def test_a_server_that_does_not_answer_proves_nothing(server):
    free = threading.Event()

    def hang_up(request):
        request.close_connection = True

    links = [
        server.does("/slow", lambda _: free.wait(10)),
        server.does("/hangs-up", hang_up),
        "http://127.0.0.1:1/nobody-listens",
    ]
    assert gone(*links, look_s=0.3) == set()
    free.set()


def test_a_server_that_refuses_head_is_asked_for_the_first_bytes(server):
    def only_get(request):
        status = 206 if request.command == "GET" else 404
        request.send_response(status)
        request.send_header("content-type", "image/png")
        request.send_header("content-length", str(len(PNG)))
        request.end_headers()
        if request.command == "GET":
            request.wfile.write(PNG)

    link = server.does("/i", only_get)

    assert gone(link) == set()
    assert server.heard == ["HEAD /i", "GET /i"]
    assert server.headers[1]["range"] == "bytes=0-1023"


def test_a_page_in_the_place_of_a_picture_means_that_the_picture_is_gone(server):
    page = server.shows("/page", b"<html>sorry</html>", "text/html; charset=utf-8")
    # and what a server is mistaken about, or does not say, is looked at
    mistaken = server.shows("/mistaken", PNG, "text/html")
    unsaid = server.shows("/unsaid", b"anything", "application/octet-stream")

    assert gone(page, mistaken, unsaid) == {page}


def test_a_host_that_nobody_knows_is_gone_and_one_that_cannot_be_looked_up_now_is_not(monkeypatch):
    codes = {"never.test": socket.EAI_NONAME, "later.test": socket.EAI_AGAIN}

    def getaddrinfo(host, *args, **more):
        raise socket.gaierror(codes[host], "no")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    assert gone("http://never.test/i", "http://later.test/i") == {"http://never.test/i"}


def test_redirects_are_followed_to_see(server):
    dead = server.leads("/moved", "/nowhere")
    alive = server.leads("/here", server.shows("/there", PNG))

    assert gone(dead, alive, server.leads("/round", "/round")) == {dead}


def test_each_link_is_looked_at_once(server):
    link = server.shows("/i", PNG)

    gone(link, link, link)

    assert server.heard == ["HEAD /i"]


def test_a_look_ends_in_time_and_what_was_not_looked_at_counts_as_there(server):
    free = threading.Event()
    slow = [server.does(f"/{n}", lambda _: free.wait(10)) for n in range(40)]

    assert gone(*slow, looks_s=0.5) == set()
    free.set()


# ---------------------------------------------------------------------------------- of a shard


class Web:
    """Knows which links are gone, and remembers what it was asked."""

    def __init__(self, *gone):
        self.dead, self.asked = set(gone), []

    def fetching(self):
        raise AssertionError("links that a provider takes are not fetched")

    async def gone(self, links):
        self.asked += sorted(links)
        return self.dead & set(links)


def looked(world, web, rows):
    segments = Segments(world.blobs, web=lambda: web)
    [shard] = world.shards
    return asyncio.run(segments.gone_media(world.batch, world.ranges, shard, rows_of(rows)))


def cut(world, *cells):
    world.cut(world.table("t.csv", "\n".join(("i", *cells, ""))), prompt="?", images=("i",))


def test_of_the_rows_asked_about_those_with_a_dead_link_are_named(world):
    cut(world, *(f"https://x.test/{n}" for n in (0, 1, 2, 1, 4)))
    web = Web("https://x.test/1", "https://x.test/4")

    assert looked(world, web, [0, 1, 3]) == rows_of([1, 3])
    assert web.asked == ["https://x.test/0", "https://x.test/1"]  # each once; of no other row


def test_rows_whose_image_travelled_as_bytes_are_not_looked_at(world):
    path = world.folder / "i.png"
    path.write_bytes(PNG)
    cut(world, str(path))
    web = Web()

    assert looked(world, web, [0]) == NO_ROWS
    assert web.asked == []


def test_nobody_to_ask_is_no_reason_to_give_a_row_up(world):
    cut(world, "https://x.test/0")
    [shard] = world.shards

    found = world.segments.gone_media(world.batch, world.ranges, shard, rows_of([0]))

    assert asyncio.run(found) == NO_ROWS
