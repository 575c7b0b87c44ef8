"""Rows that were put back: each waits behind the others, and for its own time."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

from batchmill.core.request import Request
from batchmill.live.run import Run


@dataclass(slots=True, eq=False)
class Turn:
    """A row that is somebody's to send."""

    run: Run
    request: Request
    not_before: float = 0.0  #: `Clock.awake()`
    answered: int = -1  #: how many rows had been answered when this one was put back; -1: never was
    refusals: int = 0  #: how often it alone was refused, while others were answered


class Again:
    """The queue of rows to be sent again, the longest due first."""

    def __init__(self) -> None:
        self._turns: list[tuple[float, int, Turn]] = []
        self._number = 0  # of those that came at the same time, the first goes first

    def __len__(self) -> int:
        return len(self._turns)

    def __iter__(self) -> Iterator[Turn]:
        return (turn for _, _, turn in self._turns)

    @property
    def next(self) -> Turn:
        """Return who is due first; there must be one."""
        return self._turns[0][2]

    def put(self, turn: Turn) -> None:
        self._number += 1
        heapq.heappush(self._turns, (turn.not_before, self._number, turn))

    def take(self) -> Turn:
        return heapq.heappop(self._turns)[2]

    def take_all_of(self, run: Run) -> list[Turn]:
        theirs = [turn for turn in self if turn.run is run]
        self._turns = [each for each in self._turns if each[2].run is not run]
        heapq.heapify(self._turns)
        return theirs
