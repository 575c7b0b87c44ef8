"""Results, shuffled in each shard, -> the table with its answers: rows a second, and memory."""

import asyncio
import os
import random
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

from _measure import Spent, Watch, arguments, header, in_child, line, median
from _tables import make_tables

CHUNK = 4096
NOTHING = Spent(0.0, 0.0)


def prepare(folder: str, table: str) -> Any:
    """Cut the table; return the batch, its ranges and its shards."""
    from batchmill.core.batch import Batch, Recipe
    from batchmill.core.limits import Limits
    from batchmill.core.plan import first_shards
    from batchmill.rows.blobs import open_blobs
    from batchmill.rows.read import describe
    from batchmill.rows.segments import Segments

    limits = Limits(requests_max=50_000, bytes_max=200 << 20, request_bytes_max=32 << 20)
    recipe = Recipe(model="gpt-4o-mini", prompt="Classify: {{ title }}\n{{ text }}")
    source = describe(f"{folder}/{table}")
    cutting = Segments(open_blobs(f"{folder}/blobs")).cut("batch_bench", recipe, source, limits)
    batch = Batch(
        id="batch_bench",
        created_at=0.0,
        provider="sim",
        lane="batch",
        recipe=recipe,
        source=cutting.source,
        rows=cutting.rows,
    )
    return batch, cutting.ranges, first_shards(batch, cutting.ranges)


def result_lines(shard_id: str, rows: Sequence[int], dice: random.Random) -> list[bytes]:
    """Return a vendor's output lines for *rows*, shuffled, about 900 bytes each."""
    from batchmill.wire.openai import render_result_line

    lines = [
        render_result_line(
            f"{shard_id}-{row}",
            200,
            b'{"id":"chatcmpl-%d","object":"chat.completion","created":1767225600,"model":'
            b'"gpt-4o-mini-2024-07-18","choices":[{"index":0,"message":{"role":"assistant",'
            b'"content":"Category %d: a product for the \\"kitchen\\", made to last. %b",'
            b'"refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":'
            b'%d,"completion_tokens":%d,"total_tokens":200},"system_fingerprint":"fp_44709d6fcb"}'
            % (row, row, b"x" * (row % 97), 100 + row % 50, 30 + row % 20),
            str(row),
        )
        for row in rows
    ]
    dice.shuffle(lines)
    return lines


def keep(folder: str, plan: Any) -> tuple[Any, Spent, Spent]:
    """Keep every shard; return the settled shards and what parsing and keeping took."""
    import pyarrow as pa

    from batchmill.core.shard import State
    from batchmill.rows.blobs import open_blobs
    from batchmill.rows.segments import Segments
    from batchmill.wire.openai import parse_result_line

    pa.array([""], pa.string())
    batch, ranges, shards = plan
    rows = Segments(open_blobs(f"{folder}/blobs"))
    parsing, keeping, settled = NOTHING, NOTHING, []
    for shard in shards:
        lines = result_lines(shard.id, list(shard.rows), random.Random(shard.n))
        with Watch() as watch:
            results = [parse_result_line(one, batch.recipe.dialect) for one in lines]
        parsing += watch.spent

        async def stream(results: Any = results) -> AsyncIterator[Any]:
            for start in range(0, len(results), CHUNK):
                yield results[start : start + CHUNK]

        with Watch() as watch:
            kept = asyncio.run(rows.keep(batch, ranges, shard, "bench", stream()))
        keeping += watch.spent
        settled.append(replace(shard, state=State.SETTLED, kept=kept.name, tally=kept.tally))
    return settled, parsing, keeping


def joined(folder: str, plan: Any, settled: Any, format: str) -> Spent:
    import pyarrow as pa

    from batchmill.rows.blobs import open_blobs
    from batchmill.rows.join import join

    pa.array([""], pa.string())
    batch, ranges, _ = plan
    target = f"{folder}/out.{format}"
    with Watch() as watch:
        join(open_blobs(f"{folder}/blobs"), batch, ranges, settled, target, force=True)
    os.remove(target)
    return watch.spent


def main() -> None:
    wanted = arguments(__doc__ or "")
    with tempfile.TemporaryDirectory() as folder:
        in_child(make_tables, folder, wanted.rows, wanted.chars)
        header()
        for format in ("parquet", "csv"):
            plan = in_child(prepare, folder, f"table.{format}")
            kept = [in_child(keep, folder, plan) for _ in range(wanted.repeats)]
            parsing = median([run[1] for run in kept])
            keeping = median([run[2] for run in kept])
            joining = median(
                [in_child(joined, folder, plan, kept[0][0], format) for _ in range(wanted.repeats)]
            )
            rows = plan[0].rows
            if format == "parquet":
                line("result lines -> results (wire)", rows, parsing)
                line("results -> segments (keep)", rows, keeping)
            line(f"segments -> {format} (join)", rows, joining)
            line(f"results -> {format} (keep + join)", rows, keeping + joining)
            line(f"result lines -> {format} (all)", rows, parsing + keeping + joining)


if __name__ == "__main__":
    main()
