"""Golden lives: each story is acted out on the simulated stage, and must be told word for word.

`python tests/stories/test_stories.py` writes them anew; read what changed before you keep it.
"""

import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from batchmill.core.batch import Recipe, Source, count, status
from batchmill.core.failure import Failure, Patience
from batchmill.core.limits import MIB, Limits
from batchmill.core.shard import (
    Accepted,
    CannotTell,
    Collected,
    Dropped,
    Ended,
    Event,
    NotAccepted,
    NotOurs,
    Postponed,
    Progressed,
    Refused,
    Shard,
    State,
    Submitting,
    Vanished,
)
from batchmill.errors import Overtaken
from batchmill.ports import Supplier
from batchmill.providers.sim import SimProvider
from batchmill.service.advance import Advancer
from batchmill.service.cancel import cancel
from batchmill.service.create import Creator, Wish
from batchmill.service.plan import resume
from batchmill.testing import Disk, Faults, MemoryRows, MemoryShelf, MemoryStore, SimClock
from batchmill.testing.rows import Shelves
from batchmill.testing.steps import Walk, finish, pause
from batchmill.testing.watched import CountingIds

HERE = Path(__file__).parent


class Stage:
    """Two workers, one vendor, and a teller."""

    def __init__(self, rows: int = 2, shard_rows: int = 10, seed: int = 0, **faults: Any) -> None:
        self.lines: list[str] = []
        self.clock = SimClock()
        self.disk, self.shelf, self.shelves = Disk(), MemoryShelf(), Shelves()
        self.strikes: list[str] = []  # what shall go wrong next, e.g. "lost_replies submit"
        self.tables = {"table": [f"row {n}" for n in range(rows)]}
        self.store = MemoryStore(None, self.disk)
        chances = dict.fromkeys(("lost_requests", "lost_replies", "account", "busy"), 0.5)
        provider = SimProvider(
            self.clock,
            self.shelf,
            Faults(**(chances | {"listing_lag_s": 60.0} | faults)),
            seed=seed,
            turnaround_s=3600.0,
            luck=self._luck,
            pause=pause,
        )
        self.supplier = Supplier(
            provider=provider,
            limits=Limits(requests_max=shard_rows, bytes_max=MIB, request_bytes_max=1000),
            poll_s=1800.0,
            timeout_s=60.0,
            find_after_s=60.0,
        )
        self.walks: dict[str, Walk] = {}
        self._told: dict[str, int] = {}
        self._sold = 0
        self._grave: list[Walk] = []
        creator = Creator(
            clock=self.clock,
            ids=CountingIds("s"),
            store=self.store,
            rows=MemoryRows(self.tables, None, self.shelves),
            suppliers=lambda provider, lane: self.supplier,
        )
        recipe = Recipe(model="echo", prompt="{{ text }}")
        source = Source(url="table", format="csv")
        wish = Wish(provider="sim", lane="batch", recipe=recipe, source=source)
        self.batch_id = finish(creator.accept(creator.draft(wish))).id

    def _luck(self, word: str) -> float:
        for strike in self.strikes:
            if word.startswith(strike):
                self.strikes.remove(strike)
                self.tell("weather", strike.replace("_", " "))
                return 0.0
        return 1.0

    def tell(self, who: str, words: str) -> None:
        hours, rest = divmod(int(self.clock.awake()), 3600)
        at = f"{hours:02}:{rest // 60:02}:{rest % 60:02}"
        self.lines.append(f"{at}  {who:<8} {words}")

    def note(self, words: str) -> None:
        self.lines.append(f"\n# {words}")

    # -- acting ------------------------------------------------------------------------------

    def begin(self, who: str, shard: int = 1) -> None:
        advancer = Advancer(
            clock=self.clock,
            ids=CountingIds(who),
            store=MemoryStore(pause, self.disk),
            rows=MemoryRows(self.tables, pause, self.shelves),
            suppliers=lambda provider, lane: self.supplier,
            patience=Patience(wait_s=30.0),
            owner=who,
        )
        self.walks[who] = Walk(advancer.advance(f"{self.batch_id}-{shard:04d}"), str(shard))

    def until(self, who: str, place: str) -> None:
        """Let somebody go on until just before the second half of a place: its effect is done."""
        walk = self.walks[who]
        while walk.step() != place:
            assert not walk.done, f"{who} never came to {place}"
            self._listen(who)
        self._listen(who)

    def go_on(self, who: str) -> None:
        """Let somebody finish what was begun."""
        walk = self.walks.pop(who)
        while not walk.done:
            walk.step()
            self._listen(who)
        if isinstance(walk.error, Overtaken):
            self.tell(who, "was overtaken, and decides anew")
        elif walk.error is not None:
            raise walk.error

    def does(self, who: str, shard: int = 1) -> None:
        self.begin(who, shard)
        self.go_on(who)

    def dies(self, who: str) -> None:
        walk = self.walks.pop(who)
        self._grave.append(walk)
        self.tell(who, f"dies at {walk.place}")

    def rest(self, who: str = "worker") -> None:
        """Let one worker live on until nothing is left to wait for."""
        while True:
            now = self.clock.now()
            if due := finish(self.store.due(now)):
                self.does(who, int(due[0].rpartition("-")[2]))
                continue
            later = finish(self.store.next_due(now))
            if later is None:
                return
            self.clock.pass_by(later - now + 1e-6)

    def wish(self, words: str, made: Coroutine[Any, Any, object]) -> None:
        self.tell("person", words)
        finish(made)

    # -- telling -----------------------------------------------------------------------------

    def _listen(self, who: str) -> None:
        for sale in list(self.shelf.book.values())[self._sold :]:
            self.tell("vendor", f"sells {sale.upstream_id} to {_short(sale.shard_id)}")
            self._sold += 1
        for shard in list(self.disk.shards.values()):
            log = self.disk.logs[shard.id]
            for line in log[self._told.setdefault(shard.id, 0) :]:
                self.tell(who, f"{_short(shard.id)}  {_words(line.event)}")
            self._told[shard.id] = len(log)

    def told(self, title: str) -> str:
        batch = self.disk.batches[self.batch_id]
        shards = list(self.disk.shards.values())
        counts = count(batch, shards)
        end = ", ".join(
            f"{n} {word}"
            for word in ("succeeded", "errored", "canceled", "expired", "pending")
            if (n := getattr(counts, word))
        )
        assert all(s.state is State.SETTLED for s in shards), "a story has an end"
        return "\n".join(
            [f"# {title}", *self.lines, "", (f"= {status(batch, shards)}: {end}; "
             f"{len(self.shelf.book)} bought, {len(self.disk.strays)} alarms"), ""]
        )  # fmt: skip


