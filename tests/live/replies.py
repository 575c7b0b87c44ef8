"""What an endpoint may say, for the scripts of the tests here."""

import asyncio

from batchmill.ports import Answer

BUSY = b'{"error":{"code":"rate_limit_exceeded","message":"slow down"}}'


def says(status: int, body: bytes = b"{}", **headers: str):
    async def reply(_: str) -> Answer:
        return Answer(status, {k.replace("_", "-"): v for k, v in headers.items()}, body)

    return reply


def raises(error: Exception):
    async def reply(_: str) -> Answer:
        raise error

    return reply


async def hangs(_: str) -> Answer:
    return await asyncio.get_running_loop().create_future()
