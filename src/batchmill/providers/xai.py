"""xAI's live API: a preset of `live`."""

from dataclasses import replace

from batchmill.core.request import OPENAI_CHAT, OPENAI_RESPONSES
from batchmill.providers import live

PROVIDER = replace(
    live.PROVIDER,
    title="xAI",
    base_url="https://api.x.ai/v1",
    key_variable="XAI_API_KEY",
    key_required=True,
    dialects=(OPENAI_CHAT, OPENAI_RESPONSES),
    options=("concurrency",),
)
