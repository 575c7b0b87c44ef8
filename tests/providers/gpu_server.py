"""A live endpoint on loopback that counts, and providers in front of it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from batchmill import providers
from batchmill.core.outcome import Result
from batchmill.core.request import Request
from batchmill.ports import Offer
from batchmill.providers import Context, Knobs
from batchmill.providers._http import AiohttpClient
from batchmill.providers.live import LiveProvider

SHARD = "batch_x-0001"
Answering = Callable[[web.Request, int], Awaitable[web.StreamResponse]]


class RealClock:
    def now(self) -> float:
        return 1_700_000_000.0 + self.awake()

    def awake(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def chat(text: str) -> web.Response:
    return web.json_response(
        {
            "model": "m",
            "choices": [{"message": {"content": text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 2, "completion_tokens": 1},
        }
    )


def wrong(status: int, message: str, **headers: str) -> web.Response:
    return web.json_response({"error": {"message": message}}, status=status, headers=headers)


async def hang(_: web.Request, n: int) -> web.StreamResponse:
    if n == 1:
        await asyncio.get_running_loop().create_future()
    return chat("ok")


@dataclass
class GpuServer:
    """An OpenAI-compatible server that counts; `weather` may answer in its place."""

    weather: Answering | None = None
    calls: Counter[int] = field(default_factory=Counter)
    keys: set[str] = field(default_factory=set)
    paths: set[str] = field(default_factory=set)
    gone: int = 0  #: connections that were closed while we worked
    in_flight: int = 0
    port: int = 0
    _runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def up(self) -> None:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_post("/v1/{tail:.*}", self._answer)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def down(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        n = (await request.json())["n"]
        self.calls[n] += 1
        self.keys.add(request.headers.get("authorization", ""))
        self.paths.add(request.path)
        self.in_flight += 1
        try:
            if self.weather is not None:
                return await self.weather(request, n)
            return chat(f"answer {n}")
        except asyncio.CancelledError:
            self.gone += 1
            raise
        finally:
            self.in_flight -= 1


def offer(rows: int, shard_id: str = SHARD, **more: Any) -> Offer:
    async def requests() -> AsyncIterator[Sequence[Request]]:
        for start in range(0, rows, 50):
            numbers = range(start, min(start + 50, rows))
            yield [Request(f"{shard_id}-{n}", b'{"model":"m","n":%d}' % n) for n in numbers]

    facts = {"dialect": "openai.chat", "url": "/v1/chat/completions", "model": "m"} | more
    return Offer(shard_id=shard_id, count=rows, requests=requests, **facts)


@dataclass
class Setting:
    """A server, and providers in front of it that are all closed in the end."""

    folder: Path
    server: GpuServer = field(default_factory=GpuServer)
    client: AiohttpClient = field(default_factory=lambda: AiohttpClient(RealClock()))
    opened: list[LiveProvider] = field(default_factory=list)

    def provider(self, base_url: str | None = None, **more: Any) -> LiveProvider:
        options = {k: more.pop(k) for k in list(more) if k not in Knobs.__dataclass_fields__}
        knobs = Knobs(
            base_url=self.server.url if base_url is None else base_url, options=options, **more
        )
        made = providers.spec("live").open(
            Context(
                name="gpu1",
                lane="live",
                knobs=knobs,
                clock=RealClock(),
                ids=None,  # type: ignore[arg-type]
                http=lambda: self.client,
                folder=self.folder,
            )
        )
        assert isinstance(made, LiveProvider)
        self.opened.append(made)
        return made

    async def answers(self, provider: LiveProvider, asked: Offer) -> dict[str, Result]:
        await ended(provider, asked)
        found = [r async for chunk in provider.results(asked) for r in chunk]
        assert len({r.custom_id for r in found}) == len(found)
        return {r.custom_id: r for r in found}


async def ended(provider: LiveProvider, asked: Offer) -> None:
    await until_true(lambda: provider.check(asked), lambda checked: checked.ended)


async def until_true(ask: Callable[[], Awaitable[Any]], fact: Callable[[Any], object]) -> Any:
    async with asyncio.timeout(20):
        while not fact(answer := await ask()):  # noqa: ASYNC110 (a fact has no event)
            await asyncio.sleep(0.005)
    return answer


async def until(fact: Callable[[], object]) -> None:
    async def ask() -> object:
        return fact()

    await until_true(ask, bool)
