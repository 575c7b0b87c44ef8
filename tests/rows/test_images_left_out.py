"""Rows whose image cannot be read stop everything, or are left out: they are never paid for."""

from pathlib import Path

import pytest

import batchmill
from batchmill.errors import InvalidRow

PNG = b"\x89PNG\r\n\x1a\nrest"
QUICK = """
[retry]
wait_s = 0.05
[providers.sim]
turnaround_s = 0.1
poll_s = 0.05
find_after_s = 0.05
timeout_s = 0.5
requests_max = 2
"""


@pytest.fixture(autouse=True)
def _a_quick_vendor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "batchmill.toml").write_text(QUICK)
    (tmp_path / "i.png").write_bytes(PNG)
    monkeypatch.chdir(tmp_path)


def asked(cells: list[str], **how: object) -> batchmill.Batch:
    Path("t.csv").write_text("\n".join(("i", *cells, "")))
    more: dict[str, object] = {"prompt": "What is it?", "images": ("i",), **how}
    return batchmill.run("t.csv", model="sim/echo", **more)


def test_one_dead_image_stops_it_all_before_anything_is_sent() -> None:
    with pytest.raises(InvalidRow, match=r"row 2, column i.*--skip-bad-images"):
        asked(["i.png", "gone.png"])


def test_with_skip_the_others_are_answered_and_those_rows_cost_nothing() -> None:
    batch = asked(["i.png", "gone.png", "i.png", "gone.png", "gone.png"], skip_bad_images=True)

    rows = batch.results().to_pylist()

    assert [row["outcome"] for row in rows] == [
        "succeeded", "errored", "succeeded", "errored", "errored",
    ]  # fmt: skip
    dead = rows[1]
    assert dead["failure"] == "invalid_media"
    assert "'gone.png' cannot be read" in dead["detail"]
    assert dead["attempts"] == 0
    assert dead["cost_usd"] is None
    assert rows[0]["attempts"] == 1
    assert batch.status == "completed"
    assert batch.counts["errored"] == 3


def test_a_row_that_was_left_out_is_not_sent_later_without_its_image() -> None:
    batch = asked(["i.png", "gone.png"], skip_bad_images=True).wait()

    assert batch.retry("invalid_media") == 0
    assert batch.results().to_pylist()[1]["attempts"] == 0


def test_a_table_of_nothing_else_is_over_at_once() -> None:
    batch = asked(["gone.png", "gone.png", "gone.png"], skip_bad_images=True).wait(10)

    assert batch.status == "failed"
    assert batch.counts["errored"] == 3
