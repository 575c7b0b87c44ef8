"""A small world for tables: a folder, blobs in it, and a batch that goes from table to answers."""

import asyncio
import contextlib
import csv
import io
import json
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from batchmill.core.batch import Batch, Recipe, Source
from batchmill.core.limits import Limits, Range
from batchmill.core.outcome import Outcome, Result, Usage
from batchmill.core.plan import first_shards
from batchmill.core.request import Request
from batchmill.core.rowset import rows_of
from batchmill.core.shard import Dropped, Shard, State, advance
from batchmill.ports import Cutting, Kept
from batchmill.rows.blobs import Folder
from batchmill.rows.join import join, results_reader
from batchmill.rows.read import describe
from batchmill.rows.segments import Segments

SMALL = Limits(requests_max=4, bytes_max=10**6, request_bytes_max=10**5)
ROOMY = Limits(requests_max=50_000, bytes_max=200 << 20, request_bytes_max=32 << 20)


def answered(request, text=None, **changes) -> Result:
    """Return a good result for a request (or for its custom_id)."""
    custom_id = getattr(request, "custom_id", request)
    answer = text if text is not None else f"answer to {custom_id.rpartition('-')[2]}"
    found = Result(custom_id, Outcome.SUCCEEDED, answer=answer, model="m-1", usage=Usage(3, 2))
    return msgspec.structs.replace(found, **changes)


@dataclass
class World:
    folder: Path
    blobs: object = None
    batch: Batch | None = None
    ranges: tuple[Range, ...] = ()
    shards: list[Shard] = field(default_factory=list)

    def __post_init__(self):
        self.blobs = self.blobs or Folder(str(self.folder / "blobs"), durable=False)
        self.segments = Segments(self.blobs)

    def table(self, name: str, content: str | bytes) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    def cut(self, table: str | Source, limits=ROOMY, **recipe) -> Cutting:
        source = describe(table) if isinstance(table, str) else table
        recipe = Recipe(**{"model": "m", "prompt": None, **recipe})
        cutting = self.segments.cut("batch_1", recipe, source, limits)
        self.ranges = cutting.ranges
        self.batch = Batch(
            id="batch_1",
            created_at=0.0,
            provider="sim",
            lane="batch",
            recipe=recipe,
            source=cutting.source,
            rows=cutting.rows,
        )
        self.shards = first_shards(self.batch, cutting.ranges)
        return cutting

    def requests(self, shard: Shard) -> list[Request]:
        async def collect():
            return [
                request
                async for chunk in self.segments.requests(self.batch, self.ranges, shard)
                for request in chunk
            ]

        return asyncio.run(collect())

    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(r.body) for shard in self.shards for r in self.requests(shard)]

    def prompts(self) -> list[str]:
        return [body["messages"][-1]["content"] for body in self.bodies()]

    def keep(self, shard: Shard, results, name: str = "k1", chunk: int = 1000) -> Kept:
        async def stream():
            for start in range(0, len(results), chunk):
                yield results[start : start + chunk]

        return asyncio.run(self.segments.keep(self.batch, self.ranges, shard, name, stream()))

    def settle(self, shard: Shard, results, name: str = "k1", chunk: int = 1000) -> Shard:
        """Collect *results* for a shard and put the settled shard in the place of the old one."""
        kept = self.keep(shard, results, name, chunk)
        return self.put(
            replace(shard, state=State.SETTLED, kept=kept.name, tally=kept.tally, upstream_id="up")
        )

    def put(self, shard: Shard) -> Shard:
        self.shards = [s for s in self.shards if s.id != shard.id] + [shard]
        return shard

    def again(self, numbers, n: int | None = None) -> Shard:
        """Plan a retry shard for some rows."""
        n = n or len(self.shards) + 1
        shard = Shard(
            id=f"batch_1-{n:04d}",
            batch_id="batch_1",
            n=n,
            provider="sim",
            lane="batch",
            rows=rows_of(numbers),
            attempt=2,
        )
        return self.put(shard)

    def drop(self, shard: Shard) -> Shard:
        return self.put(advance(shard, Dropped()))

    def answer_all(self, dice=None) -> None:
        for shard in list(self.shards):
            results = [answered(r) for r in self.requests(shard)]
            if dice is not None:
                dice.shuffle(results)
            self.settle(shard, results)

    def join(self, target: str, **flags) -> str:
        path = target if target == "-" or "://" in target else str(self.folder / target)
        join(self.blobs, self.batch, self.ranges, self.shards, path, **flags)
        return path

    def joined(self, **flags) -> list[dict[str, Any]]:
        """Return the joined table as Python rows."""
        reader = results_reader(self.blobs, self.batch, self.ranges, self.shards, **flags)
        return reader.read_all().to_pylist()


def read_csv(path: str, delimiter: str = ",") -> list[dict[str, Any]]:
    text = Path(path).read_bytes().decode()
    return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter))


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


@pytest.fixture
def ten(world) -> World:
    """Ten rows, v0 to v9, in three ranges: 0-3, 4-7, 8-9."""
    content = "a\n" + "".join(f"v{n}\n" for n in range(10))
    world.cut(world.table("t.csv", content), limits=SMALL, prompt="{{ a }}")
    return world


@pytest.fixture(scope="session")
def worlds(tmp_path_factory):
    """Make worlds for property tests, which need one for each example."""
    return lambda: World(tmp_path_factory.mktemp("world"))


@pytest.fixture
def csv_rows():
    return read_csv


@pytest.fixture(scope="session")
def read_rows():
    return read_csv


@pytest.fixture
def answer():
    return answered


@pytest.fixture(scope="session")
def answer_of():
    return answered


@pytest.fixture(scope="session")
def s3_server():
    """An S3 on loopback, in a process of its own; the first test that needs it waits for it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "moto.server",
        "-H",
        "127.0.0.1",
        "-p",
        str(port),
    ]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert server.poll() is None, "moto.server ended at once"
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def bucket(s3_server, monkeypatch, request) -> str:
    """Return the url of an empty bucket, made by a plain PUT."""
    for name, value in {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    name = f"b{abs(hash(request.node.nodeid))}"
    made = urllib.request.Request(f"{s3_server}/{name}", method="PUT")
    made.add_header(
        "Authorization",
        "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, "
        "SignedHeaders=host, Signature=0",
    )
    with urllib.request.urlopen(made) as reply:
        assert reply.status == 200
    return f"s3://{name}"
