"""Together's live API: a preset of `live`."""

from dataclasses import replace

from batchmill.core.request import OPENAI_CHAT, OPENAI_EMBEDDINGS
from batchmill.providers import live

PROVIDER = replace(
    live.PROVIDER,
    title="Together",
    base_url="https://api.together.xyz/v1",
    key_variable="TOGETHER_API_KEY",
    key_required=True,
    dialects=(OPENAI_CHAT, OPENAI_EMBEDDINGS),
    options=("concurrency",),
)
