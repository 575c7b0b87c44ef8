"""Rows out, answers in: what the dispatcher promises of every row."""

import asyncio
from typing import Any

import pytest
from tests.live.replies import BUSY, hangs, raises, says

from batchmill.core.failure import Failure
from batchmill.core.outcome import Outcome
from batchmill.errors import Conflict, NotSent, ProviderSilent, StorageTrouble
from batchmill.live.ledger import Ledger, Stopped, Syncer
from batchmill.ports import Answer

BY_WISH = Stopped(Failure.CANCELED, "cancelled by wish")


async def test_every_row_is_sent_once_and_has_its_answer_in_the_ledger(bench: Any):
    run = bench.run(95)
    bench.dispatcher(most=8).start(run)
    await bench.ended(run)
    assert set(bench.endpoint.calls.values()) == {1}
    results = bench.results(run)
    assert len(results) == 95
    assert {r.answer for r in results.values()} == {"yes"}
    assert (run.succeeded, run.unsuccessful) == (95, 0)


async def test_never_more_in_flight_than_allowed_over_all_runs(bench: Any):
    runs = [bench.run(60, f"batch_x-000{n}") for n in (1, 2, 3)]

    async def slow(_: str) -> Answer:
        await asyncio.sleep(0.001)
        return Answer(200, {}, b'{"choices":[{"message":{"content":"yes"}}]}')

    bench.endpoint.otherwise = slow
    dispatcher = bench.dispatcher(most=5)
    for run in runs:
        dispatcher.start(run)
    await bench.ended(*runs)
    assert bench.endpoint.in_flight_max == 5


async def test_an_empty_run_ends(bench: Any):
    run = bench.run(0)
    bench.dispatcher().start(run)
    await bench.ended(run)
    assert bench.results(run) == {}


async def test_a_429_is_sent_again_at_the_pace_it_names(bench: Any):
    run = bench.run(3)
    bench.endpoint.script["batch_x-0001-1"] = [says(429, BUSY, retry_after="30")]
    bench.dispatcher(most=1).start(run)
    await bench.ended(run)
    assert bench.clock.slept == [30.0]
    assert bench.endpoint.calls["batch_x-0001-1"] == 2
    assert run.succeeded == 3


async def test_a_storm_of_429_ends_with_every_row_answered(bench: Any):
    run = bench.run(40)
    storm = [says(429, BUSY, retry_after_ms="250")] * 7
    bench.endpoint.script = {f"batch_x-0001-{n}": list(storm) for n in range(40)}
    bench.dispatcher(most=16).start(run)
    await bench.ended(run)
    assert run.succeeded == 40
    assert sum(bench.endpoint.calls.values()) == 40 * 8


async def test_429_for_lack_of_credit_is_not_sent_again(bench: Any):
    run = bench.run(5)
    broke = b'{"error":{"code":"insufficient_quota","message":"no credit left"}}'
    bench.endpoint.otherwise = says(429, broke)
    bench.dispatcher(most=1).start(run)
    await bench.ended(run)
    assert sum(bench.endpoint.calls.values()) == 1


async def test_a_refused_connection_is_tried_until_it_is_there_and_the_person_is_told(bench: Any):
    run = bench.run(20)
    notes: list[str] = []
    dispatcher = bench.dispatcher(most=8)

    async def away(_: str) -> Answer:
        notes.append(dispatcher.note)
        if sum(bench.endpoint.calls.values()) > 30:
            bench.endpoint.otherwise = None
        raise NotSent("connection refused")

    bench.endpoint.otherwise = away
    dispatcher.start(run)
    await bench.ended(run)
    assert run.succeeded == 20
    assert notes[-1].startswith("endpoint http://gpu1/v1 does not answer since ")
    assert notes[-1].endswith(": connection refused")
    assert dispatcher.note == ""
    assert max(bench.clock.slept) == 5.0, "the pace is bounded"
    assert len(bench.clock.slept) >= 20, "one try at a time"


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (says(500, b'{"error":{"message":"cuda out of memory"}}'), "500: cuda out of memory"),
        (says(502, b"<html>bad gateway</html>"), "502: <html>bad gateway</html>"),
        (says(200, b"<html>login</html>"), "no answer"),
        (says(200, b'{"choices":[{"mess'), "no answer"),
        (raises(ProviderSilent("sent, then no answer within 600 s")), "no answer within 600 s"),
    ],
)
async def test_a_row_answered_with_trouble_is_one_errored_result(
    bench: Any, reply: Any, words: str
):
    run = bench.run(4)
    bench.endpoint.script["batch_x-0001-2"] = [reply]
    bench.dispatcher().start(run)
    await bench.ended(run)
    result = bench.results(run)["batch_x-0001-2"]
    assert (result.outcome, result.failure) == (Outcome.ERRORED, Failure.SERVER)
    assert words in result.detail
    assert bench.endpoint.calls["batch_x-0001-2"] == 1, "never sent twice"
    assert run.succeeded == 3


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, b'{"error":{"message":"bad key"}}'),
        (402, b'{"error":{"message":"bad key"}}'),
        (403, b'{"error":{"message":"bad key","code":"invalid_api_key"}}'),
        (403, b'{"error":{"message":"your credit is used up"}}'),
    ],
)
async def test_a_refused_key_stops_the_run_and_says_why(bench: Any, status: int, body: bytes):
    run = bench.run(200)
    bench.endpoint.script["batch_x-0001-20"] = [says(status, body)]
    bench.dispatcher(most=4).start(run)
    await bench.ended(run)
    results = bench.results(run)
    assert len(results) == 200
    assert sum(bench.endpoint.calls.values()) <= 20 + 1 + 4 + 4
    unsent = [r for c, r in results.items() if c not in bench.endpoint.calls]
    words = results["batch_x-0001-20"].detail
    assert words.startswith(f"{status}")
    assert {(r.outcome, r.failure, r.detail) for r in unsent} == {
        (Outcome.ERRORED, Failure.ACCOUNT, f"not sent: {words}")
    }


