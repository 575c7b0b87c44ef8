"""JSON over HTTP with one vendor: its address, its headers, and what its refusals mean for us."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Final
from urllib.parse import urlencode, urljoin

import msgspec

from batchmill.core.failure import Failure
from batchmill.errors import (
    ProviderBroke,
    ProviderBusy,
    ProviderGone,
    ProviderRefused,
    ProviderSilent,
)
from batchmill.ports import Answer, Clock, Download, Http, Offer, Upload

Query = Mapping[str, str | int | None]
#: Headers of one call, e.g. with a token that has to be fresh or a signature over the rest.
Sign = Callable[[str, str, Mapping[str, str], bytes | Upload | None], Awaitable[Mapping[str, str]]]
#: The headers for where a redirect leads; None: nobody we know, it is not followed.
Follow = Callable[[str], Mapping[str, str] | None]

WORDS_MAX: Final = 600
#: What is shorter than this is no key, and may stand in a text by itself.
KEY_LETTERS_MIN: Final = 6
#: Waiting for less than a second, or until next year, is a mistake of the header.
RETRY_AFTER_MAX_S: Final = 6 * 3600.0

_decode = msgspec.json.Decoder(dict[str, object]).decode
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Words:
    """What a vendor's refusal says."""

    failure: Failure
    message: str  #: the vendor's own, in one line, with its code


#: Reads a vendor's error body: (status, body) -> Words.
Reads = Callable[[int, bytes], Words]


