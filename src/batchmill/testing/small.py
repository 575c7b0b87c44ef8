"""A world so small that all of it can be seen: one shard, two workers, a few accidents."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

from batchmill.core.batch import Recipe, Source
from batchmill.core.failure import Failure, Patience
from batchmill.core.limits import MIB, Limits
from batchmill.core.shard import State
from batchmill.errors import Overtaken, UserError
from batchmill.ports import Supplier
from batchmill.providers._sim_shelf import MemoryShelf, Sale
from batchmill.providers._sim_weather import Faults
from batchmill.providers.sim import SimProvider
from batchmill.service.advance import Advancer
from batchmill.service.create import Creator, Wish
from batchmill.service.plan import resume
from batchmill.testing.auditor import Broken, Errand, Watch, World, audit
from batchmill.testing.clock import SimClock
from batchmill.testing.rows import MemoryRows, Shelves
from batchmill.testing.steps import Walk, finish, pause
from batchmill.testing.store import Disk, MemoryStore
from batchmill.testing.watched import CountingIds, WatchedProvider

LAG_S = 5.0  #: listing lag, and what a look-up waits for; longer than the lease
TIMEOUT_S = 1.0
LIMITS = Limits(requests_max=1, bytes_max=MIB, request_bytes_max=MIB // 2)
THEIRS = (b'{"custom_id":"theirs","body":{"messages":[]}}',)
#: With this seed the row fails in its first shard and succeeds in its second.
FAILS_FIRST = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """How often what may go wrong. Everything is explored that these bounds leave open."""

    name: str
    crashes: int = 0  #: of either worker, between any two of its awaits
    freezes: int = 0  #: of everybody at work, past lease and listing lag
    lost: int = 0  #: requests or replies of the creating call
    cancels: int = 0  #: by a person, at any moment
    fails: int = 0  #: the row fails in its first shard, and may be tried once more
    account: int = 0  #: the account is refused when the shard is offered; then a person resumes
    window_s: float | None = None
    marks: bool = True
    neighbour: bool = False  #: has bought a batch of the same size, at the same time
    prompt: bool = True


class Choice(NamedTuple):
    """One thing that can happen next."""

    what: str
    worker: int = 0
    shard_id: str = ""


#: Makes a choice among the ways that are open; None where there is none.
Choose = Callable[[Callable[[], list[Choice]]], Choice | None]


@dataclass(slots=True)
class Worker:
    """One of two: alike in everything, so that their swapped states count as one."""

    advancer: Advancer
    observed: list[object] = field(default_factory=list[object])
    walk: Walk | None = None
    errand: Errand | None = None


class _Observed:
    """
    Notes everything a worker learns: for a coroutine that is all its state can depend on.

    A step reaches from one effect to just before the next: nothing in between touches what others
    see. Only after `store.shard`, on which the decision rests, time may pass before the clock is
    read.
    """

    def __init__(self, target: object, note: Callable[[object], None]) -> None:
        self._target, self._note = target, note

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._target, name)

        async def call(*args: object, **named: object) -> object:
            if name != "ranges":  # they never change: to read them is no meeting
                await pause(f"store.{name}")
            try:
                value = await method(*args, **named)
            except (Overtaken, UserError) as error:
                self._note(type(error).__name__)
                raise
            self._note(value)
            if name == "shard":
                await pause("store.shard read")
            return value

        return call


class _ObservedClock(SimClock):
    """The world's clock, which notes what it told."""

    def __init__(self, clock: SimClock, note: Callable[[object], None]) -> None:
        self._clock, self._note = clock, note

    def now(self) -> float:
        self._note(self._clock.awake())  # one and the same here: nobody sets this clock
        return self._clock.now()

    def awake(self) -> float:
        self._note(self._clock.awake())
        return self._clock.awake()


