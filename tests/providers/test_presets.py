"""Vendors that are `live` with an address and the name of a key."""

from pathlib import Path

import pytest
from tests.fakes.openai import FakeOpenAI
from tests.providers.openai_family import desk

from batchmill import providers
from batchmill.core.failure import Failure
from batchmill.core.request import OPENAI_CHAT
from batchmill.providers import Knobs

PRESETS = {
    "together": "TOGETHER_API_KEY",
    "fireworks": "FIREWORKS_API_KEY",
    "xai": "XAI_API_KEY",
    "perplexity": "PERPLEXITY_API_KEY",
    "deepseek": "DEEPSEEK_API_KEY",
}


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_needs_nothing_but_its_key(name: str) -> None:
    spec = providers.spec(name)

    assert (spec.lanes, spec.key_variable, spec.key_required) == (("live",), PRESETS[name], True)
    assert spec.base_url.startswith("https://")
    assert spec.ready(Knobs(base_url=spec.base_url)) is None
    assert OPENAI_CHAT in spec.dialects


@pytest.mark.parametrize("name", PRESETS)
async def test_a_preset_answers_row_by_row(name: str, tmp_path: Path) -> None:
    fake = FakeOpenAI()
    async with desk(name, tmp_path, lane="live", fake=fake) as at:
        good, bad = await at.answers("hello", "fail refused")

        assert good.answer == "hello"
        assert bad.failure is Failure.REFUSED
        assert "answers" in await at.provider.probe()


@pytest.mark.parametrize("name", PRESETS)
async def test_a_wrong_key_stops_the_run_and_is_said_once(name: str, tmp_path: Path) -> None:
    fake = FakeOpenAI()
    async with desk(name, tmp_path, lane="live", fake=fake, key="wrong", concurrency=1) as at:
        results = await at.answers(*"abcdef")

    assert {r.failure for r in results} == {Failure.ACCOUNT}
    assert fake.calls["live"] == 1
    assert "Incorrect API key" in results[0].detail
