"""No link of a table leads to an address that only this machine or its network can see."""

import _socket
import socket

import pytest
from tests.rows.strangers import stranger

from batchmill.errors import InvalidRow
from batchmill.rows.addresses import is_public
from batchmill.rows.web import Bounds, OpenWeb

QUICK = Bounds(connect_s=5, fetch_s=5, pauses_s=())


class Clock:
    """Waits no time at all, and remembers how long it should have been."""

    def __init__(self):
        self.slept = []

    async def sleep(self, seconds):
        self.slept.append(seconds)


def fetched(link, **how) -> bytes:
    with OpenWeb(Clock(), bounds=QUICK, **how).fetching() as fetch:
        return fetch(link)


@pytest.fixture
def server():
    with stranger() as found:
        yield found


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.255.254",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",  # carriers' own
        "100.100.100.200",  # Alibaba's metadata
        "169.254.169.254",  # everybody else's
        "168.63.129.16",  # Azure's, and it looks public
        "192.0.0.192",  # Oracle's
        "0.0.0.0",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "192.0.2.1",
        "198.18.0.1",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "fc00::1",
        "fd00:ec2::254",  # Amazon's metadata
        "ff02::1",
        "2001:db8::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:a9fe:a9fe",
        "::127.0.0.1",
        "64:ff9b::7f00:1",  # what 127.0.0.1 is called where only IPv6 is spoken
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "2002:7f00:1::",  # 6to4 of 127.0.0.1
        "2002:a9fe:a9fe::1",
        "2001:0:4136:e378:8000:63bf:f5ff:fffe",  # Teredo, of 10.0.0.1
        "localhost",  # no address at all
        "",
    ],
)
def test_an_address_that_not_everybody_can_reach_is_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "1.1.1.1",
        "172.32.0.1",
        "2606:4700::1111",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",  # what 8.8.8.8 is called where only IPv6 is spoken
        "2002:808:808::1",
    ],
)
def test_an_address_of_the_internet_is_public(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "017700000001",
        "0",
        "127.0.0.1.",
        "localhost",
        "LOCALHOST",
        "１２７.0.0.1",
        "①②⑦.⓪.⓪.①",
        "127。0。0。1",
        "%31%32%37.0.0.1",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::]",
        "somebody@127.0.0.1",
        "example.com:80@127.0.0.1",
    ],
)
def test_this_machine_is_never_reached_however_it_is_spelled(server, host, monkeypatch):
    real = socket.getaddrinfo

    def without_network(name, port, family=0, type=0, proto=0, flags=0):
        if name.lower() == "localhost":
            return real(name, port, family, type, proto, flags)
        # What is a number to the system, in any spelling, and no name that a server would be asked.
        return _socket.getaddrinfo(name, port, family, type, proto, socket.AI_NUMERICHOST)

    monkeypatch.setattr(socket, "getaddrinfo", without_network)
    server.shows("/secret", b"\x89PNG secret")

    with pytest.raises(InvalidRow):
        fetched(f"http://{host}:{server.port}/secret")

    assert server.heard == []


def test_what_is_barred_says_which_setting_would_allow_it_and_not_the_address(server, monkeypatch):
    resolves(monkeypatch, ["10.0.0.7"])

    with pytest.raises(InvalidRow, match="allow_private_links = true") as raised:
        fetched("http://inside.test/x")

    assert "10.0.0.7" not in str(raised.value)


def test_private_addresses_are_reached_where_the_settings_allow_it(server):
    link = server.shows("/i", b"\x89PNG")

    assert fetched(link, allow_private=True) == b"\x89PNG"


def resolves(monkeypatch, *answers):
    """Let every name mean the first of *answers*, then the second, and so on."""
    left = list(answers)

    def getaddrinfo(name, port, *args, **more):
        addresses = left.pop(0) if len(left) > 1 else left[0]
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def test_a_name_that_leads_to_a_private_address_is_refused(server, monkeypatch):
    resolves(monkeypatch, ["127.0.0.1"])
    server.shows("/secret", b"\x89PNG secret")

    with pytest.raises(InvalidRow, match="private or local address"):
        fetched(f"http://innocent.test:{server.port}/secret")

    assert server.heard == []


def test_a_name_that_means_something_else_the_second_time_is_refused_then(server, monkeypatch):
    # given: the first look-up is allowed, the second leads to where nobody may go
    resolves(monkeypatch, ["127.0.0.1"], ["127.0.0.2"])
    server.shows("/i", b"\x89PNG")
    link = f"http://rebind.test:{server.port}/i"
    asked = []

    def allowed(address):
        asked.append(address)
        return address == "127.0.0.1"

    # when / then
    assert fetched(link, allowed=allowed) == b"\x89PNG"
    with pytest.raises(InvalidRow, match="private or local address"):
        fetched(link, allowed=allowed)
    # then: what was asked about is what was connected to
    assert asked == ["127.0.0.1", "127.0.0.2"]
    assert server.heard == ["GET /i"]


def test_of_a_name_with_several_addresses_no_private_one_is_tried(server, monkeypatch):
    resolves(monkeypatch, ["127.0.0.2", "127.0.0.1"])
    server.shows("/i", b"\x89PNG")
    reached = []

    def allowed(address):
        reached.append(address)
        return address != "127.0.0.2"

    link = f"http://both.test:{server.port}/i"

    assert fetched(link, allowed=allowed) == b"\x89PNG"


def test_a_redirect_to_a_private_address_is_refused(server):
    # given: a public server (127.0.0.1, for once) that leads inside
    with stranger("127.0.0.2") as inside:
        inside.shows("/secret", b"\x89PNG secret")
        link = server.leads("/i", inside.url("/secret", "127.0.0.2"))

        # when / then
        with pytest.raises(InvalidRow, match="private or local address"):
            fetched(link, allowed=lambda address: address == "127.0.0.1")

        assert server.heard == ["GET /i"]
        assert inside.heard == []


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://x/y", "gopher://x", "data:,x", "//"])
def test_a_redirect_away_from_http_is_refused(server, to):
    link = server.leads("/i", to)

    with pytest.raises(InvalidRow):
        fetched(link, allow_private=True)


async def test_looking_whether_a_link_is_alive_keeps_to_the_same_rule(server):
    link = server.shows("/gone", b"", status=404)

    gone = await OpenWeb(Clock(), bounds=QUICK).gone([link])

    assert gone == set()  # nobody looked
    assert server.heard == []
