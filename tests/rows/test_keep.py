"""Results become segments: one for every row, the first that came, nothing of anybody else's."""

import asyncio
import json
import random
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchmill.core.failure import Failure
from batchmill.core.limits import Limits
from batchmill.core.outcome import Outcome, Result, Usage
from batchmill.core.rowset import rows_of
from batchmill.errors import StorageTrouble
from batchmill.rows import resultfile

SMALL = Limits(requests_max=4, bytes_max=10**6, request_bytes_max=10**5)


def stored(world, n: int, name: str = "k1") -> dict[int, dict[str, Any]]:
    key = resultfile.results_key("batch_1", n, name)
    table = resultfile.load(world.blobs, key, resultfile.SCHEMA.names)
    return {row["row"]: row for row in table.to_pylist()}


def test_a_result_is_kept_with_all_it_says(ten, answer):
    body = b'{"id":"x","n":1.0}'
    usage = Usage(10, 5, 4, 3)
    full = answer("batch_1-0001-2", "text", usage=usage, cost_usd=Decimal("1.2E-7"), body=body)
    kept = ten.keep(ten.shards[0], [full])
    assert stored(ten, 1)[2] == {
        "row": 2,
        "outcome": "succeeded",
        "failure": None,
        "detail": None,
        "answer": "text",
        "model": "m-1",
        "input_tokens": 10,
        "output_tokens": 5,
        "cached_tokens": 4,
        "reasoning_tokens": 3,
        "cost_usd": "0.00000012",
        "body": body,
    }
    assert kept.tally.usage == usage
    assert kept.tally.cost_usd == kept.tally.list_usd == Decimal("0.00000012")


def test_a_row_without_a_line_is_missing(ten, answer):
    kept = ten.keep(ten.shards[0], [answer("batch_1-0001-1")])
    assert kept.tally.succeeded == 1
    assert kept.tally.failed == {Failure.MISSING: rows_of([0, 2, 3])}
    assert {n: (r["outcome"], r["failure"]) for n, r in stored(ten, 1).items()} == {
        0: ("errored", "missing"),
        1: ("succeeded", None),
        2: ("errored", "missing"),
        3: ("errored", "missing"),
    }


def test_no_line_at_all_is_every_row_missing(ten):
    kept = ten.keep(ten.shards[0], [])
    assert kept.ours
    assert kept.tally.failed == {Failure.MISSING: ten.shards[0].rows}


def test_the_first_line_of_a_row_wins_and_the_others_are_put_aside(ten, answer):
    again = answer("batch_1-0001-0", "second", body=b'{"b":1}')
    kept = ten.keep(ten.shards[0], [answer("batch_1-0001-0", "first"), again, again])
    assert kept.tally.duplicate == 2
    assert stored(ten, 1)[0]["answer"] == "first"
    with ten.blobs.open(resultfile.aside_key("batch_1", "k1")) as file:
        lines = [json.loads(line) for line in file]
    assert [(x["why"], x["result"]["answer"], x["body"]) for x in lines] == [
        ("duplicate", "second", {"b": 1})
    ] * 2


@pytest.mark.parametrize(
    "custom_id",
    [
        "batch_1-0002-4",
        "batch_1-0001-4",
        "batch_1-0001-00",
        "batch_1-0001-+1",
        "batch_1-0001-1_0",
        "batch_1-0001- 1",
        "batch_1-0001-٣",
        "batch_1-0001--1",
        "batch_1-0001-",
        "mine",
        "",
        "batch_1-0001-99999999999",
    ],
)
def test_a_line_that_is_not_ours_is_counted_and_never_used(ten, answer, custom_id):
    kept = ten.keep(ten.shards[0], [answer("batch_1-0001-1"), answer(custom_id, "foreign")])
    assert kept.ours
    assert kept.tally.foreign == 1
    assert all(r["answer"] != "foreign" for r in stored(ten, 1).values())


def test_an_adopted_batch_of_which_nothing_is_ours_leaves_nothing(ten, answer):
    adopted = replace(ten.shards[0], provisional=True)
    kept = ten.keep(adopted, [answer("other-1"), answer("other-2")])
    assert not kept.ours
    assert kept.tally.foreign == 2
    assert ten.blobs.list("batches/batch_1/results/") == []


def test_a_retry_shard_is_split_by_origin(ten, answer):
    shard = ten.again([1, 5, 6, 9])
    results = [answer(r) for r in ten.requests(shard)]
    ten.keep(shard, results[::-1], "k2")
    assert [sorted(stored(ten, n, "k2")) for n in (1, 2, 3)] == [[1], [5, 6], [9]]


def test_nothing_is_visible_until_all_is_there(ten, answer):
    seen: list[list[str]] = []

    async def stream():
        yield [answer(f"batch_1-0001-{n}") for n in range(4)]
        seen.append(ten.blobs.list("batches/batch_1/results/"))
        raise RuntimeError("the connection broke")

    with pytest.raises(RuntimeError):
        asyncio.run(ten.segments.keep(ten.batch, ten.ranges, ten.shards[0], "k1", stream()))
    assert seen == [[]]
    assert ten.blobs.list("batches/batch_1/results/") == []


