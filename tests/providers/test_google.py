"""What Gemini and Vertex share: bodies of lines, rows never run, an address that is wrong."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.fakes.gemini import FakeGemini
from tests.fakes.vertex import FakeVertex
from tests.providers.google_family import offer
from tests.providers.openai_family import desk

from batchmill.core.failure import Failure
from batchmill.core.outcome import Outcome, Result
from batchmill.core.request import Request
from batchmill.errors import ProviderBroke, ProviderBusy, ProviderRefused, ProviderSilent
from batchmill.ports import Offer
from batchmill.providers import _google, _lines, _vertex_setup
from batchmill.wire import gemini, google

LINE = b'{"key":"b-%d","error":{"code":3,"message":"bad"}}\n'


async def read(*chunks: bytes) -> list[list[Result]]:
    async def body() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    def parse(line: bytes) -> Result | None:
        return gemini.parse_line(line, "gemini.generate")

    found = _lines.results_of(body(), parse, _google.LINE_BYTES_MAX, "files/x", gemini.salvaged)
    return [some async for some in found]


async def test_results_come_in_chunks_bounded_by_rows_and_by_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    many = [b"".join(LINE % (1000 * n + row) for row in range(1000)) for n in range(10)]

    assert [len(some) for some in await read(*many)] == [4000, 4000, 2000]
    monkeypatch.setattr(_lines, "CHUNK_BYTES", 100_000)
    assert [len(some) for some in await read(*many)] == [2000] * 5


async def test_a_bad_line_in_the_middle_loses_no_other() -> None:
    [found] = await read(LINE % 1, b'{"key":"b-2","resp\n', b"\xff\xfe\n", b"[]\n", LINE % 3)

    assert [r.custom_id for r in found] == ["b-1", "b-2", "b-3"]
    assert [r.failure for r in found][1] is Failure.SERVER


async def test_half_a_line_at_the_end_is_a_body_that_broke_off() -> None:
    with pytest.raises(ProviderSilent, match="breaks off"):
        await read(LINE % 1, b'{"key":"b-2","resp')
    assert await read((LINE % 1).rstrip()) != []  # the last line feed is nobody's due


async def test_a_line_without_end_is_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_google, "LINE_BYTES_MAX", 100)

    with pytest.raises(ProviderBroke):
        await read(b"x" * 80, b"x" * 80)


def shard(count: int) -> Offer:
    async def requests() -> AsyncIterator[Sequence[Request]]:
        yield [Request(f"b-{row}", b'{"contents":[{}]}') for row in range(count)]

    return Offer(
        shard_id="b", dialect="gemini.generate", url="", model="m", count=count, requests=requests
    )


@pytest.mark.parametrize(
    ("state", "code", "outcome", "failure"),
    [
        ("EXPIRED", 0, Outcome.EXPIRED, Failure.EXPIRED),
        ("CANCELLED", 0, Outcome.CANCELED, Failure.CANCELED),
        ("FAILED", 13, Outcome.ERRORED, Failure.SERVER),
        ("FAILED", 8, Outcome.ERRORED, Failure.QUOTA),
        ("FAILED", 3, Outcome.ERRORED, Failure.NOT_RUN),  # others ran: this row is not to blame
        ("FAILED", 1, Outcome.ERRORED, Failure.SERVER),  # nobody wished it
        ("PARTIALLY_SUCCEEDED", 8, Outcome.ERRORED, Failure.QUOTA),
    ],
)
async def test_rows_without_a_line_have_the_fate_of_their_batch(
    state: str, code: int, outcome: Outcome, failure: Failure
) -> None:
    error = google.Status(code, "why") if code else None

    found = [
        r async for some in _google.unrun(shard(3), state, {"b-0", "b-2"}, error) for r in some
    ]

    assert [(r.custom_id, r.outcome, r.failure) for r in found] == [("b-1", outcome, failure)]


@pytest.mark.parametrize("state", ["SUCCEEDED", "PARTIALLY_SUCCEEDED"])
async def test_nothing_is_invented_for_rows_that_nobody_speaks_of(state: str) -> None:
    assert [some async for some in _google.unrun(shard(3), state, set(), None)] == []


@pytest.mark.parametrize("made", [FakeGemini, FakeVertex])
async def test_a_wrong_address_gives_up_no_batch_and_blames_no_row(
    made: Any, tmp_path: Path
) -> None:
    fake = made()
    async with desk(fake.name, tmp_path, fake=fake) as at:
        bought = await at.bought(offer(at, "one"))
        fake.weather.instead["create"] = [404]
        fake.weather.instead["get"] = [404]
        fake.weather.instead["list"] = [404]
        long_ago = at.clock.now() - 1e6

        with pytest.raises(ProviderRefused) as refused:
            await at.provider.submit(bought)
        with pytest.raises(ProviderBusy):
            await at.provider.check(Offer(**_facts(bought) | {"submitted_at": long_ago}))

    assert refused.value.failure == Failure.ACCOUNT


async def test_an_address_without_the_api_is_doubted_before_anything_is_bought(
    tmp_path: Path,
) -> None:
    runner = web.AppRunner(web.Application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    here = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with desk("gemini", tmp_path, base_url=here, input="file") as at:
        asked = at.offer(bodies=[{"contents": []}], dialect="gemini.generate")
        with pytest.raises(ProviderRefused, match="Is base_url right") as refused:
            await at.provider.prepare(asked)
    await runner.cleanup()

    assert refused.value.failure == Failure.ACCOUNT


def _facts(offer: Offer) -> dict[str, Any]:
    return {name: getattr(offer, name) for name in Offer.__slots__}


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("global", "https://aiplatform.googleapis.com"),
        ("europe-west4", "https://europe-west4-aiplatform.googleapis.com"),
        ("", "https://us-central1-aiplatform.googleapis.com"),
    ],
)
async def test_a_location_has_its_host(
    location: str, host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GOOGLE_CLOUD_LOCATION", raising=False)
    places: list[_vertex_setup.Place] = []
    monkeypatch.setattr(_vertex_setup, "rest", lambda _, place: places.append(place))

    class Nowhere(FakeVertex):
        @property
        def base_url(self) -> str:
            return ""

    async with desk("vertex", tmp_path, fake=Nowhere(), location=location):
        [place] = places

    assert place.base_url == host
    assert place.jobs.endswith(f"/locations/{place.location}/batchPredictionJobs")
    tuned = "projects/p/locations/l/endpoints/7"
    assert place.model(tuned) == f"/v1/{tuned}"
    assert place.job("456") == f"{place.jobs}/456"
