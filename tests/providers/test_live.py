"""A live endpoint as a provider: the verbs, cancelling, and what a kill leaves."""

import asyncio
import os
import signal
import sys
import textwrap
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from tests.providers.gpu_server import (
    SHARD,
    RealClock,
    Setting,
    chat,
    ended,
    hang,
    offer,
    until,
    until_true,
)

from batchmill import providers
from batchmill.core.outcome import Outcome
from batchmill.core.request import Request
from batchmill.core.shard import Accepted, NotThere
from batchmill.errors import InvalidSetting, NotSent, ProviderBusy, ProviderGone, StorageTrouble
from batchmill.ports import Offer
from batchmill.providers import Knobs
from batchmill.providers.live import joined


async def test_every_row_is_answered_through_the_six_verbs(setting: Setting):
    provider, asked = setting.provider(key="sk-1"), offer(230)
    assert await provider.find(asked) == NotThere()
    ref = await provider.prepare(asked)
    assert ref is not None
    assert await provider.submit(asked) == SHARD
    assert await provider.find(asked) == Accepted(SHARD)
    answers = await setting.answers(provider, asked)
    assert {c: r.answer for c, r in answers.items()} == {
        f"{SHARD}-{n}": f"answer {n}" for n in range(230)
    }
    assert set(setting.server.calls.values()) == {1}
    assert setting.server.keys == {"Bearer sk-1"}
    checked = await provider.check(asked)
    assert (checked.progress.succeeded, checked.progress.errored, checked.progress.note) == (
        230,
        0,
        "",
    )


async def test_submitting_twice_buys_once(setting: Setting):
    provider, asked = setting.provider(), offer(100)
    assert await provider.submit(asked) == await provider.submit(asked)
    await setting.answers(provider, asked)
    assert await provider.submit(asked) == SHARD
    await ended(provider, asked)
    assert set(setting.server.calls.values()) == {1}


async def test_a_submission_that_comes_too_late_starts_nothing(setting: Setting):
    provider = setting.provider()
    with pytest.raises(NotSent):
        await provider.submit(offer(5, send_before=RealClock().awake() - 1))
    assert await provider.find(offer(5)) == NotThere()


async def test_no_key_means_no_authorization(setting: Setting):
    provider, asked = setting.provider(), offer(1)
    await provider.submit(asked)
    await setting.answers(provider, asked)
    assert setting.server.keys == {""}


@pytest.mark.parametrize(
    ("dialect", "url"),
    [("openai.embeddings", "/v1/embeddings"), ("openai.responses", "/v1/responses")],
)
async def test_other_dialects_reach_their_own_path(setting: Setting, dialect: str, url: str):
    async def answer(_: web.Request, n: int) -> web.Response:
        return web.json_response(
            {"data": [{"embedding": [0.5, n]}]}
            if "embed" in url
            else {"output": [{"content": [{"text": "hi"}]}]}
        )

    setting.server.weather = answer
    provider, asked = setting.provider(), offer(3, dialect=dialect, url=url)
    await provider.submit(asked)
    answers = await setting.answers(provider, asked)
    assert setting.server.paths == {url}
    assert answers[f"{SHARD}-2"].answer == ("[0.5,2]" if "embed" in url else "hi")


def test_the_base_url_holds_the_version():
    assert joined("http://gpu1:8000/v1", "/v1/embeddings") == "http://gpu1:8000/v1/embeddings"
    assert joined("https://x/openai/v1/", "/v1/responses") == "https://x/openai/v1/responses"


async def test_cancelling_closes_the_connections_and_keeps_what_was_answered(setting: Setting):
    async def slow(_: web.Request, n: int) -> web.StreamResponse:
        if n >= 10:
            await asyncio.get_running_loop().create_future()
        return chat("ok")

    setting.server.weather = slow
    provider, asked = setting.provider(concurrency=6), offer(100)
    await provider.submit(asked)
    await until(lambda: setting.server.in_flight == 6 and len(setting.server.calls) == 16)
    await provider.cancel(asked)
    await provider.cancel(asked)
    answers = await setting.answers(provider, asked)
    await until(lambda: setting.server.gone == 6)
    assert Counter(r.outcome for r in answers.values()) == {
        Outcome.SUCCEEDED: 10,
        Outcome.CANCELED: 90,
    }
    await provider.cancel(asked)  # too late is no error
    await provider.cancel(offer(1, "batch_x-0009"))  # and neither is never


async def test_a_cancel_that_cannot_be_noted_has_to_be_said_again(setting: Setting):
    setting.server.weather = hang
    first, second, asked = setting.provider(concurrency=1), setting.provider(), offer(10)
    await first.submit(asked)
    await until(lambda: setting.server.calls[1])
    with pytest.raises(ProviderBusy, match="another process"):
        await second.cancel(asked)


async def test_a_cancel_outlives_its_process(setting: Setting):
    setting.server.weather = hang
    provider, asked = setting.provider(concurrency=1), offer(100)
    await provider.submit(asked)
    await until(lambda: setting.server.calls[1])
    await provider.cancel(asked)
    await provider.aclose()
    calls = sum(setting.server.calls.values())
    second = setting.provider()
    answers = await setting.answers(second, asked)
    assert sum(setting.server.calls.values()) == calls
    assert len(answers) == 100


async def test_an_orderly_stop_waits_for_what_is_paid_and_buys_nothing_twice(setting: Setting):
    async def slow(_: web.Request, n: int) -> web.Response:
        await asyncio.sleep(2.5)
        return chat(f"answer {n}")

    setting.server.weather = slow
    provider, asked = setting.provider(concurrency=20), offer(60)
    await provider.submit(asked)
    await until(lambda: setting.server.in_flight == 20)
    assert provider.in_flight == 20
    await provider.aclose()
    assert sum(setting.server.calls.values()) == 20
    assert setting.server.gone == 0
    setting.server.weather = None
    await setting.answers(setting.provider(), asked)
    assert set(setting.server.calls.values()) == {1}


