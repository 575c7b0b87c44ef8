"""Follow a batch to its end: work on it or only look, show how it stands, stop when asked."""

import asyncio
from typing import TYPE_CHECKING

from batchmill.cli import CALLER_MUST_ACT, INTERRUPTED, text, waits
from batchmill.cli.house import Stop
from batchmill.cli.screen import JsonLines, Screen
from batchmill.service.plan import unfinished

if TYPE_CHECKING:
    from batchmill.service.inspect import View
    from batchmill.wiring import House

#: Of our time, at most about this share goes into looking.
LOOKING_SHARE = 0.1
#: When a batch is finished, what is left of it upstream is removed within this time, or later.
TIDY_UP_S = 10.0
TIDY_LOOK_S = 0.05
#: A program is promised a line a second.
LOOK_AT_LEAST_S = 0.8


async def follow(
    house: "House", batch_id: str, screen: Screen, stop: Stop, *, work: bool
) -> "View":
    """
    Return how the batch stands when it is finished, held with nothing under way, or we must stop.

    With *work* the engine runs meanwhile; where another process has the turn, it waits for it.
    """
    over = asyncio.Event()
    view = await house.inspector.view(batch_id)
    if view.finished:
        return view
    engines = [asyncio.create_task(house.engine.run(over.is_set))] if work else []
    news = News(house, screen, work=work)
    try:
        while True:
            before = house.clock.awake()
            view = await house.inspector.view(batch_id)
            screen.show(view)
            if view.finished:
                await _tidy_up(house, batch_id, engines)
            if view.finished or stop.wanted:
                break
            await news.tell(view)
            if waits.at_a_standstill(view):
                break
            looked_s = house.clock.awake() - before
            wait_s = min(max(screen.every_s, looked_s / LOOKING_SHARE), LOOK_AT_LEAST_S)
            await stop.within(wait_s, *engines)
            if any(engine.done() for engine in engines):
                break
    finally:
        over.set()
        for engine in engines:
            await engine  # raises what it broke on
    return await house.inspector.view(batch_id)


async def _tidy_up(house: "House", batch_id: str, engines: "list[asyncio.Task[None]]") -> None:
    """Let the engine remove what is left upstream; what makes trouble is left to a later worker."""
    until = house.clock.awake() + TIDY_UP_S
    while engines and house.engine.working and house.clock.awake() < until:
        shards = await house.store.shards(batch_id)
        if not any(shard.untidy and not shard.trouble for shard in shards):
            return
        if any(engine.done() for engine in engines):
            return
        await house.clock.sleep(TIDY_LOOK_S)


class News:
    """What is worth a sentence, once: who moves the batch, that nobody does, that it is held."""

    def __init__(self, house: "House", screen: Screen, *, work: bool) -> None:
        self.house, self.screen, self.work = house, screen, work
        self._said: set[str] = set()
        self._waited = False
        self._begun = False

    async def tell(self, view: "View") -> None:
        if view.batch.held:
            self._once(text.held(view.batch))
        if self.work:
            await self._tell_of_others(view.batch.id)
            await self._tell_whose_turn_it_is()
        elif view.stalled_since is not None and not waits.at_a_standstill(view):
            self._once(
                "no batchmill process is running, so nothing moves it. "
                f"Run: batchmill resume {view.batch.id} (or batchmill work)"
            )

    async def _tell_of_others(self, batch_id: str) -> None:
        """Say at the start what else is moved, and bought, by whoever works in this home."""
        if self._begun:
            return
        self._begun = True
        alive, _ = await self.house.turn.last_seen()
        if alive and not self.house.engine.working:
            return
        found = await unfinished(self.house.store)
        moving = [b for b in found if not b.held or b.cancel_wanted]
        if others := [b.id for b in moving if b.id != batch_id]:
            self._once(text.also_moves(others))

    async def _tell_whose_turn_it_is(self) -> None:
        if self.house.engine.working:
            if self._waited:
                self._once("the other batchmill process is gone; this one goes on.")
            return
        alive, _ = await self.house.turn.last_seen()
        if alive and not self.house.engine.working:
            self._waited = True
            self._once("another batchmill process is moving it; this one watches.")

    def _once(self, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            self.screen.say(sentence)


async def conclude(
    house: "House",
    view: "View",
    screen: Screen,
    *,
    interrupted: bool,
    out: str | None,
    force: bool = False,
) -> int:
    """Write the answers of a finished batch, say how it ended, return the exit status."""
    from batchmill.cli import endings

    if view.finished:
        written = None
        if out is not None:
            written = await endings.write(house, view, out, screen, force=force)
        status = endings.status_of(view)
        endings.tell(view, screen, written, status)
        _tell_of_draining(house, screen, interrupted=interrupted)
        return status
    screen.close()
    # Held, and the news has said why; or somebody asked us to stop.
    status = INTERRUPTED if interrupted else CALLER_MUST_ACT
    if isinstance(screen, JsonLines):
        screen.end(view, None, status)
    if interrupted:
        alive, _ = await house.turn.last_seen()
        screen.say(text.interrupted(view, moved_by_other=alive))
    _tell_of_draining(house, screen, interrupted=interrupted)
    return status


def _tell_of_draining(house: "House", screen: Screen, *, interrupted: bool) -> None:
    """Say why it takes a while to stop: live answers under way are paid for, and waited for."""
    if waiting := house.market.in_flight:
        screen.say(text.draining(waiting, interrupted=interrupted))
