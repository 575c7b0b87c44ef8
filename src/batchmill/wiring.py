"""The only place where real clock, database, providers and engine meet."""

import asyncio
import difflib
import hashlib
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from batchmill import providers
from batchmill.core import price
from batchmill.core.limits import Limits
from batchmill.core.request import DIALECTS, ENDPOINTS
from batchmill.engine.loop import Loop
from batchmill.errors import InvalidSetting, InvalidTable, MissingKey, StorageTrouble, UnknownModel
from batchmill.ports import Blobs, Http, Store, Supplier, Turn, Web
from batchmill.providers import Context, Knobs, ProviderSpec
from batchmill.service.advance import Advancer
from batchmill.service.create import Creator
from batchmill.service.inspect import Inspector
from batchmill.service.pricing import Pricing, Terms
from batchmill.service.sweep import sweep
from batchmill.settings import ProviderSettings, Settings
from batchmill.store import open_store
from batchmill.store.turn import turn_for

if TYPE_CHECKING:
    from batchmill.core.batch import Source
    from batchmill.rows.segments import Segments

LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's: nothing that looks like another
ABANDONED_AFTER_S = 86_400.0


class SystemClock:
    """The machine's time."""

    def now(self) -> float:
        return time.time()

    def awake(self) -> float:
        # CLOCK_MONOTONIC stands still while a Linux laptop sleeps; a lease must not.
        boot = getattr(time, "CLOCK_BOOTTIME", None)
        return time.monotonic() if boot is None else time.clock_gettime(boot)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SystemIds:
    """Ids that sort by time and cannot be guessed."""

    def batch(self) -> str:
        return self.batch_at(time.time()) + "".join(secrets.choice(LETTERS) for _ in range(11))

    def batch_at(self, when: float) -> str:
        """Return what every id made at or after *when* is not less than."""
        number, letters = int(when * 1000), ""
        for _ in range(9):
            number, digit = divmod(number, len(LETTERS))
            letters = LETTERS[digit] + letters
        return f"batch_{letters}"

    def token(self) -> str:
        return "".join(secrets.choice(LETTERS) for _ in range(8))


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What `PROVIDER/MODEL` means here."""

    provider: str
    model: str
    lane: str
    spec: ProviderSpec
    knobs: Knobs


def asked_at(named: Named, source: "Source", blobs: Blobs, endpoint: str | None) -> tuple[str, str]:
    """
    Return the dialect and the url in which a table is asked; *endpoint* None is chat.

    Ready-made lines say themselves where they want to go; to a chat, where there are no responses.
    """
    if endpoint is None and source.format == "requests":
        endpoint = _endpoint_of(named, source, blobs)
    dialect = providers.addressed(named.spec, named.provider, endpoint or "chat", named.model)
    return dialect, DIALECTS[dialect].url


def _endpoint_of(named: Named, source: "Source", blobs: Blobs) -> str:
    from batchmill.rows.read import glimpse

    wanted = glimpse(source, blobs, 1)
    if not wanted.url:
        return "chat"
    if not wanted.dialect:
        known = ", ".join(url for _, url in ENDPOINTS.values())
        raise InvalidTable(
            f"{source.url}: line 1: no endpoint {wanted.url!r}; expected one of {known}."
        )
    endpoint = DIALECTS[wanted.dialect].endpoint
    there = named.spec.dialect(named.spec, endpoint, named.model) is not None
    return "chat" if endpoint == "responses" and not there else endpoint


@dataclass(slots=True, kw_only=True)
class Market:
    """The providers as these settings name them; each is opened once, when first needed."""

    settings: Settings
    clock: SystemClock
    ids: SystemIds
    stack: AsyncExitStack
    env: Mapping[str, str] = field(default_factory=lambda: os.environ)
    _open: dict[tuple[str, str], Supplier] = field(default_factory=dict[tuple[str, str], Supplier])
    _http: list[Http] = field(default_factory=list[Http])

    def names(self) -> list[str]:
        """Return every provider that can be named here: built-in, of other packages, and own."""
        return sorted({*providers.names(), *self.settings.providers})

    def named(self, model: str, lane: str = "auto") -> Named:
        """Understand `PROVIDER/MODEL`, or a name of `[models]`; raise with the nearest names."""
        target = self._meant(model)
        name, slash, model_name = target.partition("/")
        if not slash or not model_name:
            known = ", ".join(sorted(self.settings.models)) or "none"
            raise UnknownModel(
                f"model {model!r}: expected PROVIDER/MODEL, e.g. local/smollm2-135m, or a name "
                f"under [models] in batchmill.toml (there: {known})."
            )
        providers.check_sections({n: own.kind for n, own in self.settings.providers.items()})
        spec, knobs = self.spec(name), self.knobs(name)
        self._known_model(name, model_name, spec, knobs)
        lane = spec.lanes[0] if lane == "auto" else lane
        if lane not in spec.lanes:
            raise InvalidSetting(
                f"provider {name} has no {lane} lane; it has: {', '.join(spec.lanes)}."
            )
        return Named(provider=name, model=model_name, lane=lane, spec=spec, knobs=knobs)

    def _meant(self, model: str) -> str:
        """Return what `[models]` makes of a name; `*` is every name that means nothing else."""
        models = self.settings.models
        if model in models:
            return models[model]
        name, slash, _ = model.partition("/")
        return model if slash and name in self.names() else models.get("*", model)

    def spec(self, name: str) -> ProviderSpec:
        own = self.settings.providers.get(name)
        return providers.spec(own.kind if own is not None and own.kind else name)

    def knobs(self, name: str, lane: str = "batch") -> Knobs:
        """Return the provider's knobs for a lane: what was set, over what its spec says."""
        spec, own = self.spec(name), self.settings.providers.get(name) or ProviderSettings()
        providers.check_options(name, own.kind or name, own.options)
        terms = spec.live if lane == "live" and spec.live is not None else spec
        variables = (own.key_variable,) if own.key_variable else self._key_variables(spec)
        where, key = next(((v, k) for v in variables if (k := self.env.get(v))), ("", None))
        if own.key:
            where, key = f"[providers.{name}] key", own.key
        return Knobs(
            base_url=providers.clean_url(own.base_url or spec.base_url, name),
            lane=lane,
            key=providers.clean_key(key, where),
            timeout_s=own.timeout_s or terms.timeout_s,
            idle_timeout_s=own.idle_timeout_s,
            poll_s=own.poll_s or terms.poll_s,
            find_after_s=terms.listing_lag_s if own.find_after_s is None else own.find_after_s,
            requests_max=own.requests_max,
            keep_upstream=own.keep_upstream,
            enqueued_tokens_max=own.enqueued_tokens_max,
            options=own.options,
        )

    @staticmethod
    def _key_variables(spec: ProviderSpec) -> tuple[str, ...]:
        return (spec.key_variable, *spec.key_fallbacks) if spec.key_variable else ()

    def key_variable(self, name: str) -> str | None:
        own = self.settings.providers.get(name)
        return (own.key_variable if own else None) or self.spec(name).key_variable

    def _needs_key(self, name: str) -> bool:
        """Say whether a key must be there: the provider wants one, or the person named one."""
        spec, own = self.spec(name), self.settings.providers.get(name)
        named = own is not None and own.key_variable is not None
        return named or (spec.key_required and spec.key_variable is not None)

    def missing(self, name: str, lane: str = "batch") -> str | None:
        """Return what stands in the way of using a lane here, in one line; None if nothing."""
        spec, knobs = self.spec(name), self.knobs(name, lane)
        if self._needs_key(name) and not knobs.key:
            return f"set {self.key_variable(name)}"
        return spec.ready(knobs)

    def terms(self, name: str) -> Terms:
        """Return whose prices count for a provider: those of its kind, or of who is at its URL."""
        own = self.settings.providers.get(name) or ProviderSettings()
        vendor = price.VENDORS.get(own.kind or name) or price.vendor_at(own.base_url or "")
        return Terms(vendor=vendor, discount=self.spec(name).discount)

    def limits(self, name: str, lane: str = "batch") -> Limits:
        spec, knobs = self.spec(name), self.knobs(name)
        wanted = knobs.requests_max
        limits = spec.live.limits if lane == "live" and spec.live is not None else spec.limits
        fewest = knobs.options.get("requests_min")
        if lane == "batch" and isinstance(fewest, int) and fewest > 0:
            limits = replace(limits, requests_min=min(fewest, limits.requests_max))
        if wanted is None or wanted >= limits.requests_max:
            return limits
        return replace(limits, requests_max=wanted, requests_min=min(limits.requests_min, wanted))

    def supplier(self, name: str, lane: str) -> Supplier:
        """Open a provider for one lane; raise `MissingKey` or what else it lacks."""
        if (name, lane) not in self._open:
            self._open[name, lane] = self._opened(name, lane)
        return self._open[name, lane]

    @property
    def in_flight(self) -> int:
        """How many live requests are out; closing waits for their answers."""
        return sum(getattr(s.provider, "in_flight", 0) for s in self._open.values())

    def _opened(self, name: str, lane: str) -> Supplier:
        spec, knobs = self.spec(name), self.knobs(name, lane)
        if self._needs_key(name) and not knobs.key:
            raise MissingKey(
                f"provider {name} needs a key: set {self.key_variable(name)} in the environment."
            )
        context = Context(
            name=name,
            lane=lane,
            knobs=knobs,
            clock=self.clock,
            ids=self.ids,
            http=self._client,
            folder=self.settings.home / "providers" / name,
        )
        provider = spec.open(context)
        if (close := getattr(provider, "aclose", None)) is not None:
            self.stack.push_async_callback(close)
        return Supplier(
            provider=provider,
            limits=self.limits(name, lane),
            poll_s=knobs.poll_s,
            timeout_s=knobs.timeout_s,
            find_after_s=knobs.find_after_s,
            # Whoever has no patience with the call has none with its making.
            leave_within_s=min(spec.leave_within_s, knobs.timeout_s) if lane == "batch" else 0.0,
            account=_account(knobs) if spec.unmarked and lane == "batch" else "",
            keep_upstream=knobs.keep_upstream and lane == "batch",
            enqueued_tokens_max=knobs.enqueued_tokens_max,
        )

    def _client(self) -> Http:
        if not self._http:
            from batchmill.providers._http import AiohttpClient

            client = AiohttpClient(self.clock)
            self.stack.push_async_callback(client.aclose)
            self._http.append(client)
        return self._http[0]

    def _known_model(self, name: str, model: str, spec: ProviderSpec, knobs: Knobs) -> None:
        known = spec.models(knobs)
        if known is None or model in known:
            return
        near = difflib.get_close_matches(model, known, n=3, cutoff=0.4)
        hint = f"Did you mean {' or '.join(f'{name}/{n}' for n in near)}? " if near else ""
        raise UnknownModel(
            f"provider {name} has no model {model!r}. {hint}It has: {', '.join(known)}."
        )


