"""OpenAI: Files and Batches at half price, and its live API."""

from batchmill.core.limits import Limits
from batchmill.core.request import OPENAI_CHAT, OPENAI_EMBEDDINGS, OPENAI_RESPONSES
from batchmill.ports import Provider
from batchmill.providers import LIVE_TERMS, Context, ProviderSpec
from batchmill.providers._openai_batches import OpenAIBatches, Surface, worded
from batchmill.providers.live import (
    HttpEndpoint,
    LiveProvider,
    checked_base_url,
    concurrency_of,
    known_options,
)

OPTIONS = ("concurrency", "organization", "project")


class OpenAIEndpoint(HttpEndpoint):
    """The live API, asked in the name of an organization or project where one is set."""

    def __init__(self, context: Context) -> None:
        self._named = _named(context)
        super().__init__(context)

    def key_headers(self, key: str) -> dict[str, str]:
        return super().key_headers(key) | self._named


def _named(context: Context) -> dict[str, str]:
    given = {
        "openai-organization": worded(context, "organization"),
        "openai-project": worded(context, "project"),
    }
    return {header: value for header, value in given.items() if value}


def _open(context: Context) -> Provider:
    known_options(context.name, context.knobs, OPTIONS)
    if context.lane == "live":
        concurrency, endpoint = concurrency_of(context), OpenAIEndpoint(context)
        return LiveProvider(context, endpoint, concurrency=concurrency, label=context.name)
    bearer = {"authorization": f"Bearer {(context.knobs.key or '').strip()}"}
    base_url = checked_base_url(context.name, context.knobs)
    return OpenAIBatches(context, Surface(base_url=base_url, headers=bearer | _named(context)))


PROVIDER = ProviderSpec(
    title="OpenAI",
    base_url="https://api.openai.com/v1",
    key_variable="OPENAI_API_KEY",
    dialects=(OPENAI_CHAT, OPENAI_RESPONSES, OPENAI_EMBEDDINGS),
    lanes=("batch", "live"),
    # The vendor takes 50,000 rows and 200 MB. Embeddings: 50,000 inputs, and a row of ours has one.
    limits=Limits(requests_max=50_000, bytes_max=192_000_000, request_bytes_max=32 << 20),
    live=LIVE_TERMS,
    found_by="its metadata (batchmill_shard), or its input file",
    discount="50%",
    options=OPTIONS,
    open=_open,
)
