"""A retry may ask for more room for its answers: the body says so, and nothing else of it changes."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from batchmill.core.batch import Batch, Recipe
from batchmill.core.limits import MIB, Limits
from batchmill.core.plan import first_shards
from batchmill.rows.blobs import open_blobs
from batchmill.rows.read import describe
from batchmill.rows.segments import Segments

LIMITS = Limits(requests_max=10, bytes_max=MIB, request_bytes_max=MIB // 2)


@pytest.mark.parametrize(
    ("recipe", "knob"),
    [
        (Recipe(model="m", prompt="{{ t }}"), "max_tokens"),
        (Recipe(model="m", prompt="{{ t }}", max_tokens=5), "max_tokens"),
        (
            Recipe(model="m", prompt="{{ t }}", params={"max_completion_tokens": 5}),
            "max_completion_tokens",
        ),
        (
            Recipe(model="m", prompt="{{ t }}", dialect="openai.responses", url="/v1/responses"),
            "max_output_tokens",
        ),
    ],
    ids=["no limit so far", "max_tokens", "max_completion_tokens", "responses"],
)
def test_more_room_is_one_changed_number(tmp_path: Path, recipe: Recipe, knob: str) -> None:
    plain, wider = bodies(tmp_path, recipe)
    assert wider.pop(knob) == 900
    plain.pop(knob, None)
    assert wider == plain


def test_a_vector_needs_no_room(tmp_path: Path) -> None:
    embed = Recipe(model="m", prompt="{{ t }}", dialect="openai.embeddings", url="/v1/embeddings")
    plain, wider = bodies(tmp_path, embed)
    assert wider == plain


def bodies(tmp_path: Path, recipe: Recipe) -> tuple[dict[str, object], dict[str, object]]:
    """Return the body of one row as it was cut, and as a shard with more room sends it."""
    (tmp_path / "t.csv").write_text("t\n“one”\n")
    rows = Segments(open_blobs(str(tmp_path / "blobs")))
    cutting = rows.cut("batch_x", recipe, describe(str(tmp_path / "t.csv")), LIMITS)
    batch = Batch(
        id="batch_x",
        created_at=0.0,
        provider="sim",
        lane="batch",
        recipe=recipe,
        source=cutting.source,
        rows=1,
    )
    shard = first_shards(batch, cutting.ranges)[0]

    async def body(max_tokens: int | None) -> dict[str, object]:
        wanted = replace(shard, max_tokens=max_tokens)
        chunks = [c async for c in rows.requests(batch, cutting.ranges, wanted)]
        return json.loads(chunks[0][0].body)

    return asyncio.run(body(None)), asyncio.run(body(900))
