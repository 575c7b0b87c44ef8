"""How fast it goes: only what this command has seen itself, and only where it means something."""

from typing import TYPE_CHECKING

from batchmill.cli import waits, words

if TYPE_CHECKING:
    from batchmill.service.inspect import View

#: With fewer rows a speed is an accident.
ROWS_MIN = 10


class Pace:
    """
    Rows a second since this command began to look, or since the batch last stood still.

    What came before nobody here has timed; and a speed over a pause says how long the pause was.
    """

    def __init__(self) -> None:
        self._began: tuple[float, int] | None = None  # (elapsed, answered)
        self._whole = False

    def look(self, view: "View") -> None:
        """Take note of how the batch stands; called each time it is looked at."""
        if self._began is None:
            self._whole = view.answered == 0
        elif not waits.stands_still(view):
            return
        elif view.answered > self._began[1]:
            self._whole = False
        self._began = view.elapsed_s, view.answered

    def now(self, view: "View") -> str:
        """Return `737 rows/s`; empty where there is nothing honest to say."""
        if self._began is None:
            return ""
        elapsed_s, answered = self._began
        return told(view.answered - answered, view.elapsed_s - elapsed_s)

    def overall(self, view: "View") -> str:
        """Return the speed of a finished batch, where this command has seen all of it at a go."""
        return told(view.counts.total, view.elapsed_s) if self._whole else ""


def told(rows: int, seconds: float) -> str:
    return words.rate(rows / seconds) if rows >= ROWS_MIN and seconds > 0 else ""
