"""How Anthropic is spoken to, and how what it says of batches and their results is read."""

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Final

import msgspec

from batchmill.core.failure import Failure
from batchmill.core.outcome import Result
from batchmill.errors import InvalidSetting
from batchmill.ports import Offer
from batchmill.providers import Context
from batchmill.providers._rest import Words, whole
from batchmill.providers.live import HttpEndpoint, checked_base_url, known_options
from batchmill.wire import anthropic as wire
from batchmill.wire import anthropic_failures as failures

#: What the vendor's guides write. Its next one, 2026-10-21, refuses `temperature`, `top_p` and
#: `top_k` (platform.claude.com/docs/en/api/versioning), and its newest SDK sends the key as a
#: bearer token; both are taken, so the version changes when the dialect does.
VERSION: Final = "2023-06-01"
MESSAGES: Final = "/v1/messages"
MODELS: Final = "/v1/models"
OPTIONS: Final = ("beta", "concurrency")


class MessagesEndpoint(HttpEndpoint):
    """`/v1/messages`, a row at a time."""

    models_path = MODELS

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.base_url = host(context)
        self._headers |= headers_of(context)

    def key_headers(self, key: str) -> dict[str, str]:
        return {}  # no bearer token: it is among the others

    def place(self, url: str) -> str:
        return self.base_url + url

    def reads(self, status: int, body: bytes) -> Words:
        return reads(status, body)


def host(context: Context) -> str:
    return checked_base_url(context.name, context.knobs).rstrip("/").removesuffix("/v1")


def headers_of(context: Context) -> dict[str, str]:
    known_options(context.name, context.knobs, OPTIONS)
    headers = {"anthropic-version": VERSION}
    if context.knobs.key:
        headers["x-api-key"] = context.knobs.key.strip()
    wanted = context.knobs.options.get("beta", ())
    betas = [wanted] if isinstance(wanted, str) else wanted
    if not isinstance(betas, list | tuple) or not all(isinstance(b, str) and b for b in betas):
        raise InvalidSetting(
            f"[providers.{context.name}] beta = {wanted!r}: expected a name, or a list of names, "
            'e.g. "output-300k-2026-03-24".'
        )
    if betas:
        headers["anthropic-beta"] = ",".join(betas)
    return headers


def reads(status: int, body: bytes) -> Words:
    return Words(*failures.error_of(status, body))


def reads_create(status: int, body: bytes) -> Words:
    words = reads(status, body)
    # There is nothing a batch could lack, so it is the place that is wrong: a setting.
    return Words(Failure.ACCOUNT, words.message) if status in (404, 405) else words


# -- batches and their results ----------------------------------------------------------------


def may_be(batch: Mapping[str, object], offer: Offer) -> bool:
    """Say whether a batch is as large as ours: its counts add up to that at any time."""
    counts = batch.get("request_counts")
    total = sum(whole(counts, name) for name in counts) if isinstance(counts, dict) else 0
    return total in (offer.count, 0)  # 0: it does not tell


class Ending:
    """How a body ended: a line that cannot be read was cut off, if no line feed follows it."""

    def __init__(self) -> None:
        self.last = b""

    async def watched(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            self.last = chunk[-1:] or self.last
            yield chunk


def parsed(some: Iterable[bytes]) -> tuple[list[Result], bool]:
    """Return the results of some lines, and whether the last line could be read."""
    results: list[Result] = []
    readable = True
    for line in some:
        try:
            results.append(wire.parse_result_line(line))
            readable = True
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            readable = False  # the row whose it is becomes `missing`, and the others are kept
    return results, readable
