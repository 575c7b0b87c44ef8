"""The way in: quick to start, and every command and flag of the house is there."""

import json
import os
import subprocess
import sys
from importlib import import_module

import click
import pytest

from batchmill.cli import COMMANDS, batchmill, main

NAMES = [name for group in COMMANDS.values() for name in group]

HOUSE_FLAGS = {
    "--model",
    "--prompt",
    "--prompt-file",
    "--system",
    "--schema",
    "--image",
    "--max-tokens",
    "--param",
    "--endpoint",
    "--lane",
    "--window",
    "--limit",
    "--detach",
    "--json",
    "--name",
    "-o",
    "--output",
    "--force",
    "--encoding",
    "--format",
    "--same-prompt",
    "--shards",
}


def command(name: str) -> click.Command:
    found = batchmill.get_command(click.Context(batchmill), name)
    assert found is not None
    return found


def flags(name: str) -> set[str]:
    return {flag for param in command(name).params for flag in param.opts}


def modules_after(*args: str) -> set[str]:
    code = (
        "import json, sys\n"
        "from batchmill.cli import main\n"
        f"main({list(args)!r})\n"
        "print('\\n' + json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


def test_help_imports_click_and_nothing_else_of_others() -> None:
    ours = {"click", "batchmill"}
    before = modules_after_nothing()
    assert modules_after("--help") - before - sys.stdlib_module_names <= ours


def modules_after_nothing() -> set[str]:
    code = "import json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


@pytest.mark.parametrize("name", NAMES)
def test_help_of_a_command_imports_neither_tables_nor_databases(name: str) -> None:
    heavy = {"rich", "aiohttp", "pyarrow", "sqlalchemy", "alembic", "pydantic", "obstore"}
    assert not modules_after(name, "--help") & heavy


@pytest.mark.parametrize("name", NAMES)
def test_every_command_says_what_it_does(name: str) -> None:
    listed = next(
        words for group in COMMANDS.values() if name in group for _, words in [group[name]]
    )
    first_line = (command(name).help or "").strip().splitlines()[0]
    assert first_line
    assert listed.endswith(".")
    undocumented = [
        param.opts
        for param in command(name).params
        if isinstance(param, click.Option) and not param.hidden and not param.help
    ]
    assert not undocumented


def test_the_house_commands_are_all_there() -> None:
    assert set(NAMES) == {
        *("run", "quote", "list", "show", "watch", "resume", "cancel", "retry", "results"),
        *("work", "providers", "doctor"),
    }


def test_run_has_every_flag_of_the_house() -> None:
    assert flags("run") >= HOUSE_FLAGS


def test_quote_takes_the_flags_of_run() -> None:
    assert flags("quote") >= HOUSE_FLAGS


def test_commands_that_print_data_can_print_json() -> None:
    for name in ("list", "show", "watch", "resume", "retry", "providers", "doctor"):
        assert "--json" in flags(name)


def test_endpoint_names_are_those_of_the_core() -> None:
    from batchmill.cli.recipe import ENDPOINTS

    assert set(ENDPOINTS) == set(import_module("batchmill.core.request").ENDPOINTS)


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("batchmill 0.")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["rnu"], "Did you mean run?"),
        (["run"], "missing argument 'TABLE'"),
        (["run", "t.csv"], "missing option '--model'"),
        (["run", "t.csv", "--modle", "sim/echo"], "'--model'"),
        (["run", "t.csv", "--model", "sim/echo", "--window", "1y"], "expected a number"),
        (["run", "t.csv", "--model", "sim/echo", "--window", "0h"], "expected a number"),
        (["run", "t.csv", "--model", "sim/echo", "--param", "x"], "expected NAME=VALUE"),
        (["run", "t.csv", "--model", "sim/echo", "--lane", "fast"], "'fast' is not one of"),
        (["run", "t.csv", "--model", "sim/echo", "--limit", "0"], "not in the range"),
        (["run", "t.csv", "--model", "sim/echo", "--json", "-o", "-"], "both want standard output"),
        (["retry", "last", "--class", "bad_luck"], "'bad_luck' is not one of"),
    ],
)
def test_a_wrong_call_gets_one_line_and_status_2(
    args: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(args) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("batchmill: ")
    assert said.err.count("\n") == 1
    assert words in said.err


def test_a_bug_is_owned_up_to_in_one_line_and_its_traceback_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: object
) -> None:
    from batchmill.cli import look

    def broken(_: object) -> int:
        raise RuntimeError("two and two are five")

    monkeypatch.setattr(look, "in_house", broken)
    monkeypatch.setenv("BATCHMILL_HOME", str(tmp_path))
    assert main(["list"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "this is a bug in batchmill" in said
    assert f"{tmp_path}/batchmill.log" in said
    with open(f"{tmp_path}/batchmill.log") as log:
        assert "two and two are five" in log.read()


@pytest.mark.parametrize("args", [["--help"], ["providers"], ["list", "--json"]])
def test_a_reader_who_has_heard_enough_is_not_told_about_it(args: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    code = f"import sys; from batchmill.cli import main; sys.exit(main({args!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")