class SmallWorld:
    """One life in it. *choose* is told the words of each way and says which one is taken."""

    def __init__(
        self, spec: Spec, choose: Choose, tell: Callable[[str], None] | None = None
    ) -> None:
        self._spec, self._choose, self._tell = spec, choose, tell
        self._left = {
            "dies": spec.crashes,
            "all freeze": spec.freezes,
            "lost": spec.lost,
            "a person cancels": spec.cancels,
            "account": spec.account,
        }
        self._clock = SimClock()
        self._steps = 0
        self._grave: list[Walk] = []
        self._marks: dict[int, tuple[object, int]] = {}
        shelf, born = MemoryShelf(), _born(spec)
        shelf.files, shelf.book = {"theirs": THEIRS}, dict(born.book)
        self._provider = self._vendor(shelf)
        self._world = World(
            disk=Disk(
                dict(born.disk.batches),
                dict(born.disk.ranges),
                dict(born.disk.shards),
                dict(born.disk.planned),
                {shard_id: [] for shard_id in born.disk.shards},
            ),
            shelf=shelf,
            shelves=Shelves(dict(born.requests)),
            provider=self._provider,
            patience=Patience(wait_s=1.0),
            alarms_allowed=not (spec.prompt and spec.marks),
            doubles_allowed=not spec.prompt,
        )
        self._provider.watch = self._watch = Watch(self._world)
        self._supplier = Supplier(
            provider=self._provider,
            limits=LIMITS,
            poll_s=4.0,
            timeout_s=TIMEOUT_S,
            find_after_s=LAG_S,
            account="" if spec.marks else "sim",
        )
        self._reader = MemoryStore(None, self._world.disk)
        self._workers = [self._worker(), self._worker()]

    # -- making it -------------------------------------------------------------------------------

    def _vendor(self, shelf: MemoryShelf) -> WatchedProvider:
        spec = self._spec

        def luck(word: str) -> float:
            if word.startswith(("lost_requests submit", "lost_replies submit")):
                return self._whether("lost", word)
            if word.startswith("account submit"):
                return self._whether("account", word)
            return 1.0

        # The first shard's row fails if so wished; which fate another shard has is the seed's.
        faults = Faults(
            lost_requests=0.5 if spec.lost else 0.0,
            lost_replies=0.5 if spec.lost else 0.0,
            account=0.5 if spec.account else 0.0,
            failures={Failure.SERVER: 0.5} if spec.fails else {},
            listing_lag_s=LAG_S,
            marks=spec.marks,
            prompt=spec.prompt,
        )
        return WatchedProvider(
            self._clock,
            shelf,
            faults,
            seed=FAILS_FIRST,
            turnaround_s=3.0,
            luck=luck,
            name_file=lambda offer: f"file-{offer.shard_id}",
            pause=_before_only,
        )

    def _whether(self, what: str, word: str) -> float:
        if self._left[what] == 0:
            return 1.0
        struck = self._choose(lambda: [Choice(f"not {word}"), Choice(word)])
        if struck is None or struck.what != word:
            return 1.0
        self._left[what] -= 1
        if self._tell is not None:
            self._tell(f"      {word}")
        return 0.0

    def _worker(self) -> Worker:
        observed: list[object] = []
        store: Any = _Observed(self._reader, observed.append)
        advancer = Advancer(
            clock=_ObservedClock(self._clock, observed.append),
            ids=CountingIds("t"),
            store=store,
            rows=MemoryRows({}, None, self._world.shelves),
            suppliers=lambda provider, lane: self._supplier,
            patience=self._world.patience,
            owner="w",
        )
        return Worker(advancer, observed)

    # -- living in it ----------------------------------------------------------------------------

    def ways(self) -> list[Choice]:
        """Return all that can happen next; nothing, when the life is over."""
        ways: list[Choice] = []
        due = finish(self._reader.due(self._clock.now()))
        idle = [n for n, w in enumerate(self._workers) if w.walk is None]
        for n, worker in enumerate(self._workers):
            if worker.walk is not None:
                ways.append(Choice("goes on", n))
                if self._left["dies"]:
                    ways.append(Choice("dies", n))
        if idle:
            taken = {w.walk.name for w in self._workers if w.walk is not None}
            # A second one on the same shard is the whole point; more would change nothing, and
            # neither would a second one that tidies up.
            again = [id for id in due if self._world.disk.shards[id].state is not State.SETTLED]
            ways += [Choice("begins", idle[0], id) for id in sorted({*due} - taken) or again]
        if self._left["a person cancels"] and not self._over():
            ways.append(Choice("a person cancels"))
        busy = len(idle) < len(self._workers)
        if not busy and not due and not self._over():
            ways.append(Choice("time passes"))
        elif busy and self._left["all freeze"]:
            ways.append(Choice("all freeze"))
        return ways

    def go(self, way: Choice) -> None:
        """Let it happen."""
        worker = self._workers[way.worker]
        if self._tell is not None:
            place = worker.walk.place if worker.walk is not None else ""
            self._tell(" ".join((f"w{way.worker + 1}", way.what, way.shard_id, place)))
        if way.what in self._left:
            self._left[way.what] -= 1
        match way.what:
            case "goes on":
                self._step(worker)
            case "begins":
                self._begin(worker, way.shard_id)
            case "dies":
                assert worker.walk is not None
                self._grave.append(worker.walk)
                worker.walk = worker.errand = None
            case "a person cancels":
                finish(self._reader.wish_cancel(next(iter(self._world.disk.batches))))
                self._watch.look(self._steps)
            case "all freeze":
                self._clock.pass_by(2 * (TIMEOUT_S + LAG_S))
            case _:
                self._pass_by()

    def _over(self) -> bool:
        return not any(s.open for s in self._world.disk.shards.values())

    def _begin(self, worker: Worker, shard_id: str) -> None:
        worker.observed.clear()
        worker.walk = Walk(worker.advancer.advance(shard_id), shard_id)
        settled = self._world.disk.shards[shard_id].state is State.SETTLED
        worker.errand = Errand(shard_id, self._steps, self._clock.now(), settled=settled)
        self._step(worker)  # to just before its first effect
        self._step(worker)

    def _step(self, worker: Worker) -> None:
        assert worker.walk is not None
        assert worker.errand is not None
        self._steps += 1
        self._provider.errand = worker.errand
        worker.walk.step()
        worker.observed.append(worker.walk.place)
        self._watch.look(self._steps)
        if worker.walk.done:
            error, errand = worker.walk.error, worker.errand
            worker.walk = worker.errand = None
            if error is None:
                self._watch.ended(errand)
            elif not isinstance(error, Overtaken):
                raise error

    def _pass_by(self) -> None:
        now = self._clock.now()
        at = finish(self._reader.next_due(now))
        if at is not None:
            self._clock.pass_by(at - now + 1e-6)
            return
        held = [b.id for b in self._world.disk.batches.values() if b.held]
        if not held:
            raise Broken("nobody will ever move this shard again")
        finish(resume(self._reader, held[0]))
        self._watch.look(self._steps)

    # -- seeing it -------------------------------------------------------------------------------

    def fingerprint(self) -> Hashable:
        """Return all that the future depends on."""
        workers = sorted(
            (hash((w.walk.name, *map(self._mark, w.observed))) for w in self._workers if w.walk),
        )
        return (
            self._clock.awake(),
            self._reader.snapshot(logs=False),
            self._world.shelf.snapshot(),
            tuple(workers),
            tuple(self._left.values()),
        )

    def _mark(self, value: object) -> int:
        """Return a number for something a worker learnt; the same thing is often learnt again."""
        known = self._marks.get(id(value))
        if known is None:
            known = self._marks[id(value)] = value, hash(repr(value))
        return known[1]

    def audited(self) -> Hashable:
        """Audit a life that is over; return what distinguishes its end."""
        audit(self._world)
        disk = self._world.disk
        return (
            tuple((s.state, s.note, s.kept, repr(s.tally)) for s in disk.shards.values()),
            tuple(tuple(type(line.event) for line in log) for log in disk.logs.values()),
            tuple(disk.strays),
            len(self._world.shelf.book),
        )


