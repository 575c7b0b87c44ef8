"""The main job from the front door: a table in, the same table with answers out."""

import json
import re
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


def test_elapsed_time_counts_from_the_start_of_the_command(here: Path, ask: Command) -> None:
    settings(here, turnaround_s=1.0)
    lines = ask("--json").lines
    elapsed = [line["elapsed_s"] for line in lines]
    assert elapsed == sorted(elapsed)
    reading = [line["elapsed_s"] for line in lines if line["status"] == "validating"]
    assert min(line["elapsed_s"] for line in lines if line["shards"]) >= max(reading) > 0


def test_a_finished_batch_has_nothing_left_to_wait_for(
    here: Path, ask: Command, call: Command
) -> None:
    assert ask("--json").lines[-1]["eta_s"] == [0.0, 0.0]
    assert call("show", "last", "--json").json["eta_s"] == [0.0, 0.0]


def test_a_held_batch_has_no_estimate_and_says_why_once(
    here: Path, ask: Command, call: Command
) -> None:
    settings(here, failures="{ account = 1.0 }")
    told = ask("--json")
    assert told.lines[-1]["eta_s"] is None
    assert told.lines[-1]["held"]
    shown = call("show", "last").out
    assert re.search(r"held +\S", shown)
    assert "in progress, held" in shown
    assert "stalled" not in shown
    assert " left" not in shown
    assert "no batchmill process" not in call("watch", "last").err


def test_what_is_wrong_with_the_prompt_is_told_before_an_out_that_exists(
    here: Path, ask: Command, call: Command
) -> None:
    (here / "t.answers.csv").write_text("old\n")
    assert "titel" in ask(prompt="Say {{ titel }}").err
    assert "s.json" in ask("--schema", "s.json").err
    assert "ecko" in call("run", "t.csv", "--model", "sim/ecko", "--prompt", "{{ title }}").err
    assert "is there already" in ask().err


def test_a_speed_is_told_of_ten_rows_that_were_answered_at_a_go(here: Path, ask: Command) -> None:
    assert "rows/" not in ask().out
    write_table(here / "t.csv", 30)
    assert re.search(r"time +\S+ s · [0-9.]+ rows/s", ask("--force").out)


def test_a_batch_that_was_resumed_has_no_speed(here: Path, ask: Command, call: Command) -> None:
    write_table(here / "t.csv", 30)
    ask()
    assert "rows/" not in call("resume", "last").out
    assert "rows/" not in call("show", "last").out


def test_standard_output_is_called_by_its_name(here: Path, ask: Command) -> None:
    from batchmill.cli import text

    assert text.place("-") == "standard output"
    assert "writing the answers to -" not in ask("-o", "-").err


def test_retry_takes_up_a_cancelled_batch(here: Path, ask: Command, call: Command) -> None:
    batch_id = ask("--detach").out.strip()
    call("cancel", "last")
    told = call("resume", "last")
    assert told.status == 3
    assert told.out.splitlines()[-1] == f"  Offer them again: batchmill retry {batch_id}"
    assert call("retry", "last").status == 0
    assert {row["outcome"] for row in read_table(here / "t.answers.csv")} == {"succeeded"}


def test_retry_hands_on_a_larger_limit(
    here: Path, ask: Command, call: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from batchmill.service import plan

    limits: list[int | None] = []

    async def retry(*_: object, max_tokens: int | None = None, requests_min: int) -> int:
        limits.append(max_tokens)
        return 1

    ask()
    monkeypatch.setattr(plan, "retry", retry)
    told = call("retry", "last", "--max-tokens", "500", "--detach")
    call("retry", "last", "--detach")
    assert limits == [500, None]
    assert ": 1 row to offer again" in told.err


def test_force_says_what_it_does(call: Command) -> None:
    for name in ("run", "resume", "results"):
        assert "Replace OUT if it is there already." in call(name, "--help").out
