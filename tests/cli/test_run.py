"""The main job from the front door: a table in, the same table with answers out."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Command, Process, read_table, settings, write_table

RUN = ("run", "t.csv", "--model", "sim/echo", "--prompt", "Say {{ title }}")

COLUMNS = [
    *("id", "title", "answer", "outcome", "failure", "detail", "model"),
    *("input_tokens", "output_tokens", "cost_usd", "attempts"),
]


def test_every_row_is_answered_in_order_beside_its_input(here: Path, ask: Command) -> None:
    told = ask()
    assert told.status == 0
    rows = read_table(here / "t.answers.csv")
    assert list(rows[0]) == COLUMNS
    assert [row["id"] for row in rows] == [str(i) for i in range(6)]
    assert [row["answer"] for row in rows] == [f"Say thing {i}" for i in range(6)]
    assert {row["outcome"] for row in rows} == {"succeeded"}


def test_the_receipt_says_what_it_came_to(here: Path, ask: Command) -> None:
    told = ask("--name", "first try")
    assert "6: 6 succeeded" in told.out
    assert "t.answers.csv" in told.out
    assert "“first try”" in told.out
    assert "batch_" in told.out
    assert "tokens" in told.out
    assert "cost" in told.out


def test_without_a_terminal_there_are_plain_lines(here: Path, ask: Command) -> None:
    told = ask()
    assert "\x1b" not in told.out + told.err
    assert "6 rows in 1 shard for sim/echo (batch lane)" in told.err


def test_a_table_with_a_header_only_is_no_mistake(here: Path, ask: Command) -> None:
    (here / "t.csv").write_text("id,title\n")
    told = ask()
    assert told.status == 0
    assert (here / "t.answers.csv").read_text().splitlines() == [",".join(COLUMNS)]


def test_failed_rows_are_counted_and_named_with_status_3(here: Path, ask: Command) -> None:
    settings(here, retry="server = 0", failures="{ server = 0.5 }")
    write_table(here / "t.csv", 60)
    told = ask()
    assert told.status == 3
    rows = read_table(here / "t.answers.csv")
    bad = [row for row in rows if row["outcome"] == "errored"]
    assert 0 < len(bad) < 60
    assert {row["failure"] for row in bad} == {"server"}
    assert f"server {len(bad)} – the provider's trouble; retry later" in told.out
    assert "batchmill retry batch_" in told.out


def test_retry_brings_the_failed_rows_and_writes_the_table_again(
    here: Path, ask: Command, call: Command
) -> None:
    settings(here, retry="server = 0", failures="{ server = 0.5 }")
    write_table(here / "t.csv", 40)
    assert ask().status == 3
    settings(here)
    told = call("retry", "last", "--class", "server")
    assert told.status == 0
    rows = read_table(here / "t.answers.csv")
    assert [row["answer"] for row in rows] == [f"Say thing {i}" for i in range(40)]
    assert {row["attempts"] for row in rows} == {"1", "2"}
    assert "beyond the first" in told.out


def test_answers_may_go_to_standard_output_alone(here: Path, ask: Command) -> None:
    told = ask("-o", "-")
    assert told.status == 0
    assert told.out.splitlines()[0] == ",".join(COLUMNS)
    assert len(told.out.splitlines()) == 7
    assert "6 succeeded" in told.err


def test_a_table_may_come_from_standard_input(
    here: Path, start: Callable[..., Process], tmp_path: Path
) -> None:
    import subprocess

    from .conftest import PROGRAM

    done = subprocess.run(
        [str(PROGRAM), "run", "-", "--format", "csv", *RUN[2:]],
        input="title\nfrom a pipe\n",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].startswith("from a pipe,Say from a pipe,succeeded")


def test_the_same_out_is_replaced_only_by_its_own_batch_or_with_force(
    here: Path, ask: Command, call: Command
) -> None:
    assert ask().status == 0
    assert ask().status == 2
    assert call("resume", "last").status == 0
    assert ask("--force").status == 0


def test_force_is_said_once_and_good_for_a_resume_too(
    here: Path, ask: Command, call: Command
) -> None:
    (here / "t.answers.csv").write_text("old\n")
    assert ask("--force", "--detach").status == 0
    assert call("resume", "last").status == 0
    assert len(read_table(here / "t.answers.csv")) == 6
    (here / "t.answers.csv").write_text("somebody changed it meanwhile\n")
    assert call("resume", "last").status == 2


def test_json_is_one_object_a_line_and_nothing_else(here: Path, ask: Command) -> None:
    settings(here, turnaround_s=1.5)
    told = ask("--json")
    lines = told.lines
    assert told.status == 0
    assert len(lines) >= 3
    first, last = lines[0], lines[-1]
    for line in lines:
        assert line["batch"].startswith("batch_")
        assert set(line["rows"]) == {
            *("total", "succeeded", "errored", "canceled", "expired", "pending")
        }
        assert {
            *("status", "answered", "failures", "eta_s", "eta_basis", "rate", "elapsed_s"),
            *("cost_usd", "tokens", "shards", "held"),
        } <= set(line)
        if line["eta_s"] is not None:
            low, high = line["eta_s"]
            assert 0 <= low <= high
    assert {line["batch"] for line in lines} == {first["batch"]}
    assert "done" not in first
    assert last["done"] is True
    assert last["exit"] == 0
    assert last["out"] == str(here / "t.answers.csv")
    assert last["rows"]["succeeded"] == 6
    assert last["tokens"]["output"] > 0
    assert last["cost_usd"] == 0


def test_json_is_told_more_often_than_once_a_second() -> None:
    from batchmill.cli.follow import LOOK_AT_LEAST_S
    from batchmill.cli.screen import JsonLines

    assert JsonLines.every_s < 1
    assert LOOK_AT_LEAST_S < 1


def test_detached_the_id_is_printed_alone(here: Path, ask: Command, call: Command) -> None:
    told = ask("--detach")
    assert told.status == 0
    assert told.out.startswith("batch_")
    assert told.out.count("\n") == 1
    assert "batchmill work" in told.err
    assert not (here / "t.answers.csv").exists()
    shown = call("show", told.out.strip())
    assert "stalled: nothing has moved it since " in shown.out
    assert call("resume", told.out.strip()).status == 0
    assert len(read_table(here / "t.answers.csv")) == 6


def test_a_quote_counts_and_keeps_nothing(here: Path, tmp_path: Path, call: Command) -> None:
    told = call("quote", *RUN[1:], "--json", "--window", "24h", "-o", "o.csv", "--name", "x")
    assert told.status == 0
    assert told.json["rows"] == 6
    assert told.json["shards"] == 1
    assert told.json["input_tokens"] > 0
    assert not (tmp_path / "home").exists()
    plain = call("quote", *RUN[1:])
    assert "estimated from bytes" in plain.out
    assert "Say thing 0" in plain.out


def test_one_line_for_each_shard_on_demand(here: Path, ask: Command, call: Command) -> None:
    settings(here, requests_max=2)
    told = ask("--shards")
    assert told.status == 0
    for n in (1, 2, 3):
        assert f"{n:04d}  sim/batch  settled  2 rows  2 succeeded" in told.err
    assert "0003  sim/batch  settled  2 rows" in call("show", "last", "--shards").out


def test_a_held_batch_says_the_words_once_and_resume_goes_on(
    here: Path, ask: Command, call: Command
) -> None:
    settings(here, failures="{ account = 1.0 }")
    told = ask()
    assert told.status == 2
    assert told.err.count("is held:") == 1
    assert "batchmill resume batch_" in told.err
    assert "held" in call("list").out
    settings(here)
    assert call("resume", "last").status == 0
    assert len(read_table(here / "t.answers.csv")) == 6


def test_parameters_are_json_or_text() -> None:
    from batchmill.cli.recipe import Parameter

    parse = Parameter().convert
    assert parse("temperature=0.2", None, None) == ("temperature", 0.2)
    assert parse("stop=END", None, None) == ("stop", "END")
    assert parse('x={"a": [1]}', None, None) == ("x", {"a": [1]})
    assert parse("x=NaN", None, None) == ("x", "NaN")


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("90s", 90), ("5m", 300), ("24h", 86_400), ("2d", 172_800), ("1.5h", 5400)],
)
def test_windows_have_units(said: str, seconds: float) -> None:
    from batchmill.cli.recipe import Window

    assert Window().convert(said, None, None) == seconds


def test_prices_keep_all_their_digits_in_json() -> None:
    from decimal import Decimal

    from batchmill.cli import data

    line = data.line({"cost_usd": data.exact(Decimal("0.00000012345678901234"))})
    assert line == '{"cost_usd":0.00000012345678901234}'
    assert json.loads(line)["cost_usd"] > 0
