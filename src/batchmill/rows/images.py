"""Images and documents of rows: links stay links where the provider takes them, else bytes."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from typing import Final

from batchmill.core.batch import Recipe
from batchmill.errors import InvalidRow
from batchmill.rows.ahead import done, in_order
from batchmill.rows.chunk import Chunk
from batchmill.rows.media import Cells, Job
from batchmill.rows.reach import Reach, Unusable
from batchmill.wire.hub import Media

#: Rows that are read ahead; each of them may hold `MEDIA_BYTES_MAX` and more in memory.
AT_ONCE: Final = 8

_Found = Media | Unusable
_Cell = Callable[[], _Found]


class Images:
    """Columns that hold images or PDFs: a link, a data: URL, a path, or the bytes themselves."""

    def __init__(self, recipe: Recipe, reach: Reach) -> None:
        """Raise `MissingExtra` where images shall be made smaller and Pillow is not there."""
        self._columns = recipe.images
        self._cells = Cells(recipe, reach)
        self._reach = reach

    def parts(self, chunk: Chunk) -> Iterator[list[Media]]:
        """
        Yield the media of each row, in the order of the columns; an empty cell is none.

        A cell that leads nowhere does not end it: there may be more of them, and a person wants to
        know them all at once. It is noted in the reach, and `Reach.check` tells at the end.
        """
        columns = [(name, chunk.values(name)) for name in self._columns]
        rows = (
            [
                self._read(values[index], row, f"{chunk.where(index)}, column {name}")
                for name, values in columns
                if values[index] is not None and values[index] != ""
            ]
            for index, row in enumerate(range(chunk.place.start, chunk.place.start + len(chunk)))
        )
        for row in in_order(map(_row_job, rows), AT_ONCE):
            self._reach.looked += 1
            for found in row:
                if isinstance(found, Unusable):
                    self._reach.note(found)
            yield [found for found in row if not isinstance(found, Unusable)]

    def _read(self, value: object, row: int, where: str) -> _Found | _Cell:
        try:
            found = self._cells.read(value)
        except InvalidRow as error:
            return Unusable(row, where, str(error))
        return partial(_done, found, row, where) if callable(found) else found


def _row_job(cells: list[_Found | _Cell]) -> Callable[[], list[_Found]] | Future[list[_Found]]:
    ready = [cell for cell in cells if not callable(cell)]
    return done(ready) if len(ready) == len(cells) else partial(_row, cells)


def _row(cells: list[_Found | _Cell]) -> list[_Found]:
    return [cell() if callable(cell) else cell for cell in cells]


def _done(job: Job, row: int, where: str) -> _Found:
    try:
        return job()
    except InvalidRow as error:
        return Unusable(row, where, str(error))
