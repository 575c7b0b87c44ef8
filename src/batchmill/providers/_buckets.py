"""Objects in a bucket, for providers whose input and output lie there: obstore, in our words."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from inspect import isawaitable
from typing import Any, Final, NoReturn, TypeVar

from batchmill.core.failure import Failure
from batchmill.errors import (
    InvalidSetting,
    MissingExtra,
    NotSent,
    ProviderBusy,
    ProviderGone,
    ProviderRefused,
    ProviderSilent,
)
from batchmill.providers._http import CONNECT_S
from batchmill.providers._rest import WORDS_MAX, one_line
from batchmill.providers._spool import Spooled

#: A file above this travels in parts. S3 takes ten thousand of them, none but the last below 5 MiB.
PART_BYTES: Final = 8 << 20
#: So many parts are on their way at once: with their copies the most memory an upload takes.
PARTS_AT_ONCE: Final = 4
CHUNK_BYTES: Final = 1 << 20
#: Providers do not repeat a call: who asked them does, when it is time.
RETRIES: Final = 0
#: obstore counts a transfer of any length as one call, and gives up after 30 s unless it is told.
TRANSFER_MAX_S: Final = 24 * 3600.0
RENEWAL_MAX_S: Final = 30.0

T = TypeVar("T")

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>([^<]*)</Code>")
_MESSAGE = re.compile(r"<(?:Message|Details)>([^<]*)</|\"message\":\s*\"([^\"]*)\"")
_NO_BUCKET = re.compile(r"NoSuchBucket|bucket[^.\"]{0,80}(does not|doesn't) exist", re.IGNORECASE)
_ELSEWHERE = "BareRedirect"  # obstore's name for the answer of a bucket in another region
_DEBUG = "\n\nDebug source:"
_URL = re.compile(r"(s3|s3a|gs|az|abfs|abfss)://([^/]+)(?:/(.*))?")


@dataclass(frozen=True, slots=True)
class Entry:
    """An object as its bucket lists it."""

    key: str
    size_bytes: int


class Bucket:
    """
    The objects of one bucket; keys count from its root. Everything here is free to repeat.

    * `ProviderRefused` with `account`: no bucket, no right, no credentials; the batch is held
    * `ProviderGone`: no such object
    * `ProviderBusy`, `NotSent`, `ProviderSilent`: not now, or broken off
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        idle_timeout_s: float,
        config: Mapping[str, object] | None = None,
        credentials: Callable[[], Any] | None = None,
    ) -> None:
        """
        Open the bucket of *url*, e.g. `s3://bucket/prefix`; *name* is the provider's, for messages.

        *config* is that of obstore's store for this kind of bucket. *credentials* is a function or
        coroutine function that returns what obstore calls a credential, or raises one of our
        errors; it is asked before each call, so it remembers what is still good.
        """
        found = _URL.fullmatch(url)
        if found is None:
            raise InvalidSetting(
                f"[providers.{name}] bucket = {url!r}: expected e.g. s3://bucket/prefix."
            )
        prefix = (found[3] or "").strip("/")
        self.root = f"{found[1]}://{found[2]}"
        self.prefix = f"{prefix}/" if prefix else ""  #: what every key of ours begins with
        self._name = name
        self._credentials = _Credentials(credentials) if credentials is not None else None
        self._store = _store(self.root, dict(config or {}), self._credentials, idle_timeout_s, name)

    def url(self, key: str) -> str:
        return f"{self.root}/{key}"

    def key(self, url: str) -> str | None:
        """Return the key of an object of this bucket; None for any other url."""
        head, key = url[: len(self.root) + 1], url[len(self.root) + 1 :]
        return key if head == f"{self.root}/" and key else None

    async def put(self, key: str, spooled: Spooled) -> str:
        """Upload a file, in parts if it is large; it is visible only once whole. Return its url."""
        import obstore

        def upload() -> None:
            spooled.file.seek(0)
            obstore.put(
                self._store,
                key,
                spooled.file,
                use_multipart=spooled.size_bytes > PART_BYTES,
                chunk_size=PART_BYTES,
                max_concurrency=PARTS_AT_ONCE,
            )

        await self._done(upload, key, "written")
        return self.url(key)

    async def list(self, folder: str) -> list[Entry]:
        """Return the objects below *folder* (which ends in a slash, or is empty), by key."""
        import obstore

        def entries() -> list[Entry]:
            pages = obstore.list(self._store, folder or None, chunk_size=1000)
            return [Entry(meta["path"], meta["size"]) for page in pages for meta in page]

        return sorted(await self._done(entries, folder, "listed"), key=lambda entry: entry.key)

    async def chunks(self, key: str) -> AsyncIterator[bytes]:
        """Yield an object's content as it comes; `ProviderSilent` where it breaks off."""
        import obstore

        found = await self._done(lambda: obstore.get(self._store, key), key, "read")
        size, stream, at = found.meta["size"], found.stream(CHUNK_BYTES), 0
        while (chunk := await self._done(lambda: next(stream, None), key, "read")) is not None:
            at += len(chunk)
            yield bytes(chunk)
        if at != size:
            raise ProviderSilent(f"{self.url(key)}: {at:,} bytes came, and not {size:,}")

    async def read(self, key: str) -> bytes:
        """Return the whole of a small object."""
        return b"".join([chunk async for chunk in self.chunks(key)])

    async def delete(self, keys: Collection[str]) -> None:
        """Delete objects; what is gone already is no error."""
        import obstore

        for key in keys:
            with suppress(ProviderGone):
                await self._done(partial(obstore.delete, self._store, key), key, "deleted")

    async def _done(self, work: Callable[[], T], key: str, doing: str) -> T:
        """
        Do some blocking work in a thread; its errors leave as ours.

        obstore's own coroutines are not used: where Python ends within some milliseconds after one
        of them, also after a good one, it is aborted (obstore 0.12.1).
        """
        from obstore.exceptions import BaseError

        if self._credentials is not None:
            await self._credentials.renew()
        try:
            return await asyncio.to_thread(work)
        except (BaseError, OSError) as error:
            self._translate(error, f"{self._name}: {self.url(key)} cannot be {doing}")

    def _translate(self, error: Exception, what: str) -> NoReturn:
        from obstore.exceptions import (
            NotFoundError,
            PermissionDeniedError,
            UnauthenticatedError,
        )

        said = str(error)
        message = one_line(f"{what}: {_words(said)}")[:WORDS_MAX]
        status = int(found[1]) if (found := _STATUS.search(said)) else 0
        if isinstance(error, NotFoundError | FileNotFoundError) and not _NO_BUCKET.search(said):
            raise ProviderGone(message) from error
        if status == 429 or status >= 500:
            raise ProviderBusy(message, retry_at=0.0) from error
        # Whatever else the storage refuses (no such bucket, a region that is not the bucket's, an
        # expired token) is said of the set-up: the person must hear it, and no row is to blame.
        of_account = isinstance(error, PermissionDeniedError | UnauthenticatedError)
        if of_account or status >= 300 or _ELSEWHERE in said:
            raise ProviderRefused(message, failure=Failure.ACCOUNT) from error
        if "kind: Connect" in said:
            raise NotSent(message) from error
        raise ProviderSilent(message) from error


