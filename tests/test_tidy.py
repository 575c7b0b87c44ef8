"""The house is in order: sizes, words, the README's tree, and what may be committed."""

import ast
import re
import socket
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from itertools import takewhile
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parent.parent

FUNCTION_LINES_MAX = 60  # a function fits a screen
MODULE_LINES_MAX = 400
FILE_BYTES_MAX = 1 << 20

EMPTY_NOUN = re.compile(r"(Manager|Handler|Helper|Util|Base)s?(?![a-z])")
EMPTY_VERB = re.compile(r"_*(process|do)_[a-z]")

# One file a change, or one a dialect, and their names say all; the README shows the folder alone.
CLOSED_FOLDERS = ("store/migrations/", "wire/dialects/")

LOCK_FILE = re.compile(r"(.*[.-]lock(\.\w+)?|pnpm-lock\.yaml|npm-shrinkwrap\.json|Pipfile\.lock)")

# Both in pieces, because this file is looked at too.
BARE_TODO = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" * 3)) + r")\b(?!\(\w)")
REGISTRIES = [
    ".".join(pieces)
    for pieces in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("yarnpkg", "com"),
        ("deb", "debian", "org"),
        ("proxy", "golang", "org"),
    )
]


@cache
def committed() -> list[str]:
    """Everything git holds or would take, from the root, with forward slashes."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True).stdout.decode()
    return sorted({name for name in names.split("\0") if name and (ROOT / name).is_file()})


def read_text(name: str) -> str:
    return (ROOT / name).read_text("utf-8", errors="replace")


def modules(*rooms: str) -> Iterator[tuple[str, ast.Module]]:
    for name in committed():
        if name.startswith(rooms) and name.endswith(".py"):
            yield name, ast.parse((ROOT / name).read_bytes())


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_a_function_fits_a_screen() -> None:
    long = [
        f"{name}:{function.lineno} {function.name}: {lines} lines"
        for name, tree in modules("src/", "tests/", "bench/")
        for function in functions(tree)
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > FUNCTION_LINES_MAX
    ]
    assert not long


def test_a_module_is_no_longer_than_four_hundred_lines() -> None:
    long = [
        f"{name}: {lines} lines"
        for name, _ in modules("src/", "tests/", "bench/")
        if (lines := len((ROOT / name).read_bytes().splitlines())) > MODULE_LINES_MAX
    ]
    assert not long


def test_every_module_says_its_purpose() -> None:
    assert not [name for name, tree in modules("src/") if not ast.get_docstring(tree)]


def test_names_say_something() -> None:
    empty = [
        f"{name}:{node.lineno} {node.name}"
        for name, tree in modules("src/", "tests/", "bench/")
        for node in ast.walk(tree)
        if (isinstance(node, ast.ClassDef) and EMPTY_NOUN.search(node.name))
        or (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and EMPTY_VERB.match(node.name)
        )
    ]
    assert not empty


def drawn(tree: str) -> Iterator[str]:
    """Paths below src/batchmill that a tree shows; folders end in a slash.

    A line is guides four columns wide, then one or more names, then what they are for.
    """
    above: list[str] = []
    for line in tree.splitlines()[1:]:
        text = line.lstrip("│├└─ ")
        names = list(takewhile(re.compile(r"[\w.-]+(/|\.\w+)").fullmatch, text.split()))
        assert names or not text, f"this line of the tree begins with no file or folder: {line}"
        del above[(len(line) - len(text)) // 4 - 1 :]
        yield from ("".join(above) + name for name in names)
        above += [name for name in names[:1] if name.endswith("/")]


def test_the_readme_draws_the_house_as_it_stands() -> None:
    fence = re.compile(r"^```\w*\n(src/batchmill/.*?)^```", re.DOTALL | re.MULTILINE)
    block = fence.search(read_text("README.md"))
    assert block, "README.md has no fenced block that begins with src/batchmill/"
    shown = set(drawn(block[1]))

    files = {name for path in committed() if (name := path.removeprefix("src/batchmill/")) != path}
    folders = {f"{up}/" for name in files for up in PurePosixPath(name).parents if up.name}
    to_show = {
        name
        for name in files | folders
        if name.endswith((".py", "/"))
        and not name.endswith("/__init__.py")
        and not any(name.startswith(closed) and name != closed for closed in CLOSED_FOLDERS)
    }
    assert not sorted(shown - files - folders), "drawn in README.md, but not there"
    assert not sorted(to_show - shown), "there, but not drawn in README.md"


def test_whatever_is_left_to_do_has_a_reason() -> None:
    bare = [
        f"{name}:{number} {line.strip()}"
        for name in committed()
        if PurePosixPath(name).suffix not in {".md", ".json", ".jsonl", ".csv", ".txt"}
        for number, line in enumerate(read_text(name).splitlines(), start=1)
        if BARE_TODO.search(line)
    ]
    assert not bare, "write it with its reason in brackets, or do it"


def test_no_lock_file_and_no_registry_address_is_committed() -> None:
    locks = [name for name in committed() if LOCK_FILE.fullmatch(PurePosixPath(name).name)]
    hosts = [name for name in committed() if any(host in read_text(name) for host in REGISTRIES)]
    assert (locks, hosts) == ([], [])


def test_no_committed_file_is_larger_than_a_mebibyte() -> None:
    assert not [n for n in committed() if (ROOT / n).stat().st_size > FILE_BYTES_MAX]


def test_every_dependency_is_pinned_by_name_and_version_alone() -> None:
    project = tomllib.loads(read_text("pyproject.toml"))
    groups = [
        project["project"]["dependencies"],
        *project["project"]["optional-dependencies"].values(),
        *project["dependency-groups"].values(),
    ]
    wanted = {re.split(r"[^\w.-]", line)[0] for group in groups for line in group}
    pins = read_text("constraints.txt").splitlines()
    assert not [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[\w.+!]+( ; [^/@]+)?", pin)]
    assert not wanted - {pin.partition("==")[0] for pin in pins}, "./dev pins"


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
def test_no_test_can_reach_another_machine(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with (
        socket.socket(family) as sock,
        pytest.raises(RuntimeError, match="this machine only"),
    ):
        sock.connect((host, 9))


def test_no_test_can_look_up_a_name() -> None:
    with pytest.raises(RuntimeError, match="this machine only"):
        socket.getaddrinfo("api.example.com", 443)
