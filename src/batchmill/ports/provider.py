"""Who we buy from, as the service sees them."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from batchmill.core.limits import Limits
from batchmill.core.outcome import Result
from batchmill.core.request import Request
from batchmill.core.shard import Accepted, CannotTell, NotThere, Progress, Shard


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A shard as its provider sees it. Every verb takes one."""

    shard_id: str  #: the mark to leave upstream, in metadata, display name or client token
    dialect: str
    url: str  #: of the request lines, e.g. /v1/chat/completions
    model: str
    count: int
    requests: Callable[[], AsyncIterator[Sequence[Request]]]  #: from the start at each call
    window_s: float | None = None  #: how long the client is still willing to wait
    ref: str | None = None  #: what `prepare` returned
    upstream_id: str | None = None
    provisional: bool = False  #: it is recognised by time and count alone
    submitted_at: float | None = None  #: the first creating call was not before this
    strangers: tuple[str, ...] = ()  #: upstream ids that are certainly not ours
    send_before: float = 0.0  #: `Clock.awake()`; a creating call must not leave later than this


@dataclass(frozen=True, slots=True)
class Checked:
    """The answer to `check`."""

    ended: bool
    progress: Progress = Progress()


Found = Accepted | NotThere | CannotTell


class Provider(Protocol):
    """
    Somebody who takes a shard now and gives its results later: eight verbs.

    Providers translate. They never retry, sleep, or know about batches. Errors leave as
    `ProviderError`s; an answer that is not a clear yes or a clear no is `ProviderSilent`.
    """

    async def prepare(self, offer: Offer) -> str:
        """Do what can be repeated and costs nothing, most often the upload; return its ref."""
        ...

    async def submit(self, offer: Offer) -> str:
        """Make the one creating call, marked with the shard's id; return the upstream id."""
        ...

    async def find(self, offer: Offer) -> Found:
        """Say whether the provider has a batch with this shard's mark."""
        ...

    async def check(self, offer: Offer) -> Checked: ...

    async def cancel(self, offer: Offer) -> None:
        """Ask the provider to stop. Saying it twice, or too late, is no error."""
        ...

    def results(self, offer: Offer) -> AsyncIterator[Sequence[Result]]:
        """Yield every line the provider has, in any order, with the custom_ids we sent."""
        ...

    async def tidy(self, offer: Offer) -> None:
        """
        Remove what is left upstream of a settled shard: its uploaded input, its result files.

        Only what is certainly the shard's own. Saying it twice is no error; what is gone is tidy.
        """
        ...

    async def probe(self) -> str:
        """Make a free call that needs the key, and say in a few words what it told."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Supplier:
    """A provider, opened for one lane, with what the service must know to treat it well."""

    provider: Provider
    limits: Limits
    poll_s: float
    timeout_s: float  #: of a creating or control call
    find_after_s: float  #: wait after a lease has ended before a look-up
    leave_within_s: float = 0.0  #: a creating call takes so long to make ready; 0: no time at all
    account: str = ""  #: of which only one create may be in doubt, as nothing marks a new batch
    keep_upstream: bool = False  #: leave uploads and result files where they are
    enqueued_tokens_max: int | None = None  #: of one model, prompt tokens, in all upstream batches


#: Put a price on a shard's results as they come, where one is known and they carry none.
Pricing = Callable[[Shard, Offer, AsyncIterator[Sequence[Result]]], AsyncIterator[Sequence[Result]]]

#: Return who is meant by (provider, lane); raise `UserError` when it cannot be used here and now.
Suppliers = Callable[[str, str], Supplier]
