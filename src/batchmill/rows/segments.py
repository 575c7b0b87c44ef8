"""Segments of requests and of results: the `ports.Rows` of the house."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import chain, islice, repeat
from typing import BinaryIO

from batchmill.core.batch import Batch, Recipe, Source
from batchmill.core.limits import Limits, Range
from batchmill.core.outcome import Result
from batchmill.core.request import Request
from batchmill.core.rowset import NO_ROWS, RowSet, row_range
from batchmill.core.shard import Shard
from batchmill.errors import StorageTrouble
from batchmill.ports import Blobs, Cutting, Kept, Web
from batchmill.rows.cutting import cut_table
from batchmill.rows.keeping import keep_results
from batchmill.rows.links import gone_rows
from batchmill.rows.reach import Reach
from batchmill.wire.translate import with_max_tokens

#: A chunk of requests has no more rows and about no more bytes than this.
CHUNK_ROWS = 4096
CHUNK_BYTES = 4 << 20


def requests_key(batch_id: str, n: int) -> str:
    return f"batches/{batch_id}/requests/{n:05d}.jsonl"


class Segments:
    """`ports.Rows` over any `ports.Blobs`."""

    def __init__(
        self, blobs: Blobs, *, local_images: bool = True, web: Callable[[], Web] | None = None
    ) -> None:
        """
        *local_images*: whether a cell may name a file of this machine, or an object of a bucket
        that its keys open. *web* is asked for when the first link is to be followed.
        """
        self._blobs = blobs
        self._local_images = local_images
        self._web = web

    def cut(
        self,
        batch_id: str,
        recipe: Recipe,
        source: Source,
        limits: Limits,
        progress: Callable[[int], None] = lambda _: None,
    ) -> Cutting:
        """Render every row and write the request segments; see `ports.Rows.cut`."""
        with self._blobs.create(f"drafts/{batch_id}/begun") as mark:
            mark.write(b"")  # until `adopt`: whoever finds it old knows that nobody will
        follow = self._web if recipe.images or source.format == "requests" else None
        try:
            with follow().fetching() if follow else nullcontext() as fetch:
                return cut_table(
                    recipe,
                    source,
                    self._blobs,
                    limits,
                    lambda n: self._blobs.create(requests_key(batch_id, n)),
                    progress,
                    Reach(local=self._local_images, fetch=fetch, skip=recipe.skip_bad_images),
                )
        except BaseException:
            self.drop(batch_id)
            raise

    async def requests(
        self, batch: Batch, ranges: Sequence[Range], shard: Shard
    ) -> AsyncIterator[Sequence[Request]]:
        """Yield the shard's requests in row order, under the shard's custom_ids."""
        for origin in ranges:
            wanted = shard.rows & row_range(origin.start, origin.count)
            if not wanted:
                continue
            chunks = self._stored(batch.id, origin, shard.id, wanted)
            if shard.max_tokens is not None:
                chunks = _with_room(chunks, shard.max_tokens, batch.recipe.dialect)
            # Files are read beside the event loop; a chunk at a time, as a thread costs 50 µs.
            while chunk := await asyncio.to_thread(next, chunks, None):
                yield chunk

    def _stored(
        self, batch_id: str, origin: Range, shard_id: str, wanted: RowSet
    ) -> Iterator[list[Request]]:
        key = requests_key(batch_id, origin.n)
        with self._blobs.open(key) as file:
            chunk: list[Request] = []
            size = 0
            for row, line in _lines(file, origin, wanted):
                if not line.endswith(b"\n"):
                    raise StorageTrouble(f"{key}: ends before row {row + 1}. Is the disk damaged?")
                body = line[:-1]
                chunk.append(Request(f"{shard_id}-{row}", body))
                size += len(body)
                if len(chunk) == CHUNK_ROWS or size >= CHUNK_BYTES:
                    yield chunk
                    chunk, size = [], 0
            if chunk:
                yield chunk

    async def keep(
        self,
        batch: Batch,
        ranges: Sequence[Range],
        shard: Shard,
        name: str,
        results: AsyncIterator[Sequence[Result]],
    ) -> Kept:
        """Judge and write results, one segment for each origin range; see `ports.Rows.keep`."""
        return await keep_results(self._blobs, batch, ranges, shard, name, results)

    async def gone_media(
        self, batch: Batch, ranges: Sequence[Range], shard: Shard, rows: RowSet
    ) -> RowSet:
        """Return the rows with a link that is certainly gone; see `ports.Rows.gone_media`."""
        if self._web is None or not rows:
            return NO_ROWS
        requests = self.requests(batch, ranges, replace(shard, rows=rows))
        return await gone_rows(self._web(), requests, shard.id, batch.recipe.dialect)

    def adopt(self, batch_id: str) -> None:
        """Note that the batch is on record: its segments are no draft any more."""
        self._blobs.delete(f"drafts/{batch_id}/")

    def drop(self, batch_id: str) -> None:
        """Remove every segment of a batch that was never created."""
        self._blobs.delete(f"batches/{batch_id}/")
        self._blobs.delete(f"drafts/{batch_id}/")


def _with_room(
    chunks: Iterator[list[Request]], max_tokens: int, dialect: str
) -> Iterator[list[Request]]:
    """Give each request room for so many tokens of answer, by the name its body has for that."""
    for chunk in chunks:
        yield [Request(r.custom_id, with_max_tokens(r.body, dialect, max_tokens)) for r in chunk]


def _lines(file: BinaryIO, origin: Range, wanted: RowSet) -> Iterator[tuple[int, bytes]]:
    """Yield (row, line) of the wanted rows, skipping quickly over the others."""
    if len(wanted) == origin.count:
        rows = range(origin.start, origin.start + origin.count)
        yield from zip(rows, chain(file, repeat(b"")), strict=False)
        return
    at = origin.start
    for row in wanted:
        yield row, next(islice(file, row - at, None), b"")
        at = row + 1
