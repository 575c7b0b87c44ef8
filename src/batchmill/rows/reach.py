"""What the cells of a table may reach beyond themselves, and which of them reached nothing."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from batchmill.errors import InvalidRow
from batchmill.rows.bucket import BucketFiles

#: So many cells that lead nowhere are enough to know that something greater is wrong.
UNUSABLE_MAX: Final = 100
#: So many of them are named.
_NAMED_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class Unusable:
    """A cell that leads to no image."""

    where: str  #: file, row or line, column
    words: str  #: why


@dataclass(slots=True)
class Reach:
    """
    What cells may reach, and what they did not.

    One image that is missing need not be the only one: they are gathered while the table is read,
    and told together before anything is sent.
    """

    local: bool = True  #: files of this machine, and buckets that its keys open
    fetch: Callable[[str], bytes] | None = None  #: see `ports.Web.fetching`
    _unusable: list[Unusable] = field(default_factory=list[Unusable])
    _buckets: dict[str, BucketFiles] = field(default_factory=dict[str, BucketFiles])

    def bucket(self, url: str) -> tuple[BucketFiles, str]:
        """Return the bucket of *url* and the key in it; opening one may ask for credentials."""
        scheme, _, rest = url.partition("://")
        bucket, _, key = rest.partition("/")
        root = f"{scheme.lower()}://{bucket}"
        if root not in self._buckets:
            self._buckets[root] = BucketFiles.of(root)
        return self._buckets[root], key

    def note(self, found: Unusable) -> None:
        """Remember a cell, in the order of rows; raise `InvalidRow` once there are very many."""
        self._unusable.append(found)
        if len(self._unusable) >= UNUSABLE_MAX:
            self.check()

    def check(self) -> None:
        """Raise `InvalidRow` if any cell led nowhere; it names the first and tells of the rest."""
        if not self._unusable:
            return
        first, *others = self._unusable
        words = f"{first.where}: {first.words}."
        if others:
            named = "; ".join(found.where for found in others[:_NAMED_MAX])
            more = f"; and {len(others) - _NAMED_MAX} more" if len(others) > _NAMED_MAX else ""
            ended = " Reading ended there." if len(self._unusable) >= UNUSABLE_MAX else ""
            words += (
                f" {len(others)} more cannot be used: {named}{more}.{ended} Nothing has been sent: "
                f"mend these rows or take them out, then run it again."
            )
        raise InvalidRow(words)
