"""
batchmill with a death sentence: `python doomed.py POINT N ARGUMENTS…` dies by SIGKILL at a point.

The points are put around the real methods from outside, so that nothing of this is in the program.
"""

import functools
import importlib
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

#: name -> (module, class, method, before or after its effect, event it must be about)
POINTS: dict[str, tuple[str, str, str, str, str]] = {
    "before the batch is on record": ("store.sql", "SqlStore", "create", "before", ""),
    "after the batch is on record": ("store.sql", "SqlStore", "create", "after", ""),
    "before the upload": ("providers.sim", "SimProvider", "prepare", "before", ""),
    "after the upload": ("providers.sim", "SimProvider", "prepare", "after", ""),
    "before the intent is durable": ("store.sql", "SqlStore", "record", "before", "Submitting"),
    "after the intent is durable": ("store.sql", "SqlStore", "record", "after", "Submitting"),
    "before the creating call": ("providers.sim", "SimProvider", "submit", "before", ""),
    "after the creating call": ("providers.sim", "SimProvider", "submit", "after", ""),
    "before the id is on record": ("store.sql", "SqlStore", "record", "before", "Accepted"),
    "after the id is on record": ("store.sql", "SqlStore", "record", "after", "Accepted"),
    "after a look-up": ("providers.sim", "SimProvider", "find", "after", ""),
    "after a check": ("providers.sim", "SimProvider", "check", "after", ""),
    "after the end is on record": ("store.sql", "SqlStore", "record", "after", "Ended"),
    "before the results are kept": ("rows.segments", "Segments", "keep", "before", ""),
    "after the results are kept": ("rows.segments", "Segments", "keep", "after", ""),
    "before the shard is settled": ("store.sql", "SqlStore", "settle", "before", ""),
    "after the shard is settled": ("store.sql", "SqlStore", "settle", "after", ""),
}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def doom(point: str, nth: int) -> None:
    """Arrange that the process dies when *point* is reached for the *nth* time."""
    if point == "before the answers are visible":
        _doom_rename()
        return
    module, cls, method, when, event = POINTS[point]
    owner = getattr(importlib.import_module(f"batchmill.{module}"), cls)
    left = [nth]

    def due(arguments: tuple[Any, ...]) -> bool:
        if event and not any(type(a).__name__ == event for a in arguments):
            return False
        left[0] -= 1
        return left[0] == 0

    def doomed(real: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(real)
        async def call(*arguments: Any, **more: Any) -> Any:
            mine = due(arguments)
            if mine and when == "before":
                die()
            answer = await real(*arguments, **more)
            if mine:
                die()
            return answer

        return call

    setattr(owner, method, doomed(getattr(owner, method)))


def _doom_rename() -> None:
    """Die with the answers written, but not yet under their name."""
    for name in ("replace", "rename", "link"):
        real = getattr(os, name)

        def call(source: Any, target: Any, *more: Any, _real: Any = real, **named: Any) -> Any:
            if "answers" in os.fspath(target):
                die()
            return _real(source, target, *more, **named)

        setattr(os, name, call)


if __name__ == "__main__":
    doom(sys.argv[1], int(sys.argv[2]))
    sys.argv = ["batchmill", *sys.argv[3:]]
    from batchmill.cli import main

    sys.exit(main())
