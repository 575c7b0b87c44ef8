"""A whole table through Anthropic's batches, in an account that other people use as well."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from aiohttp import web
from tests.fakes.anthropic import FakeAnthropic

import batchmill

TABLE = pa.table({"text": ["a", "b", "c"]})
SETTINGS = """
[retry]
wait_s = 0.05
[providers.anthropic]
base_url = "{}"
poll_s = 0.05
find_after_s = 0.05
timeout_s = 0.5
"""


class Crowded(FakeAnthropic):
    """Somebody else buys a batch of as many rows at the very time of our first call."""

    crowded = False

    async def weathered(self, name: str, request: web.Request, respond: Any) -> web.StreamResponse:
        if name == "create" and self.crowded and not self.sold:
            self.stranger(TABLE.num_rows)
        return await super().weathered(name, request, respond)

    def untouched(self) -> bool:
        [theirs] = [sold for sold in self.sold if not sold.ours]
        return not theirs.cancelled and not theirs.facts


@pytest.fixture
async def vendor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Crowded]:
    made = Crowded()
    await made.up()
    (tmp_path / "batchmill.toml").write_text(SETTINGS.format(made.host))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANTHROPIC_API_KEY", made.key)
    yield made
    await made.down()
    assert made.complaints == []
    assert made.unknown == []


async def answers(vendor: Crowded) -> list[str]:
    def run() -> pa.Table:
        return batchmill.run(
            TABLE, model=f"anthropic/{vendor.model}", prompt="{{ text }}"
        ).results()

    found = await asyncio.to_thread(run)
    return found.column("answer").to_pylist()


async def test_a_table_comes_back_and_nothing_of_it_stays_there(vendor: Crowded) -> None:
    assert await answers(vendor) == ["a", "b", "c"]

    [sold] = vendor.sold
    assert sold.facts["deleted"]


async def test_a_lost_answer_is_found_among_batches_of_the_same_size(vendor: Crowded) -> None:
    vendor.crowded = True
    vendor.weather.lost["create"] = 1
    vendor.weather.polls = 3

    assert await answers(vendor) == ["a", "b", "c"]

    assert vendor.calls["create"] == 1
    assert vendor.untouched()


async def test_a_stranger_that_was_taken_for_ours_is_given_back(vendor: Crowded) -> None:
    vendor.crowded = True
    vendor.weather.dropped["create"] = 1  # nothing was bought, but who knows

    assert await answers(vendor) == ["a", "b", "c"]

    assert len(vendor.ours) == 1
    assert any(sold.polls for sold in vendor.sold if not sold.ours)
    assert vendor.untouched()
