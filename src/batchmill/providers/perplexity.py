"""Perplexity's live API: a preset of `live`."""

from dataclasses import replace

from batchmill.core.request import OPENAI_CHAT
from batchmill.providers import live

PROVIDER = replace(
    live.PROVIDER,
    title="Perplexity",
    base_url="https://api.perplexity.ai",
    key_variable="PERPLEXITY_API_KEY",
    key_required=True,
    dialects=(OPENAI_CHAT,),
    options=("concurrency",),
)
