"""The smallest worlds, explored whole: every order of every await of two workers on one shard."""

import sys
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

from batchmill.testing.auditor import Broken
from batchmill.testing.small import Choice, SmallWorld, Spec


@dataclass(frozen=True, slots=True)
class Explored:
    """What an exploration has seen."""

    name: str
    states: int  #: different ones, before each choice
    paths: int  #: lives begun, most of them left where they met a state seen before
    endings: int  #: different ends of a life, each audited
    deepest: int  #: choices on the longest path
    took_s: float


class Path:
    """
    The choices of one life: first those we were told, then always the first one that is open.

    Every life is lived from its birth, as a coroutine cannot be copied.
    """

    def __init__(self, told: list[Choice], left: list[list[Choice]]) -> None:
        self.chosen, self.left = told, left  # left: what has not been tried at each place yet
        self._at = 0

    @property
    def in_new_land(self) -> bool:
        return self._at == len(self.chosen)

    def choose(self, ways: Callable[[], list[Choice]]) -> Choice | None:
        """Return what happens next; None where nothing can. *ways* is asked in new land only."""
        if self.in_new_land:
            found = ways()
            if not found:
                return None
            self.chosen.append(found[0])
            self.left.append(found[1:])
        self._at += 1
        return self.chosen[self._at - 1]

    def next(self) -> "Path | None":
        """Return the next life, or None when every choice has been made."""
        while self.left and not self.left[-1]:
            self.left.pop()
            self.chosen.pop()
        if not self.left:
            return None
        self.chosen[-1] = self.left[-1].pop(0)
        return Path(self.chosen, self.left)


@dataclass(slots=True)
class Explorer:
    """Walks through one small world until no choice is left; raises `Broken` with its path."""

    spec: Spec
    seen: set[Hashable] = field(default_factory=set[Hashable])
    endings: set[Hashable] = field(default_factory=set[Hashable])

    def explore(self) -> Explored:
        began, paths, deepest = time.perf_counter(), 0, 0
        path: Path | None = Path([], [])
        while path is not None:
            try:
                self._live(path)
            except Exception as error:
                raise Broken(
                    f"{self.spec.name}: {type(error).__name__}: {error}\n{self._told(path)}"
                ) from error
            paths += 1
            deepest = max(deepest, len(path.chosen))
            path = path.next()
        took_s = time.perf_counter() - began
        return Explored(self.spec.name, len(self.seen), paths, len(self.endings), deepest, took_s)

    def _live(self, path: Path) -> None:
        world = SmallWorld(self.spec, path.choose)
        while True:
            if path.in_new_land:
                mark = hash(world.fingerprint())
                if mark in self.seen:
                    return
                self.seen.add(mark)
            way = path.choose(world.ways)
            if way is None:
                break
            world.go(way)
        self.endings.add(world.audited())

    def _told(self, path: Path) -> str:
        """Live a broken life once more, and say what happened."""
        again, words = Path(list(path.chosen), list(path.left)), list[str]()
        world = SmallWorld(self.spec, again.choose, words.append)
        with suppress(Exception):
            while not again.in_new_land:
                world.go(again.choose(world.ways) or Choice(""))
        return "\n".join(f"    {n:>3}  {word}" for n, word in enumerate(words, 1))


#: Bounds chosen so that all of it takes about a minute on two cores; more of anything costs five
#: times as much, and what it would find, the random lives look for.
WORLDS = (
    Spec(name="a crash, a lost call, a freeze", crashes=1, lost=1, freezes=1),
    Spec(name="two crashes, a lost call", crashes=2, lost=1),
    Spec(name="a cancel at any moment", crashes=1, lost=1, cancels=1),
    Spec(name="a cancel, and a freeze", freezes=1, cancels=1),
    Spec(name="a row that fails once", crashes=1, fails=1),
    Spec(name="the account is refused once", crashes=1, account=1),
    Spec(name="a deadline that comes too soon", crashes=1, freezes=1, window_s=4.0),
    Spec(name="no marks, and a neighbour", crashes=1, lost=1, marks=False, neighbour=True),
    Spec(name="residual: frozen between lease and wire", crashes=1, freezes=1, prompt=False),
)


def explore_all(
    worlds: Sequence[Spec] = WORLDS,
    tell: Callable[[Explored], None] | None = None,
    cores: int = 2,
) -> list[Explored]:
    """Explore every world; raise `Broken`, with the choices that lead there, at the first flaw."""
    found: list[Explored] = []
    with ProcessPoolExecutor(cores) as pool:
        for explored in pool.map(explore, worlds):
            found.append(explored)
            if tell is not None:
                tell(explored)
    return found


def explore(spec: Spec) -> Explored:
    return Explorer(spec).explore()


def _tell(explored: Explored) -> None:
    print(
        f"{explored.states:>9,} {explored.endings:>8,} {explored.paths:>9,} {explored.deepest:>8} "
        f"{explored.took_s:>6.1f} s  {explored.name}",
        flush=True,
    )


def main() -> int:
    began = time.perf_counter()
    print(
        f"{'states':>9} {'endings':>8} {'paths':>9} {'deepest':>8} {'':>8}  one shard, two workers"
    )
    try:
        found = explore_all(tell=_tell)
    except Broken as broken:
        print(broken, file=sys.stderr)
        return 1
    states, took_s = sum(e.states for e in found), time.perf_counter() - began
    print(f"{states:,} states, every one of them sound, in {took_s:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
