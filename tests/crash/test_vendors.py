"""`kill -9` while a vendor is working on our call: `resume` goes on, and nothing is bought twice."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from aiohttp import web
from tests import fakes
from tests.cli.test_vendors import Desk, desk

from batchmill import providers

VENDORS = [name for name in fakes.names() if "batch" in providers.spec(name).lanes]
PROGRAM = Path(sys.executable).parent / "batchmill"


async def run_until_killed(at: Desk, operation: str) -> None:
    """Run a table; the vendor kills the process once it has done what *operation* asks."""
    process = await asyncio.create_subprocess_exec(
        PROGRAM, "run", "t.csv", "--model", f"{at.vendor.name}/{at.vendor.model}", "--lane", "batch",
        "--prompt", "say {{ city }}", "-o", "o.csv",
        cwd=at.folder,
        env={**os.environ, "BATCHMILL_HOME": str(at.folder / "home")},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    weathered = at.vendor.weathered

    async def deadly(name: str, request: web.Request, respond: object) -> web.StreamResponse:
        response = await weathered(name, request, respond)
        if name == operation and process.returncode is None:
            process.send_signal(signal.SIGKILL)
            await process.wait()
        return response

    at.vendor.weathered = deadly
    async with asyncio.timeout(60):
        assert await process.wait() == -signal.SIGKILL
    at.vendor.weathered = weathered


@pytest.mark.parametrize("operation", ["create", "content"])
@pytest.mark.parametrize("name", VENDORS)
async def test_a_death_in_the_middle_of_a_call_costs_nothing(
    name: str, operation: str, tmp_path: Path
) -> None:
    async with desk(name, tmp_path) as at:
        # Where results come inside the batch object, it is that answer which nobody hears.
        last = operation if operation == "create" or name != "openrouter" else "get"

        await run_until_killed(at, last)
        status, _, err = await at.run("resume", "last")

        assert status == 0, err
        assert len(at.vendor.ours) == 1
        assert at.vendor.calls["create"] == 1
        assert [row["answer"] for row in at.table("o.csv")] == [
            "say Ghent", "say Graz, on the Mur", "say NA",
        ]  # fmt: skip
