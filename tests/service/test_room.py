"""Enqueued tokens are counted on our side; what is too much is cut, what is not yet, waits."""

from collections.abc import Iterator
from dataclasses import replace

from tests.service.town import Town

from batchmill.core.failure import Failure
from batchmill.core.limits import MIB, Limits
from batchmill.core.outcome import Outcome, Result
from batchmill.core.rowset import RowSet, rows_of
from batchmill.core.shard import State
from batchmill.ports import Offer, Supplier
from batchmill.providers._sim_shelf import Sale


def with_room(town: Town, tokens: int, requests_max: int = 4) -> None:
    """Let the provider take so many prompt tokens at a time; a prompt of this town has about 16."""
    real = town.supplier

    def supplier(provider: str, lane: str) -> Supplier:
        limits = Limits(requests_max=requests_max, bytes_max=MIB, request_bytes_max=MIB // 2)
        return replace(real(provider, lane), limits=limits, enqueued_tokens_max=tokens)

    town.supplier = supplier
    town.advancer = replace(town.advancer, suppliers=supplier)


async def test_a_shard_waits_until_there_is_room_and_nothing_fails() -> None:
    town = Town(rows=8)
    with_room(town, 70)
    batch = await town.batch()

    await town.until(lambda v: any("waits for room" in s.note for s in v.shards), batch)
    under_way = [s for s in (await town.view(batch)).shards if s.state is State.IN_PROGRESS]
    view = await town.finished(batch)

    assert len(under_way) == 1
    assert view.counts.succeeded == 8
    assert len(town.shelf.sales()) == 2


async def test_a_shard_that_is_too_much_by_itself_is_cut() -> None:
    town = Town(rows=8)
    with_room(town, 40, requests_max=8)

    view = await town.finished(await town.batch())

    assert view.counts.succeeded == 8
    assert all(sale.rows <= 2 for sale in town.shelf.sales())


async def test_one_row_alone_is_offered_however_large_it_is() -> None:
    town = Town(rows=1)
    with_room(town, 1)

    assert (await town.finished(await town.batch())).counts.succeeded == 1


async def test_a_provider_is_taken_at_its_word_about_its_limit() -> None:
    town = Town(rows=8)
    with_room(town, 10_000, requests_max=8)
    words = "Enqueued token limit reached for echo. Limit: 40 enqueued tokens."
    real = town.provider.answered
    refused = {"n": 1}

    def answered(sale: Sale, offer: Offer) -> Iterator[list[Result]]:
        if not refused["n"]:
            yield from real(sale, offer)
            return
        refused["n"] = 0
        yield [
            Result(f"{offer.shard_id}-{row}", Outcome.ERRORED, Failure.QUOTA, words)
            for row in range(8)
        ]

    town.provider.answered = answered
    view = await town.finished(await town.batch())

    assert view.counts.succeeded == 8
    first, *others = town.shelf.sales()
    assert first.rows == 8
    assert all(sale.rows <= 2 for sale in others)


# -- images: looked at on the second try only -------------------------------------------------------


class Looked:
    """`Rows.gone_media`, written down."""

    def __init__(self, town: Town, gone: set[int]) -> None:
        self.asked: list[list[int]] = []
        self._gone = gone
        town.rows.gone_media = self

    async def __call__(self, batch: object, ranges: object, shard: object, rows: RowSet) -> RowSet:
        self.asked.append(list(rows))
        return rows & rows_of(self._gone)


def failing(town: Town, failures: dict[int, int]) -> None:
    """Let each row fail for its image so many times before it succeeds."""
    real = town.provider.answered

    def answered(sale: Sale, offer: Offer) -> Iterator[list[Result]]:
        for chunk in real(sale, offer):
            told: list[Result] = []
            for result in chunk:
                row = int(result.custom_id.rpartition("-")[2])
                if failures.get(row, 0) > 0:
                    failures[row] -= 1
                    words = "400 invalid_image_url: it cannot be loaded"
                    result = Result(result.custom_id, Outcome.ERRORED, Failure.INVALID_MEDIA, words)
                told.append(result)
            yield told

    town.provider.answered = answered


async def test_no_image_is_looked_at_before_it_has_failed() -> None:
    town = Town(rows=4)
    looked = Looked(town, set())

    await town.finished(await town.batch())

    assert looked.asked == []


async def test_an_image_that_is_gone_is_final_and_one_that_is_there_is_tried_again() -> None:
    town = Town(rows=4)
    looked = Looked(town, gone={2})
    failing(town, {1: 1, 2: 1})

    view = await town.finished(await town.batch())

    assert sorted(row for rows in looked.asked for row in rows) == [1, 2]
    assert view.counts.succeeded == 3
    assert view.counts.failures == {Failure.INVALID_MEDIA: 1}
    offered = [list(s.rows) for s in view.shards if s.attempt > 1]
    assert offered == [[1]]


async def test_refused_rows_are_offered_twice_more_and_no_further() -> None:
    town = Town(rows=1)
    real = town.provider.answered

    def answered(sale: Sale, offer: Offer) -> Iterator[list[Result]]:
        for chunk in real(sale, offer):
            yield [
                Result(r.custom_id, Outcome.ERRORED, Failure.REFUSED, "I cannot help")
                for r in chunk
            ]

    town.provider.answered = answered
    view = await town.finished(await town.batch())

    assert len(view.shards) == 3
    assert view.counts.failures == {Failure.REFUSED: 1}
