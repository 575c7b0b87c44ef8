"""Time, randomness, ids, network and files: the world outside, behind doors."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, Protocol


class Clock(Protocol):
    """Time, and waiting."""

    def now(self) -> float:
        """Return unix seconds; may jump when the machine's clock is set."""
        ...

    def awake(self) -> float:
        """Return seconds that only grow and go on while the machine is suspended (leases)."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class Random(Protocol):
    def random(self) -> float:
        """Return a float in [0, 1)."""
        ...


class Ids(Protocol):
    def batch(self) -> str:
        """Return a new batch id: `batch_`, then letters and digits that sort by time."""
        ...

    def token(self) -> str:
        """Return a short unguessable word, `[a-z0-9]+`."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back over HTTP, whole. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Upload:
    """A body too large to be held in memory, and known in size before it is sent."""

    size_bytes: int
    chunks: Callable[[], AsyncIterator[bytes]]  #: from the start at each call


class Download(Protocol):
    """An answer whose body is still on its way. Header names are lower case."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes; raise `ProviderSilent` where it breaks off."""
        ...


class Http(Protocol):
    """The one client. It never repeats a call and never follows a redirect."""

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | Upload | None = None,
        timeout_s: float,
        idle_timeout_s: float | None = None,
        send_before: float | None = None,
    ) -> Answer:
        """
        Raise `NotSent`, or `ProviderSilent` where the other side may have acted.

        *timeout_s* bounds the whole call; with *idle_timeout_s* only what follows the last chunk of
        an `Upload`, and each silence before it is bounded by that. *send_before* (`Clock.awake`) is
        looked at once more, just before the headers are written.
        """
        ...

    def download(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        idle_timeout_s: float,
    ) -> AbstractAsyncContextManager[Download]:
        """Ask for a body that is read as it comes. Raises as `request` does; free to repeat."""
        ...


class Web(Protocol):
    """
    Other people's servers, at the links that stand in a table.

    Whoever wrote the table chose them, so none of them leads to an address that only this machine
    or its network can see, unless the settings allow that.
    """

    def fetching(self) -> AbstractContextManager[Callable[[str], bytes]]:
        """
        Lend a call that returns what a link leads to, bounded in size and time.

        It blocks, and several threads may make it at once. It raises `InvalidRow` with a few words
        about what went wrong; the caller knows the row.
        """
        ...

    async def gone(self, links: Collection[str]) -> set[str]:
        """
        Return the *links* that certainly lead to no image or document: nothing there, no such host.

        A server that is slow, busy, broken or does not let us in proves nothing.
        """
        ...


class Blobs(Protocol):
    """Files by key (`batches/x/requests/00001.jsonl`), in a folder or a bucket. Blocking calls."""

    def create(self, key: str) -> AbstractContextManager[BinaryIO]:
        """Open for writing. Visible whole, on leaving; nothing remains after an error."""
        ...

    def open(self, key: str) -> AbstractContextManager[BinaryIO]:
        """Open for reading; raise `StorageTrouble` where it is not there."""
        ...

    def exists(self, key: str) -> bool: ...

    def list(self, prefix: str) -> list[str]: ...

    def delete(self, prefix: str) -> None: ...
