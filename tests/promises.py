"""Remembers what became of each promise at each vendor, for the table in `docs/providers.md`."""

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

BOOK = Path(__file__).parents[1] / ".dev" / "promises.json"

#: (promise number, its words) -> vendor -> how its tests ended: passed, failed, or why it was skipped.
Outcomes = dict[tuple[str, str], dict[str, list[str]]]


def name_promises(items: Iterable[pytest.Item]) -> None:
    """Let the report of each test carry the promise it is about, also from another process."""
    for item in items:
        if (mark := item.get_closest_marker("promise")) is not None:
            vendor = getattr(item, "callspec", None)
            params = vendor.params if vendor is not None else {}
            item.user_properties.append(("promise", [*mark.args, str(params.get("town", ""))]))


class Listener:
    """A pytest plugin that writes down how the tests of promises ended."""

    def __init__(self) -> None:
        self.found: Outcomes = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        about = dict(report.user_properties).get("promise")
        if not isinstance(about, list) or (report.when != "call" and report.passed):
            return
        number, words, vendor = about
        ended = report.outcome
        if report.skipped and isinstance(report.longrepr, tuple):
            ended = str(report.longrepr[2]).removeprefix("Skipped: ")
        self.found.setdefault((number, words), {}).setdefault(vendor, []).append(ended)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if not self.found or hasattr(session.config, "workerinput"):
            return
        kept = read() | self.found
        lines = [[*promise, vendors] for promise, vendors in kept.items()]
        BOOK.parent.mkdir(exist_ok=True)
        BOOK.write_text(json.dumps(lines, indent=1, ensure_ascii=False))


def read() -> Outcomes:
    """Return what the last runs wrote down; nothing, where there was none."""
    if not BOOK.exists():
        return {}
    return {(number, words): vendors for number, words, vendors in json.loads(BOOK.read_text())}