class Rest:
    """
    Calls one vendor. What is no success leaves as one of our errors:

    * `ProviderRefused` with the failure class, `account` for what concerns key, credit or model
    * `ProviderBusy` for a 429 and whatever else is a no for the moment
    * `ProviderGone` for a 404 of what is not being created
    * `ProviderSilent` for a 5xx, a redirect, or anything of a creating call that is no clear no:
      it may have acted, whatever words its body holds
    * `ProviderBroke` for a success that is not JSON
    """

    def __init__(
        self,
        http: Http,
        clock: Clock,
        *,
        name: str,
        base_url: str,
        headers: Mapping[str, str],
        reads: Reads,
        timeout_s: float,
        idle_timeout_s: float,
        sign: Sign | None = None,
    ) -> None:
        self.base_url = base_url
        self._http = http
        self._clock = clock
        self._name = name
        self._headers = {"accept": "application/json", **headers}
        self._hide = hiding(headers)
        self._reads = reads
        self._timeout_s = timeout_s
        self._idle_timeout_s = idle_timeout_s
        self._sign = sign

    async def json(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        json: object = None,
        create: Offer | None = None,
    ) -> dict[str, object]:
        """
        Make a call with a JSON body, if any, and return the JSON object that is answered.

        *create*: it is the creating call of this offer, sent once and in time, or not at all.
        """
        body = None if json is None else _encode(json)
        headers = {} if body is None else {"content-type": "application/json"}
        answer = await self.call(
            method, path, query=query, headers=headers, body=body, create=create
        )
        return self.object(answer)

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | Upload | None = None,
        create: Offer | None = None,
    ) -> Answer:
        """Make a call and return the answer of a success. *path* may be a whole URL."""
        url = self.url(path, query)
        sent = await self._signed(method, url, headers or {}, body)
        # The lease covers a creating call from end to end; an upload may take as long as it moves.
        idle_s = self._idle_timeout_s if isinstance(body, Upload) and create is None else None
        answer = await self._http.request(
            method,
            url,
            headers=sent,
            body=body,
            timeout_s=self._timeout_s,
            idle_timeout_s=idle_s,
            send_before=create.send_before if create is not None else None,
        )
        if not 200 <= answer.status < 300:
            self._refuse(answer, creating=create is not None)
        return answer

    @asynccontextmanager
    async def download(
        self,
        path: str,
        *,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        follow: Follow = lambda _: None,
    ) -> AsyncIterator[Download]:
        """Fetch a body that is read as it comes. One redirect is followed, if *follow* says so."""
        url = self.url(path, query)
        sent = await self._signed("GET", url, headers or {}, None)
        idle_s = self._idle_timeout_s
        async with AsyncExitStack() as stack:
            found = await stack.enter_async_context(
                self._http.download("GET", url, headers=sent, idle_timeout_s=idle_s)
            )
            place = found.headers.get("location") if 300 <= found.status < 400 else None
            if place and (sent := follow(place := urljoin(url, place))) is not None:
                found = await stack.enter_async_context(
                    self._http.download("GET", place, headers=sent, idle_timeout_s=idle_s)
                )
            if not 200 <= found.status < 300:
                body = b""
                async for chunk in found.chunks():
                    body = (body + chunk)[: 1 << 16]
                self._refuse(Answer(found.status, found.headers, body), creating=False)
            yield found

    def url(self, path: str, query: Query | None = None) -> str:
        url = path if "://" in path else self.base_url + path
        given = [(k, str(v)) for k, v in (query or {}).items() if v is not None]
        return f"{url}?{urlencode(given)}" if given else url

    def object(self, answer: Answer) -> dict[str, object]:
        """Return an answer's JSON object; an empty body is an empty one."""
        if not answer.body.strip():
            return {}
        try:
            return _decode(answer.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            said = self._hide(one_line(answer.body.decode(errors="replace")))[:200]
            raise ProviderBroke(
                f"{self._name} answered {answer.status}, but no JSON object: {said}"
            ) from error

    async def _signed(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | Upload | None
    ) -> Mapping[str, str]:
        sent = {**self._headers, **headers}
        return sent if self._sign is None else await self._sign(method, url, sent, body)

    def _refuse(self, answer: Answer, *, creating: bool) -> None:
        """Raise what an answer that is no success means."""
        words = self._reads(answer.status, answer.body)
        message = self._hide(one_line(f"{self._name}: {words.message}"))[:WORDS_MAX]
        if creating and not _clear_no(answer, words):
            raise ProviderSilent(message)
        if words.failure is Failure.ACCOUNT:
            raise ProviderRefused(message, failure=Failure.ACCOUNT)
        if answer.status == 429 or words.failure in (Failure.RATE_LIMITED, Failure.QUOTA):
            raise ProviderBusy(message, retry_at=self._retry_at(answer))
        if not 400 <= answer.status < 500 or answer.status in _PASSING:
            raise ProviderBusy(message, retry_at=self._retry_at(answer))
        if answer.status in (404, 410) and not creating:
            raise ProviderGone(message)
        # Shards that are too large are cut again, and what holds one bad row is halved: not_run.
        failure = Failure.NOT_RUN if answer.status == 413 else words.failure
        raise ProviderRefused(message, failure=failure)

    def _retry_at(self, answer: Answer) -> float:
        """Return when the vendor wants to be asked again; 0.0 where it does not say."""
        return retry_at(answer.headers, self._clock.now())


#: 4xx that say nothing about the request: a gateway's, or ours that came too early or too late.
_PASSING: Final = frozenset({408, 409, 425, 499})


def _clear_no(answer: Answer, words: Words) -> bool:
    """
    Say whether a creating call was certainly not accepted.

    A 5xx may come after the fact, whatever it says; and a page of a gateway's is nobody's word.
    """
    if not 400 <= answer.status < 500 or answer.status in _PASSING:
        return False
    if answer.status in (401, 403, 404, 405, 413, 429) or words.failure is Failure.ACCOUNT:
        return True
    return answer.body.lstrip()[:1] in (b"{", b"[")


_KEYS: Final = ("authorization", "x-api-key", "api-key", "x-goog-api-key")


def hiding(headers: Mapping[str, str]) -> Callable[[str], str]:
    """Return what takes the keys in *headers* out of a foreign text."""
    words = [value.removeprefix("Bearer ").strip() for n, value in headers.items() if n in _KEYS]
    keys = [word for word in words if len(word) >= KEY_LETTERS_MIN]

    def hide(text: str) -> str:
        for key in keys:
            text = text.replace(key, "[key]")
        return text

    return hide


def retry_at(headers: Mapping[str, str], now: float) -> float:
    """Return what `retry-after-ms` or `retry-after` (seconds, or a date) come to; 0.0: nothing."""
    given, unit_s = headers.get("retry-after-ms"), 0.001
    if given is None:
        given, unit_s = headers.get("retry-after"), 1.0
    if given is None:
        return 0.0
    try:
        wait_s = float(given) * unit_s
    except ValueError:
        try:
            wait_s = parsedate_to_datetime(given).timestamp() - now
        except ValueError:
            return 0.0
    return now + min(max(wait_s, 0.0), RETRY_AFTER_MAX_S) if isfinite(wait_s) else 0.0


def one_line(text: str) -> str:
    return " ".join(text.split())


def text(found: Mapping[str, object], *path: str) -> str:
    """Return the text at a path of names in a foreign object; empty where there is none."""
    value = at(found, *path)
    return value if isinstance(value, str) else ""


def whole(found: Mapping[str, object], *path: str) -> int:
    """Return the whole number at a path, also where it is written as a text; else 0."""
    value = at(found, *path)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def at(found: Mapping[str, object], *path: str) -> object:
    """Return the value at a path of names in a foreign object; None where there is none."""
    value: object = found
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def objects(found: Mapping[str, object], *path: str) -> list[dict[str, object]]:
    """Return the objects of the list at a path; whatever else is in it is left out."""
    value = at(found, *path)
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
