"""The Python front door, as a program uses it."""

import asyncio
from datetime import timedelta
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import batchmill

QUICK = """
[retry]
wait_s = 0.05
[providers.sim]
turnaround_s = 0.2
poll_s = 0.05
find_after_s = 0.05
timeout_s = 0.5
"""
PROMPT = "about {{ text }}"


@pytest.fixture(autouse=True)
def _a_quick_vendor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "batchmill.toml").write_text(QUICK)
    monkeypatch.chdir(tmp_path)


TABLE = pa.table({"id": [3, 1, 2], "text": ["a", None, "“c”"]})
FRAMES = {
    "arrow": TABLE,
    "pandas": pd.DataFrame({"id": [3, 1, 2], "text": ["a", None, "“c”"]}),
    "polars": pl.DataFrame({"id": [3, 1, 2], "text": ["a", None, "“c”"]}),
    "duckdb": duckdb.sql("SELECT * FROM (VALUES (3, 'a'), (1, NULL), (2, '“c”')) t(id, text)"),
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)
def test_any_dataframe_that_speaks_arrow_is_answered_in_its_order(frame: object) -> None:
    answers = batchmill.run(frame, model="sim/echo", prompt=PROMPT).results()
    assert answers.column("id").to_pylist() == [3, 1, 2]
    assert answers.column("answer").to_pylist() == ["about a", "about ", "about “c”"]
    assert answers.column("outcome").to_pylist() == ["succeeded"] * 3


def test_a_path_is_answered_and_written(tmp_path: Path) -> None:
    Path("t.csv").write_text("id,text\n007,x\n")
    batch = batchmill.run(Path("t.csv"), model="sim/echo", prompt=PROMPT, name="mine")
    batch.write("out.csv")
    assert Path("out.csv").read_text().splitlines()[1].startswith("007,x,about x,succeeded,")
    assert batch.status == "completed"
    assert batch.counts == {
        "total": 1, "succeeded": 1, "errored": 0, "canceled": 0, "expired": 0, "pending": 0,
    }  # fmt: skip


def test_the_receipt_says_what_it_came_to() -> None:
    receipt = batchmill.run(TABLE, model="sim/echo", prompt=PROMPT).wait().receipt
    assert (receipt.rows, receipt.succeeded, receipt.retried) == (3, 3, 0)
    assert (receipt.cost_usd, receipt.saved_usd, receipt.unpriced) == (0, 0, 0)
    assert [(lane.provider, lane.lane, lane.bought) for lane in receipt.lanes] == [
        ("sim", "batch", 1)
    ]
    assert receipt.usage.input_tokens > 0
    assert (receipt.provider, receipt.lane, receipt.model) == ("sim", "batch", "echo")


def test_answers_come_as_a_stream_too() -> None:
    reader = batchmill.run(TABLE, model="sim/echo", prompt=PROMPT).stream()
    assert isinstance(reader, pa.RecordBatchReader)
    assert sum(part.num_rows for part in reader) == 3


def test_partial_results_can_be_had_before_the_end() -> None:
    Path("batchmill.toml").write_text("[providers.sim]\nturnaround_s = 60\n")
    home = Path("slow").absolute()
    batch = batchmill.run(TABLE, model="sim/echo", prompt=PROMPT, home=home)
    partial = batch.results(partial=True)
    assert partial.column("id").to_pylist() == [3, 1, 2]
    assert not any(partial.column("answer").to_pylist())
    assert batch.eta is not None
    with pytest.raises(TimeoutError):
        batch.wait(timeout_s=0.2)
    batch.cancel()
    assert batch.wait(timeout_s=20).status == "cancelled"
    assert batch.retry("canceled") == 3  # whoever asks for more has changed their mind
    assert batch.counts["pending"] == 3
    batch.cancel()


async def test_an_event_loop_is_not_blocked_and_a_batch_can_be_awaited() -> None:
    batch = await batchmill.arun(TABLE, model="sim/echo", prompt=PROMPT)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.01)

    ticking = asyncio.create_task(tick())
    await batch
    ticking.cancel()
    assert batch.status == "completed"
    assert ticks > 3


def test_another_program_goes_on_with_a_batch_by_its_id() -> None:
    batch = batchmill.run(TABLE, model="sim/echo", prompt=PROMPT, window=timedelta(hours=1))
    assert batchmill.attach(batch.id).results().num_rows == 3
    with pytest.raises(batchmill.UserError, match="batch_nobody"):
        batchmill.attach("batch_nobody")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"table": "no-such.csv"}, "no-such.csv"),
        ({"table": 7}, "int is no table"),
        ({"model": "simm/echo"}, "Did you mean sim"),
        ({"model": "sim/ecko"}, "Did you mean sim/echo"),
        ({"model": "echo"}, "PROVIDER/MODEL"),
        ({"prompt": "{{ txet }}"}, "text"),
        ({"prompt": "{text}"}, "{{ text }}"),
        ({"endpoint": "chatt"}, "chat"),
        ({"lane": "fast"}, "lane"),
        ({"schema": {"type": "objekt"}}, "schema"),
    ],
    ids=str,
)
def test_mistakes_are_told_before_anything_is_spent(wrong: dict[str, object], words: str) -> None:
    table = wrong.pop("table", TABLE)
    with pytest.raises(batchmill.UserError, match=words):
        batchmill.run(table, **{"model": "sim/echo", "prompt": PROMPT, **wrong})


def test_the_public_names_are_these() -> None:
    assert batchmill.__all__ == sorted(batchmill.__all__)
    assert set(batchmill.__all__) == {
        "Batch",
        "BatchmillError",
        "Receipt",
        "UserError",
        "__version__",
        "arun",
        "attach",
        "run",
    }
    for name in batchmill.__all__:
        assert getattr(batchmill, name) is not None
