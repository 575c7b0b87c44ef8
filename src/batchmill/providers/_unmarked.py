"""Batches that nothing marks as ours: the list of an account, and which of it may be a shard's."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from batchmill.core.failure import Failure
from batchmill.core.shard import Accepted, CannotTell, NotThere
from batchmill.errors import ProviderBroke, ProviderBusy, ProviderGone, ProviderRefused
from batchmill.ports import Clock, Found, Offer
from batchmill.providers._listing import CLOCKS_DIFFER_S, Page, all_older, page_of
from batchmill.providers._rest import Rest, at, text

PAGE: Final = 100
PAGES_MAX: Final = 1_000
#: A batch may seem to be older than its creating call by so much: two clocks are never the same.
SKEW_S: Final = 60.0
_Batch = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Listed:
    """A batch as the list shows it."""

    id: str
    batch: dict[str, object]
    near: bool  #: it is no older than the creating call, if our clock was right then


class Listing:
    """
    The list of an account's batches, the newest first.

    What answers a call for it and is no list proves nothing: `ProviderBroke`, and so does a list
    that has no end. A look-up that fails this way is made again; nothing is bought on it.
    """

    def __init__(
        self, rest: Rest, clock: Clock, *, name: str, path: str, cursor: str, poll_s: float
    ) -> None:
        self._rest = rest
        self._clock = clock
        self._name = name
        self._path = path
        self._cursor = cursor
        self._poll_s = poll_s
        self._ruled_out: set[tuple[str, str]] = set()  #: shards, and what is not theirs for ever

    async def find(
        self,
        offer: Offer,
        may_be: Callable[[_Batch, Offer], bool],
        proven: Callable[[_Batch, Offer], Awaitable[bool | None]],
    ) -> Found:
        """
        Look for the one batch that may be this shard's and that nobody else of ours has.

        *proven* says of a batch whether its own custom_ids are the shard's; None: nobody can tell.
        Of those, a single one is adopted provisionally, the nearest in time first.
        """
        doubtful: list[Listed] = []
        async for one in self.back_to(offer):
            known = one.id in offer.strangers or (offer.shard_id, one.id) in self._ruled_out
            if known or not may_be(one.batch, offer):
                continue
            its_own = await proven(one.batch, offer)
            if its_own:
                return Accepted(one.id)
            if its_own is None:
                doubtful.append(one)
            else:
                self._ruled_out.add((offer.shard_id, one.id))
        if not doubtful:
            return NotThere()
        likely = [one for one in doubtful if one.near] or doubtful
        if len(likely) == 1:
            return Accepted(likely[0].id, provisional=True)
        words = f"{self._name}: {len(likely)} batches may be it; their results will tell"
        return CannotTell(self._clock.now() + self._poll_s, words)

    async def entry(self, offer: Offer) -> dict[str, object] | None:
        """Return the offer's upstream batch as the list shows it; None: the list has it not."""
        async for one in self.back_to(offer):
            if one.id == offer.upstream_id:
                return one.batch
        return None

    async def back_to(self, offer: Offer) -> AsyncIterator[Listed]:
        """Yield the batches of the list that are young enough to be the shard's, each once."""
        since: float | None = None
        after: str | None = None
        seen: set[str] = set()
        for _ in range(PAGES_MAX):
            page = await self._page(after)
            since = self._since(offer, page) if since is None else since
            # Our clock may have been ahead at the call, and be right since: whoever looks up then
            # has waited for as long. What is older than a day has ended, so that results can tell.
            oldest = since - CLOCKS_DIFFER_S
            for batch in page.batches:
                created, upstream_id = created_at(batch), text(batch, "id")
                if not upstream_id:
                    raise ProviderBroke(f"{self._name}: there is a batch without an id in the list")
                if upstream_id not in seen and (created is None or created >= oldest):
                    yield Listed(upstream_id, batch, created is None or created >= since)
            more = page.body.get("has_more")
            times = [created_at(batch) or 0.0 for batch in page.batches]
            if more is False or (more is None and len(times) < PAGE) or all_older(times, oldest):
                return
            fresh = {text(batch, "id") for batch in page.batches} - seen
            after = text(page.body, "last_id")
            if not fresh or not after:
                break
            seen |= fresh
        raise ProviderBroke(f"{self._name}: the list of batches does not come to an end")

    async def _page(self, after: str | None) -> Page:
        query = {"limit": PAGE, self._cursor: after}
        try:
            return await page_of(self._rest, self._path, query, "data", name=self._name)
        except ProviderGone as gone:
            if after is not None:  # where we were in it may have been deleted meanwhile
                retry_at = self._clock.now() + self._poll_s
                raise ProviderBusy(str(gone), retry_at=retry_at) from gone
            # There is always a list, so it is the place that is wrong: a setting.
            raise ProviderRefused(str(gone), failure=Failure.ACCOUNT) from gone

    def _since(self, offer: Offer, page: Page) -> float:
        """Return the vendor's time before which no batch can be this shard's, clocks being fine."""
        now = self._clock.now()
        asked = now if offer.submitted_at is None else offer.submitted_at
        told = page.told_at or now
        # A clock that goes wrong must not hide a batch that is paid for: it would be paid again.
        return min(asked - max(now - told, 0.0), told) - SKEW_S


def created_at(batch: _Batch) -> float | None:
    """Return when a batch was made: unix seconds, or a date and time; None: it does not tell."""
    value = at(batch, "created_at")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if value > 0 else None
    try:
        made = datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        return None
    return (made if made.tzinfo else made.replace(tzinfo=UTC)).timestamp()
