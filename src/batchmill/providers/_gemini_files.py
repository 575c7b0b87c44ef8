"""Gemini's files: uploaded by the resumable protocol, looked at, streamed, deleted."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import quote, urlsplit

import msgspec

from batchmill.core.failure import Failure
from batchmill.errors import (
    ProviderBroke,
    ProviderBusy,
    ProviderError,
    ProviderGone,
    ProviderRefused,
)
from batchmill.ports import Download
from batchmill.providers._rest import Rest, text, whole
from batchmill.providers._spool import Spooled

KIND: Final = "application/jsonl"
#: Said with 409; another status would mean the same.
_TAKEN: Final = re.compile(r"already.exists", re.IGNORECASE)
#: Where the vendor keeps what it redirects to.
_GOOGLES: Final = (".googleapis.com", ".googleusercontent.com")


class GeminiFiles:
    """The files of one account. Everything here is free to repeat."""

    def __init__(self, rest: Rest, name: str, version: str, key: Mapping[str, str]) -> None:
        self._rest = rest
        self._name = name
        self._version = version
        self._key = key

    async def upload(self, name: str, title: str, file: Spooled) -> str:
        """Upload a file under a chosen *name*, `files/…`; return the name it has."""
        try:
            return await self._sent(name, title, file)
        except ProviderGone as gone:  # nothing of ours is gone: there is no such place
            words = f"{gone} Is base_url right? {self._rest.base_url}"
            raise ProviderRefused(words, failure=Failure.ACCOUNT) from gone
        except (ProviderBusy, ProviderRefused) as no:
            if not _TAKEN.search(str(no)):
                raise
        # Left by an upload of ours that broke off: the name holds our mark and a token.
        await self.delete(name)
        return await self._sent(name, title, file)

    async def _sent(self, name: str, title: str, file: Spooled) -> str:
        """Send a file by the resumable protocol, in one stream."""
        about = {"name": name, "displayName": title, "mimeType": KIND}
        started = await self._rest.call(
            "POST",
            f"/upload/{self._version}/files",
            headers={
                "content-type": "application/json",
                "x-goog-upload-protocol": "resumable",
                "x-goog-upload-command": "start",
                "x-goog-upload-header-content-length": str(file.size_bytes),
                "x-goog-upload-header-content-type": KIND,
            },
            body=msgspec.json.encode({"file": about}),
        )
        place = self._here(started.headers.get("x-goog-upload-url", ""))
        done = await self._rest.call(
            "POST",
            place,
            headers={
                "content-type": KIND,
                "x-goog-upload-command": "upload, finalize",
                "x-goog-upload-offset": "0",
            },
            body=file.upload(),
        )
        found = self._rest.object(done)
        kept = text(found, "file", "name")
        size = whole(found, "file", "sizeBytes")
        if not kept or (size and size != file.size_bytes):
            raise ProviderBroke(f"{self._name}: {kept or 'an upload'} has {size:,} bytes")
        return kept

    def _here(self, url: str) -> str:
        """
        Return where an upload goes: where the vendor says, but at our own base_url.

        Behind a proxy the vendor still names its own host; the SDKs, too, take only path and query.
        """
        place, base = urlsplit(url), urlsplit(self._rest.base_url)
        if not place.path:
            raise ProviderBroke(f"{self._name} named no place to upload to")
        inside = place.path.startswith(f"{base.path}/")
        path = place.path if inside else base.path + place.path
        return place._replace(scheme=base.scheme, netloc=base.netloc, path=path).geturl()

    async def there(self, name: str) -> bool:
        """Say whether a file can still be used; what cannot be learnt counts as yes."""
        try:
            found = await self._rest.json("GET", f"/{self._version}/{quoted(name)}")
        except ProviderGone:
            return False
        except ProviderRefused as refusal:
            return refusal.failure != Failure.INVALID_MEDIA  # "… or it may not exist"
        except ProviderError:
            return True  # who knows
        return text(found, "state") != "FAILED"

    @asynccontextmanager
    async def download(self, name: str) -> AsyncIterator[Download]:
        """Fetch a file as it comes."""
        # Straight away: to `get` a result file first fails, its id being too long (js-genai#1227).
        async with self._rest.download(
            f"/{self._version}/{quoted(name)}:download",
            query={"alt": "media"},
            headers={"accept": "*/*"},
            follow=self._trusted,
        ) as found:
            yield found

    def _trusted(self, url: str) -> Mapping[str, str] | None:
        """Return the headers for where a redirect leads; None: nobody we know."""
        host = urlsplit(url).hostname or ""
        if host == urlsplit(self._rest.base_url).hostname:
            return {"accept": "*/*", **self._key}
        ours = host.endswith(_GOOGLES)
        return {"accept": "*/*"} if ours and url.startswith("https:") else None

    async def delete(self, name: str) -> None:
        """Delete a file, or the record of a batch; what is gone already is no error."""
        try:
            await self._rest.json("DELETE", f"/{self._version}/{quoted(name)}")
        except ProviderGone:
            return
        except ProviderRefused as refusal:
            # Gone is told as "you do not have permission …, or it may not exist"; the ids of result
            # files may be too long to be named at all. They go by themselves.
            if refusal.failure == Failure.ACCOUNT:
                raise


def quoted(name: str) -> str:
    """Return a resource's name as part of a path."""
    return quote(name, safe="/")
