"""What a job of Bedrock leaves in its bucket, and what its end means for rows it did not run."""

import re
from collections.abc import AsyncIterator, Collection
from typing import Final

from msgspec import MsgspecError
from msgspec.structs import force_setattr

from batchmill.core.failure import Failure
from batchmill.core.limits import MIB
from batchmill.core.outcome import Outcome, Result
from batchmill.errors import ProviderBroke
from batchmill.ports import Offer
from batchmill.providers._buckets import Bucket
from batchmill.providers._rest import Words
from batchmill.providers._spool import lines
from batchmill.wire import bedrock

#: A line echoes its request, which may have 22 MiB, and carries the answer.
LINE_BYTES_MAX: Final = 128 * MIB
CHUNK: Final = 2000

#: The ends at which it is certain that a record without a line was not run. Of a job that ended
#: otherwise, such a row is one that the vendor forgot, and the caller says so.
UNRUN: Final = {
    "Stopped": (Outcome.CANCELED, Failure.CANCELED, "not run, as the job was stopped"),
    "Expired": (Outcome.EXPIRED, Failure.EXPIRED, "not run before the job timed out"),
}
#: Why a whole job failed is told in words alone, and no page lists them [unverified].
_OF_SIZE: Final = re.compile(r"\b(exceed|too large|too many|maximum|minimum)", re.IGNORECASE)
_OF_ACCOUNT: Final = re.compile(
    r"\b(role|permission|access|authoriz|bucket|kms|model identifier)", re.IGNORECASE
)


async def read(bucket: Bucket, key: str, offer: Offer) -> AsyncIterator[list[Result]]:
    """
    Yield the results in one output file.

    A body that breaks off is noticed by its length, so a line that cannot be read here is so in
    the file itself, and will be the next time as well: the others are not lost for it.
    """
    try:
        async for some in lines(bucket.chunks(key), LINE_BYTES_MAX):
            for start in range(0, len(some), CHUNK):
                parsed = (_result(line, offer) for line in some[start : start + CHUNK])
                yield [result for result in parsed if result is not None]
    except ValueError as error:
        raise ProviderBroke(f"{bucket.url(key)}: {error}") from error


async def unrun(offer: Offer, status: str, seen: Collection[str]) -> AsyncIterator[list[Result]]:
    """Yield a result for each row that has no line, where the end of the job says what it is."""
    if status not in UNRUN:
        return
    outcome, failure, detail = UNRUN[status]
    async for chunk in offer.requests():
        absent = (r.custom_id for r in chunk if r.custom_id not in seen)
        yield [Result(custom_id, outcome, failure, detail) for custom_id in absent]


def why(message: str) -> Words:
    """Return what it means that a job failed before it ran a record."""
    words = message or "the job failed, and no reason was given"
    if _OF_SIZE.search(message):
        return Words(Failure.NOT_RUN, words)
    if _OF_ACCOUNT.search(message):
        return Words(Failure.ACCOUNT, words)
    return Words(Failure.INVALID_REQUEST, words)


def _result(line: bytes, offer: Offer) -> Result | None:
    try:
        result = bedrock.parse_record(line, offer.dialect, offer.shard_id)
    except (MsgspecError, UnicodeDecodeError, RecursionError):
        return bedrock.unreadable(line, offer.shard_id)
    return named(result, offer)


def named(result: Result, offer: Offer) -> Result:
    """Say of an answer that does not tell it which model gave it."""
    if not result.model and result.usage is not None:
        force_setattr(result, "model", offer.model)  # nobody else has seen it yet
    return result