async def test_cancelling_gives_up_what_is_in_flight_and_keeps_what_is_done(bench: Any, until: Any):
    run, other = bench.run(50), bench.run(5, "batch_x-0002")
    bench.endpoint.script = {f"batch_x-0001-{n}": [hangs] for n in range(10, 50)}
    dispatcher = bench.dispatcher(most=6)
    dispatcher.start(run)
    dispatcher.start(other)
    await until(lambda: bench.endpoint.in_flight == 6)
    await dispatcher.stop(run, BY_WISH)
    await dispatcher.stop(run, BY_WISH)
    await bench.ended(run, other)
    results = bench.results(run)
    assert len(results) == 50
    assert (run.succeeded, run.unsuccessful) == (10, 40)
    assert {r.outcome for r in results.values()} == {Outcome.SUCCEEDED, Outcome.CANCELED}
    assert other.succeeded == 5, "another run goes on in the room that became free"


async def test_cancelling_does_not_wait_for_an_endpoint_that_is_away(bench: Any, until: Any):
    run = bench.run(30)
    bench.endpoint.otherwise = raises(NotSent("connection refused"))
    dispatcher = bench.dispatcher()
    dispatcher.start(run)
    await until(lambda: bench.endpoint.calls)
    await dispatcher.stop(run, BY_WISH)
    await bench.ended(run)
    assert run.unsuccessful == 30


async def test_a_restart_sends_only_what_the_ledger_does_not_hold(bench: Any, until: Any):
    first = bench.run(100)
    bench.endpoint.script = {f"batch_x-0001-{n}": [hangs] for n in range(60, 100)}
    dispatcher = bench.dispatcher(most=4)
    dispatcher.start(first)
    await until(lambda: bench.endpoint.in_flight == 4 and first.succeeded == 60)
    await dispatcher.aclose()

    again = bench.run(100)
    bench.endpoint.script = {}
    bench.dispatcher().start(again)
    await bench.ended(again)
    assert again.succeeded == 100
    sent_twice = [c for c, times in bench.endpoint.calls.items() if times > 1]
    assert len(sent_twice) == 4, "only what was in flight"


async def test_a_restart_of_a_cancelled_run_sends_nothing(bench: Any):
    first = bench.run(30)
    with Syncer() as syncer:
        held = Ledger.open(first.path, syncer)
        held.mark(BY_WISH)
        held.close()
    bench.dispatcher().start(first)
    await bench.ended(first)
    assert not bench.endpoint.calls
    assert first.unsuccessful == 30


async def test_a_ledger_held_by_somebody_else_is_trouble_of_that_run_alone(bench: Any):
    held, free = bench.run(5), bench.run(5, "batch_x-0002")
    with Syncer() as syncer:
        book = Ledger.open(held.path, syncer)
        dispatcher = bench.dispatcher()
        dispatcher.start(held)
        dispatcher.start(free)
        await bench.ended(free)
        with pytest.raises(Conflict, match="another process"):
            await bench.ended(held)
        book.close()


async def test_requests_that_cannot_be_read_are_trouble_of_that_run(bench: Any, until: Any):
    run = bench.run(5)

    async def broken():
        raise StorageTrouble("segment 3 is gone")
        yield

    run.requests = broken
    dispatcher = bench.dispatcher()
    dispatcher.start(run)
    await until(lambda: run.trouble)
    assert "segment 3" in str(run.trouble)
    await dispatcher.drop(run)
    again = bench.run(5)
    dispatcher.start(again)
    await bench.ended(again)
    assert again.succeeded == 5
