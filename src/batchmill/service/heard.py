"""What the service hears in a stream of results while it passes by."""

from collections.abc import AsyncIterator, Sequence

import msgspec

from batchmill.core.failure import Failure
from batchmill.core.outcome import Outcome, Result
from batchmill.core.shard import Shard, Tally


async def expired(
    results: AsyncIterator[Sequence[Result]],
) -> AsyncIterator[Sequence[Result]]:
    """Call by its name what the deadline, not a wish, has cancelled."""
    async for chunk in results:
        yield [
            msgspec.structs.replace(r, outcome=Outcome.EXPIRED, failure=Failure.EXPIRED)
            if r.failure is Failure.CANCELED
            else r
            for r in chunk
        ]


def too_few(shard: Shard, tally: Tally) -> str:
    """
    Say how the results contradict the provider's own counts; empty where they do not.

    An answer that was paid for and is not in the files now may be there at the next download.
    """
    failed = {failure: len(rows) for failure, rows in tally.failed.items()}
    told = len(shard.rows) - failed.get(Failure.MISSING, 0)
    answered = told - sum(failed.get(failure, 0) for failure in _NOT_RUN)
    counted = shard.progress.succeeded + shard.progress.errored
    if answered >= min(shard.progress.succeeded, len(shard.rows)) and (
        told >= min(counted, len(shard.rows))
    ):
        return ""
    return (
        f"counts {shard.progress.succeeded:,} answers and {shard.progress.errored:,} errors, and "
        f"its files hold {told:,} of {len(shard.rows):,} rows"
    )


_NOT_RUN = (Failure.EXPIRED, Failure.CANCELED, Failure.NOT_RUN)


class Heard:
    """What the provider said when it refused the account or had no room: it must be heard."""

    def __init__(self) -> None:
        self.account = ""
        self.quota = ""

    async def listening(
        self, results: AsyncIterator[Sequence[Result]]
    ) -> AsyncIterator[Sequence[Result]]:
        async for chunk in results:
            if not self.account:
                refused = (r.detail for r in chunk if r.failure is Failure.ACCOUNT)
                self.account = next(refused, "")
            if not self.quota:
                self.quota = next((r.detail for r in chunk if r.failure is Failure.QUOTA), "")
            yield chunk
