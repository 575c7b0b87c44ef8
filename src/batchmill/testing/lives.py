"""Lives from seeds: one, or many on all cores."""

from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from batchmill.testing.auditor import Broken
from batchmill.testing.life import Life


@dataclass(frozen=True, slots=True)
class History:
    """What a life was made of, and every step of it."""

    seed: int
    made_of: Counter[str]
    trace: tuple[tuple[int, str, str], ...]


def simulate(seed: int, tell: Callable[[str], None] | None = None) -> History:
    """
    Live the life of *seed* to its end and audit it; *tell* hears every event.

    Raises `Broken`, naming the seed and the command that lives it again.
    """
    life = Life(seed, tell=tell)
    if tell is not None:
        tell(f"seed {seed}: {life.weather}")
    try:
        made_of = life.live()
    except Exception as error:
        raise Broken(
            f"seed {seed}, step {life.steps}: {type(error).__name__}: {error}\n"
            f"    live it again: ./dev simulate-one {seed}"
        ) from error
    return History(seed, made_of, tuple(life.trace))


@dataclass(slots=True)
class Sum:
    """Many lives, added up."""

    lives: int
    steps: int
    made_of: Counter[str]
    broken: list[str]


def live_through(seeds: Iterable[int]) -> Sum:
    """Live the lives of all *seeds*; what breaks is noted, not raised."""
    total = Sum(0, 0, Counter(), [])
    for seed in seeds:
        total.lives += 1
        try:
            history = simulate(seed)
        except Broken as broken:
            total.broken.append(str(broken))
        else:
            total.made_of.update(history.made_of)
            total.steps += history.trace[-1][0] if history.trace else 0
    return total


def live_many(lives: int, cores: int) -> Sum:
    """Live the seeds 0 … *lives* - 1 on some cores."""
    shares = [range(n, lives, cores * 8) for n in range(cores * 8)]
    total = Sum(0, 0, Counter(), [])
    with ProcessPoolExecutor(cores) as pool:
        for part in pool.map(live_through, shares):
            total.lives += part.lives
            total.steps += part.steps
            total.made_of.update(part.made_of)
            total.broken += part.broken
    return total
