"""Bad input gets exit 2 and one line that names what is wrong; nothing is sent, nothing is left."""

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Command, Process, Told

Stage = Callable[[Path], object]

READ = re.compile("^[0-9,]+ rows? read")
RUN = ("run", "t.csv", "--model", "sim/echo", "--prompt", "Say {{ title }}")


def table(text: str | bytes) -> Stage:
    data = text.encode() if isinstance(text, str) else text
    return lambda here: (here / "t.csv").write_bytes(data)


def file(name: str, text: str) -> Stage:
    return lambda here: (here / name).write_text(text)


def nothing(here: Path) -> None:
    pass


def lines(*bodies: str) -> str:
    url = "/v1/chat/completions"
    return "".join(
        f'{{"custom_id": "{id}", "method": "POST", "url": "{url}", "body": '
        '{"model": "echo", "messages": [{"role": "user", "content": "hi"}]}}\n'
        for id in bodies
    )


CASES: dict[str, tuple[Stage, tuple[str, ...], tuple[str, ...]]] = {
    "missing file": (nothing, ("run", "absent.csv", *RUN[2:]), ("absent.csv",)),
    "unknown format": (file("t.xyz", "a,b\n"), ("run", "t.xyz", *RUN[2:]), ("t.xyz",)),
    "empty file": (table(""), RUN, ("t.csv",)),
    "ragged row": (table("id,title\n1,a\n2,b,c\n"), RUN, ("t.csv", "3")),
    "invalid UTF-8": (table(b"id,title\n1,a\n2,caf\xe9\n"), RUN, ("t.csv", "3", "--encoding")),
    "duplicate column": (table("id,title,title\n1,a,b\n"), RUN, ("t.csv", "title")),
    "no such column": (nothing, (*RUN[:4], "--prompt", "{{ titel }}"), ("titel", "title")),
    "no column at all": (nothing, (*RUN[:4], "--prompt", "{title}"), ("--same-prompt",)),
    "template syntax": (nothing, (*RUN[:4], "--prompt", "{{ title"), ("prompt", "line 1")),
    "no prompt": (nothing, RUN[:4], ("--prompt",)),
    "two prompts": (nothing, (*RUN, "--prompt-file", "p.txt"), ("--prompt-file",)),
    "no prompt file": (nothing, (*RUN[:4], "--prompt-file", "p.txt"), ("p.txt",)),
    "output is input": (nothing, (*RUN, "-o", "t.csv"), ("t.csv",)),
    "output is there": (file("o.csv", "mine\n"), (*RUN, "-o", "o.csv"), ("o.csv", "--force")),
    "output a folder": (nothing, (*RUN, "-o", ".", "--format", "csv"), ("t.csv",)),
    "output of no format": (nothing, (*RUN, "-o", "o.xyz"), ("o.xyz",)),
    "column clash": (table("title,answer\na,b\n"), RUN, ("answer",)),
    "schema absent": (nothing, (*RUN, "--schema", "s.json"), ("s.json",)),
    "schema no JSON": (file("s.json", "{"), (*RUN, "--schema", "s.json"), ("s.json", "line 1")),
    "schema no schema": (
        file("s.json", '{"type": "objekt"}'),
        (*RUN, "--schema", "s.json"),
        ("schema", "objekt"),
    ),
    "schema a list": (file("s.json", "[]"), (*RUN, "--schema", "s.json"), ("s.json",)),
    "unknown provider": (nothing, (*RUN[:3], "simm/echo", *RUN[4:]), ("simm", "sim")),
    "unknown model": (nothing, (*RUN[:3], "sim/ecko", *RUN[4:]), ("ecko", "sim/echo")),
    "no provider": (nothing, (*RUN[:3], "echo", *RUN[4:]), ("PROVIDER/MODEL",)),
    "cell too large": (table(f"title\na\n{'x' * (33 << 20)}\n"), RUN, ("row 2", "bytes")),
    "image of no column": (nothing, (*RUN, "--image", "pic"), ("pic",)),
    "duplicate custom_id": (
        file("r.jsonl", lines("a", "b", "a")),
        ("run", "r.jsonl", "--model", "sim/echo"),
        ("1", "3", "'a'"),
    ),
    "no such batch": (nothing, ("show", "batch_nope"), ("batch_nope",)),
    "broken settings": (file("batchmill.toml", "[retry"), ("list",), ("batchmill.toml",)),
    "unknown knob": (file("batchmill.toml", "hoem = 1\n"), ("list",), ("batchmill.toml", "hoem")),
    "unknown encoding": (nothing, (*RUN, "--encoding", "klingon"), ("klingon",)),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_gets_one_line_and_leaves_nothing(
    case: str, here: Path, tmp_path: Path, call: Command
) -> None:
    stage, args, words = CASES[case]
    stage(here)
    before = set(here.rglob("*"))
    told = call(*args)
    assert_refused(told, words)
    assert set(here.rglob("*")) == before
    assert not list((tmp_path / "home" / "providers").rglob("*.jsonl"))
    assert not [p for p in (tmp_path / "home" / "blobs").rglob("*") if p.is_file()]


def assert_refused(told: Told, words: tuple[str, ...]) -> None:
    assert told.status == 2, told
    assert told.out == ""
    # On a slow machine the progress of reading may stand above it.
    said = [line for line in told.err.splitlines() if not READ.search(line)]
    assert len(said) == 1, told.err
    assert said[0].startswith("batchmill: ")
    assert "Traceback" not in told.err
    for word in words:
        assert word in told.err


def test_a_missing_key_names_its_variable(
    here: Path, call: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from batchmill import providers

    locked = replace(providers.spec("sim"), key_variable="SIM_API_KEY")
    monkeypatch.setattr(providers, "spec", lambda name: locked)
    assert_refused(call(*RUN), ("SIM_API_KEY",))


def test_a_foreign_database_is_left_alone(here: Path, tmp_path: Path, call: Command) -> None:
    (tmp_path / "home").mkdir()
    with sqlite3.connect(tmp_path / "home" / "batchmill.db") as db:
        db.execute("CREATE TABLE recipes (cake TEXT)")
    db.close()
    assert_refused(call("list"), ("batchmill.db",))


def test_a_corrupt_database_is_left_alone(here: Path, tmp_path: Path, call: Command) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "batchmill.db").write_bytes(b"no database, and long enough" * 100)
    assert_refused(call("list"), ("batchmill.db",))


def test_a_home_that_cannot_be_is_named(
    here: Path, tmp_path: Path, call: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BATCHMILL_HOME", str(tmp_path / "file" / "home"))
    assert_refused(call("list"), ("BATCHMILL_HOME",))


@pytest.mark.parametrize("case", ["ragged row", "unknown model"])
def test_a_real_process_shows_no_traceback_either(
    case: str, here: Path, start: Callable[..., Process]
) -> None:
    stage, args, words = CASES[case]
    stage(here)
    assert_refused(start(*args).end(), words)


def test_a_full_disk_is_said_in_one_line(here: Path, start: Callable[..., Process]) -> None:
    process = start(*RUN, env={"BATCHMILL_HOME": "/dev/full/home"})
    assert_refused(process.end(), ("/dev/full",))


def test_a_schema_that_is_none_is_told_with_its_file(here: Path, ask: Command) -> None:
    (here / "s.json").write_text('{"type": "objekt"}')
    told = ask("--schema", "s.json")
    assert told.status == 2
    assert "--schema s.json: schema, at type: is no JSON Schema" in told.err
