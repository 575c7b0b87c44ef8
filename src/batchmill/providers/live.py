"""
Any live endpoint that speaks OpenAI's chat, responses or embeddings API, as a batch provider.

`submit` makes a ledger named after the shard, so repeating it is safe and nothing is ever in doubt;
the dispatcher sends the rows; the ledger is the result. A lost process is made good by `check`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from decimal import Decimal
from operator import attrgetter
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from msgspec.structs import replace

from batchmill.core.failure import Failure
from batchmill.core.outcome import Result
from batchmill.core.request import OPENAI_CHAT, OPENAI_EMBEDDINGS, OPENAI_RESPONSES, Request
from batchmill.core.shard import Accepted, NotThere, Progress
from batchmill.errors import Conflict, InvalidSetting, NotSent, ProviderBusy, ProviderGone
from batchmill.live import ledger
from batchmill.live.dispatcher import Dispatcher
from batchmill.live.endpoint import Endpoint, Judge
from batchmill.live.ledger import Stopped
from batchmill.live.run import Run
from batchmill.ports import Answer, Checked, Found, Offer, Provider
from batchmill.providers import LIVE_TERMS, Context, Knobs, ProviderSpec, known_options
from batchmill.providers._rest import KEY_LETTERS_MIN, Rest, Words, objects
from batchmill.wire import failures, openai

NOTHING: Final = Decimal(0)
CONCURRENCY: Final = 64
CONCURRENCY_MAX: Final = 10_000
OPTIONS: Final = ("concurrency", "sensors")
#: What is free is not worth a person's waiting: on closing, its answers get this long.
FREE_PATIENCE_S: Final = 2.0
#: What the endpoint's own metrics are. Named already, so that settings need not change later; so
#: far the pace follows its answers alone (429s, errors), whatever stands here.
SENSORS: Final = ("none", "vllm", "sglang", "llamacpp")

BY_WISH: Final = Stopped(Failure.CANCELED, "cancelled by wish before it was answered")


class HttpEndpoint:
    """An endpoint behind a base URL. A vendor with ways of its own changes what it says below."""

    models_path = "/models"  #: a list that is free to ask for and needs the key

    def __init__(self, context: Context) -> None:
        knobs = context.knobs
        self.base_url = checked_base_url(context.name, knobs)
        # Asked for now, so that wiring closes us before it closes the client.
        self._http = context.http()
        self._clock = context.clock
        self._name = context.name
        self._timeout_s = knobs.idle_timeout_s
        self._probe_s = knobs.timeout_s
        self._headers = {"content-type": "application/json", "accept": "application/json"}
        key = (knobs.key or "").strip().encode()
        self._key = key if len(key) >= KEY_LETTERS_MIN else b""
        if knobs.key:
            self._headers |= self.key_headers(knobs.key.strip())

    def key_headers(self, key: str) -> dict[str, str]:
        return {"authorization": f"Bearer {key}"}

    def place(self, url: str) -> str:
        """Return where a request line's url lies."""
        return joined(self.base_url, url)

    def reads(self, status: int, body: bytes) -> Words:
        """Return what an error of this endpoint says."""
        code, message = failures.error_words(body)
        return Words(failures.failure_of(status, code, message), f"{status}: {message}")

    async def send(self, request: Request, url: str) -> Answer:
        answer = await self._http.request(
            "POST",
            self.place(url),
            headers=self._headers,
            body=request.body,
            timeout_s=self._timeout_s,
        )
        if self._key and self._key in answer.body:  # some gateways repeat what they were sent
            body = answer.body.replace(self._key, b"[key]")
            return Answer(answer.status, answer.headers, body)
        return answer

    async def probe(self) -> str:
        """Ask for the list of models; raise a `ProviderError` with the endpoint's own words."""
        rest = Rest(
            self._http,
            self._clock,
            name=self._name,
            base_url=self.base_url,
            headers=self._headers,
            reads=self.reads,
            timeout_s=self._probe_s,
            idle_timeout_s=self._timeout_s,
        )
        found = await rest.json("GET", self.models_path)
        count = len(objects(found, "data") or objects(found, "models"))
        return "answers, and the key is good" + (f"; {count:,} models" if count else "")