def _short(shard_id: str) -> str:
    return f"shard {int(shard_id.rpartition('-')[2])}"


def _words(event: Event) -> str:
    name = type(event).__name__
    match event:
        case Submitting():
            return f"{name}, lease {event.lease_until - event.at:g} s"
        case Accepted(upstream_id=id):
            return f"{name} as {id}"
        case NotAccepted(reason=reason) | CannotTell(reason=reason) | Postponed(reason=reason):
            return f"{name}: {reason}"
        case Progressed(progress=progress):
            return f"{name}: {progress.succeeded} rows so far"
        case Collected(tally=tally):
            failed = [f"{len(rows)} {f}" for f, rows in tally.failed.items()]
            return f"{name}: {', '.join([f'{tally.succeeded} succeeded', *failed])}"
        case Refused(reason=reason) | Vanished(reason=reason):
            return f"{name}: {reason}"
        case Dropped(failure=failure):
            return f"{name}: {failure}"
        case Ended() | NotOurs() | _:
            return name


# -- the stories -----------------------------------------------------------------------------------


def a_sunny_day() -> str:
    stage = Stage()
    stage.rest()
    return stage.told("A sunny day: two rows go out and come back")


def crash_during_submit() -> str:
    stage = Stage()
    stage.does("first")
    stage.note("The vendor accepts, and at that moment the worker dies: nobody has the id.")
    stage.begin("first")
    stage.until("first", "sim.submit answered")
    stage.dies("first")
    stage.note("Another one finds the intent, waits out lease and listing lag, and looks.")
    stage.rest("second")
    return stage.told("A crash between the vendor's yes and our hearing it: bought once")


