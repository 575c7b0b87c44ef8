"""JSON over HTTP with a vendor: which answers to a creating call are a clear no, and what is hidden."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from tests.providers.gpu_server import RealClock

from batchmill import providers
from batchmill.core.failure import Failure
from batchmill.core.request import Request
from batchmill.errors import (
    InvalidSetting,
    ProviderBroke,
    ProviderBusy,
    ProviderError,
    ProviderGone,
    ProviderRefused,
    ProviderSilent,
)
from batchmill.ports import Answer, Download, Offer
from batchmill.providers import _http
from batchmill.providers._openai_words import reads
from batchmill.providers._rest import Rest, hiding, retry_at

KEY = "sk-very-secret"
OF_RATE = b'{"error":{"message":"slow down","code":"rate_limit_exceeded"}}'
OF_CREDIT = b'{"error":{"message":"no credit","code":"insufficient_quota"}}'
OF_ROW = b'{"error":{"message":"no such field","code":"unknown_parameter"}}'


class Scripted:
    """An HTTP client that answers what it is told."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    async def request(self, method: str, url: str, **_: Any) -> Answer:
        return self.answer

    def download(
        self, method: str, url: str, *, headers: Mapping[str, str], idle_timeout_s: float
    ) -> AbstractAsyncContextManager[Download]:
        raise AssertionError("nothing is downloaded here")


async def nothing() -> AsyncIterator[Sequence[Request]]:
    for chunk in ():
        yield chunk


OFFER = Offer(
    shard_id="batch_x-0001", dialect="openai.chat", url="/", model="m", count=1, requests=nothing
)


async def raised(status: int, body: bytes, *, creating: bool) -> ProviderError:
    rest = Rest(
        Scripted(Answer(status, {}, body)),
        RealClock(),
        name="acme",
        base_url="http://x",
        headers={"authorization": f"Bearer {KEY}"},
        reads=reads,
        timeout_s=1.0,
        idle_timeout_s=1.0,
    )
    with pytest.raises(ProviderError) as caught:
        await rest.json("POST", "/batches", json={}, create=OFFER if creating else None)
    return caught.value


@pytest.mark.parametrize("body", [OF_RATE, OF_CREDIT, OF_ROW, b"<html>", b""])
@pytest.mark.parametrize("status", [302, 408, 409, 425, 499, 500, 502, 503, 504, 529])
async def test_what_may_have_been_a_yes_is_silence_whatever_its_words(
    status: int, body: bytes
) -> None:
    assert isinstance(await raised(status, body, creating=True), ProviderSilent)


@pytest.mark.parametrize("body", [b"<html>Bad Request</html>", b"", b"nope"])
@pytest.mark.parametrize("status", [400, 422])
async def test_a_page_of_a_gateways_is_no_word_of_the_vendors(status: int, body: bytes) -> None:
    assert isinstance(await raised(status, body, creating=True), ProviderSilent)


@pytest.mark.parametrize(
    ("status", "body", "error", "failure"),
    [
        (400, OF_ROW, ProviderRefused, Failure.INVALID_REQUEST),
        (401, b"<html>", ProviderRefused, Failure.ACCOUNT),
        (429, OF_CREDIT, ProviderRefused, Failure.ACCOUNT),
        (429, OF_RATE, ProviderBusy, None),
        (429, b"<html>", ProviderBusy, None),
        (413, b"<html>", ProviderRefused, Failure.NOT_RUN),
    ],
)
async def test_a_clear_no_is_one(
    status: int, body: bytes, error: type[ProviderError], failure: Failure | None
) -> None:
    found = await raised(status, body, creating=True)

    assert isinstance(found, error)
    assert getattr(found, "failure", None) == failure


async def test_what_can_be_repeated_is_asked_again_or_gone() -> None:
    assert isinstance(await raised(500, OF_CREDIT, creating=False), ProviderRefused | ProviderBusy)
    assert isinstance(await raised(404, OF_ROW, creating=False), ProviderGone)
    assert isinstance(await raised(425, b"", creating=False), ProviderBusy)


@pytest.mark.parametrize("status", [200, 400, 401, 404, 429, 500])
async def test_a_key_that_is_repeated_to_us_is_hidden(status: int) -> None:
    body = f'{{"error":{{"message":"Incorrect API key provided: {KEY}"}}}}'.encode()
    found = await raised(status, body if status != 200 else body[:-2], creating=False)

    assert KEY not in str(found)
    assert "[key]" in str(found)
    assert status != 200 or isinstance(found, ProviderBroke)


def test_what_is_no_key_is_not_hidden() -> None:
    hide = hiding({"accept": "application/json", "authorization": "Bearer sk-123456"})
    short = hiding({"x-api-key": "sk-1"})

    assert hide("application/json sk-123456") == "application/json [key]"
    assert short("sk-1") == "sk-1"


def test_when_to_ask_again_is_read_in_every_form() -> None:
    now = 1_700_000_000.0
    date = {"retry-after": "Tue, 14 Nov 2023 22:14:00 GMT"}

    assert retry_at({"retry-after-ms": "1500"}, now) == now + 1.5
    assert retry_at({"retry-after": "7"}, now) == now + 7
    assert retry_at(date, now) == now + 40
    assert retry_at({"retry-after": "soon"}, now) == retry_at({"retry-after": "nan"}, now) == 0.0
    assert retry_at({"retry-after": "1e99"}, now) < now + 86_400


def test_a_key_that_no_header_can_carry_is_said_without_it() -> None:
    assert providers.clean_key("  sk-1\n", "K") == "sk-1"
    assert providers.clean_key(" ", "K") is None
    with pytest.raises(InvalidSetting) as caught:
        providers.clean_key("sk-\nsecret", "OPENAI_API_KEY")
    assert "OPENAI_API_KEY" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_password_in_a_base_url_is_refused_and_not_shown() -> None:
    with pytest.raises(InvalidSetting) as caught:
        providers.clean_url("https://me:hunter2@proxy/v1", "openai")
    assert "hunter2" not in str(caught.value)
    assert providers.clean_url("https://proxy/a@b/v1/", "openai") == "https://proxy/a@b/v1"


async def test_an_answer_without_end_is_not_held_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_http, "ANSWER_BYTES_MAX", 1 << 20)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n" + b"x" * (2 << 20))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    client = _http.AiohttpClient(RealClock())
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    with pytest.raises(ProviderSilent, match="more than 1 MiB"):
        await client.request("GET", url, headers={}, timeout_s=5.0)
    await client.aclose()
    server.close()