class LiveProvider:
    """The verbs over a dispatcher and a folder of ledgers."""

    def __init__(
        self,
        context: Context,
        endpoint: Endpoint,
        *,
        concurrency: int,
        label: str,
        judge: Judge = openai.result,
        names_account: Callable[[bytes], bool] = failures.names_account,
        url_of: Callable[[Offer], str] = attrgetter("url"),
        free: bool = False,
    ) -> None:
        """*url_of*: what the endpoint is told, where it is not the url of the request lines."""
        self._names_account = names_account
        self._url_of = url_of
        self._free = free  # nothing is paid for its answers, so they cost 0 and not "unknown"
        self._clock = context.clock
        self._poll_s = context.knobs.poll_s
        self._folder = context.folder / "ledgers"
        self._judge = judge
        self._endpoint = endpoint
        self._dispatcher = Dispatcher(
            endpoint,
            context.clock,
            name=label,
            most=concurrency,
            patience_s=FREE_PATIENCE_S if free else context.knobs.idle_timeout_s,
        )
        self._runs: dict[str, Run] = {}

    @property
    def in_flight(self) -> int:
        """How many answers are asked for and still on their way: what `aclose` waits for."""
        return self._dispatcher.in_flight

    async def prepare(self, offer: Offer) -> str:
        return ""  # nothing is uploaded

    async def submit(self, offer: Offer) -> str:
        """Make the ledger and start. Repeating it changes nothing; it is never silent."""
        if 0 < offer.send_before <= self._clock.awake():
            raise NotSent(f"{offer.shard_id}: this process was held up for too long; not started")
        await asyncio.to_thread(ledger.create, self._path(offer.shard_id))
        if offer.shard_id not in self._runs:
            self._start(self._run(offer))
        return offer.shard_id

    async def find(self, offer: Offer) -> Found:
        there = self._path(offer.shard_id).exists()
        return Accepted(offer.shard_id) if there else NotThere()

    async def check(self, offer: Offer) -> Checked:
        """Report, and take the run up again if it lost its process."""
        run = self._runs.get(offer.shard_id) or await self._taken_up(offer)
        if run.trouble is not None and self._dispatcher.awaits(run):
            return Checked(False, self._progress(run, str(run.trouble)))  # they are paid for
        if run.trouble is not None:
            del self._runs[offer.shard_id]  # the next check starts it afresh, from its ledger
            await self._dispatcher.drop(run)
            if not isinstance(run.trouble, Conflict):
                raise run.trouble
            return Checked(False, self._progress(run, str(run.trouble)))
        note = "" if run.ended else self._dispatcher.note
        return Checked(run.ended, self._progress(run, note))

    async def cancel(self, offer: Offer) -> None:
        """Stop it: connections of rows in flight are closed, rows not done become canceled."""
        run = self._runs.get(offer.shard_id)
        if run is None:
            if not self._path(offer.shard_id).exists():
                return
            run = await self._taken_up(offer)
        await self._dispatcher.stop(run, BY_WISH)
        if run.trouble is not None:  # the wish is in no ledger yet: it has to be said again
            again_at = self._clock.now() + self._poll_s
            raise ProviderBusy(str(run.trouble), retry_at=again_at) from run.trouble

    async def results(self, offer: Offer) -> AsyncIterator[Sequence[Result]]:
        chunks = ledger.read(self._found_path(offer))
        while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
            yield [replace(r, cost_usd=NOTHING) for r in chunk] if self._free else chunk

    async def tidy(self, offer: Offer) -> None:
        """Remove the ledger of a shard whose results are safe elsewhere. Twice is no error."""
        run = self._runs.pop(offer.shard_id, None)
        if run is not None and not run.ended:
            await self._dispatcher.drop(run)
        await asyncio.to_thread(self._path(offer.shard_id).unlink, missing_ok=True)

    async def probe(self) -> str:
        """Ask the endpoint which models it has."""
        return await self._endpoint.probe()

    async def aclose(self) -> None:
        """Send no more, wait for what is in flight; a later process goes on from the ledgers."""
        try:
            await self._dispatcher.aclose()
        finally:
            self._runs.clear()

    async def _taken_up(self, offer: Offer) -> Run:
        """Return a run made from its ledger; started, unless that is already whole."""
        found = await asyncio.to_thread(ledger.replay, self._found_path(offer))
        if (run := self._runs.get(offer.shard_id)) is not None:
            return run  # made by another call while we read
        run = self._run(offer)
        run.remember(found)
        if len(found.done) >= offer.count:
            run.ended = True
            self._runs[offer.shard_id] = run
        else:
            self._start(run)
        return run

    def _run(self, offer: Offer) -> Run:
        return Run(
            shard_id=offer.shard_id,
            url=self._url_of(offer),
            dialect=offer.dialect,
            judge=self._judge,
            names_account=self._names_account,
            requests=offer.requests,
            path=self._path(offer.shard_id),
        )

    def _start(self, run: Run) -> None:
        self._runs[run.shard_id] = run
        self._dispatcher.start(run)

    def _progress(self, run: Run, note: str) -> Progress:
        return Progress(succeeded=run.succeeded, errored=run.unsuccessful, note=note)

    def _path(self, shard_id: str) -> Path:
        return self._folder / f"{shard_id}.ledger"

    def _found_path(self, offer: Offer) -> Path:
        path = self._path(offer.shard_id)
        if not path.exists():
            raise ProviderGone(f"{path}: the ledger of this shard is gone")
        return path


