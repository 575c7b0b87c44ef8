"""The data plane as the service sees it."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from batchmill.core.batch import Batch, Recipe, Source
from batchmill.core.limits import Limits, Range
from batchmill.core.outcome import Result
from batchmill.core.request import Request
from batchmill.core.rowset import RowSet
from batchmill.core.shard import Shard, Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutting:
    """A table, cut: what `create` needs to know about it."""

    source: Source
    rows: int
    ranges: tuple[Range, ...]
    size_bytes: int  #: of all bodies
    #: Rows whose image cannot be read, and why: they must not be sent.
    unusable: Mapping[int, str] = field(default_factory=dict[int, str])
    first_body: bytes = b""  #: what the first row that is sent became: to be looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Results made safe: the name of their segments, and what they say."""

    name: str
    tally: Tally
    ours: bool = True  #: False: not one custom_id was of this shard


class Rows(Protocol):
    """The data plane as the service sees it: segments of requests and of results."""

    def cut(
        self,
        batch_id: str,
        recipe: Recipe,
        source: Source,
        limits: Limits,
        progress: Callable[[int], None] = ...,
    ) -> Cutting:
        """
        Render every row and write the request segments. Blocking; memory is a few chunks.

        Raises `InvalidTable`, `InvalidRow` or `InvalidRecipe` before anything is spent, and then
        leaves nothing behind. *progress* hears the number of rows done.
        """
        ...

    def requests(
        self, batch: Batch, ranges: Sequence[Range], shard: Shard
    ) -> AsyncIterator[Sequence[Request]]:
        """Yield the shard's requests in row order, under the shard's custom_ids."""
        ...

    async def keep(
        self,
        batch: Batch,
        ranges: Sequence[Range],
        shard: Shard,
        name: str,
        results: AsyncIterator[Sequence[Result]],
    ) -> Kept:
        """
        Judge and write results as segments, one for each origin range, called *name*.

        Every row of the shard gets exactly one: a second line is counted as duplicate, a foreign
        one as foreign, a row without one becomes `errored/missing`. Visible only once complete.
        """
        ...

    async def gone_media(
        self, batch: Batch, ranges: Sequence[Range], shard: Shard, rows: RowSet
    ) -> RowSet:
        """
        Return those of *rows* whose request links to an image that is certainly gone.

        Looks at each link: to be asked of rows that have failed for their image, and only then.
        """
        ...

    def adopt(self, batch_id: str) -> None:
        """Note that the batch is on record: its segments are no draft any more."""
        ...

    def drop(self, batch_id: str) -> None:
        """Remove every segment of a batch that was never created."""
        ...
