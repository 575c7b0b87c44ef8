"""What the cells of a table may reach beyond themselves, and which of them reached nothing."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NoReturn

from batchmill.errors import InvalidRow
from batchmill.rows.bucket import BucketFiles

#: So many cells that lead nowhere are enough to know that something greater is wrong.
UNUSABLE_MAX: Final = 100
#: So many of them are named.
_NAMED_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class Unusable:
    """A cell that leads to no image."""

    row: int  #: number in the whole table, from 0
    where: str  #: file, row or line, column
    words: str  #: why


@dataclass(slots=True)
class Reach:
    """
    What cells may reach, and what they did not.

    One image that is missing need not be the only one: they are gathered while the table is read,
    and told together before anything is sent, or their rows are left out.
    """

    local: bool = True  #: files of this machine, and buckets that its keys open
    fetch: Callable[[str], bytes] | None = None  #: see `ports.Web.fetching`
    skip: bool = False  #: whether rows that reach nothing are left out
    looked: int = 0  #: rows so far
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
        many = len(self._unusable)
        if many >= UNUSABLE_MAX and not (self.skip and 2 * many < self.looked):
            self._refuse()

    def reaches(self, row: int) -> bool:
        """Say whether all that a row names was found so far."""
        return all(found.row != row for found in self._unusable)

    def check(self) -> dict[int, str]:
        """
        Return the rows to be left out, and why.

        If none may be, raise `InvalidRow` that names the first and tells of the rest.
        """
        if self._unusable and not self.skip:
            self._refuse()
        return {found.row: found.words for found in reversed(self._unusable)}

    def _refuse(self) -> NoReturn:
        first, *others = self._unusable
        words = f"{first.where}: {first.words}."
        if others:
            named = "; ".join(found.where for found in others[:_NAMED_MAX])
            more = f"; and {len(others) - _NAMED_MAX} more" if len(others) > _NAMED_MAX else ""
            ended = " Reading ended there." if len(self._unusable) >= UNUSABLE_MAX else ""
            words += f" {len(others)} more cannot be used: {named}{more}.{ended}"
        words += " Nothing has been sent."
        if not self.skip:
            words += " Mend such rows, or say --skip-bad-images to leave them out."
        raise InvalidRow(words)
