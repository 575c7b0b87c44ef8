"""The table comes back: every row once, in order, its values untouched, the last word beside it."""

import pickle
import random
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchmill.core.failure import Failure
from batchmill.core.limits import Limits
from batchmill.core.outcome import Outcome, Result, Usage
from batchmill.core.rowset import rows_of
from batchmill.core.shard import Refused, State, Tally, Vanished, advance
from batchmill.errors import Conflict, InvalidTable, InvalidTarget
from batchmill.rows.frames import spool_frame
from batchmill.rows.read import describe

SMALL = Limits(requests_max=4, bytes_max=10**6, request_bytes_max=10**5)
OURS = [
    "answer",
    "outcome",
    "failure",
    "detail",
    "model",
    "input_tokens",
    "output_tokens",
    "cost_usd",
    "attempts",
]


def failed(custom_id, failure, **more):
    return Result(custom_id, Outcome.ERRORED, failure, "why", **more)


# ------------------------------------------------------------------------------------------ order


@settings(max_examples=40)
@given(st.randoms(use_true_random=False))
def test_order_and_attempts_hold_under_shuffles_retries_duplicates_and_losses(ready, dice):
    world, answer = ready
    world.shards = list(world.first)
    want = {row: (None, 0, Decimal(0)) for row in range(world.batch.rows)}
    for round_ in range(dice.randint(1, 4)):
        if round_:
            world.again(sorted(dice.sample(range(10), dice.randint(1, 10))), n=10 + round_)
        for shard in [s for s in world.shards if s.state is not State.SETTLED]:
            results = []
            for row in shard.rows:
                _, attempts, cost = want[row]
                lost = dice.random() < 0.2
                price = Decimal(dice.randint(1, 99)).scaleb(-7)
                text = f"{row}@{round_}"
                want[row] = (None if lost else text, attempts + 1, cost + (0 if lost else price))
                if not lost:
                    found = answer(f"{shard.id}-{row}", text, cost_usd=price)
                    results += [found] + [answer(found.custom_id, "no")] * (dice.random() < 0.1)
            dice_order = sorted(results, key=lambda r: (r.answer == "no", dice.random()))
            results = [*dice_order, answer("stranger", "no")] if results else []
            world.settle(shard, results, name=f"r{round_}", chunk=dice.randint(1, 5))
    found = world.joined()
    assert [r["a"] for r in found] == [f"v{n}" for n in range(10)]
    for row, line in enumerate(found):
        text, attempts, cost = want[row]
        assert (line["answer"], line["attempts"]) == (text, attempts)
        assert line["failure"] == (None if text else "missing")
        assert (line["cost_usd"] or Decimal(0)) == cost


@pytest.fixture(scope="module")
def ready(worlds, answer_of):
    world = worlds()
    world.cut(
        world.table("t.csv", "a\n" + "".join(f"v{n}\n" for n in range(10))),
        limits=SMALL,
        prompt="{{ a }}",
    )
    world.first = list(world.shards)
    return world, answer_of


def test_many_chunks_and_ranges_keep_the_order(world):
    content = "a,b\n" + "".join(f"v{n},{'x' * 50}\n" for n in range(30_000))
    limits = Limits(requests_max=7000, bytes_max=10**8, request_bytes_max=10**5)
    world.cut(world.table("t.csv", content), limits=limits, prompt="{{ a }}")
    world.answer_all(random.Random(1))
    found = world.joined()
    assert [r["a"] for r in found] == [f"v{n}" for n in range(30_000)]
    assert [r["answer"] for r in found] == [f"answer to {n}" for n in range(30_000)]


# -------------------------------------------------------------------------------- the last word


def test_a_later_attempt_replaces_an_earlier_one_and_both_are_paid(ten, answer):
    ten.answer_all()
    first = ten.shards[0]
    ten.settle(
        first,
        [
            answer(f"{first.id}-0"),
            failed(f"{first.id}-1", Failure.SERVER, cost_usd=Decimal("0.25"), usage=Usage(9, 9)),
            answer(f"{first.id}-2"),
            answer(f"{first.id}-3", cost_usd=Decimal("1E-7")),
        ],
    )
    again = ten.again([1])
    ten.settle(again, [answer(f"{again.id}-1", "at last", cost_usd=Decimal("0.05"))], "k2")
    line = ten.joined()[1]
    assert (line["answer"], line["outcome"], line["failure"]) == ("at last", "succeeded", None)
    assert (line["attempts"], line["input_tokens"]) == (2, 3)
    assert line["cost_usd"] == Decimal("0.30")
    assert [r["attempts"] for r in ten.joined()] == [1, 2, 1, 1, 1, 1, 1, 1, 1, 1]


def test_cost_is_a_plain_decimal_in_text(ten, answer, csv_rows):
    ten.answer_all()
    first = ten.shards[0]
    ten.settle(first, [answer(f"{first.id}-3", cost_usd=Decimal("1.50E-7"))])
    assert csv_rows(ten.join("o.csv"))[3]["cost_usd"] == "0.000000150"
    line = Path(ten.join("o.jsonl")).read_bytes().splitlines()[3]
    assert b'"cost_usd":0.000000150,' in line


