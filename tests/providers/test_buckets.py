"""Objects in a bucket, for providers: S3 (moto's server) says what they must understand."""

import asyncio
import hashlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Any

import pytest
from aiohttp import web
from tests.fakes import _s3

from batchmill.core.failure import Failure
from batchmill.errors import (
    InvalidSetting,
    NotSent,
    ProviderBusy,
    ProviderGone,
    ProviderRefused,
    ProviderSilent,
)
from batchmill.providers._buckets import PART_BYTES, Bucket, Entry
from batchmill.providers._spool import Spooled

KEYS = {"access_key_id": "a", "secret_access_key": "b", "token": None, "expires_at": None}


async def asked() -> dict[str, Any]:
    return KEYS


def opened(url: str, endpoint: str, credentials: Callable[[], Any] = asked) -> Bucket:
    config = {"region": "us-east-1", "endpoint": endpoint}
    return Bucket(url, name="aws1", idle_timeout_s=5.0, config=config, credentials=credentials)


@pytest.fixture
def bucket(request: pytest.FixtureRequest) -> Bucket:
    name = f"b{abs(hash(request.node.nodeid))}"
    _s3.ask("PUT", f"/{name}")
    return opened(f"s3://{name}/pre/fix/", _s3.server())


def spooled(data: bytes) -> Spooled:
    return Spooled(BytesIO(data), len(data), hashlib.sha256(data).hexdigest())


@asynccontextmanager
async def server(
    respond: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", respond)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("size", [0, 1, 1_000_000, PART_BYTES, PART_BYTES + 1, 20_000_003])
async def test_a_file_comes_back_as_it_went(bucket: Bucket, size: int) -> None:
    data = os.urandom(min(size, 1000)) + bytes(max(0, size - 1000))

    url = await bucket.put("pre/fix/a.bin", spooled(data))

    assert url == f"{bucket.root}/pre/fix/a.bin"
    assert bucket.key(url) == "pre/fix/a.bin"
    assert await bucket.read("pre/fix/a.bin") == data
    chunks = [chunk async for chunk in bucket.chunks("pre/fix/a.bin")]
    assert b"".join(chunks) == data
    assert await bucket.list("pre/fix/") == [Entry("pre/fix/a.bin", size)]


async def test_a_folder_is_listed_whole_and_nothing_beside_it(bucket: Bucket) -> None:
    for key in ("f/b", "f/a", "f/g/c", "ff/d", "e"):
        await bucket.put(key, spooled(b"x"))

    assert [entry.key for entry in await bucket.list("f/")] == ["f/a", "f/b", "f/g/c"]
    assert len(await bucket.list("")) == 5
    assert await bucket.list("nothing/") == []


async def test_deleting_twice_is_no_error(bucket: Bucket) -> None:
    await bucket.put("a", spooled(b"x"))
    await bucket.put("b", spooled(b"x"))

    for _ in range(2):
        await bucket.delete(["a", "never-there"])

    assert [entry.key for entry in await bucket.list("")] == ["b"]


async def test_an_object_that_is_not_there_is_gone(bucket: Bucket) -> None:
    with pytest.raises(ProviderGone, match=r"aws1: s3://b\d+/nothing cannot be read: NoSuchKey"):
        await bucket.read("nothing")


async def test_a_bucket_that_is_not_there_is_the_accounts_trouble() -> None:
    bucket = opened("s3://nobodys-bucket", _s3.server())

    for call in (bucket.put("a", spooled(b"x")), bucket.read("a"), bucket.list("a/")):
        with pytest.raises(ProviderRefused, match="NoSuchBucket") as refusal:
            await call
        assert refusal.value.failure == Failure.ACCOUNT


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, ProviderRefused),
        (403, ProviderRefused),
        (301, ProviderRefused),
        (429, ProviderBusy),
        (500, ProviderBusy),
        (503, ProviderBusy),
    ],
)
async def test_a_refusal_is_told_in_the_storages_words_and_not_repeated(
    status: int, error: type[Exception]
) -> None:
    calls: list[str] = []

    async def no(request: web.Request) -> web.Response:
        calls.append(request.method)
        return web.Response(status=status, text="<Error><Message>not today</Message></Error>")

    async with server(no) as endpoint:
        bucket = opened("s3://bucket", endpoint)
        for call in (bucket.put("a", spooled(b"x")), bucket.list("a/"), bucket.read("a")):
            with pytest.raises(error):
                await call
    assert calls == ["PUT", "GET", "GET"]