async def test_trouble_with_the_rows_does_not_throw_away_what_is_in_flight(setting: Setting):
    bell = asyncio.Event()

    async def slow(_: web.Request, n: int) -> web.Response:
        await bell.wait()
        return chat("ok")

    setting.server.weather = slow
    provider, asked = setting.provider(concurrency=20), offer(60)
    torn = replace(asked, requests=lambda: _torn(asked))
    await provider.submit(torn)
    await until_true(lambda: provider.check(torn), lambda c: "segment" in c.progress.note)
    await until(lambda: setting.server.in_flight == 10)
    bell.set()
    with pytest.raises(StorageTrouble, match="segment"):
        await ended(provider, torn)
    await setting.answers(provider, asked)
    assert set(setting.server.calls.values()) == {1}


async def _torn(asked: Offer) -> AsyncIterator[Sequence[Request]]:
    async for chunk in asked.requests():
        yield chunk[:10]
        raise StorageTrouble("a segment is gone")


async def test_the_end_of_a_stop_is_bounded_by_the_idle_timeout(setting: Setting):
    setting.server.weather = hang
    provider, asked = setting.provider(concurrency=2, idle_timeout_s=0.3), offer(60)
    await provider.submit(asked)
    await until(lambda: setting.server.calls[1])
    async with asyncio.timeout(5):
        await provider.aclose()
    assert provider.in_flight == 0


async def test_a_ledger_that_is_gone_is_not_bought_again_in_silence(setting: Setting):
    provider, asked = setting.provider(), offer(3)
    await provider.submit(asked)
    await setting.answers(provider, asked)
    await provider.tidy(offer(3))
    await provider.tidy(offer(3))
    with pytest.raises(ProviderGone):
        await provider.check(asked)
    with pytest.raises(ProviderGone):
        _ = [chunk async for chunk in provider.results(asked)]


async def test_a_run_that_another_process_works_on_is_left_to_it(setting: Setting):
    setting.server.weather = hang
    first, second, asked = setting.provider(concurrency=1), setting.provider(), offer(10)
    await first.submit(asked)
    await until(lambda: setting.server.calls[1])
    told = await until_true(lambda: second.check(asked), lambda c: c.progress.note)
    assert "another process" in told.progress.note
    assert set(setting.server.calls) == {0, 1}


CHILD = textwrap.dedent("""
    import asyncio, pathlib, sys
    from tests.providers import gpu_server as t
    async def main():
        setting = t.Setting(pathlib.Path(sys.argv[1]))
        setting.server.port = int(sys.argv[2])
        provider, asked = setting.provider(concurrency=8), t.offer(400)
        if sys.argv[3] == "submit":
            await provider.submit(asked)
        await t.ended(provider, asked)
    asyncio.run(main())
""")


async def test_after_a_kill_only_what_was_in_flight_or_unsynced_is_sent_again(setting: Setting):
    async def steady(_: web.Request, n: int) -> web.Response:
        await asyncio.sleep(0.04)
        return chat(f"answer {n}")

    setting.server.weather = steady
    args = [str(setting.folder), str(setting.server.port)]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, *args, "submit", env=env
    )
    for kill_at in (100, 250):
        await until(lambda: sum(setting.server.calls.values()) >= kill_at)  # noqa: B023
        child.send_signal(signal.SIGKILL)
        await child.wait()
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CHILD, *args, "check", env=env
        )
    assert await child.wait() == 0
    answers = await setting.answers(setting.provider(), offer(400))
    assert {c: r.answer for c, r in answers.items()} == {
        f"{SHARD}-{n}": f"answer {n}" for n in range(400)
    }
    sent_beyond = sum(setting.server.calls.values()) - 400
    # Eight in flight, 40 ms each: 200 rows a second; a sync may take 0.2 s where the disk is busy.
    in_flight, in_one_sync, kills = 8, 40, 2
    assert sent_beyond <= kills * (in_flight + in_one_sync)


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"base_url": ""}, "needs a base_url"),
        ({"base_url": "gpu1:8000"}, "no http"),
        ({"base_url": "http://127.0.0.1:99999/v1"}, "no http"),
        ({"base_url": "http://gpu1:port/v1"}, "no http"),
        ({"base_url": "http://[::1/v1"}, "no http"),
        ({"base_url": "http://gpu1:0/v1"}, "no http"),
        ({"base_url": "http:///v1"}, "no http"),
        ({"concurency": 4}, "Did you mean concurrency"),
        ({"concurrency": 0}, "from 1 to"),
        ({"concurrency": "many"}, "whole number"),
        ({"concurrency": True}, "whole number"),
    ],
)
async def test_a_wrong_knob_is_named_with_what_was_expected(
    setting: Setting, knobs: dict[str, Any], words: str
):
    with pytest.raises(InvalidSetting, match=words):
        setting.provider(**knobs)


def test_the_spec_says_what_is_missing():
    spec = providers.spec("live")
    for wrong in ("", "gpu1:8000/v1", "http://127.0.0.1:99999/v1", "ftp://x/v1", "http://[::1/v1"):
        assert "set base_url: http(s)://" in (spec.ready(Knobs(base_url=wrong)) or "")
    assert spec.ready(Knobs(base_url="http://[::1]:8000/v1")) is None
    assert spec.ready(Knobs(base_url="http://x/v1")) is None
    assert spec.models(Knobs(base_url="")) is None
