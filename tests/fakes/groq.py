"""Groq on loopback: OpenAI's objects with fewer fields, longer windows, and a list without pages."""

from typing import Any, ClassVar

from aiohttp import web
from tests.fakes._openai import FakeFilesAndBatches
from tests.fakes.vendor import Sold, operation

NOT_HERE = ("model",)


class FakeGroq(FakeFilesAndBatches):
    """Below `/openai/v1`; chat only."""

    name = "groq"
    key = "gsk_test"
    roots: ClassVar[tuple[str, ...]] = ("/openai/v1",)
    endpoints: ClassVar[tuple[str, ...]] = ("/v1/chat/completions",)
    windows: ClassVar[tuple[str, ...]] = ("24h", *(f"{days}d" for days in range(1, 8)))

    @property
    def base_url(self) -> str:
        return f"{self.host}/openai/v1"

    def file_object(self, file_id: str, data: bytes) -> dict[str, Any]:
        names = ("id", "object", "bytes", "created_at", "filename", "purpose")
        found = super().file_object(file_id, data)
        return {name: found[name] for name in names}

    def batch_object(self, sold: Sold) -> dict[str, Any]:
        found = super().batch_object(sold)
        return {name: value for name, value in found.items() if name not in NOT_HERE}

    @operation("list")
    async def list_batches(self, request: web.Request) -> web.StreamResponse:
        data = [self.batch_object(sold) for sold in self.listed()]
        return web.json_response({"object": "list", "data": data})


FAKE = FakeGroq
