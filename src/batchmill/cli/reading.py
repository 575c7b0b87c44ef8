"""A table being read, which blocks: in a thread of its own, told about and stopped from here."""

import asyncio
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from batchmill.cli.house import Stop
from batchmill.cli.screen import Screen

if TYPE_CHECKING:
    from batchmill.ports import Clock

Read = TypeVar("Read")

#: Asked to stop, whoever reads gets this long to notice; then we leave without it.
GRACE_S = 2.0


class StoppedReadingError(Exception):
    """Somebody asked us to stop while the table was being read."""


class Reading:
    """Reads in a thread, so that progress can be shown and a wish to stop be heard."""

    def __init__(self, clock: "Clock", stop: Stop, screen: Screen, batch_id: str) -> None:
        self.clock, self.stop, self.screen, self.batch_id = clock, stop, screen, batch_id
        self.began = clock.awake()
        self.rows = 0

    def hear(self, rows: int) -> None:
        """Take note of rows done; called in the thread that reads."""
        self.rows = rows
        if self.stop.wanted:
            raise StoppedReadingError

    def tell(self) -> None:
        """Show how far it is."""
        self.screen.reading(self.batch_id, self.rows, self.clock.awake() - self.began)

    async def watched(self, work: Callable[[], Read]) -> Read:
        """Return what *work* returns, and meanwhile tell how far it is."""
        done = _in_thread(work)
        while not done.done():
            await self.stop.within(self.screen.every_s, done)
            if self.stop.wanted:
                await asyncio.wait({done}, timeout=GRACE_S)
                break
            if not done.done():
                self.tell()
        if self.stop.wanted:
            raise StoppedReadingError
        return done.result()


def _in_thread(work: Callable[[], Read]) -> "asyncio.Future[Read]":
    """
    Start *work* in a thread that does not keep the program alive.

    One of asyncio's own would: at the end it is waited for, and a read may hang for ever.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Read] = loop.create_future()

    def settle(result: Read | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
            done.exception()  # heard, even if nobody waits for it any more
        else:
            done.set_result(result)  # pyright: ignore[reportArgumentType]

    def whole() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as raised:  # noqa: BLE001, it is raised again where it is awaited
            error = raised
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:
            return  # the loop is closed: we have left already

    threading.Thread(target=whole, name="batchmill-reading", daemon=True).start()
    return done
