"""`list`, `show`, `cancel`, `results`, `providers` and `doctor` say how things stand."""

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
    assert "6 of 6 rows are not finished" in told.out
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


def test_providers_are_listed_with_what_they_need(here: Path, call: Command) -> None:
    told = call("providers")
    assert told.status == 0
    assert "sim" in told.out
    assert "no key needed" in told.out
    data = {one["provider"]: one for one in call("providers", "--json").json}
    assert data["sim"]["ready"] is True
    assert data["sim"]["lanes"] == ["batch", "live"]
    assert "sim/echo" in {f"sim/{model}" for model in data["sim"]["models"]}


def test_one_broken_provider_does_not_hide_the_others(here: Path, call: Command) -> None:
    (here / "batchmill.toml").write_text('[providers.mine]\nkind = "nobody"\n')
    told = call("providers")
    assert told.status == 0
    assert "sim" in told.out
    assert "nobody" in told.out


def test_a_healthy_home_has_no_problem(here: Path, ask: Command, call: Command) -> None:
    ask()
    told = call("doctor")
    assert told.status == 0, told.out
    assert "all is well" in told.out
    assert {one["about"] for one in call("doctor", "--json").json} >= {
        *("python", "settings", "home", "disk", "database", "clock", "worker", "provider sim"),
    }


def test_the_doctor_says_what_is_wrong_and_what_to_do(
    here: Path, tmp_path: Path, ask: Command, call: Command
) -> None:
    settings(here)
    ask("--detach")
    told = call("doctor")
    assert told.status == 2
    assert "batchmill work" in told.out
    (tmp_path / "home" / "batchmill.db").write_bytes(b"rubbish" * 1000)
    told = call("doctor")
    assert told.status == 2
    assert "batchmill.db" in told.out
