"""Result files that say nothing, or less than their vendor counts, are not believed."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests import fakes
from tests.fakes.bedrock import FakeBedrock
from tests.fakes.gemini import FakeGemini
from tests.fakes.mistral import FakeMistral
from tests.fakes.vendor import FakeVendor
from tests.fakes.vertex import FakeVertex
from tests.providers.bedrock_house import HOUR
from tests.providers.openai_family import Desk, desk

from batchmill import providers
from batchmill.core.shard import Progress
from batchmill.errors import ProviderBroke, ProviderBusy, ProviderError, ProviderGone
from batchmill.ports import Offer
from batchmill.providers import _counts

#: Those whose result files come over HTTP from the vendor itself.
WITH_FILES = ("openai", "groq", "azure", "mistral", "gemini")
ALL = (*WITH_FILES, "vertex", "bedrock")
NO_RESULTS = (
    b"",
    b"\n\n",
    b"<html>\n<body>Please sign in</body>\n</html>\n",
    b'{"error":{"message":"temporarily unavailable"}}\n',
    b'{"error":{"message":"temporarily unavailable"}}',
)


@pytest.fixture
async def at(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Desk]:
    options = {"input": "file"} if request.param == "gemini" else {}
    async with desk(request.param, tmp_path, fake=fakes.fake(request.param), **options) as opened:
        yield opened


with_files = pytest.mark.parametrize("at", WITH_FILES, indirect=True)
all_vendors = pytest.mark.parametrize("at", ALL, indirect=True)
mistral = pytest.mark.parametrize("at", ["mistral"], indirect=True)


def house_of(at: Desk) -> FakeVendor:
    assert at.fake is not None
    return at.fake


def offer(at: Desk, *texts: str) -> Offer:
    fake = house_of(at)
    spec = providers.spec(fake.name)
    dialect = spec.dialect(spec, "chat", fake.model)
    return at.offer(bodies=[fake.body(text) for text in texts or ("a", "b", "c")], dialect=dialect)


@contextmanager
def downloading(fake: FakeVendor, body: bytes) -> Iterator[None]:
    """Answer every download with *body*."""
    usual = fake.weathered

    async def weathered(name: str, request: web.Request, respond: Any) -> web.StreamResponse:
        if name == "content":
            return web.Response(body=body, content_type="application/octet-stream")
        return await usual(name, request, respond)

    fake.weathered = weathered
    yield
    fake.weathered = usual


@with_files
@pytest.mark.parametrize("body", NO_RESULTS)
async def test_a_body_that_is_no_result_file_yields_nothing_quietly(at: Desk, body: bytes) -> None:
    ended = await at.ended(offer(at))

    with downloading(house_of(at), body), pytest.raises(ProviderError):
        await at.results(ended)

    assert len(await at.results(ended)) == 3


@all_vendors
async def test_an_ended_batch_is_counted_as_the_vendor_counts_it(at: Desk) -> None:
    ended = await at.ended(offer(at, "a", "fail server", "c"))

    progress = (await at.provider.check(ended)).progress

    assert (progress.succeeded, progress.errored) in ((2, 1), (3, 0))
    assert len(await at.results(ended)) == 3


@all_vendors
async def test_results_of_a_batch_that_has_not_ended_after_all_are_waited_for(at: Desk) -> None:
    house_of(at).weather.polls = 1_000

    bought = await at.bought(offer(at))

    with pytest.raises(ProviderBusy):
        await at.results(bought)


def test_no_count_is_below_nothing_or_above_the_rows() -> None:
    asked = Offer(shard_id="s", dialect="", url="", model="", count=3, requests=_none)

    assert _counts.progress(asked, -1, -1) == Progress()
    assert _counts.progress(asked, 2, 2, "new") == Progress(succeeded=2, errored=1, note="new")
    assert _counts.progress(asked, 9, 9) == Progress(succeeded=3)


async def _none() -> AsyncIterator[list[Any]]:
    for nothing in ():
        yield nothing


# -- Mistral's two files -------------------------------------------------------------------------


def files_of(fake: FakeMistral) -> dict[str, str]:
    """Return the two result files by what they are."""
    job = fake.job(fake.sold[0])
    return {kind: job[kind] for kind in ("output_file", "error_file")}


async def long_ended(at: Desk, monkeypatch: pytest.MonkeyPatch, *, told: bool) -> Offer:
    """Return a job of one good and one bad row that ended an hour ago, *told* or not."""
    ended = await at.ended(offer(at, "a", "fail server"))
    fake = house_of(at)
    assert isinstance(fake, FakeMistral)
    usual = fake.job

    def job(*args: Any, **more: Any) -> dict[str, Any]:
        at_ = int(at.clock.now() - HOUR) if told else None
        return usual(*args, **more) | {"completed_at": at_}

    monkeypatch.setattr(fake, "job", job)
    return replace(ended, submitted_at=at.clock.now() - 2 * HOUR)


@mistral
@pytest.mark.parametrize("told", [True, False])
async def test_a_missing_error_file_costs_none_of_the_answers(
    at: Desk, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = await long_ended(at, monkeypatch, told=told)
    fake = house_of(at)
    assert isinstance(fake, FakeMistral)
    del fake.files[files_of(fake)["error_file"]]

    results = await at.results(ended)

    assert [(row, result.answer) for row, result in results.items()] == [(0, "a")]


@mistral
async def test_a_new_error_file_that_is_not_there_yet_is_waited_for(at: Desk) -> None:
    ended = await at.ended(offer(at, "a", "fail server"))
    fake = house_of(at)
    assert isinstance(fake, FakeMistral)
    name = files_of(fake)["error_file"]
    kept = fake.files.pop(name)
    with pytest.raises(ProviderBusy):
        await at.results(ended)
    fake.files[name] = kept

    assert len(await at.results(ended)) == 2


@mistral
@pytest.mark.parametrize("told", [True, False])
async def test_a_missing_output_file_is_told_as_gone(
    at: Desk, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = await long_ended(at, monkeypatch, told=told)
    fake = house_of(at)
    assert isinstance(fake, FakeMistral)
    del fake.files[files_of(fake)["output_file"]]

    with pytest.raises(ProviderGone):
        await at.results(ended)


@mistral
async def test_answers_that_are_counted_and_in_no_file_yet_are_waited_for(
    at: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = await at.ended(offer(at))
    fake = house_of(at)
    assert isinstance(fake, FakeMistral)
    usual = fake.job
    monkeypatch.setattr(fake, "job", lambda *a, **m: usual(*a, **m) | {"output_file": None})

    with pytest.raises(ProviderBusy, match="3 rows were answered"):
        await at.results(ended)


# -- Gemini's inline answers ---------------------------------------------------------------------


async def test_an_inline_row_that_says_nothing_is_left_to_the_caller(tmp_path: Path) -> None:
    class Silent(FakeGemini):
        """It names every row, and answers only the first."""

        def _inline(self, line: dict[str, Any]) -> dict[str, Any]:
            told = super()._inline(line)
            mine = line["key"].endswith("-0") and self.answers_first
            return told if mine else {"metadata": told["metadata"]}

        answers_first = True

    fake = Silent()
    async with desk("gemini", tmp_path, fake=fake, input="auto") as at:
        ended = await at.ended(offer(at))
        some = await at.results(ended)
        fake.answers_first = False
        none = await at.results(ended)
        again = await at.prepared(offer(at))

    assert [(row, result.failure) for row, result in some.items()] == [(0, None)]
    assert none == {}
    assert again.ref == "inline"  # the keys are there


NO_ANSWER = b'{"error":{"message":"temporarily unavailable"}}\n'


async def test_an_object_of_vertex_without_answers_is_not_believed(tmp_path: Path) -> None:
    fake = FakeVertex()
    async with desk("vertex", tmp_path, fake=fake) as at:
        ended = await at.ended(offer(at))
        await at.results(ended)
        fake.settle = lambda: None
        fake.written = dict.fromkeys(fake.written, NO_ANSWER)

        with pytest.raises(ProviderBroke):
            await at.results(ended)


async def test_an_object_of_bedrock_without_answers_is_not_believed(tmp_path: Path) -> None:
    fake = FakeBedrock()
    async with desk("bedrock", tmp_path, fake=fake) as at:
        ended = await at.ended(offer(at))
        for key in fake.door.listed():
            if key.endswith(".jsonl.out"):
                fake.door.write(key, NO_ANSWER)

        with pytest.raises(ProviderBroke):
            await at.results(ended)
