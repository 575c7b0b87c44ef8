"""Coroutines driven by hand, one await at a time, so that a life may end between any two."""

from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, TypeVar

T = TypeVar("T")


class _Step:
    """Awaiting this hands control, and the name of the place, to whoever drives the coroutine."""

    def __init__(self, place: str) -> None:
        self._place = place

    def __await__(self) -> Generator[str, None, None]:
        yield self._place


async def pause(place: str) -> None:
    """Stop here until the driver goes on."""
    await _Step(place)


#: What every fake awaits before and after each of its atomic effects, with the place's name.
Pause = Callable[[str], Awaitable[None]]


class Walk:
    """One coroutine on its way. Dropping a walk is a crash: nothing of it runs any more."""

    def __init__(self, coroutine: Coroutine[Any, Any, object], name: str = "") -> None:
        self.coroutine = coroutine
        self.name = name
        self.place = "start"
        self.done = False
        self.value: object = None
        self.error: Exception | None = None

    def step(self) -> str:
        """Go on to the next await; return its place, or `end`."""
        try:
            self.place = self.coroutine.send(None)
        except StopIteration as stop:
            self.done, self.value, self.place = True, stop.value, "end"
        except Exception as error:  # noqa: BLE001 - whoever drives decides what it means
            self.done, self.error, self.place = True, error, "end"
        return self.place


def finish(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end at once, as if nothing else existed."""
    while True:
        try:
            coroutine.send(None)
        except StopIteration as stop:
            return stop.value