@dataclass(frozen=True, slots=True)
class _Born:
    disk: Disk
    requests: Mapping[str, tuple[bytes, ...]]
    book: Mapping[str, Sale]


@cache
def _born(spec: Spec) -> _Born:
    """Return how this world begins: a batch of one row, accepted."""
    clock, disk, shelves = SimClock(), Disk(), Shelves()
    creator = Creator(
        clock=clock,
        ids=CountingIds("b"),
        store=MemoryStore(None, disk),
        rows=MemoryRows({"table": ["?"]}, None, shelves),
        suppliers=lambda provider, lane: Supplier(
            provider=SimProvider(clock, MemoryShelf()),
            limits=LIMITS,
            poll_s=4.0,
            timeout_s=TIMEOUT_S,
            find_after_s=LAG_S,
        ),
    )
    wish = Wish(
        provider="sim",
        lane="batch",
        recipe=Recipe(model="echo", prompt="{{ text }}"),
        source=Source(url="table", format="csv"),
        window_s=spec.window_s,
    )
    finish(creator.accept(creator.draft(wish)))
    theirs = Sale(
        upstream_id="theirs",
        shard_id="theirs",
        ref="theirs",
        rows=1,
        at=clock.now(),
        turnaround_s=3.0,
    )
    return _Born(disk, shelves.requests, {"theirs": theirs} if spec.neighbour else {})


async def _before_only(place: str) -> None:
    if not place.endswith("answered"):
        await pause(place)
