"""`batchmill work`: keeps every unfinished batch moving until stopped."""

import asyncio
import time
from typing import TYPE_CHECKING

import click

from batchmill.cli import text, words
from batchmill.cli.house import Stop, in_house
from batchmill.core.shard import Shard, State

if TYPE_CHECKING:
    from batchmill.service.inspect import View
    from batchmill.wiring import House

LOOK_EVERY_S = 1.0


@click.command("work")
def work_command() -> int:
    """
    Keep every unfinished batch moving until stopped.

    For a laptop's background, a systemd service or a container: one line for each event of note,
    exit status 0 on SIGTERM and SIGINT.
    """
    return in_house(_work)


async def _work(house: "House", stop: Stop) -> int:
    say = Journal(house)
    say.line(f"working on {house.settings.home}")
    for batch_id in await house.sweep():
        say.line(f"{batch_id}: put away; its table was cut and never accepted")
    engine = asyncio.create_task(house.engine.run(lambda: stop.wanted))
    try:
        while not stop.wanted and not engine.done():
            await say.news()
            await stop.within(LOOK_EVERY_S, engine)
    finally:
        stop.ask()
        await engine
    await say.news()
    say.line("stopped; what providers have taken on goes on without us")
    return 0


class Journal:
    """What has happened since it was last asked, one line for each event of note."""

    def __init__(self, house: "House") -> None:
        self.house = house
        self._batches: dict[str, tuple[str, str]] = {}  # (status, held) as last told
        self._shards: dict[str, tuple[State, str]] = {}
        self._open: set[str] = set()
        self._known: set[str] | None = None
        self._working: bool | None = None

    def line(self, words_: str) -> None:
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(self.house.clock.now()))
        click.echo(f"{at} {words_}")

    async def news(self) -> None:
        from batchmill.service.plan import unfinished

        await self._tell_whose_turn_it_is()
        now_open = {batch.id for batch in await unfinished(self.house.store)}
        known = {batch.id for batch in await self.house.store.batches()}
        # One may be made and finished between two looks.
        made = known - self._known if self._known is not None else set[str]()
        for batch_id in sorted(self._open | now_open | made):
            self._tell(await self.house.inspector.view(batch_id))
        self._open, self._known = now_open, known

    async def _tell_whose_turn_it_is(self) -> None:
        working = self.house.engine.working
        if self._working is None and not working:
            alive, _ = await self.house.turn.last_seen()
            if alive:
                self._working = False
                self.line("another batchmill process works here; waiting for its turn to end")
        elif working and self._working is False:
            self.line("the other process is gone; working")
        if working:
            self._working = True

    def _tell(self, view: "View") -> None:
        batch = view.batch
        status, held = self._batches.get(batch.id, ("", ""))
        if not status:
            self.line(text.begun(batch, len(view.shards)))
        for shard in view.shards:
            self._tell_shard(shard, new=not status)
        if batch.held and batch.held != held:
            self.line(text.held(batch))
        elif held and not batch.held:
            self.line(f"{batch.id}: goes on")
        if view.finished and view.status != status:
            self.line(text.ended(view))
        elif status and view.status != status:
            self.line(f"{batch.id}: {view.status}")
        self._batches[batch.id] = (view.status, batch.held)

    def _tell_shard(self, shard: Shard, *, new: bool) -> None:
        state, note = self._shards.get(shard.id, (State.PLANNED, ""))
        self._shards[shard.id] = (shard.state, shard.note)
        if new:
            return  # how it stood when we came is no news
        if shard.state is not state and shard.state is State.SETTLED:
            failed = {str(f): len(rows) for f, rows in shard.tally.failed.items()}
            what = words.by_name({"succeeded": shard.tally.succeeded, **failed})
            self.line(f"{shard.id}: settled: {what}")
        elif shard.state is not state and shard.upstream_id and state in _NOT_ACCEPTED:
            self.line(f"{shard.id}: submitted as {shard.upstream_id}")
        if shard.note and shard.note != note:
            self.line(f"{shard.id}: {words.shorten(shard.note, 300)}")


_NOT_ACCEPTED = (State.PLANNED, State.SUBMITTING)