@dataclass(kw_only=True)
class House:
    """Everything, connected; what a command does not use is not even imported."""

    settings: Settings
    clock: SystemClock
    ids: SystemIds
    store: Store
    turn: Turn
    market: Market
    owner: str

    @cached_property
    def blobs(self) -> Blobs:
        from batchmill.rows.blobs import open_blobs

        return open_blobs(self.settings.blobs_url or str(self.settings.home / "blobs"))

    @cached_property
    def rows(self) -> "Segments":
        from batchmill.rows.segments import Segments

        return Segments(self.blobs, web=web_for(self.settings, self.clock))

    @cached_property
    def creator(self) -> Creator:
        return Creator(
            clock=self.clock,
            ids=self.ids,
            store=self.store,
            rows=self.rows,
            suppliers=self.market.supplier,
        )

    @cached_property
    def inspector(self) -> Inspector:
        return Inspector(clock=self.clock, store=self.store, turn=self.turn)

    @cached_property
    def engine(self) -> Loop:
        advancer = Advancer(
            clock=self.clock,
            ids=self.ids,
            store=self.store,
            rows=self.rows,
            suppliers=self.market.supplier,
            patience=self.settings.retry.patience(),
            owner=self.owner,
            pricing=Pricing(clock=self.clock, terms=self.market.terms),
        )
        return Loop(advancer=advancer, store=self.store, clock=self.clock, turn=self.turn)

    async def sweep(self) -> list[str]:
        """Put away what was cut but never accepted, at least a day ago."""
        boundary = self.ids.batch_at(self.clock.now() - ABANDONED_AFTER_S)
        return await sweep(self.store, self.blobs, self.rows, boundary)