def lost_request() -> str:
    stage = Stage()
    stage.does("worker")
    stage.strikes = ["lost_requests submit"]
    stage.note("Nothing comes back. It may have been bought: no second call, a look-up instead.")
    stage.rest()
    return stage.told("A request that never arrived: looked up, not there, offered again")


def frozen_past_the_lease() -> str:
    stage = Stage()
    stage.does("slow")
    stage.note("The intent is written; then the laptop is shut for an hour.")
    stage.begin("slow")
    stage.until("slow", "sim.submit")
    stage.clock.pass_by(3600.0)
    stage.note("Meanwhile another machine looks, finds nothing, and offers it.")
    stage.does("quick")
    stage.does("quick")
    stage.note("The laptop wakes in the middle of its call, and sees that its lease is over.")
    stage.go_on("slow")
    stage.rest("quick")
    return stage.told("A worker that freezes past its lease sends nothing when it thaws")


def two_settle_at_once() -> str:
    stage = Stage(rows=2, shard_rows=1, seed=18, failures={Failure.SERVER: 0.5})
    while not all(s.state in (State.COLLECTING, State.SETTLED) for s in _all(stage)):
        now = stage.clock.now()
        waiting = [s for s in _all(stage) if s.due_at <= now and s.state is not State.COLLECTING]
        if waiting:
            stage.does("worker", waiting[0].n)
        else:
            stage.clock.pass_by(min(s.due_at for s in _all(stage) if s.due_at > now) - now + 1e-6)
    stage.note("Both shards have come to their end, and two workers settle them at once.")
    stage.begin("left", 1)
    stage.begin("right", 2)
    stage.until("left", "store.settle")
    stage.until("right", "store.settle")
    stage.note("Right is first. Left's plan is outdated: it plans anew, and fetches nothing twice.")
    stage.go_on("right")
    stage.go_on("left")
    stage.rest()
    return stage.told("Two shards settled at once: their successors share no row")


def cancel_keeps_what_was_paid() -> str:
    stage = Stage(rows=10)
    stage.does("worker")
    stage.does("worker")
    stage.clock.pass_by(1800.0)
    stage.wish("cancels", cancel(stage.store, stage.batch_id))
    stage.rest()
    return stage.told("A cancel in mid-flight: what was finished is kept, as it was paid for")


def an_empty_account() -> str:
    stage = Stage()
    stage.does("worker")
    stage.strikes = ["account submit"]
    stage.does("worker")
    stage.note(f"Held: {stage.disk.batches[stage.batch_id].held}")
    stage.clock.pass_by(86_400.0)
    stage.wish("mends the account and resumes", resume(stage.store, stage.batch_id))
    stage.rest()
    return stage.told("The account is refused: nobody's row is at fault, and a person must act")


STORIES: list[Callable[[], str]] = [
    a_sunny_day,
    crash_during_submit,
    lost_request,
    frozen_past_the_lease,
    two_settle_at_once,
    cancel_keeps_what_was_paid,
    an_empty_account,
]


def _all(stage: Stage) -> list[Shard]:
    return list(stage.disk.shards.values())


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_a_story_is_told_word_for_word(story: Callable[[], str]) -> None:
    assert story() == (HERE / f"{story.__name__}.txt").read_text()


def test_every_story_on_the_shelf_is_acted() -> None:
    assert {p.stem for p in HERE.glob("*.txt")} == {story.__name__ for story in STORIES}


if __name__ == "__main__":
    for story in STORIES:
        (HERE / f"{story.__name__}.txt").write_text(story())
        print(story.__name__, file=sys.stderr)
