"""
The parts of the docs that are drawn from the code, between `<!-- generated: NAME -->` and `<!-- end -->`.

`python tests/docs/generated.py` writes them anew (`./dev fix` does so too); a test compares.
"""

import ast
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from batchmill import errors, providers
from batchmill.cli import words
from batchmill.core import shard
from batchmill.core.failure import POLICIES
from batchmill.core.request import DIALECTS
from batchmill.providers import ProviderSpec
from batchmill.settings import ProviderSettings, RetrySettings, Settings
from batchmill.wire import hub, translate

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
    """Draw who sells batches, and on what terms."""
    heads = ("provider", "key", "most in one upstream batch", "takes up to", "saves", "found by")
    rows = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for name, spec in _specs():
        if "batch" in spec.lanes:
            limits = spec.limits
            least = f"{limits.requests_min:,} to " if limits.requests_min > 1 else ""
            most = f"{least}{limits.requests_max:,} rows, {limits.bytes_max >> 20:,} MiB"
            windows = words.windows(spec.windows)
            saves = "free" if spec.free else spec.discount
            rows.append(
                f"| `{name}`: {spec.title} | {_key(spec)} | {most} | {windows} | {saves} "
                f"| {spec.found_by} |"
            )
    return "\n".join(rows) + "\n"


def live_table() -> str:
    """Draw who has a live lane only."""
    rows = ["| provider | key | base_url | dialects |", "|---|---|---|---|"]
    for name, spec in _specs():
        if "batch" not in spec.lanes:
            spoken = ", ".join(f"`{dialect}`" for dialect in spec.dialects)
            where = f"`{spec.base_url}`" if spec.base_url else "–"
            rows.append(f"| `{name}`: {spec.title} | {_key(spec)} | {where} | {spoken} |")
    return "\n".join(rows) + "\n"


def _specs() -> list[tuple[str, ProviderSpec]]:
    return [(name, providers.spec(name)) for name in providers.names()]


def _key(spec: ProviderSpec) -> str:
    if spec.key_variable is None:
        return "none"
    named = " or ".join(f"`{v}`" for v in (spec.key_variable, *spec.key_fallbacks))
    return named if spec.key_required else f"{named}, or none: see below"


def dialect_table() -> str:
    """Draw who is asked in which dialect."""
    rows = ["| dialect | endpoint | asked in it |", "|---|---|---|"]
    for dialect, told in DIALECTS.items():
        asked = ", ".join(f"`{name}`" for name, spec in _specs() if dialect in spec.dialects)
        rows.append(f"| `{dialect}` | {told.endpoint} | {asked} |")
    return "\n".join(rows) + "\n"


#: A model that no dialect has an opinion of.
MODEL = "model"
TALK = hub.Turn(hub.USER, (hub.Text("hi"),))
TOOL = hub.Tool(name="look", parameters={"type": "object"})
CALLED = hub.ToolCall(id="abcdefghi", name="look", arguments="{}")
SAID_BACK = hub.ToolResult(call_id="abcdefghi", content=(hub.Text("ok"),))
FAILED = hub.ToolResult(call_id="abcdefghi", content=(hub.Text("no"),), failed=True)

#: What a person says -> what it is in the hub form.
PARAMETERS: dict[str, dict[str, Any]] = {
    "`--system`": {"system": (hub.Text("be brief"),)},
    "`--max-tokens`": {"max_tokens": 5},
    "`--schema`": {"schema": hub.Schema(schema={"type": "object"})},
    "`temperature`": {"temperature": 0.5},
    "`top_p`": {"top_p": 0.5},
    "`top_k`": {"top_k": 5},
    "`seed`": {"seed": 5},
    "`stop`": {"stop": ("END",)},
    "`frequency_penalty`": {"frequency_penalty": 0.5},
    "`presence_penalty`": {"presence_penalty": 0.5},
    "`reasoning_effort`": {"effort": "high"},
}

