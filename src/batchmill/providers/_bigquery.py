"""BigQuery's tables over REST: loaded from a file, read row by row, deleted."""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final
from urllib.parse import quote

import msgspec

from batchmill.core.failure import Failure
from batchmill.errors import InvalidSetting, ProviderBroke, ProviderGone, ProviderRefused
from batchmill.providers._rest import Rest, at, objects, text
from batchmill.providers._spool import Spooled

URL: Final = "https://bigquery.googleapis.com"
#: A page of rows is held in memory; BigQuery itself cuts it at some ten megabytes.
PAGE_ROWS: Final = 500
WANTED: Final = ("key", "request", "response", "status")
_DATASET: Final = re.compile(r"bq://([a-z0-9:.-]+)\.([A-Za-z0-9_]+)")

#: Columns by name, as JSON has them: texts, mostly.
Row = Mapping[str, object]


class BigQuery:
    """The tables of one dataset, `bq://project.dataset`. Everything here is free to repeat."""

    def __init__(self, rest: Rest, url: str, name: str) -> None:
        found = _DATASET.fullmatch(url)
        if found is None:
            raise InvalidSetting(
                f"[providers.{name}] bucket = {url!r}: expected bq://project.dataset."
            )
        self._rest = rest
        self._name = name
        self._project, self._dataset = found[1], found[2]
        self._root = f"/bigquery/v2/projects/{quote(self._project, safe=':')}"

    def uri(self, table: str) -> str:
        return f"bq://{self._project}.{self._dataset}.{table}"

    def table(self, uri: str) -> str:
        """Return the name of a table of this dataset; empty for any other."""
        head = self.uri("")
        name = uri.removeprefix(head)
        return name if uri.startswith(head) and re.fullmatch(r"\w+", name, re.ASCII) else ""

    async def load(self, table: str, file: Spooled) -> str:
        """Begin to load a file of JSON lines into a new table; return where that is done."""
        boundary = f"batchmill-{file.sha256[:24]}"
        fields = [{"name": name, "type": "STRING"} for name in ("key", "request")]
        place = {"projectId": self._project, "datasetId": self._dataset, "tableId": table}
        wanted = {
            "jobReference": {"projectId": self._project, "jobId": f"load_{table}"},
            "configuration": {
                "load": {
                    "destinationTable": place,
                    "schema": {"fields": fields},
                    "sourceFormat": "NEWLINE_DELIMITED_JSON",
                    "writeDisposition": "WRITE_EMPTY",
                }
            },
        }
        head = (
            b"--%b\r\nContent-Type: application/json\r\n\r\n%b\r\n"
            b"--%b\r\nContent-Type: application/octet-stream\r\n\r\n"
        ) % (boundary.encode(), msgspec.json.encode(wanted), boundary.encode())
        try:
            answer = await self._rest.call(
                "POST",
                f"/upload{self._root}/jobs",
                query={"uploadType": "multipart"},
                headers={"content-type": f"multipart/related; boundary={boundary}"},
                body=file.upload(head, b"\r\n--%b--\r\n" % boundary.encode()),
            )
        except ProviderGone as gone:  # nothing of ours is gone: there is no such dataset
            raise ProviderRefused(str(gone), failure=Failure.ACCOUNT) from gone
        return text(self._rest.object(answer), "jobReference", "location")

    async def loading(self, table: str, place: str) -> str:
        """Return the state of a table that is still being loaded; empty once it is there."""
        job = await self._rest.json(
            "GET", f"{self._root}/jobs/load_{table}", query={"location": place or None}
        )
        state = text(job, "status", "state")
        if state != "DONE":
            return state or "of no known state"
        if at(job, "status", "errorResult") is not None:
            # Our rows are sound; what is left is a right, a quota or a region that is not there.
            words = text(job, "status", "errorResult", "message")
            raise ProviderRefused(
                f"{self._name}: {table} cannot be loaded: {words}", failure=Failure.ACCOUNT
            )
        return ""

    async def columns(self, table: str) -> Sequence[str] | None:
        """Return the names of a table's columns, in order; None where there is no such table."""
        try:
            found = await self._rest.json("GET", self._path(table))
        except ProviderGone:
            return None
        return [text(field, "name") for field in objects(found, "schema", "fields")]

    async def rows(self, table: str, columns: Sequence[str]) -> AsyncIterator[list[Row]]:
        """Yield a table's rows, those of its columns that matter, a page at a time."""
        named = [name for name in columns if name in WANTED]
        token = ""
        while True:
            page = await self._rest.json(
                "GET",
                f"{self._path(table)}/data",
                query={
                    "maxResults": PAGE_ROWS,
                    "selectedFields": ",".join(named),
                    "pageToken": token or None,
                },
            )
            found: list[Row] = []
            for row in objects(page, "rows"):
                cells = [cell.get("v") for cell in objects(row, "f")]
                if len(cells) != len(named):
                    raise ProviderBroke(f"{self._name}: a row of {table} has {len(cells)} columns")
                found.append(dict(zip(named, cells, strict=True)))
            yield found
            following = text(page, "pageToken")
            if not following or following == token:
                return
            token = following

    async def delete(self, table: str) -> None:
        try:
            await self._rest.json("DELETE", self._path(table))
        except ProviderGone:
            return

    def _path(self, table: str) -> str:
        return f"{self._root}/datasets/{self._dataset}/tables/{table}"
