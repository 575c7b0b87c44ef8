"""Where the input and output of Vertex's jobs lie: Cloud Storage, or BigQuery's tables."""

import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final, Protocol

from batchmill.errors import ProviderBusy, ProviderGone
from batchmill.ports import Clock, Offer
from batchmill.providers._bigquery import BigQuery
from batchmill.providers._buckets import Bucket, Entry
from batchmill.providers._google import FRESH_S, LINE_BYTES_MAX, unix
from batchmill.providers._lines import results_of
from batchmill.providers._rest import text, whole
from batchmill.providers._spool import spooled
from batchmill.wire import gemini
from batchmill.wire.gemini import Echo

Job = Mapping[str, object]


class Storage(Protocol):
    """What is put there before a job, found there after it, and deleted in the end."""

    async def put(self, offer: Offer, token: str) -> str:
        """Put the requests under a name with a *token* in it; return it."""
        ...

    def configs(self, offer: Offer) -> dict[str, object]:
        """Return what a job is told: where its input is, and where its output goes."""
        ...

    async def ready(self, offer: Offer) -> None:
        """Raise `ProviderBusy` while the input is on its way."""
        ...

    async def there(self, offer: Offer) -> bool: ...

    def answers(self, job: Job, offer: Offer) -> AsyncIterator[tuple[bool, list[Echo]]]:
        """Yield the lines, and whether these may have been told before."""
        ...

    async def clear(self, offer: Offer) -> None:
        """Delete what is certainly the shard's own."""
        ...


class InBucket:
    """A folder for each offer: `input.jsonl`, and what the job writes below `output`."""

    def __init__(self, bucket: Bucket, clock: Clock, spool: Path, name: str) -> None:
        self._bucket = bucket
        self._clock = clock
        self._spool = spool
        self._name = name

    async def put(self, offer: Offer, token: str) -> str:
        folder = f"{self._bucket.prefix}{offer.shard_id}-{token}"
        async with spooled(offer, self._spool, gemini.render_vertex_line) as file:
            return await self._bucket.put(f"{folder}/input.jsonl", file)

    def configs(self, offer: Offer) -> dict[str, object]:
        output = f"{self._bucket.root}/{self._folder(offer)}output"
        destination = {"outputUriPrefix": output}
        return {
            "inputConfig": {"instancesFormat": "jsonl", "gcsSource": {"uris": [offer.ref]}},
            "outputConfig": {"predictionsFormat": "jsonl", "gcsDestination": destination},
        }

    async def ready(self, offer: Offer) -> None:
        """An object is there as soon as it is put."""

    async def there(self, offer: Offer) -> bool:
        key = self._bucket.key(offer.ref or "")
        return any(entry.key == key for entry in await self._objects(offer))

    async def answers(self, job: Job, offer: Offer) -> AsyncIterator[tuple[bool, list[Echo]]]:
        def parse(line: bytes) -> Echo:
            return gemini.parse_vertex_line(line, offer.dialect)

        for key in await self._files(job, offer):
            twice = "incremental" in key  # the same rows, written while the job was running
            chunks, url = self._bucket.chunks(key), self._bucket.url(key)
            async for echoes in results_of(chunks, parse, LINE_BYTES_MAX, url, salvaged):
                yield twice, echoes

    async def _files(self, job: Job, offer: Offer) -> list[str]:
        """Return the keys of the files of results, those that are whole first."""
        named = self._bucket.key(text(job, "outputInfo", "gcsOutputDirectory"))
        folder = f"{named.rstrip('/')}/" if named else f"{self._folder(offer)}output/"
        keys = [entry.key for entry in await self._bucket.list(folder) if entry.size_bytes]
        keys = [key for key in keys if "prediction" in key.rpartition("/")[2]]
        if not keys:
            none_there(job, f"{self._name}: {folder}", self._clock)
        return sorted(keys, key=lambda key: ("incremental" in key, key))

    async def clear(self, offer: Offer) -> None:
        await self._bucket.delete([entry.key for entry in await self._objects(offer)])

    def _folder(self, offer: Offer) -> str:
        """Return the folder that `put` made, ending in a slash; empty where it is not ours."""
        folder, _, name = (self._bucket.key(offer.ref or "") or "").rpartition("/")
        ours = folder.rpartition("/")[2].startswith(f"{offer.shard_id}-") and name == "input.jsonl"
        return f"{folder}/" if ours else ""

    async def _objects(self, offer: Offer) -> list[Entry]:
        folder = self._folder(offer)
        return await self._bucket.list(folder) if folder else []


