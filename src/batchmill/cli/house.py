"""The step from a command, which is synchronous, into the house, which is not."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING, Any

from batchmill.cli import INTERRUPTED
from batchmill.cli.log import log_to

if TYPE_CHECKING:
    from batchmill.settings import Settings
    from batchmill.wiring import House, Market

SAME_WISH_S = 0.3
SHOW_CURSOR = "\x1b[?25h"


SIGNALS = (signal.SIGINT, signal.SIGTERM)
Previous = Callable[[int, FrameType | None], Any] | int | None


@dataclass(slots=True)
class Stop:
    """
    The wish of whoever started us that we stop: Ctrl-C, or SIGTERM.

    Plain handlers and not the loop's: those hear nothing while it is busy, nor once it is closed.
    """

    wanted: bool = False
    _asked: asyncio.Event = field(default_factory=asyncio.Event)
    _heard_at: float = 0.0
    _before: dict[int, Previous] = field(default_factory=dict[int, Previous])

    def listen(self) -> None:
        """Hear signals from now on, where this is the main thread; others are not told of any."""
        loop = asyncio.get_running_loop()

        def heard(_: int, __: FrameType | None) -> None:
            self._hear()
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._asked.set)

        for number in SIGNALS:
            with suppress(ValueError):
                self._before[number] = signal.signal(number, heard)

    def forget(self) -> None:
        """Give the signals back; asked to stop, we are on our way out and need no more of them."""
        for number, before in self._before.items():
            signal.signal(number, signal.SIG_IGN if self.wanted else before)

    def ask(self) -> None:
        """Wish it ourselves."""
        self.wanted = True
        self._asked.set()

    def _hear(self) -> None:
        now = time.monotonic()
        if not self.wanted:
            self.wanted = True
            self._heard_at = now
        # A terminal, `timeout` or a supervisor may signal a process and its group: one wish, twice.
        if now - self._heard_at < SAME_WISH_S:
            return
        # The second time they mean it. What is durable stays so: that is what the store is for.
        if sys.stderr.isatty():
            os.write(2, SHOW_CURSOR.encode() + b"\n")
        os._exit(INTERRUPTED)

    async def within(self, seconds: float, *tasks: "asyncio.Future[Any]") -> None:
        """Wait so long, or until a stop is wanted or one of *tasks* is finished."""
        asked = asyncio.ensure_future(self._asked.wait())
        try:
            await asyncio.wait(
                {asked, *tasks}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            asked.cancel()


@contextmanager
def listening() -> Iterator[Stop]:
    """Hear Ctrl-C and SIGTERM meanwhile."""
    stop = Stop()
    stop.listen()
    try:
        yield stop
    finally:
        stop.forget()


def at_home() -> "Settings":
    """Read the settings, and see to it that what is logged goes to this home."""
    from batchmill.settings import load

    settings = load()
    log_to(settings.home)
    return settings


def in_house(work: "Callable[[House, Stop], Awaitable[int]]") -> int:
    """Open the house, do *work* in it, close it; return the exit status."""
    settings = at_home()

    async def inside() -> int:
        from batchmill.wiring import open_house

        with listening() as stop:
            async with open_house(settings) as house:
                return await work(house, stop)

    return run(inside)


def run(work: Callable[[], Awaitable[int]]) -> int:
    """Run a coroutine on the fastest loop there is."""

    async def whole() -> int:
        return await work()

    try:
        from uvloop import new_event_loop
    except ImportError:  # Windows has none
        return asyncio.run(whole())
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(whole())


def in_market(work: "Callable[[Settings, Market], Awaitable[int]]") -> int:
    """Do *work* with the providers alone: no database is opened, no folder made."""
    settings = at_home()

    async def inside() -> int:
        from contextlib import AsyncExitStack

        from batchmill.wiring import Market, SystemClock, SystemIds

        async with AsyncExitStack() as stack:
            market = Market(settings=settings, clock=SystemClock(), ids=SystemIds(), stack=stack)
            return await work(settings, market)

    return run(inside)
