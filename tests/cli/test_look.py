"""`list`, `show`, `cancel` and `results` say how things stand."""

import re
from pathlib import Path

import pytest

from .conftest import Command, read_table, settings


def test_list_shows_the_newest_first(here: Path, ask: Command, call: Command) -> None:
    ask("--name", "older")
    ask("--name", "newer", "--detach", "--force")
    told = call("list")
    heads, first, second = told.out.splitlines()
    assert heads.startswith("BATCH")
    assert "newer" in first
    assert "in progress, stalled" in first
    assert "older" in second
    assert "completed" in second
    data = call("list", "--json").json
    assert [batch["name"] for batch in data] == ["newer", "older"]
    assert data[1]["rows"]["succeeded"] == 6


@pytest.mark.parametrize("cells", [80, 100])
def test_list_fits_the_terminal(
    cells: int, here: Path, ask: Command, call: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask("--name", "a rather long name of a batch", "--detach")
    ask("--name", "done", "--force")
    wide = call("list").out
    assert "a rather long name of a" in wide
    monkeypatch.setattr("batchmill.cli.look.room", lambda: cells)
    narrow = call("list").out.splitlines()
    assert len(narrow) == 3
    assert all(len(line) <= cells for line in narrow)
    assert narrow[2].split()[0] == wide.splitlines()[2].split()[0]
    assert "…" in narrow[2]


def test_list_counts_what_is_answered_as_show_does(here: Path, ask: Command, call: Command) -> None:
    ask()
    heads, row = (line.split() for line in call("list").out.splitlines())
    assert "ANSWERED" in heads
    assert row[2:5] == ["6", "6", "0"]


def test_list_of_nothing_says_how_to_begin(call: Command) -> None:
    assert "batchmill run" in call("list").out


def test_show_says_everything_about_one_batch(here: Path, ask: Command, call: Command) -> None:
    ask("--name", "mine", "--window", "1h")
    told = call("show", "last")
    for words in (
        "mine",
        "completed",
        "sim/echo · batch lane",
        "t.csv",
        "6: 6 succeeded",
        "1 settled",
    ):
        assert words in told.out
    data = call("show", "last", "--json").json
    assert data["name"] == "mine"
    assert data["each_shard"][0]["state"] == "settled"
    assert data["deadline"] - data["created_at"] == pytest.approx(3600)


def test_a_batch_is_found_by_the_beginning_of_its_id(
    here: Path, ask: Command, call: Command
) -> None:
    one = ask("--detach").out.strip()
    assert call("show", one[:-2]).status == 0
    assert call("show", one.removeprefix("batch_")[:16]).status == 0
    two = ask("--detach").out.strip()
    assert one in call("show", "batch_").err
    assert two in call("show", "batch_").err
    assert call("show", "last", "--json").json["batch"] == two


def test_a_wrong_id_gets_the_nearest(here: Path, ask: Command, call: Command) -> None:
    one = ask("--detach").out.strip()
    told = call("show", one[:-1] + "!")
    assert told.status == 2
    assert one in told.err


def test_cancel_stops_what_is_not_finished(here: Path, ask: Command, call: Command) -> None:
    ask("--detach")
    told = call("cancel", "last")
    assert told.status == 0
    assert "6 of 6 rows not finished" in told.out
    assert "No batchmill process is running" in told.out
    assert call("resume", "last").status == 3
    assert {row["outcome"] for row in read_table(here / "t.answers.csv")} == {"canceled"}
    assert call("cancel", "last").status == 0


def test_a_finished_batch_cannot_be_cancelled(here: Path, ask: Command, call: Command) -> None:
    ask()
    told = call("cancel", "last")
    assert told.status == 2
    assert "already completed" in told.err


def test_results_wait_for_the_end_or_are_partial(here: Path, ask: Command, call: Command) -> None:
    ask("--detach")
    told = call("results", "last", "-o", "o.csv")
    assert told.status == 2
    assert "--partial" in told.err
    assert call("results", "last", "-o", "o.csv", "--partial").status == 0
    assert {row["outcome"] for row in read_table(here / "o.csv")} == {""}


def test_results_go_where_they_are_wanted(here: Path, ask: Command, call: Command) -> None:
    ask()
    assert call("results", "last", "-o", "o.jsonl").status == 0
    assert len((here / "o.jsonl").read_text().splitlines()) == 6
    assert call("results", "last", "-o", "-").out.startswith("id,title,answer")
    (here / "other.csv").write_text("somebody else's\n")
    assert call("results", "last", "-o", "other.csv").status == 2
    assert call("results", "last", "-o", "other.csv", "--force").status == 0


def test_a_batch_may_be_called_by_its_name_while_no_other_has_it(
    here: Path, ask: Command, call: Command
) -> None:
    one = ask("--detach", "--name", "spring list").out.strip()
    assert call("show", "spring list", "--json").json["batch"] == one
    two = ask("--detach", "--name", "spring list").out.strip()
    told = call("show", "spring list")
    assert told.status == 2
    assert one in told.err
    assert two in told.err


def test_data_has_the_id_under_both_names_and_shards_agree_with_themselves(
    here: Path, ask: Command, call: Command
) -> None:
    settings(here, retry="server = 0", failures="{ server = 0.5 }")
    ask()
    data = call("show", "last", "--json").json
    assert data["id"] == data["batch"] == call("list", "--json").json[0]["id"]
    for shard in data["each_shard"]:
        failed = sum(shard["failures"].values())
        assert shard["progress"] == {"succeeded": shard["succeeded"], "errored": failed}
        assert shard["succeeded"] + failed == shard["rows"]


def test_answers_that_nobody_wrote_yet_are_not_said_to_be_there(
    here: Path, ask: Command, call: Command
) -> None:
    batch_id = ask().out.split()[0]
    assert re.search(r"answers +t\.answers\.csv", call("show", "last").out)
    (here / "t.answers.csv").unlink()
    for command in ("show", "watch"):
        told = call(command, "last").out
        assert f"not written yet: batchmill resume {batch_id} writes t.answers.csv" in told


def test_the_journal_says_where_the_answers_of_a_finished_batch_are(
    here: Path, ask: Command, call: Command
) -> None:
    from batchmill.cli import text
    from batchmill.cli.house import Stop, in_house
    from batchmill.wiring import House

    batch_id = ask().out.split()[0]
    said: list[str] = []

    async def work(house: House, _: Stop) -> int:
        said.append(text.ended(await house.inspector.view(batch_id)))
        return 0

    in_house(work)
    assert said == [
        f"{batch_id} finished: 6 rows, 6 succeeded; its answers: batchmill resume {batch_id}"
    ]
