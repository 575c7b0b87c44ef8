"""
Pages of a vendor's list of batches, where what is not in them counts as a proof.

A batch that is looked for in vain is bought again, and one that is gone is given up. So an answer
that is no list proves nothing, and neither does the end of one that our own clock has drawn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final

from batchmill.errors import ProviderBroke
from batchmill.ports import Offer
from batchmill.providers._rest import Query, Rest, objects, one_line

#: A clock may be wrong by hours when a batch is made, e.g. by a time zone, and right when it is
#: looked for, or the other way round: nobody can tell any more. Two days cover every time zone.
CLOCKS_DIFFER_S: Final = 2 * 86_400.0
_HOUR_S: Final = 3600.0
_PARTIAL: Final = ("error", "unreachable")


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list."""

    batches: list[dict[str, object]]
    body: Mapping[str, object]
    told_at: float  #: the vendor's own time; 0.0 where it does not say


async def page_of(
    rest: Rest, path: str, query: Query, field: str, *, name: str, onward: str = ""
) -> Page:
    """
    Fetch a page; raise `ProviderBroke` where it is none.

    *onward*: the name of what leads to the next page, at vendors that leave out an empty list.
    """
    answer = await rest.call("GET", path, query=query)
    body = rest.object(answer)
    found = body.get(field)
    leaves_out = onward and found is None and answer.body.strip() and body.keys() <= {onward}
    whole = leaves_out or (isinstance(found, list) and all(isinstance(e, dict) for e in found))
    if not whole or any(body.get(word) for word in _PARTIAL):
        said = one_line(answer.body[:200].decode(errors="replace")) or "nothing"
        raise ProviderBroke(f"{name} was asked for a list of batches, and answered: {said}")
    return Page(objects(body, field), body, _told_at(answer.headers))


def oldest(offer: Offer, now: float, page: Page) -> float:
    """Return the vendor's time before which no batch can be this shard's; 0.0: any may be."""
    asked, told = offer.submitted_at, page.told_at
    if asked is None or not told or asked > told + _HOUR_S:
        return 0.0  # made in the future: that clock was wrong, by nobody knows how much
    return asked - max(now - told, 0.0) - CLOCKS_DIFFER_S


def all_older(times: Sequence[float], since: float) -> bool:
    """
    Say whether a page, and so whatever follows it, is from before *since*.

    The end is believed to be the old one only where the page itself goes that way.
    """
    falls = list(times) == sorted(times, reverse=True)
    return len(times) > 1 and 0 < times[-1] < times[0] < since and falls


def _told_at(headers: Mapping[str, str]) -> float:
    try:
        return parsedate_to_datetime(headers.get("date", "")).timestamp()
    except (ValueError, OverflowError):
        return 0.0
