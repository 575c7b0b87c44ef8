"""A live endpoint in bad weather: no row lost, none sent twice, the person told."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from aiohttp import web
from tests.providers.gpu_server import (
    SHARD,
    Answering,
    Setting,
    chat,
    hang,
    offer,
    until_true,
    wrong,
)

from batchmill.core.failure import Failure
from batchmill.core.outcome import Outcome


async def test_429_is_sent_again_no_sooner_than_named(setting: Setting):
    times: dict[int, list[float]] = {}

    async def busy(_: web.Request, n: int) -> web.Response:
        seen = times.setdefault(n, [])
        seen.append(asyncio.get_running_loop().time())
        return (
            wrong(429, "slow down", **{"retry-after-ms": "300"}) if len(seen) == 1 else chat("ok")
        )

    setting.server.weather = busy
    provider, asked = setting.provider(concurrency=4), offer(4)
    await provider.submit(asked)
    answers = await setting.answers(provider, asked)
    assert {r.outcome for r in answers.values()} == {Outcome.SUCCEEDED}
    # Each was sent again after the pause that the refusals of the first round asked for.
    first_round = max(seen[0] for seen in times.values())
    assert all(seen[1] >= first_round + 0.29 for seen in times.values())


async def test_the_lane_is_back_when_the_endpoint_is(setting: Setting):
    await setting.server.down()
    provider, asked = setting.provider(), offer(20)
    await provider.submit(asked)
    told = await until_true(lambda: provider.check(asked), lambda c: c.progress.note)
    assert f"endpoint {setting.server.url} does not answer since" in told.progress.note
    assert "connection refused" in told.progress.note
    await setting.server.up()
    answers = await setting.answers(provider, asked)
    assert {r.outcome for r in answers.values()} == {Outcome.SUCCEEDED}
    assert (await provider.check(asked)).progress.note == ""


async def html(_: web.Request, n: int) -> web.StreamResponse:
    return web.Response(text="<html>login</html>") if n == 1 else chat("ok")


async def garbage(request: web.Request, n: int) -> web.StreamResponse:
    if n == 1 and request.transport is not None:
        request.transport.write(b"\x00\x01 not http\r\n\r\n")
        request.transport.close()
    return chat("ok")


async def half(request: web.Request, n: int) -> web.StreamResponse:
    if n != 1:
        return chat("ok")
    answer = web.StreamResponse(headers={"content-length": "1000"})
    await answer.prepare(request)
    await answer.write(b'{"choices":')
    assert request.transport is not None
    request.transport.close()
    return answer


async def overloaded(_: web.Request, n: int) -> web.StreamResponse:
    return wrong(503, "overloaded") if n == 1 else chat("ok")


async def moved(_: web.Request, n: int) -> web.StreamResponse:
    return web.Response(status=302, headers={"location": "/login"}) if n == 1 else chat("ok")


@pytest.mark.parametrize("weather", [hang, html, garbage, half, overloaded, moved])
async def test_in_bad_weather_one_row_is_errored_and_none_is_lost_or_sent_twice(
    setting: Setting, weather: Answering
):
    setting.server.weather = weather
    provider, asked = setting.provider(idle_timeout_s=0.3, concurrency=1), offer(5)
    await provider.submit(asked)
    answers = await setting.answers(provider, asked)
    bad = answers.pop(f"{SHARD}-1")
    assert (bad.outcome, bad.failure) == (Outcome.ERRORED, Failure.SERVER)
    assert bad.detail
    assert len(answers) == 4
    assert {r.answer for r in answers.values()} == {"ok"}
    assert set(setting.server.calls.values()) == {1}


@pytest.mark.parametrize(
    ("status", "body", "failure"),
    [
        (400, {"error": {"message": "no such field"}}, Failure.INVALID_REQUEST),
        (404, {"error": {"message": "there is no such endpoint"}}, Failure.INVALID_REQUEST),
        (404, {"error": {"message": "the model does not exist"}}, Failure.ACCOUNT),
        (400, {"error": {"code": "context_length_exceeded", "message": "x"}}, Failure.TOO_LONG),
        (400, {"object": "error", "message": "maximum context length is 4096"}, Failure.TOO_LONG),
    ],
)
async def test_a_row_the_endpoint_rejects_keeps_its_words(
    setting: Setting, status: int, body: Any, failure: Failure
):
    async def reject(_: web.Request, n: int) -> web.Response:
        return web.json_response(body, status=status)

    setting.server.weather = reject
    provider, asked = setting.provider(), offer(2)
    await provider.submit(asked)
    answers = await setting.answers(provider, asked)
    assert {r.failure for r in answers.values()} == {failure}


async def test_a_key_that_is_refused_in_mid_run_ends_it_and_the_rest_is_not_sent(setting: Setting):
    async def revoked(_: web.Request, n: int) -> web.Response:
        return chat("ok") if n < 30 else wrong(401, "key revoked")

    setting.server.weather = revoked
    provider, asked = setting.provider(concurrency=4), offer(500)
    await provider.submit(asked)
    answers = await setting.answers(provider, asked)
    assert sum(setting.server.calls.values()) <= 30 + 4 + 4
    assert len(answers) == 500
    assert Counter(r.failure for r in answers.values()) == {None: 30, Failure.ACCOUNT: 470}
    assert "401: key revoked" in answers[f"{SHARD}-499"].detail
