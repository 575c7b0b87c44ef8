"""The fakes of OpenAI, Azure and Groq pass those vendors' own SDKs, an old and a new one."""

from typing import Any

import pytest
from tests.fakes._openai import FakeFilesAndBatches
from tests.fakes.azure import FakeAzure
from tests.fakes.groq import FakeGroq
from tests.fakes.openai import FakeOpenAI
from tests.sdks import VERSIONS, flow

#: Which fake, the api-version of the classic surface, the url of its lines, the shortest expiry.
OPENAI = (FakeOpenAI, "", "/v1/chat/completions", 3600)
AZURE_CLASSIC = (FakeAzure, "2025-03-01-preview", "/chat/completions", 1_209_600)
AZURE_V1 = (lambda: FakeAzure("/openai/v1"), "", "/chat/completions", 1_209_600)
SURFACES = {"openai": OPENAI, "azure-classic": AZURE_CLASSIC, "azure-v1": AZURE_V1}

TOLD = {"r-0": 200, "r-1": 200, "r-2": 500, "r-3": 200, "r-4": 400}
#: What the flow does wrong on purpose.
REFUSED = ["Invalid file format for Batch API. Must be .jsonl", "Invalid endpoint: /v1/nonsense."]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("surface", SURFACES)
async def test_the_openai_sdk_goes_through_its_whole_flow(surface: str, version: str) -> None:
    made, api_version, url, expiry_s = SURFACES[surface]
    fake: FakeFilesAndBatches = made()
    await fake.up()
    try:
        told = (fake.base_url, fake.key, fake.model, api_version, url, str(expiry_s))
        saw = await flow(version, "openai", *told)
    finally:
        await fake.down()

    assert saw["file"] == ["file", "in.jsonl", "batch", "processed", True]
    assert saw["again"]
    assert saw["files"] == ["in.jsonl", "late.jsonl"]
    assert saw["created"] == ["batch", "validating", {"run": "one"}, None]
    assert saw["ended"] == ["completed", 5, 3, 2]
    assert saw["told"] == TOLD
    assert saw["streamed"] == 3
    assert saw["listed"] == ["two", "one"]
    assert saw["cancelling"] == "cancelling"
    assert saw["cancelled"] == ["cancelled", {"r-0": 200, "r-1": 200}]
    assert saw["failed"] == ["failed", "invalid_request", "file_id", None]
    assert saw["deleted"] == [True, True]
    assert saw["live"] == ["say live", 4]
    assert saw["responses"] == "say live"
    assert saw["embeddings"] == [0.5, 3.0]
    assert saw["models"] == [fake.model]
    statuses = {name: saw[name][0] for name in ("too_late", "no_batch", "no_file", "no_key")}
    assert statuses == {"too_late": 409, "no_batch": 404, "no_file": 404, "no_key": 401}
    assert [(saw[name] or [0])[0] for name in ("not_jsonl", "no_endpoint")] == [400, 400]
    recorded(fake, saw)


def recorded(fake: FakeFilesAndBatches, saw: dict[str, Any]) -> None:
    """Look at what the fake wrote down of it."""
    assert fake.unknown == []
    for complaint, start in zip(fake.complaints, REFUSED, strict=True):
        assert complaint.startswith(start)
    assert [len(sold.requests) for sold in fake.sold] == [5, 2, 0]
    assert fake.sold[0].facts["output_expires_after"]["anchor"] == "created_at"
    assert fake.files == {}


async def test_groqs_sdk_goes_through_its_whole_flow() -> None:
    fake = FakeGroq()
    await fake.up()
    try:
        saw = await flow("new", "groq", fake.host, fake.key, fake.model)
    finally:
        await fake.down()

    names = ["bytes", "created_at", "filename", "id", "object", "purpose"]
    assert saw["file"] == ["file", "in.jsonl", "batch", names]
    assert saw["info"]
    assert saw["files"] == ["in.jsonl"]
    assert saw["created"] == ["batch", "validating", "7d", {"run": "one"}]
    assert saw["ended"] == ["completed", 3, 1, 2]
    assert saw["told"] == {"r-0": 200, "r-1": 500, "r-2": 400}
    assert saw["listed"] == ["two", "one"]
    assert [saw["cancelling"], saw["cancelled"]] == ["cancelling", "cancelled"]
    assert saw["deleted"]
    assert saw["no_batch"][0] == 404
    assert saw["no_key"] == [401, "invalid_api_key"]
    assert [saw["live"], saw["models"]] == ["say live", [fake.model]]
    assert fake.unknown == []
    assert fake.complaints == []
    assert [sold.facts["window"] for sold in fake.sold] == ["7d", "24h"]