class _Credentials:
    """What obstore asks for credentials, from a thread of its own; it never fails in there."""

    def __init__(self, ask: Callable[[], Any]) -> None:
        self._ask = ask
        self._last: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def renew(self) -> None:
        self._loop = asyncio.get_running_loop()
        found = self._ask()
        self._last = await found if isawaitable(found) else found

    def __call__(self) -> Any:
        # In a transfer that outlives its credentials, it is for the storage to say that they are
        # too old, where no new ones can be had.
        with suppress(Exception):
            assert self._loop is not None
            asyncio.run_coroutine_threadsafe(self.renew(), self._loop).result(RENEWAL_MAX_S)
        return self._last


def _words(said: str) -> str:
    """Return the storage's own words; what obstore adds for its developers is left out."""
    said = said.partition(_DEBUG)[0]
    if (message := _MESSAGE.search(said)) is not None:
        code = _CODE.search(said)
        return f"{code[1]}: {message[1]}" if code else message[1] or message[2]
    return said


def _store(
    root: str,
    config: dict[str, object],
    credentials: Callable[[], Any] | None,
    idle_timeout_s: float,
    name: str,
) -> Any:
    try:
        from obstore.exceptions import BaseError
        from obstore.store import from_url
    except ImportError as error:
        raise MissingExtra(
            f"provider {name}: {root} needs the package obstore: pip install 'batchmill[s3]'."
        ) from error
    plain = any(str(value).startswith("http://") for value in config.values())
    options: Any = {
        "allow_http": plain,
        "connect_timeout": timedelta(seconds=CONNECT_S),
        "read_timeout": timedelta(seconds=idle_timeout_s),
        "timeout": timedelta(seconds=TRANSFER_MAX_S),
    }
    given: Any = {"credential_provider": credentials} if credentials is not None else {}
    try:
        opened: Any = from_url  # its overloads know no store that is named at run time
        return opened(
            root,
            config=config or None,
            client_options=options,
            retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=60)},
            **given,
        )
    except (BaseError, ValueError) as error:
        words = str(error).partition(_DEBUG)[0]
        raise InvalidSetting(f"[providers.{name}] {root}: cannot be opened ({words}).") from error
