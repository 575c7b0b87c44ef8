"""An endpoint made of a script, a clock that jumps, and a dispatcher between them."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from batchmill.core.outcome import Result
from batchmill.core.request import Request
from batchmill.live import ledger
from batchmill.live.dispatcher import Dispatcher
from batchmill.live.run import Run
from batchmill.ports import Answer
from batchmill.wire import failures, openai

CHAT = b'{"choices":[{"message":{"content":"yes"},"finish_reason":"stop"}],"model":"m","usage":{"prompt_tokens":3,"completion_tokens":1}}'
Reply = Callable[[str], Awaitable[Answer]]


class JumpClock:
    """Sleeping takes no time, and is written down."""

    def __init__(self) -> None:
        self.at = 1_700_000_000.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.at

    def awake(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += seconds
        await asyncio.sleep(0)


class ScriptedEndpoint:
    """Answers `yes`, unless the script has something else for a row's next call."""

    def __init__(self) -> None:
        self.script: dict[str, list[Reply]] = {}
        self.otherwise: Reply | None = None
        self.calls: Counter[str] = Counter()
        self.in_flight = self.in_flight_max = 0

    async def probe(self) -> str:
        return "a script"

    async def send(self, request: Request, url: str) -> Answer:
        self.calls[request.custom_id] += 1
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self.in_flight)
        try:
            await asyncio.sleep(0)
            planned = self.script.get(request.custom_id)
            reply = planned.pop(0) if planned else self.otherwise
            return await reply(request.custom_id) if reply else Answer(200, {}, CHAT)
        finally:
            self.in_flight -= 1


class Bench:
    """A dispatcher, and what is needed to start runs in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = JumpClock()
        self.endpoint = ScriptedEndpoint()
        self.dispatchers: list[Dispatcher] = []

    def dispatcher(self, most: int = 8, patience_s: float = 0.05) -> Dispatcher:
        made = Dispatcher(
            self.endpoint,
            self.clock,
            name="endpoint http://gpu1/v1",
            most=most,
            patience_s=patience_s,
        )
        self.dispatchers.append(made)
        return made

    def run(self, rows: int, shard_id: str = "batch_x-0001", first: int = 0) -> Run:
        async def requests() -> AsyncIterator[Sequence[Request]]:
            numbers = range(first, first + rows)
            made = [Request(f"{shard_id}-{n}", b'{"n":%d}' % n) for n in numbers]
            for start in range(0, rows, 10):
                await asyncio.sleep(0)
                yield made[start : start + 10]

        path = self.folder / f"{shard_id}.ledger"
        ledger.create(path)
        return Run(
            shard_id=shard_id,
            url="/v1/chat/completions",
            dialect="openai.chat",
            judge=openai.result,
            names_account=failures.names_account,
            requests=requests,
            path=path,
        )

    async def ended(self, *runs: Run) -> None:
        await until(lambda: all(run.ended or run.trouble for run in runs))
        for run in runs:
            if run.trouble:
                raise run.trouble

    @staticmethod
    def results(run: Run) -> dict[str, Result]:
        found = [result for chunk in ledger.read(run.path) for result in chunk]
        by_id = {result.custom_id: result for result in found}
        assert len(by_id) == len(found), "a row has two results"
        return by_id


async def until(fact: Callable[[], object], within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while not fact():  # noqa: ASYNC110 (a fact has no event)
            await asyncio.sleep(0.002)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    yield made
    for dispatcher in made.dispatchers:
        await dispatcher.aclose()


@pytest.fixture(name="until")
def _until() -> Callable[..., Awaitable[None]]:
    return until
