"""Links are fetched within bounds of size and time, and what goes wrong is said in a few words."""

import threading
import time

import pytest
from tests.rows.strangers import stranger

from batchmill.errors import InvalidRow
from batchmill.rows.web import Bounds, OpenWeb

PNG = b"\x89PNG\r\n\x1a\nrest"


class Clock:
    """Waits no time at all, and remembers how long it should have been."""

    def __init__(self):
        self.slept = []

    async def sleep(self, seconds):
        self.slept.append(seconds)


@pytest.fixture
def server():
    with stranger() as found:
        yield found


@pytest.fixture
def clock():
    return Clock()


def fetched(clock, link, **bounds) -> bytes:
    web = OpenWeb(clock, allow_private=True, bounds=Bounds(**bounds))
    with web.fetching() as fetch:
        return fetch(link)


def test_a_link_brings_what_it_leads_to_and_a_redirect_is_followed(server, clock):
    server.shows("/there", PNG)
    server.leads("/next", "there", status=307)  # from where it stands
    link = server.leads("/here", server.url("/next"))

    assert fetched(clock, link) == PNG
    assert server.heard == ["GET /here", "GET /next", "GET /there"]


def test_a_server_is_told_who_asks_and_nothing_else_about_us(server, clock):
    link = server.shows("/i", PNG)

    fetched(clock, link)

    assert set(server.headers[0]) == {"host", "user-agent", "accept", "accept-encoding"}


def test_a_circle_of_redirects_ends(server, clock):
    link = server.leads("/i", "/i")

    with pytest.raises(InvalidRow, match="redirected more than 5 times"):
        fetched(clock, link)
    assert len(server.heard) == 6


def test_no_more_is_read_than_may_be(server, clock):
    link = server.shows("/i", PNG + b"x" * 1000)

    with pytest.raises(InvalidRow, match="larger than"):
        fetched(clock, link, size_bytes=1000)
    assert len(fetched(clock, link, size_bytes=2000)) == len(PNG) + 1000


def test_a_body_that_never_says_its_size_is_cut_off(server, clock):
    sent = []

    def endless(request):
        request.send_response(200)
        request.send_header("content-type", "image/png")
        request.send_header("connection", "close")
        request.end_headers()
        try:
            while len(sent) < 100_000:
                request.wfile.write(b"x" * 65536)
                sent.append(1)
        finally:
            request.close_connection = True

    with pytest.raises(InvalidRow, match="larger than 1 MiB"):
        fetched(clock, server.does("/i", endless), size_bytes=1 << 20)
    assert len(sent) < 1000


def test_a_body_that_grows_when_unpacked_is_not_unpacked(server, clock):
    import gzip

    packed = gzip.compress(b"\0" * 10_000_000)

    def bomb(request):
        request.send_response(200)
        request.send_header("content-encoding", "gzip")
        request.send_header("content-length", str(len(packed)))
        request.end_headers()
        request.wfile.write(packed)

    assert fetched(clock, server.does("/i", bomb)) == packed


def test_a_server_that_drips_is_given_up(server, clock):
    enough = threading.Event()

    def drip(request):
        request.send_response(200)
        request.send_header("content-length", "1000")
        request.end_headers()
        while not enough.wait(0.05):
            request.wfile.write(b"x")

    link = server.does("/i", drip)
    began = time.monotonic()
    with pytest.raises(InvalidRow, match=r"does not arrive within 0\.3 s"):
        fetched(clock, link, fetch_s=0.3, pauses_s=())
    enough.set()
    assert time.monotonic() - began < 5


def test_what_may_be_better_in_a_moment_is_tried_again(server, clock):
    tries = []

    def at_last(request):
        tries.append(1)
        status = [503, 429, 200][len(tries) - 1]
        request.send_response(status)
        request.send_header("content-length", str(len(PNG)))
        request.end_headers()
        request.wfile.write(PNG)

    assert fetched(clock, server.does("/i", at_last)) == PNG
    assert clock.slept == [1.0, 5.0]


def test_what_will_not_be_better_is_not(server, clock):
    with pytest.raises(InvalidRow, match="answers 404 Not Found"):
        fetched(clock, server.url("/nothing"))
    assert server.heard == ["GET /nothing"]
    assert clock.slept == []


def test_a_server_that_hangs_up_or_is_not_there_is_said_to_be_so(server, clock):
    def hang_up(request):
        request.close_connection = True

    with pytest.raises(InvalidRow, match="its server breaks off"):
        fetched(clock, server.does("/i", hang_up))
    with pytest.raises(InvalidRow, match="cannot be connected to"):
        fetched(clock, "http://127.0.0.1:1/i")


@pytest.mark.parametrize("link", ["http://", "http://[::1", "mailto:a@b", "http://x:99999/", "x"])
def test_what_is_no_link_is_said_to_be_none(clock, link):
    with pytest.raises(InvalidRow):
        fetched(clock, link, pauses_s=())


def test_whoever_stops_in_the_middle_waits_for_nobody(server, clock):
    # given: a server that keeps a fetch waiting
    release, begun = threading.Event(), threading.Event()

    def slow(request):
        begun.set()
        release.wait(20)

    link = server.does("/i", slow)
    web = OpenWeb(clock, allow_private=True)
    ended = []
    # when: the one who asked is gone
    with web.fetching() as fetch:

        def ask():
            try:
                fetch(link)
            except BaseException as error:  # noqa: BLE001
                ended.append(type(error).__name__)

        asker = threading.Thread(target=ask)
        asker.start()
        assert begun.wait(10)
        began = time.monotonic()
    # then
    asker.join(5)
    assert time.monotonic() - began < 5
    assert ended == ["CancelledError"]
    release.set()
