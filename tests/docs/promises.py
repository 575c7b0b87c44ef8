"""
The table of vendors and promises in `docs/providers.md`, drawn from how the tests ended.

`python tests/docs/promises.py` writes it anew from the last run of `tests/providers`, `--check`
compares: `./dev check` does so right after the tests.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests import promises  # noqa: E402

PAGE = ROOT / "docs" / "providers.md"
PART = re.compile(r"(<!-- promises -->\n).*?(<!-- end -->)", re.DOTALL)
RAISED = "¹²³⁴⁵⁶⁷⁸⁹"


def table(found: promises.Outcomes) -> str:
    """Return the table: a promise a row, a vendor a column, and the reason for every gap."""
    vendors = sorted({vendor for cells in found.values() for vendor in cells})
    notes: list[str] = []
    lines = [
        "| | what is promised | " + " | ".join(vendors) + " |",
        "|---|---|" + "---|" * len(vendors),
    ]
    for (number, words), cells in sorted(found.items(), key=lambda item: item[0]):
        row = [_cell(cells.get(vendor, []), notes) for vendor in vendors]
        lines.append(f"| {number} | {words} | " + " | ".join(row) + " |")
    lines += ["", *(f"{mark(n)} {note}  " for n, note in enumerate(notes))]
    return "\n".join(lines).rstrip() + "\n"


def mark(n: int) -> str:
    return "".join(RAISED[int(digit) - 1] if digit != "0" else "⁰" for digit in str(n + 1))


def _cell(ended: list[str], notes: list[str]) -> str:
    if not ended:
        return ""
    if "failed" in ended:
        return "**✗**"
    reasons = [word for word in ended if word != "passed"]
    if not reasons:
        return "✓"
    if reasons[0] not in notes:
        notes.append(reasons[0])
    return f"–{mark(notes.index(reasons[0]))}"


def renewed(text: str) -> str:
    return PART.sub(lambda m: m[1] + table(promises.read()) + m[2], text)


def main() -> int:
    if not promises.read():
        print("no run of tests/providers/test_promises.py is on record", file=sys.stderr)
        return 1 if "--check" in sys.argv else 0
    text = PAGE.read_text()
    if "--check" not in sys.argv:
        PAGE.write_text(renewed(text))
        return 0
    if renewed(text) != text:
        print("docs/providers.md does not show how the promises' tests ended: ./dev fix")
        return 1
    print("docs/providers.md shows how the tests of every promise ended")
    return 0


if __name__ == "__main__":
    sys.exit(main())
