"""What a batch waits for: troubles that providers report, and rows that wait for their turn."""

import re
from collections import Counter
from typing import TYPE_CHECKING

from batchmill.cli import words
from batchmill.core.rowset import NO_ROWS
from batchmill.core.shard import State

if TYPE_CHECKING:
    from batchmill.core.failure import Failure
    from batchmill.core.rowset import RowSet
    from batchmill.core.shard import Shard
    from batchmill.service.inspect import View

_CLOCK_TIME = re.compile(r"\b\d{1,2}:\d{2}(:\d{2})?\b")


def now(view: "View") -> float:
    """Return the moment at which an unfinished batch was looked at, in unix seconds."""
    return view.batch.created_at + view.elapsed_s


def at_a_standstill(view: "View") -> bool:
    """Say whether a batch is held and no provider has anything of it."""
    return bool(view.batch.held) and view.resting and not view.finished


def stands_still(view: "View") -> bool:
    """Say whether nothing can move now: nobody works on it, it is held, or all of it is to wait."""
    if view.finished:
        return False
    if view.stalled_since is not None or at_a_standstill(view):
        return True
    at = now(view)
    planned = (s for s in view.shards if s.state is State.PLANNED)
    return view.resting and all(s.due_at > at for s in planned)


def same_trouble(note: str) -> str:
    """Return what two notes on one trouble share: all but their clock times."""
    return _CLOCK_TIME.sub("", note)


class Notes:
    """What is noted on the shards at work, in the order in which it came up."""

    def __init__(self, over: str = "") -> None:
        """*over*: words of a hold that was just ended; shards repeat them until they move on."""
        self._over = same_trouble(over)
        self._order: dict[str, int] = {}
        self._next = 0

    def current(self, view: "View") -> list[str]:
        """Return one note for each trouble there is now, the newest last."""
        if view.batch.held:
            return []  # why it is held says it all, and is said elsewhere
        found = {
            same_trouble(s.note): s.note
            for s in view.shards
            if s.note and s.state is not State.SETTLED
        }
        if found.pop(self._over, None) is None:
            self._over = ""
        # What was over and comes back is new again.
        self._order = {key: at for key, at in self._order.items() if key in found}
        for key in found:
            if key not in self._order:
                self._order[key] = self._next
                self._next += 1
        return [found[key] for key in sorted(found, key=self._order.__getitem__)]


def offers(view: "View") -> str:
    """Return `5 rows wait to be offered again (server), next in 8 s`; empty where none does."""
    if view.finished or view.batch.held or view.batch.cancel_wanted:
        return ""
    at = now(view)
    waiting = [
        s for s in view.shards if s.state is State.PLANNED and s.attempt > 1 and s.due_at > at
    ]
    if not waiting:
        return ""
    n = sum(len(s.rows) for s in waiting)
    verb = "waits" if n == 1 else "wait"
    classes = _last_failures(waiting, view.shards)
    why = f" ({', '.join(classes)})" if classes else ""
    when = ""
    if view.stalled_since is None:  # else nobody is there who would offer them then
        when = f", next in {words.whole(min(s.due_at for s in waiting) - at)}"
    return f"{words.plural(n, 'row')} {verb} to be offered again{why}{when}"


def _last_failures(waiting: "list[Shard]", shards: "tuple[Shard, ...]") -> list[str]:
    """
    Return the classes in which the last offers of those rows failed, the most frequent first.

    With numbers where there are several; empty unless it can be told for every row.
    """
    open_: RowSet = NO_ROWS
    for shard in waiting:
        open_ |= shard.rows
    found: Counter[Failure] = Counter()
    # A row's last offer is the settled shard with the highest number in which it failed.
    for shard in sorted(shards, key=lambda s: -s.n):
        for failure, rows in shard.tally.failed.items():
            if hit := rows & open_:
                found[failure] += len(hit)
                open_ -= hit
        if not open_:
            break
    if open_:
        return []
    if len(found) == 1:
        return [str(failure) for failure in found]
    return [f"{failure} {words.number(n)}" for failure, n in found.most_common()]
