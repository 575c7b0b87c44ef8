"""DeepSeek's live API: a preset of `live`."""

from dataclasses import replace

from batchmill.core.request import OPENAI_CHAT
from batchmill.providers import live

PROVIDER = replace(
    live.PROVIDER,
    title="DeepSeek",
    base_url="https://api.deepseek.com/v1",
    key_variable="DEEPSEEK_API_KEY",
    key_required=True,
    dialects=(OPENAI_CHAT,),
    options=("concurrency",),
)
