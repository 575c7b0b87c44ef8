"""Input files that had to do without some rows: which ones, and what is told of them later."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from batchmill.core.failure import Failure
from batchmill.core.outcome import Outcome, Result
from batchmill.core.request import Request
from batchmill.errors import ProviderRefused
from batchmill.ports import Offer
from batchmill.providers._unrun import OF_A_ROW

WORDS_MAX: Final = 300


@dataclass(frozen=True, slots=True)
class Input:
    """An uploaded file, and the rows that it does not hold, with the vendor's reasons."""

    file_id: str
    left_out: Mapping[str, str]  #: custom_id -> why

    @property
    def ref(self) -> str:
        """What a shard remembers of it."""
        if not self.left_out:
            return self.file_id
        return f"{self.file_id} {msgspec.json.encode(self.left_out).decode()}"

    @staticmethod
    def of(offer: Offer) -> "Input":
        """Read the ref of an offer; the file is nameless where nothing was prepared."""
        file_id, _, left_out = (offer.ref or "").partition(" ")
        found = msgspec.json.decode(left_out, type=dict[str, str]) if left_out else {}
        return Input(file_id, found)

    def results(self) -> list[Result]:
        """Return what became of the rows that are left out: they failed before anything was run."""
        return [
            Result(custom_id, Outcome.ERRORED, Failure.INVALID_REQUEST, words)
            for custom_id, words in self.left_out.items()
        ]


def without(offer: Offer, left_out: Mapping[str, str]) -> Offer:
    """Return the offer of the rows that are not left out."""
    if not left_out:
        return offer

    async def requests() -> AsyncIterator[Sequence[Request]]:
        async for chunk in offer.requests():
            if kept := [request for request in chunk if request.custom_id not in left_out]:
                yield kept

    return replace(offer, requests=requests, count=offer.count - len(left_out))


async def numbered(offer: Offer) -> AsyncIterator[tuple[int, str]]:
    """Yield the lines of an input file, from 1, and whose they are."""
    line = 0
    async for chunk in offer.requests():
        for request in chunk:
            line += 1
            yield line, request.custom_id


async def named(offer: Offer, lines: Mapping[int, str]) -> dict[str, str]:
    """Return which requests the lines of an input file are, with what is said of them."""
    return {
        custom_id: lines[line][:WORDS_MAX]
        async for line, custom_id in numbered(offer)
        if line in lines
    }


async def untold(
    offer: Offer, told: set[str], outcome: Outcome, failure: Failure, detail: str
) -> AsyncIterator[Sequence[Result]]:
    """Yield a result for each row that is not among those *told* of: it was never run."""
    async for chunk in offer.requests():
        ids = (request.custom_id for request in chunk if request.custom_id not in told)
        if found := [Result(custom_id, outcome, failure, detail) for custom_id in ids]:
            yield found


def blamed(no: ProviderRefused, offer: Offer) -> ProviderRefused:
    """Say what a call refused for its rows, none of them named, means for them: one is at fault."""
    if no.failure not in OF_A_ROW:
        return no
    if offer.count > 1:
        return ProviderRefused(str(no), failure=Failure.NOT_RUN)
    alone = Failure.TOO_LONG if no.failure == Failure.NOT_RUN else no.failure
    return ProviderRefused(str(no), failure=alone)
