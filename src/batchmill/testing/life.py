"""One life of some batches, from birth to the audit, lived by workers whom anything may befall."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from batchmill.core.batch import Recipe, Source
from batchmill.core.failure import Failure, Patience
from batchmill.core.limits import MIB, Limits
from batchmill.core.shard import Shard, State
from batchmill.errors import Overtaken, UserError
from batchmill.ports import Offer, Supplier
from batchmill.providers._sim_shelf import MemoryShelf, Sale
from batchmill.service.advance import Advancer
from batchmill.service.cancel import cancel
from batchmill.service.create import Creator, Wish
from batchmill.service.plan import resume, retry
from batchmill.testing.auditor import Broken, Errand, Watch, World, audit
from batchmill.testing.clock import DAWN, SimClock
from batchmill.testing.rows import MemoryRows, Shelves
from batchmill.testing.steps import Walk, finish, pause
from batchmill.testing.store import Disk, MemoryStore
from batchmill.testing.watched import CountingIds, PersonsStore, WatchedProvider
from batchmill.testing.weather import Weather, calm, forecast

#: A life that needs more steps than this after the storm has ended will never end.
CALM_STEPS_MAX = 30_000


@dataclass(slots=True, eq=False)
class Process:
    """A worker. Its walks die with it; what it has written does not."""

    name: str
    advancer: Advancer
    walks: dict[str, tuple[Walk, Errand]] = field(default_factory=dict[str, "tuple[Walk, Errand]"])
    frozen_until: float = 0.0


class Life:
    """The world, the scheduler, and everything that may go wrong."""

    def __init__(
        self,
        seed: int,
        weather: Weather | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self.random = Random(seed)
        self._tell = tell
        self._told: Counter[str] = Counter()
        self.weather = weather or forecast(self.random)
        self.clock = SimClock()
        self.steps = 0
        self.storming = True
        self.trace: list[tuple[int, str, str]] = []
        self.accidents: Counter[str] = Counter()
        self._grave: list[Walk] = []  # kept, as collecting a coroutine would run its `finally`
        self._born = 0
        self._tables: dict[str, Sequence[str]] = {}
        self.world = self._world()
        self.watch = Watch(self.world)
        self._supplier = Supplier(
            provider=self.provider,
            limits=Limits(
                requests_max=self.weather.shard_rows_max,
                bytes_max=200 * MIB,
                request_bytes_max=MIB,
            ),
            poll_s=self.weather.poll_s,
            timeout_s=self.weather.timeout_s,
            find_after_s=self.weather.find_after_s,
            account="" if self.weather.faults.marks else "sim",
        )
        self.provider.watch = self.watch
        self._reader = MemoryStore(None, self.world.disk)
        self._persons = PersonsStore(pause, self.world.disk)
        self._persons.asked = self.world.asked
        self.person: list[tuple[Walk, str]] = []
        self.processes = [self._process() for _ in range(self.weather.workers)]
        for n in range(self.weather.batches):
            self._create(n)

    def _world(self) -> World:
        weather, shelf = self.weather, MemoryShelf()
        uploads = Counter[str]()

        def name_file(offer: Offer) -> str:
            uploads["made"] += 1  # each upload is another file, as with the real ones
            return f"file-{uploads['made']}"

        def luck(word: str) -> float:
            return self.random.random()

        self.provider = WatchedProvider(
            self.clock,
            shelf,
            weather.faults,
            seed=self.random.getrandbits(32),
            turnaround_s=weather.turnaround_s,
            luck=luck,
            name_file=name_file,
            vendor_now=lambda: DAWN + self.clock.awake(),
            pause=pause,
        )
        return World(
            disk=Disk(),
            shelf=shelf,
            shelves=Shelves(),
            provider=self.provider,
            patience=Patience(wait_s=weather.wait_s),
            alarms_allowed=not (weather.faults.prompt and weather.faults.marks),
            doubles_allowed=not weather.faults.prompt,
        )

    def _process(self) -> Process:
        self._born += 1
        name = f"w{self._born}"
        advancer = Advancer(
            clock=self.clock,
            ids=CountingIds(name),
            store=MemoryStore(pause, self.world.disk),
            rows=MemoryRows(self._tables, pause, self.world.shelves),
            suppliers=lambda provider, lane: self._supplier,
            patience=self.world.patience,
            owner=name,
        )
        return Process(name, advancer)

    def _create(self, n: int) -> None:
        weather = self.weather
        rows = self.random.randint(1, weather.rows_max)
        self._tables[f"table-{n}"] = [f"prompt {n}.{row}" for row in range(rows)]
        creator = Creator(
            clock=self.clock,
            ids=CountingIds(f"b{n}"),
            store=MemoryStore(None, self.world.disk),
            rows=MemoryRows(self._tables, None, self.world.shelves),
            suppliers=lambda provider, lane: self._supplier,
        )
        wish = Wish(
            provider="sim",
            lane="batch",
            recipe=Recipe(model="echo", prompt="{{ text }}"),
            source=Source(url=f"table-{n}", format="csv"),
            window_s=weather.window_s,
        )
        finish(creator.accept(creator.draft(wish)))

    # -- living -----------------------------------------------------------------------------------

    def live(self) -> Counter[str]:
        """Live to the end, audit, and return what this life was made of. Raises `Broken`."""
        while self.steps < self.weather.storm_steps and not self._over():
            self._accident()
            self._go_on()
        self._calm_down()
        budget = self.steps + CALM_STEPS_MAX
        while not self._over():
            if self.steps > budget:
                raise Broken(f"it never settles: {self._unsettled()}")
            self._go_on()
        made_of = audit(self.world)
        self._grave.clear()
        return made_of + self.accidents

    def _over(self) -> bool:
        busy = self.person or any(p.walks for p in self.processes)
        return not busy and not any(s.open for s in self.world.disk.shards.values())

    def _unsettled(self) -> list[Shard]:
        return [s for s in self.world.disk.shards.values() if s.state is not State.SETTLED]

    def _go_on(self) -> None:
        """Take one step somewhere: an old errand's, a new one's, or time's."""
        self.steps += 1
        now = self.clock.now()
        awake = [p for p in self.processes if p.frozen_until <= now]
        ways = [(p, key) for p in awake for key in p.walks]
        if self.person and self.random.random() < 0.3:
            self._step_person()
        elif ways and self.random.random() < 0.8:
            self._step(*self.random.choice(ways))
        elif not (awake and self._begin(self.random.choice(awake))):
            if ways:
                self._step(*self.random.choice(ways))
            elif not self.person:
                self._wait()
        if self.storming and self.random.random() < self.weather.dawdle:
            self.clock.pass_by(self.random.uniform(0.0, self.random.choice([0.05, 0.3, 3.0])))
        self.watch.look(self.steps)

    def _begin(self, process: Process) -> bool:
        due = finish(self._reader.due(self.clock.now()))
        fresh = [shard_id for shard_id in due if shard_id not in process.walks]
        if not fresh:
            return False
        shard_id = self.random.choice(fresh)
        walk = Walk(process.advancer.advance(shard_id), shard_id)
        settled = self.world.disk.shards[shard_id].state is State.SETTLED
        errand = Errand(shard_id, self.steps, self.clock.now(), settled=settled)
        process.walks[shard_id] = walk, errand
        self._step(process, shard_id)
        return True

    def _step(self, process: Process, shard_id: str) -> None:
        walk, errand = process.walks[shard_id]
        self.provider.errand = errand
        place = walk.step()
        self.trace.append((self.steps, process.name, f"{shard_id} {place}"))
        if self._tell is not None:
            self._tell_of(process.name, shard_id)
        if not walk.done:
            return
        del process.walks[shard_id]
        if isinstance(walk.error, Overtaken):
            self.accidents["overtaken"] += 1
        elif walk.error is not None:
            raise walk.error
        else:
            self.watch.look(self.steps)
            self.watch.ended(errand)

    def _tell_of(self, who: str, shard_id: str) -> None:
        assert self._tell is not None
        log = self.world.disk.logs[shard_id]
        for line in log[self._told[shard_id] :]:
            at = self.clock.now() - DAWN
            state = self.world.disk.shards[shard_id].state
            self._tell(
                f"{self.steps:>6} {at:>10.1f} s  {who:<5} {shard_id}  {line.event} → {state}"
            )
        self._told[shard_id] = len(log)

    def _step_person(self) -> None:
        walk, wish = self.random.choice(self.person)
        self.trace.append((self.steps, "person", f"{wish} {walk.step()}"))
        if walk.done:
            self.person.remove((walk, wish))
            if isinstance(walk.error, UserError):
                self.accidents[f"{wish}: {type(walk.error).__name__}"] += 1
            elif walk.error is not None:
                raise walk.error

    def _wait(self) -> None:
        """Nothing can be done now: let time pass until something can."""
        now = self.clock.now()
        moments = [p.frozen_until for p in self.processes if p.frozen_until > now]
        due = finish(self._reader.next_due(now))
        if due is not None:
            moments.append(due)
        if moments:
            self.clock.pass_by(min(moments) - now + 1e-6)
        elif held := [b.id for b in self.world.disk.batches.values() if b.held]:
            self._wish("resume", held[0])
        elif not finish(self._reader.due(now)) and not self._over():
            raise Broken(f"nobody will ever move these: {self._unsettled()}")

    # -- what may happen ------------------------------------------------------------------------

    def _accident(self) -> None:
        random, weather = self.random, self.weather
        if random.random() < weather.crash:
            self._crash(random.choice(self.processes))
        if random.random() < weather.freeze:
            self._freeze(random.choice(self.processes))
        for process in self.processes if weather.fateful else ():
            there = any(w.place == weather.fateful for w, _ in process.walks.values())
            if there and random.random() < 0.15:
                random.choice([self._crash, self._freeze])(process)
        self._people_and_world()

    def _people_and_world(self) -> None:
        random, weather = self.random, self.weather
        if random.random() < weather.cancel:
            self._wish("cancel", random.choice(list(self.world.disk.batches)))
        if random.random() < weather.retry:
            self._wish("retry", random.choice(list(self.world.disk.batches)))
        held = [b.id for b in self.world.disk.batches.values() if b.held]
        if held and random.random() < weather.resume:
            self._wish("resume", random.choice(held))
        if random.random() < weather.set_forward:
            self._set_forward()
        if random.random() < weather.gone:
            self._forget()
        if random.random() < weather.neighbour:
            self._neighbour_buys()

    def _note(self, what: str, who: str) -> None:
        self.accidents[what] += 1
        self.trace.append((self.steps, who, what))
        if self._tell is not None:
            at = self.clock.now() - DAWN
            self._tell(f"{self.steps:>6} {at:>10.1f} s  {who:<5} {what}")

    def _crash(self, dead: Process) -> None:
        for walk, _ in dead.walks.values():
            self._grave.append(walk)
            self.accidents[f"died at {walk.place}"] += 1
        self._note("crash", dead.name)
        self.processes[self.processes.index(dead)] = self._process()

    def _freeze(self, process: Process) -> None:
        lease_s = self.weather.lease_s
        for_s = self.random.choice([0.6, 2.0 * lease_s, 4.0 * lease_s])
        process.frozen_until = self.clock.now() + self.random.uniform(0.0, for_s)
        self._note("frozen", process.name)

    def _wish(self, wish: str, batch_id: str) -> None:
        store = self._persons
        match wish:
            case "cancel":
                walk = Walk(cancel(store, batch_id))
            case "retry":
                classes = self.random.choice([None, [self.random.choice(list(Failure))]])
                walk = Walk(retry(store, self.clock, batch_id, classes))
            case _:
                walk = Walk(resume(store, batch_id))
        self.person.append((walk, wish))
        self._note(wish, "person")

    def _set_forward(self) -> None:
        """Set the clock forward, but not while a create is in doubt: see `Weather`."""
        doubtful = any(s.state is State.SUBMITTING for s in self.world.disk.shards.values())
        running = any(p.walks for p in self.processes)
        if not doubtful and not running and self.weather.faults.marks:
            self.clock.set_forward(self.random.uniform(0.0, 3600.0))
            self._note("clock set forward", "world")

    def _forget(self) -> None:
        """Let the vendor delete a batch we know of and have not collected yet."""
        known = [s.upstream_id for s in self._unsettled() if s.upstream_id]
        if known:
            self.world.shelf.gone.add(self.random.choice(known))
            self._note("deleted upstream", "vendor")

    def _neighbour_buys(self) -> None:
        shards = self._unsettled()
        if not shards:
            return
        rows = len(self.random.choice(shards).rows)
        body = b'{"custom_id":"neighbour-%d","method":"POST","url":"/","body":{"messages":[]}}'
        upload = self.world.shelf.upload(ref := f"neighbour-{self.steps}")
        upload.write([body % n for n in range(rows)])
        upload.close()
        now = DAWN + self.clock.awake()
        self.world.shelf.sell(
            lambda n: Sale(
                upstream_id=f"simbatch_{n:06d}",
                shard_id=f"neighbour-{n}",
                ref=ref,
                rows=rows,
                at=now,
                turnaround_s=self.weather.turnaround_s,
            )
        )
        self._note("neighbour buys", "vendor")

    def _calm_down(self) -> None:
        self.storming = False
        self.provider.faults = calm(self.weather.faults)
        for process in self.processes:
            process.frozen_until = 0.0
