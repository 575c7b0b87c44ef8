"""The verbs, one promise at a time, over doubles in memory."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.service.town import Town

from batchmill.core.batch import Status
from batchmill.core.failure import Failure
from batchmill.core.outcome import Result
from batchmill.core.shard import State
from batchmill.errors import (
    Conflict,
    MissingKey,
    NotFound,
    Overtaken,
    ProviderBroke,
    ProviderBusy,
    ProviderError,
    ProviderGone,
    ProviderRefused,
    ProviderSilent,
)
from batchmill.ports import Offer
from batchmill.providers._sim_shelf import Sale
from batchmill.providers._sim_weather import Faults
from batchmill.rows.blobs import open_blobs
from batchmill.rows.segments import Segments
from batchmill.service import plan
from batchmill.service.advance import GONE_LOOKS, TIDY_MAX
from batchmill.service.cancel import cancel
from batchmill.service.sweep import sweep


async def test_a_table_is_answered() -> None:
    town = Town()
    view = await town.finished(await town.batch())
    assert view.status is Status.COMPLETED
    assert (view.counts.succeeded, view.answered, view.waiting) == (4, 4, 0)
    assert [s.id for s in view.shards] == [f"{view.batch.id}-0001", f"{view.batch.id}-0002"]
    assert view.eta is None


async def test_an_empty_table_is_finished_at_once() -> None:
    town = Town(rows=0)
    view = await town.view(await town.batch())
    assert view.finished
    assert view.counts.total == 0


async def test_a_lost_reply_is_looked_up_and_bought_once() -> None:
    town = Town()
    real = town.provider.submit

    async def accepts_in_silence(offer: Offer) -> str:
        await real(offer)
        town.provider.submit = real
        raise ProviderSilent("connection reset")

    town.provider.submit = accepts_in_silence
    view = await town.finished(await town.batch())
    assert view.counts.succeeded == 4
    assert len(town.shelf.sales()) == 2


@pytest.mark.parametrize(
    "verb_and_error",
    [
        ("prepare", ProviderBusy("busy", retry_at=0.0)),
        ("prepare", ProviderSilent("reset")),
        ("submit", ProviderBusy("busy", retry_at=0.0)),
        ("submit", ProviderSilent("reset")),
        ("check", ProviderSilent("timeout")),
        ("check", ProviderRefused("403 for a moment")),
    ],
    ids=lambda pair: f"{pair[0]} {type(pair[1]).__name__}",
)
async def test_passing_trouble_delays_and_changes_nothing(
    verb_and_error: tuple[str, ProviderError],
) -> None:
    town = Town()
    verb, error = verb_and_error
    town.fails(verb, error)
    view = await town.finished(await town.batch())
    assert view.counts.succeeded == 4
    assert len(town.shelf.sales()) == 2


async def test_a_shard_that_is_refused_is_final_with_the_providers_words() -> None:
    town = Town(rows=2)
    town.fails("submit", ProviderRefused("model gpt-9 does not exist"))
    view = await town.finished(await town.batch())
    assert view.status is Status.FAILED
    assert view.counts.failures == {Failure.INVALID_REQUEST: 2}
    assert view.shards[0].note == "model gpt-9 does not exist"


@pytest.mark.parametrize("verb", ["prepare", "submit"])
async def test_account_trouble_holds_the_batch_and_resume_goes_on_where_it_stood(verb: str) -> None:
    town = Town()
    town.fails(verb, ProviderRefused("wrong key", failure=Failure.ACCOUNT))
    batch = await town.batch()
    held = await town.until(lambda v: bool(v.batch.held) and not v.finished, batch)
    assert held.batch.held == "wrong key"
    await plan.resume(town.store, batch.id)
    assert (await town.finished(batch)).counts.succeeded == 4
    assert len(town.shelf.sales()) == 2


async def test_a_missing_key_holds_the_batch_too() -> None:
    town = Town()
    batch = await town.batch()
    town.lacking = MissingKey("set SIM_KEY")
    held = await town.until(lambda v: bool(v.batch.held), batch)
    assert held.batch.held == "set SIM_KEY"
    assert not held.finished


async def test_what_was_deleted_upstream_is_bought_again_only_with_consent() -> None:
    town = Town(rows=2)
    town.fails("check", *[ProviderGone("past retention")] * (GONE_LOOKS + 1))
    batch = await town.batch()
    view = await town.finished(batch)
    assert view.counts.failures == {Failure.MISSING: 2}
    assert await plan.retry(town.store, town.clock, batch.id) == 2
    again = await town.finished(batch)
    assert again.counts.succeeded == 2
    assert len(town.shelf.sales()) == 2


async def test_no_trouble_with_tidying_up_stops_anything() -> None:
    town = Town(rows=2)
    tried = {"times": 0}

    async def tidy(offer: Offer) -> None:
        tried["times"] += 1
        raise TypeError("a bug of a provider")

    town.provider.tidy = tidy
    batch = await town.batch()
    view = await town.until(lambda v: not any(s.open for s in v.shards), batch)
    assert view.counts.succeeded == 2
    assert tried["times"] == TIDY_MAX


async def test_a_passing_404_gives_nothing_up() -> None:
    town = Town(rows=2)
    town.fails("check", *[ProviderGone("404")] * GONE_LOOKS)
    batch = await town.batch()
    began = town.clock.now()
    view = await town.finished(batch)
    assert view.counts.succeeded == 2
    assert len(town.shelf.sales()) == 1
    assert town.clock.now() - began > 600, "it is looked for again over a long time"


async def test_trouble_of_other_kinds_is_no_proof_that_it_is_gone() -> None:
    town = Town(rows=2)
    busy = [ProviderBusy("503", retry_at=0.0)] * (2 * GONE_LOOKS)
    town.fails("check", *busy, ProviderGone("404"))
    view = await town.finished(await town.batch())
    assert view.counts.succeeded == 2


async def test_files_that_nobody_can_ever_read_do_not_wait_for_ever() -> None:
    town = Town(rows=2)

    def answered(sale: Sale, offer: Offer) -> Iterator[list[Result]]:
        raise ProviderBroke("<html>")
        yield []

    town.provider.answered = answered
    view = await town.finished(await town.batch())
    assert view.counts.failures == {Failure.MISSING: 2}
    assert not town.shelf.discarded, "what was paid for is left where it is"


async def test_files_that_hold_less_than_was_sold_are_fetched_again_before_anything_is_bought() -> (
    None
):
    town = Town(rows=2)
    real, short = town.provider.answered, {"left": 2}

    def answered(sale: Sale, offer: Offer) -> Iterator[list[Result]]:
        for chunk in real(sale, offer):
            cut = short["left"] > 0
            short["left"] -= 1
            yield chunk[:1] if cut else chunk

    town.provider.answered = answered
    view = await town.finished(await town.batch())
    assert view.counts.succeeded == 2
    assert len(town.shelf.sales()) == 1


async def test_a_late_answer_is_adopted_and_a_second_one_rings_the_alarm() -> None:
    town = Town(rows=2)
    batch = await town.batch()
    await town.until(lambda v: v.shards[0].state is State.IN_PROGRESS, batch)
    shard, _ = await town.store.shard(f"{batch.id}-0001")
    stale = replace(shard, state=State.SUBMITTING, upstream_id=None, version=shard.version - 1)
    same = await town.advancer._accepted(stale, shard.upstream_id or "", 1.0)
    assert same == shard
    await town.advancer._accepted(stale, "another", 1.0)
    assert await town.store.strays(batch.id) == [(shard.id, "another")]
    assert (await town.view(batch)).strays == ((shard.id, "another"),)


async def test_a_cancel_stops_what_waits_and_keeps_what_is_finished() -> None:
    town = Town()
    batch = await town.batch()
    for _ in ("prepare", "submit"):
        await town.advancer.advance(f"{batch.id}-0001")
    await cancel(town.store, batch.id)
    view = await town.finished(batch)
    assert view.status is Status.CANCELLED
    assert view.counts.canceled + view.counts.succeeded == 4
    assert view.counts.canceled >= 2
    await cancel(town.store, batch.id)  # saying it twice is no error


async def test_there_is_nothing_to_cancel_in_a_finished_batch() -> None:
    town = Town()
    batch = await town.batch()
    await town.finished(batch)
    with pytest.raises(Conflict, match="already completed"):
        await cancel(town.store, batch.id)
    with pytest.raises(NotFound):
        await cancel(town.store, "batch_nobody")


async def test_a_deadline_cancels_upstream_keeps_what_is_done_and_says_expired() -> None:
    town = Town()
    batch = await town.batch(window_s=60.0)
    view = await town.finished(batch)
    assert view.status is Status.EXPIRED
    assert view.counts.succeeded > 0
    assert set(view.counts.failures) <= {Failure.EXPIRED, Failure.DEADLINE}
    with pytest.raises(Conflict, match="window"):
        await plan.retry(town.store, town.clock, batch.id)


async def test_a_retry_by_hand_takes_only_the_classes_named() -> None:
    town = Town(Faults(failures={Failure.TRUNCATED: 0.5, Failure.INVALID_REQUEST: 0.5}), rows=12)
    batch = await town.batch()
    before = (await town.finished(batch)).counts.failures
    assert await plan.retry(town.store, town.clock, batch.id, [Failure.SERVER]) == 0
    wanted = before[Failure.TRUNCATED]
    assert await plan.retry(town.store, town.clock, batch.id, [Failure.TRUNCATED]) == wanted
    assert (await town.view(batch)).counts.pending == wanted


async def test_whoever_comes_second_is_overtaken() -> None:
    town = Town(rows=2)
    batch = await town.batch()
    shard, _ = await town.store.shard(f"{batch.id}-0001")
    await town.step()
    with pytest.raises(Overtaken):
        await town.advancer._submit(shard, batch, town.supplier("sim", "batch"))
    assert not town.shelf.sales()


async def test_a_batch_nobody_works_on_says_since_when() -> None:
    town = Town()
    batch = await town.batch()
    await town.step()
    moved_at = town.clock.now()
    town.clock.pass_by(3600.0)
    town.turn.alive = False
    assert (await town.view(batch)).stalled_since == moved_at
    town.turn.alive = True
    assert (await town.view(batch)).stalled_since is None


async def test_only_abandoned_drafts_are_swept_and_never_what_may_have_been_paid(
    tmp_path: Path,
) -> None:
    town, blobs = Town(), open_blobs(str(tmp_path))
    batch = await town.batch()
    rows = Segments(blobs)
    for key in (
        "drafts/batch_0/begun",  # cut a day ago, and never accepted
        "batches/batch_0/requests/00001.jsonl",
        "drafts/batch_z/begun",  # being cut just now
        "batches/batch_z/requests/00001.jsonl",
        f"drafts/{batch.id}/begun",  # accepted, and then the process died
        f"batches/{batch.id}/requests/00001.jsonl",
        "batches/batch_1/results/00001/0001-x.arrow",  # of another store over the same blobs
    ):
        with blobs.create(key) as file:
            file.write(b"x")
    assert await sweep(town.store, blobs, rows, "batch_b") == ["batch_0"]
    left = {key.rpartition("/")[0] for key in blobs.list("")}
    assert left == {
        "drafts/batch_z",
        "batches/batch_z/requests",
        f"batches/{batch.id}/requests",
        "batches/batch_1/results/00001",
    }


def test_unfinished_batches_are_named_oldest_first() -> None:
    async def life() -> None:
        town = Town()
        first = await town.batch()
        await town.finished(first)
        town.clock.pass_by(5.0)
        second, third = await town.batch(), None
        town.clock.pass_by(5.0)
        third = await town.batch()
        assert [b.id for b in await plan.unfinished(town.store)] == [second.id, third.id]

    asyncio.run(life())
