"""A home with a quick simulated provider, and two ways to call: in this process, and for real."""

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from batchmill.cli import main

PROGRAM = Path(sys.executable).parent / "batchmill"

QUICK = """\
[retry]
wait_s = 0.05

[providers.sim]
seed = 7
turnaround_s = 0.05
poll_s = 0.05
find_after_s = 0.1
timeout_s = 5
"""


@dataclass(frozen=True)
class Told:
    """What a command said, and how it ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


Command = Callable[..., Told]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a table of six rows and quick settings; the home is beside it."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "batchmill.toml").write_text(QUICK)
    write_table(folder / "t.csv", 6)
    return folder


def write_table(path: Path, rows: int) -> None:
    lines = ["id,title", *(f"{i},thing {i}" for i in range(rows))]
    path.write_text("\n".join(lines) + "\n")


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def settings(folder: Path, *, retry: str = "", **sim: object) -> None:
    """Write other settings of the simulated provider than the quick ones."""
    text = QUICK.replace("[retry]\n", f"[retry]\n{retry}\n")
    kept = [line for line in text.splitlines() if line.partition(" ")[0] not in sim]
    # A value that begins with a brace is an inline table.
    extra = [f"{k} = {v if isinstance(v, str) else json.dumps(v)}" for k, v in sim.items()]
    (folder / "batchmill.toml").write_text("\n".join([*kept, *extra]) + "\n")


@pytest.fixture
def call(here: Path, capfd: pytest.CaptureFixture[str]) -> Command:
    """Call a command in this process."""

    def call(*args: str) -> Told:
        capfd.readouterr()
        status = main(list(args))
        out, err = capfd.readouterr()
        return Told(status, out, err)

    return call


@pytest.fixture
def ask(call: Command) -> Command:
    """Call `run t.csv` with what it needs at least, and more."""

    def ask(*args: str, table: str = "t.csv", prompt: str = "Say {{ title }}") -> Told:
        return call("run", table, "--model", "sim/echo", "--prompt", prompt, *args)

    return ask


class Process:
    """A real batchmill process."""

    def __init__(self, args: tuple[str, ...], env: Mapping[str, str] | None) -> None:
        self.args = args
        self.it = subprocess.Popen(
            [str(PROGRAM), *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(env or {})},
        )

    def until(self, words: str, *, stream: str = "stderr") -> str:
        """Read lines until one contains *words*; return it."""
        pipe = getattr(self.it, stream)
        seen: list[str] = []
        for line in pipe:
            seen.append(line)
            if words in line:
                return line
        raise AssertionError(f"{words!r} never came: {seen}, {self.it.communicate()}")

    def signal(self, number: signal.Signals) -> None:
        self.it.send_signal(number)

    def end(self, timeout_s: float = 30.0) -> Told:
        out, err = self.it.communicate(timeout=timeout_s)
        return Told(self.it.returncode, out, err)


@pytest.fixture
def start(here: Path) -> Iterator[Callable[..., Process]]:
    """Start a real process; whatever still runs at the end is killed."""
    started: list[Process] = []

    def start(*args: str, env: Mapping[str, str] | None = None) -> Process:
        started.append(Process(args, env))
        return started[-1]

    yield start
    for process in started:
        if process.it.poll() is None:
            process.it.kill()
        process.it.communicate()
