"""What becomes of the rows of an upstream batch that was refused as a whole: none was run."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from batchmill.core.failure import Failure
from batchmill.core.outcome import Outcome, Result
from batchmill.ports import Clock, Offer
from batchmill.providers._rest import Words

#: A vendor may say of a batch that is there, and was there a moment ago, that it is not.
YOUNG_S = 600.0

#: Failures of one row. Anything else is said of the batch, and holds for every row of it.
OF_A_ROW = (
    Failure.INVALID_REQUEST,
    Failure.TOO_LONG,
    Failure.INVALID_MEDIA,
    Failure.REFUSED,
    Failure.NOT_RUN,
)


def young(offer: Offer, clock: Clock) -> bool:
    """Say whether an upstream batch is so new that a 404 proves nothing."""
    return offer.submitted_at is not None and clock.now() < offer.submitted_at + YOUNG_S


async def refused(
    offer: Offer,
    why: Words,
    named: Mapping[int, Words],
    complaint: Callable[[bytes], str] = lambda _: "",
) -> AsyncIterator[Sequence[Result]]:
    """
    Yield a result for each row of a batch that was refused for *why*.

    *named* are the lines the vendor complains about, from 1. Those rows failed, and the innocent
    are `not_run`, to be offered again without them. Where no line is named, *complaint* looks at
    each body; where that finds nothing either, all are `not_run`, and the plan halves them until
    the bad one is alone: a single row is the one that is meant.
    """
    if why.failure not in OF_A_ROW and not named:
        async for chunk in offer.requests():
            yield [_errored(request.custom_id, why) for request in chunk]
        return
    alone = offer.count == 1 and not named
    line = 0
    async for chunk in offer.requests():
        found: list[Result] = []
        for request in chunk:
            line += 1
            words = named.get(line)
            if words is None and not named and (said := complaint(request.body)):
                words = Words(Failure.INVALID_REQUEST, f"{said} ({why.message})")
            if words is None and alone:
                words = why if why.failure is not Failure.NOT_RUN else _alone(why)
            found.append(_errored(request.custom_id, words or _innocent(why, named)))
        yield found


def _innocent(why: Words, named: Mapping[int, Words]) -> Words:
    others = f"because of {len(named):,} other rows" if named else "as a whole"
    return Words(Failure.NOT_RUN, f"its upstream batch was refused {others}: {why.message}")


def _alone(why: Words) -> Words:
    return Words(Failure.TOO_LONG, why.message)


def _errored(custom_id: str, words: Words) -> Result:
    return Result(custom_id, Outcome.ERRORED, words.failure, words.message)
