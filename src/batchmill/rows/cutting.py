"""From rows to request segments: bodies are made, measured and written as they stream by."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import BinaryIO, Self

from batchmill.core.batch import Recipe, Source
from batchmill.core.limits import ENVELOPE_BYTES, Limits, Range, fits
from batchmill.errors import InvalidRecipe, InvalidRow
from batchmill.ports import Blobs, Cutting
from batchmill.rows.bodies import Bodies
from batchmill.rows.chunk import Chunk
from batchmill.rows.columns import check_clash
from batchmill.rows.places import shown
from batchmill.rows.reach import Reach
from batchmill.rows.read import Reading, columns_of
from batchmill.rows.readymade import ReadyMade

Open = Callable[[int], AbstractContextManager[BinaryIO]]


def cut_table(
    recipe: Recipe,
    source: Source,
    blobs: Blobs,
    limits: Limits,
    open_segment: Open,
    progress: Callable[[int], None],
    reach: Reach,
) -> Cutting:
    """Render every row of *source* into segments that *open_segment* opens by range number."""
    reading = Reading(source, blobs, unique=True)
    made = (
        ReadyMade(recipe, reach)
        if source.format == "requests"
        else FromRows(recipe, columns_of(source, blobs), reach)
    )
    first_body, total = b"", 0
    with Cutter(limits, open_segment) as cutter:
        for chunk in reading:
            for block in made.lines(chunk):
                first_body = first_body or _first_sent(block, cutter.rows, reach)
                cutter.add(block, chunk)
                progress(cutter.rows)
    made.finish(reading, cutter.rows)
    total = sum(r.size_bytes for r in cutter.ranges)
    return Cutting(
        source=reading.source(),
        rows=cutter.rows,
        ranges=tuple(cutter.ranges),
        size_bytes=total,
        first_body=first_body,
        unusable=reach.check(),
    )


def _first_sent(block: bytes, start: int, reach: Reach) -> bytes:
    """Return the first body of a block that is sent; empty where all its rows are left out."""
    lines = block.split(b"\n", 100)[:-1]
    return next((line for n, line in enumerate(lines, start) if reach.reaches(n)), b"")


class FromRows:
    """Bodies of rows and prompts."""

    def __init__(self, recipe: Recipe, columns: list[str] | None, reach: Reach) -> None:
        for flag, value in (
            ("--image-max-side", recipe.image_max_side),
            ("--skip-bad-images", recipe.skip_bad_images),
        ):
            if value and not recipe.images:
                raise InvalidRecipe(f"{flag}: there is no --image for it. Name their column.")
        self._bodies = Bodies(recipe, reach)
        self._schema = recipe.schema
        self._seen: dict[str, None] | None = None if columns is not None else {}
        if columns is not None:
            self._check(columns)

    def lines(self, chunk: Chunk) -> Iterator[bytes]:
        if self._seen is not None:
            self._seen.update(dict.fromkeys(chunk.names()))
        return self._bodies.lines(chunk)

    def finish(self, reading: Reading, rows: int) -> None:
        # JSON lines: only the last row tells which columns there are. Nothing is spent before.
        if self._seen is not None and rows:
            self._check(list(self._seen))

    def _check(self, columns: list[str]) -> None:
        check_clash(columns, self._schema)
        self._bodies.check(columns)


class Cutter:
    """
    Distributes lines over segments, as `core.limits.cut` says.

    A block of lines that fits as a whole is written as a whole; only where a range ends are its
    lines looked at one by one.
    """

    def __init__(self, limits: Limits, open_segment: Open) -> None:
        self._limits = limits
        self._open = open_segment
        self._stack = ExitStack()
        self._file: BinaryIO | None = None
        self._start = self._count = self._size = 0
        self._largest = min(limits.request_bytes_max, limits.bytes_max - ENVELOPE_BYTES)
        self.rows = 0
        self.ranges: list[Range] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            self._end()
        else:
            self._stack.__exit__(*error)  # pyright: ignore[reportArgumentType]

    def add(self, block: bytes, chunk: Chunk) -> None:
        """Take the lines of *chunk*, or of its next rows."""
        count = block.count(b"\n")
        size = len(block) - count
        if self._has_room(count, size) and (size <= self._largest):
            self._write(block, count, size)
            return
        lines = block.split(b"\n")
        start = 0
        for index in range(count):
            self._check(len(lines[index]), chunk, index)
        while start < count:
            end, size = self._end_of_run(lines, start, count)
            if end == start:
                self._end()
                continue
            self._write(b"\n".join((*lines[start:end], b"")), end - start, size)
            start = end

    def _check(self, size: int, chunk: Chunk, index: int) -> None:
        if size <= self._largest:
            return
        row = min(self.rows + index - chunk.place.start, len(chunk) - 1)
        try:
            fits(size, chunk.place.start + row, self._limits)
        except InvalidRow as error:
            words = str(error).partition(": ")[2]
            raise InvalidRow(f"{chunk.where(row)}: {words}") from error

    def _end_of_run(self, lines: list[bytes], start: int, count: int) -> tuple[int, int]:
        end, size = start, 0
        while end < count and self._has_room(end - start + 1, size + len(lines[end])):
            size += len(lines[end])
            end += 1
        return end, size

    def _has_room(self, count: int, size: int) -> bool:
        wire_bytes = self._size + size + (self._count + count) * ENVELOPE_BYTES
        return (
            self._count + count <= self._limits.requests_max
            and wire_bytes <= self._limits.bytes_max
        )

    def _write(self, block: bytes, count: int, size: int) -> None:
        if self._file is None:
            self._file = self._stack.enter_context(self._open(len(self.ranges) + 1))
        self._file.write(block)
        self._count += count
        self._size += size
        self.rows += count

    def _end(self) -> None:
        if self._count:
            self._stack.close()
            self.ranges.append(Range(len(self.ranges) + 1, self._start, self._count, self._size))
        self._file, self._start = None, self.rows
        self._count = self._size = 0


__all__ = ["Cutter", "cut_table", "shown"]