class InTables:
    """Two tables for each offer: `…_in`, which we load, and `…_out`, which the job makes."""

    def __init__(self, tables: BigQuery, clock: Clock, spool: Path, name: str) -> None:
        self._tables = tables
        self._clock = clock
        self._spool = spool
        self._name = name

    async def put(self, offer: Offer, token: str) -> str:
        """Return the table, and the place where BigQuery loads it, which takes a while."""
        table = f"{_prefix(offer)}{token}_in"
        async with spooled(offer, self._spool, gemini.render_bigquery_row) as file:
            place = await self._tables.load(table, file)
        return f"{self._tables.uri(table)} {place}".rstrip()

    def configs(self, offer: Offer) -> dict[str, object]:
        given = self._tables.uri(self._table(offer, "_in"))
        wanted = self._tables.uri(self._table(offer, "_out"))
        source, destination = {"inputUri": given}, {"outputUri": wanted}
        return {
            "inputConfig": {"instancesFormat": "bigquery", "bigquerySource": source},
            "outputConfig": {"predictionsFormat": "bigquery", "bigqueryDestination": destination},
        }

    async def ready(self, offer: Offer) -> None:
        table, place = self._table(offer, "_in"), (offer.ref or "").partition(" ")[2]
        state = await self._tables.loading(table, place)
        if state:
            words = f"{self._name}: {table} is {state}; no job can be made of it yet"
            raise ProviderBusy(words, retry_at=0.0)

    async def there(self, offer: Offer) -> bool:
        return await self._tables.columns(self._table(offer, "_in")) is not None

    async def answers(self, job: Job, offer: Offer) -> AsyncIterator[tuple[bool, list[Echo]]]:
        table = self._tables.table(text(job, "outputInfo", "bigqueryOutputTable"))
        table = table or self._table(offer, "_out")
        columns = await self._tables.columns(table)
        if columns is None:
            none_there(job, f"{self._name}: {table}", self._clock)
            return
        async for rows in self._tables.rows(table, columns):
            yield False, [gemini.parse_bigquery_row(row, offer.dialect) for row in rows]

    async def clear(self, offer: Offer) -> None:
        for suffix in ("_in", "_out"):
            if table := self._table(offer, suffix):
                await self._tables.delete(table)

    def _table(self, offer: Offer, suffix: str) -> str:
        """Return one of the two tables; empty where the ref is none of ours."""
        table = self._tables.table((offer.ref or "").partition(" ")[0])
        ours = table.startswith(_prefix(offer)) and table.endswith("_in")
        return table.removesuffix("_in") + suffix if ours else ""


_NO_LETTER: Final = re.compile(r"[^A-Za-z0-9_]")


def _prefix(offer: Offer) -> str:
    return f"bm_{_NO_LETTER.sub('_', offer.shard_id)}_"


def salvaged(line: bytes) -> Echo | None:
    found = gemini.salvaged(line)
    return None if found is None else Echo(found, b"{}")


def none_there(job: Job, place: str, clock: Clock) -> None:
    """Raise what it means that nothing is where the results should be."""
    done = whole(job, "completionStats", "successfulCount")
    if not done:
        return
    words = f"{place} has no results, though {done:,} rows have succeeded"
    if clock.now() < unix(text(job, "endTime")) + FRESH_S:
        raise ProviderBusy(words, retry_at=0.0)
    raise ProviderGone(words)