@asynccontextmanager
async def open_house(settings: Settings) -> AsyncIterator[House]:
    """Connect everything these settings name; close it in the opposite order."""
    async with AsyncExitStack() as stack:
        clock, ids = SystemClock(), SystemIds()
        home = _home(settings.home)
        store = await open_store(settings.database_url or f"sqlite:///{home / 'batchmill.db'}")
        stack.push_async_callback(store.aclose)
        owner = f"{socket.gethostname()}-{os.getpid()}-{ids.token()}"
        turn = turn_for(store, home / "worker.lock", clock, owner)
        yield House(
            settings=settings,
            clock=clock,
            ids=ids,
            store=store,
            turn=turn,
            # Last in, first out: providers close before the store.
            market=Market(settings=settings, clock=clock, ids=ids, stack=stack),
            owner=owner,
        )


def web_for(settings: Settings, clock: SystemClock) -> Callable[[], Web]:
    """Return what makes the door to the links of tables; most of them hold none."""

    def made() -> Web:
        from batchmill.rows.web import OpenWeb

        return OpenWeb(clock, allow_private=settings.allow_private_links)

    return made


def _account(knobs: Knobs) -> str:
    """Return a name for whose account it is that tells nothing of the key."""
    return hashlib.sha256(f"{knobs.base_url}\n{knobs.key}".encode()).hexdigest()[:32]


def _home(home: Path) -> Path:
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageTrouble(
            f"{home}: cannot be made ({error.strerror}). "
            "Set BATCHMILL_HOME to a folder you may write."
        ) from error
    return home


__all__ = ["House", "Market", "Named", "SystemClock", "SystemIds", "open_house", "web_for"]
