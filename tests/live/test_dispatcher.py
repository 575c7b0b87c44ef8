"""Rows out, answers in: what the dispatcher promises of every row."""

import asyncio
from typing import Any

import pytest

from batchmill.core.failure import Failure
from batchmill.core.outcome import Outcome
from batchmill.errors import Conflict, NotSent, ProviderSilent, StorageTrouble
from batchmill.live import ledger
from batchmill.live.dispatcher import BARRED_MAX, REFUSALS_MAX
from batchmill.live.ledger import Ledger, Stopped, Syncer
from batchmill.ports import Answer

BUSY = b'{"error":{"code":"rate_limit_exceeded","message":"slow down"}}'
BY_WISH = Stopped(Failure.CANCELED, "cancelled by wish")


def says(status: int, body: bytes = b"{}", **headers: str):
    async def reply(_: str) -> Answer:
        return Answer(status, {k.replace("_", "-"): v for k, v in headers.items()}, body)

    return reply


def raises(error: Exception):
    async def reply(_: str) -> Answer:
        raise error

    return reply


async def hangs(_: str) -> Answer:
    return await asyncio.get_running_loop().create_future()


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


@pytest.mark.parametrize("most", [1, 8])
async def test_rows_that_are_never_welcome_hold_nobody_up(bench: Any, most: int):
    run = bench.run(60)
    stuck = ["batch_x-0001-3", "batch_x-0001-4", "batch_x-0001-59"]
    bench.endpoint.script = {row: [says(429, BUSY)] * 1000 for row in stuck}
    dispatcher = bench.dispatcher(most=most)
    dispatcher.start(run)
    await bench.ended(run)
    results = bench.results(run)
    assert run.succeeded == 57
    assert {results[row].failure for row in stuck} == {Failure.RATE_LIMITED}
    assert "slow down" in results[stuck[0]].detail
    for row in stuck[:2]:
        assert bench.endpoint.calls[row] <= REFUSALS_MAX + 8
    assert dispatcher.note == ""


async def test_a_row_refused_while_others_are_answered_does_not_slow_them(bench: Any):
    run = bench.run(400)
    bench.endpoint.script = {"batch_x-0001-3": [says(429, BUSY, retry_after="3000")] * 5}

    async def steady(_: str) -> Answer:
        bench.clock.at += 1.0
        return await says(200, b'{"choices":[{"message":{"content":"yes"}}]}')("")

    bench.endpoint.otherwise = steady
    bench.dispatcher(most=4).start(run)
    await bench.ended(run)
    assert run.succeeded == 400
    pauses = [s for s in bench.clock.slept if s > 1]
    assert len(pauses) == 1, "the first time it may have been meant for all"


async def test_an_endpoint_that_refuses_everybody_is_waited_for(bench: Any):
    run = bench.run(30)
    storm = [says(429, BUSY)] * (REFUSALS_MAX * 4)
    bench.endpoint.script = {f"batch_x-0001-{n}": list(storm) for n in range(30)}
    bench.dispatcher(most=2).start(run)
    await bench.ended(run)
    results = bench.results(run).values()
    assert {r.failure for r in results} <= {None, Failure.RATE_LIMITED}
    assert run.succeeded


async def test_a_row_too_large_for_the_limit_is_not_sent_again(bench: Any):
    run = bench.run(3)
    said = (
        b'{"error":{"message":"Request too large for m: Limit 30000","code":"rate_limit_exceeded"}}'
    )
    bench.endpoint.script["batch_x-0001-1"] = [says(429, said)] * 9
    bench.dispatcher().start(run)
    await bench.ended(run)
    assert bench.results(run)["batch_x-0001-1"].failure is Failure.TOO_LONG
    assert bench.endpoint.calls["batch_x-0001-1"] == 1
    assert bench.clock.slept == []


async def test_a_new_run_does_not_wait_for_a_row_that_was_put_back(bench: Any, until: Any):
    run, other = bench.run(3), bench.run(3, "batch_x-0002")
    bench.endpoint.script["batch_x-0001-0"] = [says(429, BUSY)] * 1000
    dispatcher = bench.dispatcher(most=1)
    dispatcher.start(run)
    await until(lambda: run.succeeded == 2)
    dispatcher.start(other)
    await bench.ended(other, run)
    assert (other.succeeded, run.succeeded) == (3, 2)


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


BARRED = b'{"error":{"message":"this prompt is not welcome","code":"blocked"}}'


@pytest.mark.parametrize("body", [BARRED, b"<html>403 Forbidden</html>"])
async def test_a_row_that_is_barred_while_others_pass_is_its_own_trouble(bench: Any, body: bytes):
    run = bench.run(200)
    barred = [f"batch_x-0001-{n}" for n in range(20, 200, 3)]
    bench.endpoint.script = {custom_id: [says(403, body)] for custom_id in barred}
    bench.dispatcher(most=4).start(run)
    await bench.ended(run)
    results = bench.results(run)
    assert {results[custom_id].failure for custom_id in barred} == {Failure.REFUSED}
    assert "403" in results[barred[0]].detail
    assert run.succeeded == 200 - len(barred)


async def test_a_bar_before_any_row_has_passed_is_the_accounts(bench: Any):
    run = bench.run(200)
    bench.endpoint.otherwise = says(403, BARRED)
    bench.dispatcher(most=4).start(run)
    await bench.ended(run)
    assert sum(bench.endpoint.calls.values()) <= 8
    assert {r.failure for r in bench.results(run).values()} == {Failure.ACCOUNT}