def test_shards_without_results_say_what_became_of_their_rows(ten):
    one, two, three = ten.shards
    ten.put(replace(advance(one, Refused("no such model", Failure.INVALID_REQUEST))))
    ten.drop(two)
    in_progress = replace(three, state=State.IN_PROGRESS, upstream_id="up")
    ten.put(advance(in_progress, Vanished("deleted after 30 days")))
    found = ten.joined()
    assert [(r["outcome"], r["failure"], r["detail"], r["attempts"]) for r in found] == (
        [("errored", "invalid_request", "no such model", 1)] * 4
        + [("canceled", "canceled", None, 0)] * 4
        + [("errored", "missing", "deleted after 30 days", 1)] * 2
    )


def test_a_dropped_retry_has_the_last_word_but_was_no_attempt(ten):
    ten.answer_all()
    first = ten.shards[0]
    ten.settle(first, [failed(f"{first.id}-{n}", Failure.SERVER) for n in range(4)])
    ten.drop(ten.again([2]))
    line = ten.joined()[2]
    assert (line["outcome"], line["failure"], line["attempts"]) == ("canceled", "canceled", 1)


def test_an_unfinished_batch_is_joined_only_when_partial_is_wanted(ten, answer):
    one, _, three = ten.shards
    ten.settle(one, [answer(f"{one.id}-{n}", cost_usd=Decimal(1)) for n in range(4)])
    ten.settle(three, [answer(f"{three.id}-{n}") for n in (8, 9)])
    ten.again([1])  # offered again: not final
    with pytest.raises(Conflict, match=r"5 of 10 rows are not finished.*--partial"):
        ten.joined()
    found = ten.joined(partial=True)
    assert [r["a"] for r in found] == [f"v{n}" for n in range(10)]
    pending = [n for n, r in enumerate(found) if r["outcome"] is None]
    assert pending == [1, 4, 5, 6, 7]
    assert all(found[n]["answer"] is None for n in pending)
    assert (found[1]["attempts"], found[1]["cost_usd"], found[4]["attempts"]) == (1, Decimal(1), 0)


# ------------------------------------------------------------------------------------- the source


@pytest.mark.parametrize("change", ["a\nother\nrows\n", "a\nv1\nv2\nv3\n", "a\nv1\n"])
def test_a_source_that_has_changed_is_not_joined(world, change):
    path = world.table("t.csv", "a\nv1111\nrows\n")
    world.cut(path, prompt="{{ a }}")
    world.answer_all()
    world.table("t.csv", change)
    with pytest.raises(InvalidTable, match=r"t\.csv: has changed since the batch was made"):
        world.join("o.csv")
    assert not (world.folder / "o.csv").exists()
    assert [p.name for p in world.folder.iterdir() if "o.csv" in p.name] == []


def test_only_the_rows_within_the_limit_come_back(world):
    world.table("in/a.csv", "a\n1\n2\n")
    world.table("in/b.csv", "a\n3\n4\n")
    world.cut(describe(str(world.folder / "in"), limit=3), prompt="{{ a }}")
    world.answer_all()
    assert [r["a"] for r in world.joined()] == ["1", "2", "3"]


def test_a_shard_of_failures_without_a_class_is_no_crash(ten):
    one = ten.shards[0]
    ten.answer_all()
    tally = Tally(failed={Failure.DEADLINE: rows_of([0, 1]), Failure.BUDGET: rows_of([2, 3])})
    ten.put(replace(one, state=State.SETTLED, tally=tally))
    assert [r["failure"] for r in ten.joined()[:4]] == ["deadline", "deadline", "budget", "budget"]


def test_a_price_is_never_rounded(ten, answer):
    ten.answer_all()
    price = Decimal("0.123456789012345678901")  # one decimal more than the number column has
    one = next(s for s in ten.shards if s.n == 1)
    ten.settle(one, [answer(f"{one.id}-0", cost_usd=price)])
    with pytest.raises(InvalidTarget, match="more than 20 decimals"):
        ten.join("o.parquet")
    assert str(price) in Path(ten.join("o.csv")).read_text()


def test_parquet_goes_through_a_pipe(ten):
    ten.answer_all()
    code = (
        "import pickle, sys\nfrom batchmill.rows.blobs import Folder\n"
        "from batchmill.rows.join import join\n"
        "blobs, *rest = pickle.load(sys.stdin.buffer)\n"
        "join(Folder(blobs), *rest, '-')\n"
    )
    frame = pa.table({"a": range(3)})
    ten.cut(spool_frame(frame, ten.blobs, "spool/1/frame"), prompt="{{ a }}")
    ten.answer_all()
    plan = pickle.dumps((str(ten.folder / "blobs"), ten.batch, ten.ranges, ten.shards))
    done = subprocess.run([sys.executable, "-c", code], input=plan, capture_output=True, check=True)
    assert pq.read_table(pa.BufferReader(done.stdout))["a"].to_pylist() == [0, 1, 2]
