"""What holds for every test: no network beyond this machine, nobody's keys, a home of its own."""

import ipaddress
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from tests import promises

# A slow machine is no bug; and on CI the same commit gets the same verdict twice.
hypothesis.settings.register_profile("batchmill", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("batchmill")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(promises.Listener(), "promises")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    promises.name_promises(items)


class BeyondLoopbackError(RuntimeError):
    """Not an OSError: no code under test shall take it for bad weather and try again."""

    def __init__(self, host: object) -> None:
        super().__init__(
            f"a test reached for {host}; tests speak to this machine only. "
            "Start a server on 127.0.0.1, or use the simulated provider."
        )


def _is_here(host: str | bytes | None) -> bool:
    name = host.decode() if isinstance(host, bytes) else host
    if not name or name == "localhost":  # no name at all means every address of our own
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:  # a name: to look it up is to use the network
        return False
    return address.is_loopback or address.is_unspecified


@dataclass
class Guard:
    """Whether other machines are barred: always, but within a test of `live_vendors` that is wished for."""

    lifted: bool = False


@pytest.fixture(scope="session", autouse=True)
def loopback_only() -> Iterator[Guard]:
    """Bar other machines at the two places where Python names them.

    What passes below them: uvloop's looking up of names (aiohttp's connections on it do not), child
    processes, libpq, obstore. They are given loopback addresses, and have no keys to spend.
    """
    guard = Guard()
    connect, connect_ex, getaddrinfo = (
        socket.socket.connect,
        socket.socket.connect_ex,
        socket.getaddrinfo,
    )

    def check(sock: socket.socket, address: Any) -> None:
        if sock.family in {socket.AF_INET, socket.AF_INET6}:
            bar(address[0])

    def bar(host: str | bytes | None) -> None:
        if not guard.lifted and not _is_here(host):
            raise BeyondLoopbackError(host)

    def connect_here(sock: socket.socket, address: Any) -> None:
        check(sock, address)
        connect(sock, address)

    def connect_ex_here(sock: socket.socket, address: Any) -> int:
        check(sock, address)
        return connect_ex(sock, address)

    def getaddrinfo_here(host: str | bytes | None, *args: Any, **kwargs: Any) -> Any:
        bar(host)
        return getaddrinfo(host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", connect_here)
        patch.setattr(socket.socket, "connect_ex", connect_ex_here)
        patch.setattr(socket, "getaddrinfo", getaddrinfo_here)
        yield guard


@pytest.fixture(scope="session", autouse=True)
def nobodys_keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """Strip the environment before any session-wide server is started in it; yield what it held."""
    stripped: dict[str, str] = {}
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("BATCHMILL_") or name.endswith("_API_KEY"):
                stripped[name] = os.environ[name]
                patch.delenv(name)
        patch.setenv("BATCHMILL_HOME", str(tmp_path_factory.mktemp("home")))
        yield stripped


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHMILL_HOME", str(tmp_path / "home"))
