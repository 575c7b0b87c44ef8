"""
Who we buy from. One file each; the file's name is the provider's name.

Nothing else registers a provider. Another package brings one through the entry point group
`batchmill.providers`; a table `[providers.NAME]` with a `kind` makes a further one of a known kind.
"""

import difflib
import pkgutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from batchmill.core.limits import MIB, Limits
from batchmill.core.request import DIALECTS, dialect_for
from batchmill.errors import InvalidRecipe, InvalidSetting, UnknownProvider
from batchmill.ports import Clock, Http, Ids, Provider

GROUP = "batchmill.providers"
#: What `[providers.NAME]` may say of every provider; each one's own settings come on top.
COMMON = (
    "kind",
    "base_url",
    "key_variable",
    "key",
    "timeout_s",
    "idle_timeout_s",
    "poll_s",
    "find_after_s",
    "requests_max",
    "enqueued_tokens_max",
    "keep_upstream",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Knobs:
    """What a person may set for one provider (`[providers.NAME]`), defaults already filled in."""

    base_url: str
    lane: str = "batch"
    key: str | None = None  #: from the environment; never logged, never stored
    timeout_s: float = 60.0  #: a creating or control call
    idle_timeout_s: float = 600.0  #: transfers and live answers: the longest silence
    poll_s: float = 60.0
    find_after_s: float = 60.0  #: wait after a lease has ended before a look-up
    requests_max: int | None = None
    keep_upstream: bool = False  #: leave uploads and result files where they are
    enqueued_tokens_max: int | None = None
    options: Mapping[str, object] = field(default_factory=dict[str, object])  #: the provider's own


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a provider is handed when it is opened."""

    name: str  #: as in `--model NAME/MODEL`; differs from the file's name for `kind = …`
    lane: str  #: `batch` or `live`
    knobs: Knobs
    clock: Clock
    ids: Ids
    http: Callable[[], Http]  #: the one client, made at the first call
    folder: Path  #: the provider's own place under BATCHMILL_HOME; made when first written to


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a lane wants to be used, where it is not as the spec itself says."""

    limits: Limits
    timeout_s: float
    poll_s: float
    listing_lag_s: float


#: Of the live lane of a vendor. Nothing upstream limits a shard there; ten thousand rows keep
#: progress, retries and replays cheap. Creating a run is local.
LIVE_TERMS = Terms(
    limits=Limits(requests_max=10_000, bytes_max=256 * MIB, request_bytes_max=32 * MIB),
    timeout_s=5.0,
    poll_s=0.5,
    listing_lag_s=0.0,
)


def _first_that_serves(spec: "ProviderSpec", endpoint: str, model: str) -> str | None:
    return dialect_for(endpoint, spec.dialects)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSpec:
    """What the house needs to know about a provider before it talks to it."""

    title: str
    base_url: str = ""
    key_variable: str | None = None  #: None: no key is needed
    key_fallbacks: tuple[str, ...] = ()  #: other variables that may hold it
    key_required: bool = True
    dialects: tuple[str, ...]
    #: Links to images that it follows itself, by scheme ("https") or by how they begin ("https://…/");
    #: what any other leads to travels as bytes.
    links: tuple[str, ...] = ("http", "https")
    lanes: tuple[str, ...]  #: the first one is what `--lane auto` takes
    limits: Limits
    timeout_s: float = 60.0
    poll_s: float = 60.0
    #: What a creating call may take until it leaves, where it carries the requests themselves.
    leave_within_s: float = 0.0
    listing_lag_s: float = 90.0  #: how long an accepted batch may stay out of its list
    live: Terms | None = None  #: how its live lane differs
    windows: tuple[str, ...] = ("24h",)
    found_by: str = ""  #: how a lost submission is found again, in words
    #: An upstream batch carries no mark of ours: only one create may be in doubt at a time.
    unmarked: bool = False
    cancels: bool = True  #: False: what it has, it runs to its end, and has paid
    discount: str = ""  #: what its batch lane saves, in words: "50%"
    options: tuple[str, ...] = ()  #: knobs of its own, beside those that every provider has
    free: bool = False  #: it costs nothing, so `cost_usd` is 0 and not unknown
    models: Callable[[Knobs], tuple[str, ...] | None] = lambda _: None  #: None: any name passes
    ready: Callable[[Knobs], str | None] = lambda _: None  #: what is missing on this machine
    #: The dialect for (spec, endpoint, model); None: it has no such endpoint.
    dialect: Callable[["ProviderSpec", str, str], str | None] = _first_that_serves
    open: Callable[[Context], Provider]


def clean_key(found: str | None, where: str) -> str | None:
    """Return a key as it can be sent; raise `InvalidSetting`, without it, where it cannot."""
    key = (found or "").strip()
    if key and not (key.isascii() and key.isprintable()):
        raise InvalidSetting(
            f"{where}: the key holds a character that no header can carry, e.g. a line feed in the "
            "middle. Copy it again, as one line."
        )
    return key or None


def clean_url(found: str, name: str) -> str:
    """Return a base URL without its last slash; a user or a password has no place in it."""
    if "@" in found.partition("://")[2].partition("/")[0]:
        raise InvalidSetting(
            f"[providers.{name}] base_url holds a user name or a password, which would be shown "
            "wherever it is. Leave them out; a key goes into its variable."
        )
    return found.rstrip("/")


def known_options(name: str, found: "Knobs", known: Collection[str]) -> None:
    """Raise `InvalidSetting` for a knob this provider does not have, with the nearest name."""
    _known_settings(name, found.options, known)


def _known_settings(name: str, found: Collection[str], known: Collection[str]) -> None:
    for option in found:
        if option not in known:
            near = difflib.get_close_matches(option, (*known, *COMMON), n=1, cutoff=0.5)
            hint = f"Did you mean {near[0]}? " if near else ""
            own = (
                f"Its own are: {', '.join(sorted(known))}." if known else "It has none of its own."
            )
            raise InvalidSetting(f"[providers.{name}] has no setting {option!r}. {hint}{own}")


def check_options(name: str, kind: str, options: Mapping[str, object]) -> None:
    """
    Raise `InvalidSetting` for a setting that a provider of that kind does not have.

    What other packages bring need not list theirs: they look at them themselves, when opened.
    """
    known = spec(kind).options
    if known or kind in _ours():
        _known_settings(name, options, known)


def check_sections(kinds: Mapping[str, str | None]) -> None:
    """Raise `UnknownProvider` for a `[providers.NAME]` that means nobody: a name mistyped."""
    for name, kind in kinds.items():
        if not kind and name not in names():
            near = difflib.get_close_matches(name, names(), n=1, cutoff=0.5)
            hint = f"Did you mean [providers.{near[0]}]? " if near else ""
            raise UnknownProvider(
                f"[providers.{name}]: there is no provider called {name!r}. {hint}"
                f'One of your own needs a kind, e.g. kind = "live". Known: {", ".join(names())}.'
            )


@cache
def _ours() -> frozenset[str]:
    found = (m.name for m in pkgutil.iter_modules(__path__))
    return frozenset(name for name in found if not name.startswith("_"))


@cache  # once: to ask means to read the metadata of every package that is installed
def _brought() -> Mapping[str, EntryPoint]:
    """Return what other packages bring, by name."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def names() -> list[str]:
    """Return every provider that can be named, ours and those of other packages."""
    return sorted(_ours() | _brought().keys())


def spec(name: str) -> ProviderSpec:
    """Import the provider called *name*, and only that one, so that what it needs may be absent."""
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(near)}? " if near else ""
        raise UnknownProvider(
            f"there is no provider called {name!r}. {hint}Known: {', '.join(names())}."
        )
    if (entry := _brought().get(name)) is not None:
        return _checked(entry.load(), name)
    return _checked(import_module(f"{__name__}.{name}").PROVIDER, name)


def addressed(spec: ProviderSpec, name: str, endpoint: str, model: str) -> str:
    """Return the dialect in which *model* is asked at *endpoint*; raise `InvalidRecipe` if none."""
    found = spec.dialect(spec, endpoint, model)
    if found is not None:
        return found
    known = dict.fromkeys(dialect.endpoint for dialect in DIALECTS.values())
    has = [other for other in known if spec.dialect(spec, other, model) is not None]
    raise InvalidRecipe(
        f"--endpoint {endpoint}: {name} has none for {model}. It has: {', '.join(has) or 'none'}."
    )


def _checked(found: object, name: str) -> ProviderSpec:
    if not isinstance(found, ProviderSpec):
        raise UnknownProvider(f"provider {name!r}: PROVIDER must be a ProviderSpec, not {found!r}")
    return found
