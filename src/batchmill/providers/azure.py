"""Azure OpenAI: Files and Batches on its classic and its v1 surface, and its live API."""

from typing import Final

from batchmill.core.limits import Limits
from batchmill.core.request import OPENAI_CHAT, OPENAI_EMBEDDINGS, OPENAI_RESPONSES
from batchmill.ports import Offer, Provider
from batchmill.providers import LIVE_TERMS, Context, Knobs, ProviderSpec
from batchmill.providers._openai_batches import OpenAIBatches, Surface, worded
from batchmill.providers.live import (
    HttpEndpoint,
    LiveProvider,
    checked_base_url,
    concurrency_of,
    known_options,
)

OPTIONS = ("api_version", "concurrency")
#: Of the classic surface: the newest that is not a preview.
API_VERSION: Final = "2024-10-21"
V1: Final = "/openai/v1"


def _root(context: Context) -> tuple[str, dict[str, str]]:
    """Return where the API is and what every call asks with it. The v1 surface has no versions."""
    base_url = checked_base_url(context.name, context.knobs).rstrip("/")
    version = worded(context, "api_version")
    if base_url.endswith(V1):
        return base_url, {"api-version": version} if version else {}
    return base_url.removesuffix("/openai") + "/openai", {"api-version": version or API_VERSION}


class AzureEndpoint(HttpEndpoint):
    """The live API; on the classic surface the path names the deployment."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.base_url, query = _root(context)
        self._classic = not self.base_url.endswith(V1)
        self._query = "".join(f"?{name}={value}" for name, value in query.items())
        self.models_path = f"/models{self._query}"

    def key_headers(self, key: str) -> dict[str, str]:
        return {"api-key": key}

    def url_of(self, offer: Offer) -> str:
        """Return where the rows of a shard go: a model here is the name of a deployment."""
        url = _unversioned(offer.url)
        if self._classic and offer.dialect != OPENAI_RESPONSES:
            url = f"/deployments/{offer.model}{url}"
        return url + self._query


def _unversioned(url: str) -> str:
    return url.removeprefix("/v1")


def _open(context: Context) -> Provider:
    known_options(context.name, context.knobs, OPTIONS)
    if context.lane == "live":
        endpoint = AzureEndpoint(context)
        return LiveProvider(
            context,
            endpoint,
            concurrency=concurrency_of(context),
            label=context.name,
            url_of=endpoint.url_of,
        )
    base_url, query = _root(context)
    return OpenAIBatches(
        context,
        Surface(
            base_url=base_url,
            headers={"api-key": (context.knobs.key or "").strip()},
            query=query,
            url_of=_unversioned,
            files_wait=True,
        ),
    )


def _ready(knobs: Knobs) -> str | None:
    return None if knobs.base_url else "set base_url: https://RESOURCE.openai.azure.com"


PROVIDER = ProviderSpec(
    title="Azure OpenAI (model = name of the deployment)",
    key_variable="AZURE_OPENAI_API_KEY",
    dialects=(OPENAI_CHAT, OPENAI_RESPONSES, OPENAI_EMBEDDINGS),
    lanes=("batch", "live"),
    # The vendor takes 100,000 rows and 200 MB. What takes longer than a day goes on all the same.
    limits=Limits(requests_max=100_000, bytes_max=192_000_000, request_bytes_max=32 << 20),
    live=LIVE_TERMS,
    found_by="its metadata (batchmill_shard), or its input file",
    discount="50%",
    options=OPTIONS,
    ready=_ready,
    open=_open,
)
