"""Fireworks's live API: a preset of `live`."""

from dataclasses import replace

from batchmill.core.request import OPENAI_CHAT, OPENAI_EMBEDDINGS
from batchmill.providers import live

PROVIDER = replace(
    live.PROVIDER,
    title="Fireworks",
    base_url="https://api.fireworks.ai/inference/v1",
    key_variable="FIREWORKS_API_KEY",
    key_required=True,
    dialects=(OPENAI_CHAT, OPENAI_EMBEDDINGS),
    options=("concurrency",),
)