async def test_words_of_google_are_found_too() -> None:
    async def no(request: web.Request) -> web.Response:
        body = {"error": {"code": 404, "message": "The specified bucket does not exist."}}
        return web.json_response(body, status=404)

    async with server(no) as endpoint:
        bucket = Bucket(
            "gs://bucket",
            name="vertex",
            idle_timeout_s=5.0,
            config={"base_url": endpoint},
            credentials=lambda: {"token": "t", "expires_at": None},
        )
        with pytest.raises(ProviderRefused, match="bucket does not exist"):
            await bucket.list("a/")


async def test_nobody_at_home_was_not_sent() -> None:
    with pytest.raises(NotSent):
        await opened("s3://bucket", "http://127.0.0.1:9").list("a/")


@pytest.mark.parametrize("moment", ["before", "within"])
async def test_a_connection_that_breaks_is_silent(moment: str) -> None:
    async def leave(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        response = web.StreamResponse(headers={"Last-Modified": "Fri, 27 Nov 2026 10:00:00 GMT"})
        response.headers["ETag"] = '"x"'
        response.content_length = 5_000_000
        if moment == "within":
            await response.prepare(request)
            await response.write(bytes(3_000_000))
        request.transport.abort()
        return response

    async with server(leave) as endpoint:
        with pytest.raises(ProviderSilent):
            await opened("s3://bucket", endpoint).read("a")


async def test_silence_ends_a_download() -> None:
    async def hang(request: web.Request) -> web.Response:
        await asyncio.sleep(3600)
        raise AssertionError

    async with server(hang) as endpoint:
        config = {"region": "us-east-1", "endpoint": endpoint}
        bucket = Bucket("s3://b1", name="a", idle_timeout_s=0.2, config=config, credentials=asked)
        with pytest.raises(ProviderSilent):
            await bucket.read("a")


async def test_what_credentials_lack_is_said_as_it_is() -> None:
    async def none() -> Any:
        raise ProviderRefused("sign in first", failure=Failure.ACCOUNT)

    with pytest.raises(ProviderRefused, match=r"^sign in first$"):
        await opened("s3://bucket", "http://127.0.0.1:9", none).list("a/")


@pytest.mark.parametrize("fails", [True, False])
def test_python_ends_well_right_after_a_call(fails: bool) -> None:
    # With obstore's own coroutines it is aborted now and then (0.12.1), nearly always after
    # credentials have failed inside.
    program = f"""
import asyncio
from batchmill.providers._buckets import Bucket

asked = []
def credentials():
    asked.append(1)
    if {fails} and len(asked) > 1:
        raise RuntimeError("ended")
    return {KEYS}

config = {{"region": "us-east-1", "endpoint": "http://127.0.0.1:9"}}
bucket = Bucket("s3://b1", name="a", idle_timeout_s=1, config=config, credentials=credentials)
try:
    asyncio.run(bucket.list("a/"))
except BaseException as error:
    print(type(error).__name__)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)

    assert (done.returncode, done.stdout) == (0, b"NotSent\n"), done.stderr


@pytest.mark.parametrize("url", ["", "bucket", "http://x/y", "s3://", "file:///x"])
def test_an_address_that_is_no_bucket_is_named(url: str) -> None:
    with pytest.raises(InvalidSetting, match=r"\[providers\.aws1\] bucket = "):
        opened(url, "http://127.0.0.1:9")


def test_the_key_of_another_buckets_object_is_none() -> None:
    bucket = opened("s3://b1/p", "http://127.0.0.1:9")

    assert bucket.prefix == "p/"
    assert bucket.key("s3://b1/p/x") == "p/x"
    assert bucket.key("s3://b11/p/x") is None
    assert bucket.key("gs://b1/p/x") is None
    assert bucket.key("file-123") is None
    assert bucket.key("s3://b1/") is None