def joined(base_url: str, url: str) -> str:
    """Return where a request line's url lies at an endpoint whose base URL holds the version."""
    return base_url.rstrip("/") + url.removeprefix("/v1")


def checked_base_url(name: str, knobs: Knobs) -> str:
    if not _usable(knobs.base_url):
        said = f"{knobs.base_url!r} is no http(s) URL" if knobs.base_url else "it is not set"
        raise InvalidSetting(
            f"provider {name} needs a base_url: {said}. Write under [providers.{name}] in "
            'batchmill.toml e.g. base_url = "http://localhost:8000/v1".'
        )
    return knobs.base_url


def _usable(url: str) -> bool:
    try:
        parts = urlsplit(url)
        # Looked at here, as a port out of range is an error only once it is asked for.
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        return sound and parts.username is None and parts.password is None
    except ValueError:
        return False


def _ready(knobs: Knobs) -> str | None:
    return None if _usable(knobs.base_url) else "set base_url: http(s)://HOST/v1"


def whole_number(name: str, knobs: Knobs, option: str, default: int, most: int) -> int:
    """Return a knob that must be a whole number from 1 to *most*."""
    value = knobs.options.get(option, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise InvalidSetting(
            f"[providers.{name}] {option} = {value!r}: expected a whole number from 1 to {most:,}."
        )
    return value


def concurrency_of(context: Context) -> int:
    """Return how many requests may be in flight, at most."""
    return whole_number(context.name, context.knobs, "concurrency", CONCURRENCY, CONCURRENCY_MAX)


def _open(context: Context) -> Provider:
    known_options(context.name, context.knobs, OPTIONS)
    sensors = context.knobs.options.get("sensors", "none")
    if sensors not in SENSORS:
        raise InvalidSetting(
            f"[providers.{context.name}] sensors = {sensors!r}: "
            f"expected one of {', '.join(SENSORS)}."
        )
    endpoint = HttpEndpoint(context)
    return LiveProvider(
        context,
        endpoint,
        concurrency=concurrency_of(context),
        label=f"endpoint {endpoint.base_url}",
    )


PROVIDER = ProviderSpec(
    title="Any live endpoint with OpenAI's API (vLLM, SGLang, llama.cpp, Ollama, a vendor's)",
    key_required=False,
    dialects=(OPENAI_CHAT, OPENAI_RESPONSES, OPENAI_EMBEDDINGS),
    lanes=("live",),
    limits=LIVE_TERMS.limits,
    timeout_s=LIVE_TERMS.timeout_s,
    poll_s=LIVE_TERMS.poll_s,
    listing_lag_s=LIVE_TERMS.listing_lag_s,
    found_by="its ledger, a file named after the shard",
    ready=_ready,
    options=OPTIONS,
    open=_open,
)
