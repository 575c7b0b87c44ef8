"""A 429 or a 403: meant for all, for the key, or for this one row."""

from typing import Any

import pytest
from tests.live.replies import BUSY, hangs, says

from batchmill.core.failure import Failure
from batchmill.live.dispatcher import BARRED_MAX, REFUSALS_MAX
from batchmill.ports import Answer


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
