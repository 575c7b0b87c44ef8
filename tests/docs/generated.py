"""
The parts of the docs that are drawn from the code, between `<!-- generated: NAME -->` and `<!-- end -->`.

`python tests/docs/generated.py` writes them anew (`./dev fix` does so too); a test compares.
"""

import ast
import re
import sys
from collections.abc import Callable
from pathlib import Path

import click

from batchmill import errors, providers
from batchmill.core import shard
from batchmill.core.failure import POLICIES
from batchmill.settings import ProviderSettings, RetrySettings, Settings

ROOT = Path(__file__).parents[2]
PART = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def lifecycle() -> str:
    return f"```mermaid\n{shard.mermaid()}\n```\n"


def transitions() -> str:
    rows = ["| from | event | to | means |", "|---|---|---|---|"]
    for (before, event), after in shard.TRANSITIONS.items():
        means = " ".join((event.__doc__ or "").split())
        means = "" if means.startswith(f"{event.__name__}(") else means
        rows.append(f"| {before} | `{event.__name__}` | {after} | {means} |")
    return "\n".join(rows) + "\n"


def failures() -> str:
    rows = ["| class | offered again | what to do |", "|---|---|---|"]
    for failure, policy in POLICIES.items():
        again = {None: "without limit", 0: "no"}.get(
            policy.again_max, f"up to {policy.again_max} more"
        )
        rows.append(f"| `{failure}` | {again} | {policy.hint} |")
    return "\n".join(rows) + "\n"


def settings() -> str:
    lines: list[str] = []
    for title, model in (
        ("At the top", Settings),
        ("`[retry]`", RetrySettings),
        ("`[providers.NAME]`", ProviderSettings),
    ):
        lines += [f"### {title}", "", "| knob | default | meaning |", "|---|---|---|"]
        for name, field in model.model_fields.items():
            default = "none" if field.default is None else f"`{field.default}`"
            if field.default_factory is not None:
                default = "the user's data folder" if name == "home" else "none"
            if model is RetrySettings and field.default is None:
                default = "without limit"
            lines.append(f"| `{field.alias or name}` | {default} | {field.description} |")
        lines.append("")
    return "\n".join(lines)


def commands() -> str:
    from batchmill.cli import batchmill as cli

    context = click.Context(cli)
    lines: list[str] = []
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None, name
        arguments = [
            p.make_metavar(context) for p in command.params if isinstance(p, click.Argument)
        ]
        lines += [f"### `batchmill {' '.join([name, *arguments])}`", "", command.help or "", ""]
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                flags = ", ".join(f"`{flag}`" for flag in (*option.opts, *option.secondary_opts))
                lines.append(f"- {flags}: {option.help}")
        lines.append("")
    return "\n".join(lines)


def error_page() -> str:
    rows = ["| error | meaning |", "|---|---|"]
    for name, found in vars(errors).items():
        if isinstance(found, type) and issubclass(found, errors.BatchmillError):
            rows.append(f"| `{name}` | {' '.join((found.__doc__ or '').split())} |")
    return "\n".join(rows) + "\n"


#: Top to bottom, as who may look at whom.
ROOMS = [
    "core", "wire", "ports", "providers", "live", "rows", "store", "service", "engine", "cli", "testing",
]  # fmt: skip


def tree() -> str:
    """Draw the house, each file with the first sentence of its docstring."""
    root = ROOT / "src" / "batchmill"
    files = sorted(p for p in root.glob("*.py"))
    rooms = [root / name for name in ROOMS]
    missing = {p.parent.name for p in root.glob("*/__init__.py")} - set(ROOMS)
    assert not missing, f"give these rooms their place: {missing}"
    lines = ["```text", "src/batchmill/"]
    lines += [f"├── {file.name:<18} {_purpose(file)}" for file in files]
    for room in rooms:
        last = room is rooms[-1]
        lines += [
            "│",
            f"{'└──' if last else '├──'} {room.name + '/':<18} {_purpose(room / '__init__.py')}",
        ]
        inside = [p for p in sorted(room.glob("*.py")) if p.name != "__init__.py"]
        inside += [p for p in sorted(room.iterdir()) if p.is_dir() and p.name != "__pycache__"]
        for path in inside:
            guide = f"{' ' if last else '│'}   {'└──' if path is inside[-1] else '├──'}"
            name, file = (
                (path.name, path) if path.is_file() else (f"{path.name}/", path / "__init__.py")
            )
            lines.append(f"{guide} {name:<18} {_purpose(file)}")
    return "\n".join([*lines, "```", ""])


def _purpose(file: Path) -> str:
    words = (ast.get_docstring(ast.parse(file.read_text())) or "").split("\n\n")[0]
    sentence = " ".join(words.split()).rstrip(".")
    return sentence.split(". ")[0]


def provider_table() -> str:
    rows = [
        "| provider | lanes | most rows in a shard | a lost submission is found again by |",
        "|---|---|---|---|",
    ]
    for name in providers.names():
        spec = providers.spec(name)
        lanes = ", ".join(spec.lanes)
        rows.append(
            f"| `{name}`: {spec.title} | {lanes} | {spec.limits.requests_max:,} | {spec.found_by} |"
        )
    return "\n".join(rows) + "\n"


PARTS: dict[str, Callable[[], str]] = {
    "lifecycle": lifecycle,
    "transitions": transitions,
    "failures": failures,
    "settings": settings,
    "commands": commands,
    "errors": error_page,
    "providers": provider_table,
    "tree": tree,
}


def renewed(text: str) -> str:
    """Return a page with its generated parts as they should be now."""
    return PART.sub(lambda m: m[1] + PARTS[m[2]]().rstrip("\n") + "\n" + m[3], text)


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def write() -> None:
    for page in pages():
        text = page.read_text()
        if (new := renewed(text)) != text:
            page.write_text(new)
            sys.stdout.write(f"wrote {page.relative_to(ROOT)}\n")


if __name__ == "__main__":
    write()
