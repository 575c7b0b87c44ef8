"""What the dispatcher drives: anything that answers one request at a time."""

from typing import Protocol

from batchmill.core.outcome import Result
from batchmill.core.request import Request
from batchmill.ports import Answer


class Endpoint(Protocol):
    """A place to send a request to. Concurrent calls are the rule; cancelling one must stop it."""

    async def send(self, request: Request, url: str) -> Answer:
        """
        Send a request, e.g. to url `/v1/chat/completions`, and return the whole answer.

        Raises `NotSent` where it never left (it is sent again), `ProviderSilent` where it may have
        been worked on (it is not).
        """
        ...

    async def probe(self) -> str:
        """Make a free call that needs the key, and say in a few words what it told."""
        ...


class Judge(Protocol):
    """How an HTTP answer becomes a `Result`, e.g. `wire.openai.result`."""

    def __call__(self, custom_id: str, status: int, body: bytes, dialect: str, /) -> Result: ...
