"""A table that has changed since it was run: its answers can be had all the same."""

import csv
from pathlib import Path

from tests.cli.conftest import Command


def test_the_answers_of_a_table_that_has_changed_can_be_had_alone(
    here: Path, ask: Command, call: Command
) -> None:
    assert ask().status == 0
    (here / "t.csv").write_text("id,title\n0,another table\n")
    refused = call("results", "last", "-o", "again.csv")
    assert refused.status == 2
    assert "--answers-only" in refused.err

    assert call("results", "last", "--answers-only", "-o", "again.csv").status == 0

    with (here / "again.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["row"] for r in rows] == ["1", "2", "3", "4", "5", "6"]
    assert all(r["outcome"] == "succeeded" for r in rows)
