"""What the service hears in a stream of results while it passes by."""

from collections.abc import AsyncIterator, Sequence

import msgspec

from batchmill.core.failure import Failure
from batchmill.core.outcome import Outcome, Result


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