@pytest.mark.parametrize(
    ("outcome", "failure", "counted"),
    [
        (Outcome.ERRORED, Failure.REFUSED, Failure.REFUSED),
        (Outcome.ERRORED, None, Failure.SERVER),
        (Outcome.EXPIRED, None, Failure.EXPIRED),
        (Outcome.CANCELED, None, Failure.CANCELED),
    ],
)
def test_every_failure_is_counted_by_class(ten, outcome, failure, counted):
    results = [Result(f"batch_1-0001-{n}", outcome, failure, "why") for n in range(4)]
    kept = ten.keep(ten.shards[0], results)
    assert kept.tally.failed == {counted: ten.shards[0].rows}
    assert stored(ten, 1)[0]["failure"] == counted


def test_an_answer_that_misses_the_schema_is_errored_and_kept(ten, answer):
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    ten.batch = replace(ten.batch, recipe=replace(ten.batch.recipe, schema=schema))
    texts = ['{"n": 1}', ' {"n": 2}\n', '{"n": "x"}', "sorry"]
    results = [answer(f"batch_1-0001-{n}", text) for n, text in enumerate(texts)]
    kept = ten.keep(ten.shards[0], results)
    assert kept.tally.failed == {Failure.SCHEMA: rows_of([2, 3])}
    found = stored(ten, 1)
    assert found[2]["detail"] == 'n: "x" is not of type "integer"'
    assert "no JSON" in found[3]["detail"]
    assert [found[n]["answer"] for n in range(4)] == texts


def test_money_is_added_up_exactly(ten, answer):
    costs = [Decimal("1e-20"), Decimal(12345678901234567890), None, Decimal("0.1")]
    results = [answer(f"batch_1-0001-{n}", cost_usd=cost) for n, cost in enumerate(costs)]
    assert ten.keep(ten.shards[0], results).tally.cost_usd == Decimal(
        "12345678901234567890.10000000000000000001"
    )


def test_list_prices_are_added_up_beside_what_was_paid(ten, answer):
    # given one row at half its price, one that nobody gives a discount on, one of unknown price,
    # and one that was never run and so costs nothing
    results = [
        answer("batch_1-0001-0", cost_usd=Decimal("0.01"), list_usd=Decimal("0.02"), stated=True),
        answer("batch_1-0001-1", cost_usd=Decimal("0.05")),
        answer("batch_1-0001-2"),
        answer("batch_1-0001-3", outcome=Outcome.EXPIRED, failure=Failure.EXPIRED, usage=None),
    ]
    # when
    tally = ten.keep(ten.shards[0], results).tally
    # then
    assert (tally.cost_usd, tally.list_usd) == (Decimal("0.06"), Decimal("0.07"))
    assert (tally.unpriced, tally.stated) == (1, 1)


def test_half_a_surrogate_pair_does_no_harm(ten, answer):
    ten.keep(ten.shards[0], [answer("batch_1-0001-0", "x\ud800y")])
    assert stored(ten, 1)[0]["answer"] == "x?y"


def test_a_damaged_segment_is_storage_trouble(ten, answer):
    ten.keep(ten.shards[0], [answer("batch_1-0001-0")])
    path = ten.folder / "blobs" / resultfile.results_key("batch_1", 1, "k1")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(StorageTrouble, match="no readable segment"):
        stored(ten, 1)


@given(st.randoms(use_true_random=False), st.integers(1, 40))
def test_however_lines_are_mixed_every_row_gets_its_first(many, dice: random.Random, chunk):
    world, answer = many
    shard = world.shards[-1]
    lines = [(row, f"{row}/{k}") for row in shard.rows for k in range(dice.choice([0, 1, 1, 2]))]
    lines += [(None, "foreign")] * dice.randrange(3)
    dice.shuffle(lines)
    first: dict[int | None, str] = {}
    for row, text in lines:
        first.setdefault(row, text)
    results = [
        answer("stranger" if row is None else f"{shard.id}-{row}", text) for row, text in lines
    ]
    kept = world.keep(shard, results, "k3", chunk)
    ours = {row: text for row, text in first.items() if row is not None}
    foreign = sum(row is None for row, _ in lines)
    assert (kept.tally.foreign, kept.tally.succeeded) == (foreign, len(ours))
    if kept.ours:
        assert kept.tally.duplicate == len(lines) - foreign - len(ours)
        found = {n: r for origin in world.ranges for n, r in stored(world, origin.n, "k3").items()}
        assert {n: r["answer"] for n, r in found.items()} == {n: ours.get(n) for n in shard.rows}


@pytest.fixture(scope="module")
def many(worlds, answer_of):
    world = worlds()
    world.cut(world.table("t.csv", "a\n" + "x\n" * 20), limits=SMALL, prompt="{{ a }}")
    world.again(range(20))
    return world, answer_of


def test_large_shards_are_written_piece_by_piece(world, answer, monkeypatch):
    from batchmill.rows import keeping

    monkeypatch.setattr(keeping, "BATCH_ROWS", 10)
    monkeypatch.setattr(keeping, "WAITING_BYTES", 3000)
    world.cut(world.table("t.csv", "a\n" + "x\n" * 100), limits=SMALL, prompt="{{ a }}")
    shard = world.again(range(100))
    results = [answer(f"{shard.id}-{n}", "y" * 99) for n in range(100)]
    random.Random(1).shuffle(results)
    kept = world.keep(shard, results, "k2", 7)
    assert kept.tally.succeeded == 100
    assert sum(len(stored(world, r.n, "k2")) for r in world.ranges) == 100
