"""One run: a shard on its way through the dispatcher, and what is known of it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from batchmill.core.outcome import Outcome, Result
from batchmill.core.request import Request
from batchmill.live.endpoint import Judge
from batchmill.live.ledger import Ledger, Replayed, Stopped, Syncer


# Compared by identity: it is a thing, not a value.
@dataclass(slots=True, kw_only=True, eq=False)
class Run:
    """Named after its shard; a second one of that name finds the ledger of the first."""

    shard_id: str
    url: str  #: of the request lines
    dialect: str
    judge: Judge
    names_account: Callable[[bytes], bool]  #: whether an error is about the key or the credit
    requests: Callable[[], AsyncIterator[Sequence[Request]]]
    path: Path  #: of the ledger, which is there already
    succeeded: int = 0
    unsuccessful: int = 0
    stopped: Stopped | None = None
    ending: bool = False  #: the last row is recorded; its ledger is being closed
    ended: bool = False  #: every row has a result, and every result is durable
    trouble: Exception | None = None  #: why it cannot go on; whoever asks next is told
    ledger: Ledger | None = None
    ready: deque[Request] = field(default_factory=deque[Request])
    passed: bool = False  #: a row of it succeeded in this process, so its key is good
    barred: int = 0  #: answers of 403 since then
    under_way: int = 0  #: rows taken and not yet recorded
    fed: bool = False  #: the last request was read
    feeding: asyncio.Lock = field(default_factory=asyncio.Lock)
    _feed: AsyncIterator[Sequence[Request]] | None = None
    _done: set[str] = field(default_factory=set[str])

    @property
    def over(self) -> bool:
        return self.fed and not self.ready and not self.under_way

    def remember(self, found: Replayed) -> None:
        """Take over the counts of a ledger."""
        self.succeeded, self.unsuccessful = found.succeeded, found.unsuccessful
        self.stopped = self.stopped or found.stopped

    async def open(self, syncer: Syncer) -> Ledger:
        """Open the ledger, once, and skip what it holds. Hold `feeding` while calling."""
        if self.ledger is None:
            self.ledger = await asyncio.to_thread(Ledger.open, self.path, syncer)
            self._done = self.ledger.found.done
            self.remember(self.ledger.found)
        return self.ledger

    async def feed(self) -> None:
        """Read the next chunk of requests. Hold `feeding` while calling."""
        if self._feed is None:
            self._feed = self.requests()
        chunk = await anext(self._feed, None)
        if chunk is None:
            self.fed = True
            self._done = set()
        elif self._done:
            self.ready.extend(r for r in chunk if r.custom_id not in self._done)
        else:
            self.ready.extend(chunk)

    def take(self) -> Request:
        self.under_way += 1
        return self.ready.popleft()

    def record(self, result: Result) -> None:
        """Note what became of a row that was taken. Raises `StorageTrouble`."""
        assert self.ledger is not None, "a row is taken from an opened run"
        self.ledger.append(result)
        self.under_way -= 1
        if result.outcome is Outcome.SUCCEEDED:
            self.succeeded += 1
            self.passed, self.barred = True, 0
        else:
            self.unsuccessful += 1

    async def drain(self) -> None:
        """Record every row that was not sent as what the stop makes of it."""
        assert self.stopped is not None, "only a stopped run is drained"
        while True:
            while self.ready:
                self.record(self.stopped.result(self.take().custom_id))
            if self.fed:
                return
            await self.feed()

    async def close(self) -> None:
        """Wait until all is durable and let go of the ledger."""
        if self.ledger is not None:
            ledger, self.ledger = self.ledger, None
            await asyncio.to_thread(ledger.close)