#: What else the bodies of ready-made lines may say.
CONTENTS: dict[str, dict[str, Any]] = {
    "image by http(s) link": {"turns": (hub.Turn(hub.USER, (hub.Image(url="https://a/b.png"),)),)},
    "image by its bytes": {
        "turns": (hub.Turn(hub.USER, (hub.Image(data="AA==", media_type="image/png"),)),)
    },
    "how closely to look at it (`detail`)": {
        "turns": (hub.Turn(hub.USER, (hub.Image(url="https://a/b.png", detail="low"),)),)
    },
    "PDF by http(s) link": {"turns": (hub.Turn(hub.USER, (hub.Document(url="https://a/b.pdf"),)),)},
    "PDF by its bytes": {"turns": (hub.Turn(hub.USER, (hub.Document(data="AA=="),)),)},
    "tools, and that one must be called": {
        "tools": (TOOL,),
        "tool_choice": hub.ToolChoice("required"),
    },
    "tools, and that none may be called": {"tools": (TOOL,), "tool_choice": hub.ToolChoice("none")},
    "tools with strict arguments": {"tools": (replace(TOOL, strict=True),)},
    "one tool at a time": {"tools": (TOOL,), "parallel_tools": False},
    "a call, and what came of it": {
        "turns": (TALK, hub.Turn(hub.ASSISTANT, (CALLED,)), hub.Turn(hub.USER, (SAID_BACK,)))
    },
    "that a tool failed": {
        "turns": (TALK, hub.Turn(hub.ASSISTANT, (CALLED,)), hub.Turn(hub.USER, (FAILED,)))
    },
    "any JSON, without a schema": {"json": True},
    "a budget of thinking tokens": {"thinking_tokens": 2048, "max_tokens": 4096},
    "whose user it is (`user`)": {"user": "someone"},
    "labels (`metadata`)": {"metadata": {"team": "a"}},
}
CHATS = [name for name, told in DIALECTS.items() if told.endpoint != "embeddings"]


def parameter_table() -> str:
    """Draw where each flag and parameter goes in a body of each dialect."""
    plain = {dialect: _written(dialect) for dialect in CHATS}

    def cell(dialect: str, said: dict[str, Any]) -> str:
        body = _written(dialect, **said)
        if body is None:
            return "–"
        before = plain[dialect] or {}
        return "<br>".join(f"`{name}`" for name in _added(before, body))

    return _by_dialect(PARAMETERS, cell)


def content_table() -> str:
    """Draw what the bodies of each dialect can hold."""
    return _by_dialect(CONTENTS, lambda d, said: "–" if _written(d, **said) is None else "✓")


def _by_dialect(said: dict[str, dict[str, Any]], cell: Callable[[str, dict[str, Any]], str]) -> str:
    heads = " | ".join(f"`{dialect}`" for dialect in CHATS)
    rows = [f"| | {heads} |", "|---|" + "---|" * len(CHATS)]
    rows += [
        f"| {name} | {' | '.join(cell(d, told) for d in CHATS)} |" for name, told in said.items()
    ]
    return "\n".join(rows) + "\n"


def _written(dialect: str, **said: Any) -> dict[str, Any] | None:
    asked = hub.Chat(model=MODEL, **({"turns": (TALK,)} | said))
    try:
        return translate.write(dialect, asked)
    except errors.InvalidRequest:
        return None


def _added(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return the fields that *after* has more, or has otherwise."""
    found: list[str] = []
    for name, value in after.items():
        if name not in before and name.endswith(("Config", "_config", "reasoning", "text")):
            found += [f"{name}.{inner}" for inner in value]
        elif name not in before or value != before[name]:
            found.append(name)
    return found


PARTS: dict[str, Callable[[], str]] = {
    "lifecycle": lifecycle,
    "transitions": transitions,
    "failures": failures,
    "settings": settings,
    "commands": commands,
    "errors": error_page,
    "providers": provider_table,
    "live": live_table,
    "dialects": dialect_table,
    "parameters": parameter_table,
    "contents": content_table,
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
