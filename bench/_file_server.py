"""A process that says of every vendor's batch that it has ended, and hands out its result file."""

import asyncio
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from aiohttp import web

FILES = ("/content", "/results", ":download", ".jsonl.out")
KEY = "batches/x/out/1/input.jsonl.out"
LISTING = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>results</Name>'
    "<Prefix>batches/x/out/</Prefix><KeyCount>1</KeyCount><MaxKeys>1000</MaxKeys>"
    "<IsTruncated>false</IsTruncated><Contents><Key>{key}</Key>"
    '<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>"1"</ETag><Size>{size}</Size>'
    "<StorageClass>STANDARD</StorageClass></Contents></ListBucketResult>"
)
#: What each vendor says of a batch of ours that is over.
RECORDS: dict[str, dict[str, Any]] = {
    "openai": {"id": "x", "status": "completed", "output_file_id": "file-out"},
    "anthropic": {"id": "x", "processing_status": "ended", "results_url": "elsewhere"},
    "gemini": {
        "name": "batches/x",
        "done": True,
        "metadata": {"state": "BATCH_STATE_SUCCEEDED"},
        "response": {"responsesFile": "files/out"},
    },
    "mistral": {"id": "x", "status": "SUCCESS", "output_file": "out"},
    "bedrock": {
        "jobArn": "x",
        "status": "Completed",
        "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://results/batches/x/out/"}},
    },
}


def base_url(host: str, vendor: str) -> str:
    return f"{host}/{vendor}/v1" if vendor == "openai" else f"{host}/{vendor}"


async def _serve(folder: str, told: Connection) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        size, vendor, rest = request.path.removeprefix("/").split("/", 2)
        file = Path(folder) / f"{vendor}-{size}.jsonl"
        if rest.endswith(FILES):
            return web.FileResponse(file)
        if "prefix" in request.query:  # a bucket is asked what is in it
            told = LISTING.format(key=KEY, size=file.stat().st_size)
            return web.Response(text=told, content_type="application/xml")
        return web.json_response(RECORDS[vendor])

    app = web.Application()
    app.router.add_route("GET", "/{path:.+}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    told.send(runner.addresses[0][1])
    await asyncio.Event().wait()


def _run(folder: str, told: Connection) -> None:
    asyncio.run(_serve(folder, told))


@contextmanager
def served(folder: str) -> Iterator[str]:
    """Serve the files in *folder*, `VENDOR-SIZE.jsonl`, from a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    heard, told = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_run, args=(folder, told), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{heard.recv()}"
    finally:
        process.terminate()
        process.join()
