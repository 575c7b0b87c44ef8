"""Groq: OpenAI's Files and Batches with windows of up to seven days, and its live API."""

from batchmill.core.limits import Limits
from batchmill.core.request import OPENAI_CHAT
from batchmill.ports import Provider
from batchmill.providers import LIVE_TERMS, Context, ProviderSpec
from batchmill.providers._openai_batches import OpenAIBatches, Surface
from batchmill.providers.live import (
    HttpEndpoint,
    LiveProvider,
    checked_base_url,
    concurrency_of,
    known_options,
)

OPTIONS = ("concurrency",)
DAY_S = 86_400.0


def window_of(window_s: float | None) -> str:
    """Return the window to ask for: as many whole days as the client waits, from one to seven."""
    days = 1 if window_s is None else min(int(window_s / DAY_S), 7)
    return f"{days}d" if days > 1 else "24h"


def _open(context: Context) -> Provider:
    known_options(context.name, context.knobs, OPTIONS)
    if context.lane == "live":
        concurrency, endpoint = concurrency_of(context), HttpEndpoint(context)
        return LiveProvider(context, endpoint, concurrency=concurrency, label=context.name)
    bearer = {"authorization": f"Bearer {(context.knobs.key or '').strip()}"}
    base_url = checked_base_url(context.name, context.knobs)
    return OpenAIBatches(context, Surface(base_url=base_url, headers=bearer, window_of=window_of))


PROVIDER = ProviderSpec(
    title="Groq",
    base_url="https://api.groq.com/openai/v1",
    key_variable="GROQ_API_KEY",
    dialects=(OPENAI_CHAT,),
    lanes=("batch", "live"),
    # The vendor takes 50,000 rows, and says 100 MB in one place and 200 MB in another.
    limits=Limits(requests_max=50_000, bytes_max=96_000_000, request_bytes_max=32 << 20),
    live=LIVE_TERMS,
    windows=("24h", "2d", "3d", "4d", "5d", "6d", "7d"),
    found_by="its metadata (batchmill_shard), or its input file",
    discount="50%",
    options=OPTIONS,
    open=_open,
)