async def test_what_passed_yesterday_says_nothing_of_the_key_of_today(bench: Any, until: Any):
    first = bench.run(200)
    bench.endpoint.script = {f"batch_x-0001-{n}": [hangs] for n in range(20, 200)}
    dispatcher = bench.dispatcher(most=4)
    dispatcher.start(first)
    await until(lambda: first.succeeded == 20 and bench.endpoint.in_flight == 4)
    await dispatcher.aclose()
    bench.endpoint.script, bench.endpoint.otherwise = {}, says(403, BARRED)
    again = bench.run(200)
    bench.dispatcher(most=4).start(again)
    await bench.ended(again)
    assert {r.failure for r in bench.results(again).values()} == {None, Failure.ACCOUNT}


async def test_a_key_that_is_barred_for_good_in_mid_run_ends_it(bench: Any):
    run = bench.run(500)
    refuse = {f"batch_x-0001-{n}": [says(403, BARRED)] for n in range(20, 500)}
    bench.endpoint.script = refuse
    bench.dispatcher(most=4).start(run)
    await bench.ended(run)
    assert sum(bench.endpoint.calls.values()) <= 20 + BARRED_MAX + 8
    assert bench.results(run)["batch_x-0001-499"].failure is Failure.ACCOUNT


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


async def test_closing_waits_for_what_is_in_flight_and_sends_nothing_more(
    bench: Any, until: Any, caplog: Any
):
    run = bench.run(40)
    bell = asyncio.Event()

    async def slow(_: str) -> Answer:
        await bell.wait()
        return await says(200, b'{"choices":[{"message":{"content":"late"}}]}')("")

    bench.endpoint.otherwise = slow
    dispatcher = bench.dispatcher(most=4, patience_s=60)
    dispatcher.start(run)
    await until(lambda: bench.endpoint.in_flight == 4)
    with caplog.at_level("INFO", "batchmill"):
        closing = asyncio.create_task(dispatcher.aclose())
        await asyncio.sleep(2.2)  # longer than anybody is patient by mistake
        assert dispatcher.in_flight == 4
        assert "waiting for 4 answers already asked for" in caplog.text
        bell.set()
        await closing
    assert dispatcher.in_flight == 0
    assert len(bench.results(run)) == 4
    assert sum(bench.endpoint.calls.values()) == 4, "no new row is taken"

    again = bench.run(40)
    bench.dispatcher().start(again)
    await bench.ended(again)
    assert set(bench.endpoint.calls.values()) == {1}, "nothing is bought twice"


async def test_a_row_put_back_while_closing_is_not_sent_before_a_restart(bench: Any, until: Any):
    run = bench.run(4)
    bell = asyncio.Event()

    async def busy(_: str) -> Answer:
        await bell.wait()
        return await says(429, BUSY)("")

    bench.endpoint.otherwise = busy
    dispatcher = bench.dispatcher(most=4, patience_s=60)
    dispatcher.start(run)
    await until(lambda: bench.endpoint.in_flight == 4)
    closing = asyncio.create_task(dispatcher.aclose())
    await asyncio.sleep(0.01)
    bell.set()
    await closing
    assert sum(bench.endpoint.calls.values()) == 4
    assert bench.results(run) == {}


async def test_closing_does_not_wait_for_ever(bench: Any, until: Any):
    run = bench.run(4)
    bench.endpoint.otherwise = hangs
    dispatcher = bench.dispatcher(patience_s=0.01)
    dispatcher.start(run)
    await until(lambda: bench.endpoint.in_flight == 4)
    await dispatcher.aclose()
    assert bench.endpoint.in_flight == 0
    assert bench.results(run) == {}


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


def full_disk(monkeypatch: Any) -> list[bool]:
    """Return a list that says whether there is room; empty it to fill the disk."""
    room, real = [True], ledger._write_all

    def write(fd: int, data: bytes, at: int) -> int:
        if room:
            return real(fd, data, at)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ledger, "_write_all", write)
    monkeypatch.setattr(ledger, "ROOM_S", 0.01)
    return room


async def test_a_full_disk_stops_the_buying_and_loses_nothing(
    bench: Any, until: Any, monkeypatch: Any
):
    room = full_disk(monkeypatch)

    async def steady(_: str) -> Answer:
        await asyncio.sleep(0.01)
        return await says(200, b'{"choices":[{"message":{"content":"yes"}}]}')("")

    bench.endpoint.otherwise = steady
    run, dispatcher = bench.run(400), bench.dispatcher(most=8)
    dispatcher.start(run)
    await until(lambda: run.succeeded >= 50)
    room.clear()
    await until(lambda: "the disk is full" in dispatcher.note)
    await asyncio.sleep(0.1)
    bought = sum(bench.endpoint.calls.values())
    await asyncio.sleep(0.1)
    assert sum(bench.endpoint.calls.values()) == bought, "nothing is bought that cannot be kept"
    assert "answers wait in memory" in dispatcher.note
    assert run.trouble is None
    room.append(True)
    await bench.ended(run)
    assert dispatcher.note == ""
    assert len(bench.results(run)) == 400
    assert set(bench.endpoint.calls.values()) == {1}


async def test_a_stop_while_the_disk_is_full_says_how_many_answers_are_lost(
    bench: Any, until: Any, monkeypatch: Any
):
    full_disk(monkeypatch).clear()
    run, dispatcher = bench.run(4), bench.dispatcher(most=8)
    dispatcher.start(run)
    await until(lambda: "the disk is full: 4 answers" in dispatcher.note)
    with pytest.raises(StorageTrouble, match="4 answers could not be kept"):
        await dispatcher.aclose()
