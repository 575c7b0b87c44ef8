"""The docs are true: drawn parts are current, every block runs, every name in them exists."""

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from tests.docs.generated import ROOT, pages, renewed

from batchmill import errors, settings
from batchmill.cli import batchmill as cli

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
PAGES = {str(page.relative_to(ROOT)): page for page in pages()}
#: Shown, not run: the tree (compared with the disk by test_tidy), and pictures.
SHOWN = {"text", "mermaid"}


def blocks(page: Path, *languages: str) -> list[tuple[str, str]]:
    return [(lang, text) for lang, text in BLOCK.findall(page.read_text()) if lang in languages]


def commands() -> dict[str, click.Command]:
    context = click.Context(cli)
    found = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    return {name: command for name, command in found.items() if command is not None}


def flags() -> set[str]:
    known = {"--help", "--version"}
    for command in commands().values():
        for option in command.params:
            known |= {*option.opts, *option.secondary_opts}
    return known


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_what_is_drawn_from_the_code_is_current(page: Path) -> None:
    text = page.read_text()
    assert renewed(text) == text, "run ./dev fix"


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_every_block_is_of_a_kind_that_is_run_or_shown(page: Path) -> None:
    kinds = {language for language, _ in BLOCK.findall(page.read_text())}
    assert kinds <= {"sh", "python", "toml", *SHOWN}


def environment(folder: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "BATCHMILL_HOME": str(folder / "home")}


RUNNABLE = [name for name, page in PAGES.items() if blocks(page, "sh", "python")]


@pytest.mark.parametrize("name", RUNNABLE)
def test_every_block_runs_in_order_in_an_empty_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    for language, text in blocks(PAGES[name], "sh", "python"):
        script = text if language == "python" else _without_set_up(text)
        shell = [sys.executable, "-c"] if language == "python" else ["sh", "-euc"]
        done = subprocess.run(
            [*shell, script],
            cwd=tmp_path,
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"


def _without_set_up(script: str) -> str:
    """Leave out what this very environment came from: ./dev (its commands are checked) and pip."""
    lines = script.splitlines()
    return "\n".join(
        line for line in lines if not line.startswith(("./dev", "pip ", "git ", "cd ", ". .venv"))
    )


@pytest.mark.parametrize("name", [n for n, page in PAGES.items() if blocks(page, "toml")])
def test_every_setting_shown_is_accepted(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _, text in blocks(PAGES[name], "toml"):
        (tmp_path / settings.FILE).write_text(text)
        assert settings.load() != settings.Settings()


def test_every_dev_command_shown_exists() -> None:
    offered = set(re.findall(r"^  ([a-z-]+)", (ROOT / "dev").read_text(), re.MULTILINE))
    shown = {
        c for page in PAGES.values() for c in re.findall(r"\./dev ([a-z-]+)", page.read_text())
    }
    assert shown
    assert shown <= offered


def test_every_command_and_flag_named_anywhere_exists() -> None:
    known = set(commands()) | {"--help", "--version"}
    for name, page in PAGES.items():
        text = page.read_text()
        named = set(re.findall(r"(?:^|`)batchmill (?!\[)([a-z-]+)", text, re.MULTILINE))
        assert named <= known, name
        assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) <= flags() | DEV_FLAGS, name


#: Flags of other programs that the pages name.
DEV_FLAGS = {"--upgrade", "--seed"}


def test_every_command_and_flag_is_in_the_manual_and_has_help() -> None:
    manual = PAGES["docs/cli.md"].read_text()
    for name, command in commands().items():
        assert command.help, name
        assert f"### `batchmill {name}" in manual
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                assert option.help, f"{name} {option.opts}"
                assert all(f"`{flag}`" in manual for flag in option.opts)


def test_every_error_is_on_its_page_and_in_the_tree_it_opens_with() -> None:
    page, tree = PAGES["docs/errors.md"].read_text(), errors.__doc__ or ""
    for name, found in vars(errors).items():
        if isinstance(found, type) and issubclass(found, errors.BatchmillError):
            assert f"`{name}`" in page
            assert re.search(rf"[*x-] {name}\b", tree), name


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_page_on_python_names_all_that_run_takes() -> None:
    import inspect

    import batchmill

    page = (ROOT / "docs" / "python.md").read_text()
    missing = [name for name in inspect.signature(batchmill.run).parameters if name not in page]
    assert missing == []
