"""
One process: take the turn, advance what is due, wait until something else is.

Nothing sleeps in memory that a restart would forget: whatever waits, waits as `due_at` in the
store. A second process on the same store watches, and takes over when the first one dies.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from batchmill.core.shard import Shard
from batchmill.errors import Overtaken, StorageTrouble
from batchmill.ports import Clock, Store, Turn
from batchmill.service.advance import Advancer

log = logging.getLogger(__name__)

#: Others may wish or add something at any moment; the store is looked at this often for it.
LOOK_AGAIN_S = 0.5
#: How often somebody who only watches asks whether the turn is free.
TRY_TURN_S = 0.3
#: On stopping, a creating call under way gets this long to finish; cut short, it would merely
#: have to be looked up later.
GRACE_S = 5.0


@dataclass(slots=True, kw_only=True)
class Loop:
    """The engine of one process."""

    advancer: Advancer
    store: Store
    clock: Clock
    turn: Turn
    at_once: int = 4  #: shards advanced at the same time; each may hold some ten megabytes
    working: bool = False  #: whether we hold the turn; others only watch
    _waiting: deque[str] = field(default_factory=deque[str])
    _ask_at: float = 0.0
    _running: dict[str, asyncio.Task[Shard]] = field(
        default_factory=dict[str, "asyncio.Task[Shard]"]
    )

    async def run(self, until: Callable[[], bool]) -> None:
        """Work, or wait for the turn to work, until told to stop or something breaks."""
        try:
            while not until():
                self.working = await self.turn.take()
                if self.working:
                    await self._round()
                else:
                    await self.clock.sleep(TRY_TURN_S)
        finally:
            await self._finish()
            self.working = False
            await self.turn.give_up()

    async def _round(self) -> None:
        now = self.clock.now()
        # The store is not asked after every step of ten thousand shards: a list that has grown old
        # does no harm, as every step begins by loading its shard and deciding anew.
        if not self._waiting or now >= self._ask_at:
            self._waiting = deque(await self.store.due(now))
            self._ask_at = now + LOOK_AGAIN_S
        while self._waiting and len(self._running) < self.at_once:
            shard_id = self._waiting.popleft()
            if shard_id not in self._running:
                task = asyncio.create_task(self.advancer.advance(shard_id), name=shard_id)
                self._running[shard_id] = task
        await self._wait(now)
        for shard_id, task in list(self._running.items()):
            if task.done():
                del self._running[shard_id]
                self._look_at(shard_id, task)

    async def _wait(self, now: float) -> None:
        next_due = await self.store.next_due(now)
        wait_s = LOOK_AGAIN_S if next_due is None else min(max(next_due - now, 0.01), LOOK_AGAIN_S)
        if self._running:
            await asyncio.wait(
                self._running.values(), timeout=wait_s, return_when=asyncio.FIRST_COMPLETED
            )
        else:
            await self.clock.sleep(wait_s)

    def _look_at(self, shard_id: str, task: "asyncio.Task[Shard]") -> None:
        error = task.exception()
        if error is None:
            shard = task.result()
            log.debug("%s is %s", shard_id, shard.state, extra={"action": "shard_advanced"})
        elif isinstance(error, Overtaken):
            log.debug("%s was moved by somebody else", shard_id, extra={"action": "overtaken"})
        elif isinstance(error, StorageTrouble):
            raise error
        else:
            # A bug, ours or a provider's. The shard's state is as durable as ever; going on would
            # only hide it, and repeat it as fast as the loop turns.
            log.error("%s: %s", shard_id, error, extra={"action": "advance_failed"}, exc_info=error)
            raise error

    async def _finish(self) -> None:
        if not self._running:
            return
        _, late = await asyncio.wait(self._running.values(), timeout=GRACE_S)
        for task in late:
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)
        self._running.clear()
