"""Numbers, times and columns as people read them."""

import textwrap
import time
import unicodedata
from collections.abc import Mapping, Sequence
from decimal import Decimal
from math import ceil

from batchmill.core.eta import Eta


def number(n: float) -> str:
    return f"{n:,.0f}"


def plural(n: int, noun: str) -> str:
    ending = "" if n == 1 else "es" if noun.endswith("ch") else "s"
    return f"{n:,} {noun}{ending}"


def rate(rows_per_s: float) -> str:
    if rows_per_s >= 10:
        return f"{rows_per_s:,.0f} rows/s"
    if rows_per_s >= 0.1:
        return f"{rows_per_s:.1f} rows/s"
    if rows_per_s >= 1 / 3600:
        return f"{rows_per_s * 3600:,.0f} rows/h"
    return f"{rows_per_s * 86_400:,.0f} rows/d"


def duration(seconds: float) -> str:
    """Return one or two units: 4 s, 2 min 5 s, 3 h 20 min, 2 d 4 h."""
    s = round(seconds)
    if s < 10:
        return f"{max(seconds, 0.0):.1f} s"
    if s < 60:
        return f"{s} s"
    if s < 3600:
        return _two(s, 60, "min", "s")
    if s < 48 * 3600:
        return _two(s // 60, 60, "h", "min")
    return _two(s // 3600, 24, "d", "h")


def whole(seconds: float) -> str:
    """Return a wait in whole seconds, never less than one: 8 s, 2 min 5 s."""
    s = max(1, ceil(seconds))
    return f"{s} s" if s < 60 else duration(s)


def _two(n: int, of: int, big: str, small: str) -> str:
    whole, rest = divmod(n, of)
    return f"{whole} {big}" + (f" {rest} {small}" if rest else "")


def stopwatch(seconds: float) -> str:
    """Return 0:07, 12:31, 3:20:05."""
    minutes, s = divmod(int(max(seconds, 0.0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{s:02d}" if hours else f"{minutes}:{s:02d}"


def interval(eta: Eta, after: str = "") -> str:
    """Return `2–5 min (rate so far)`: rough on purpose, as more digits would claim too much."""
    basis = "a first guess" if eta.basis == "prior" else eta.basis
    low, high = eta.low_s, eta.high_s
    unit, of_s = _unit(high)
    a, b = int(low // of_s), max(1, -int(-high // of_s))
    if a == 0 and low >= 1 and of_s > 1:
        small, small_s = _unit(low)
        return f"{int(low // small_s)} {small} – {b} {unit}{after} ({basis})"
    return f"{b if a == b else f'{a}–{b}'} {unit}{after} ({basis})"


def _unit(seconds: float) -> tuple[str, int]:
    """Return the unit in which a rough time is said, and its length in seconds."""
    for until_s, name, unit_s in ((90, "s", 1), (5400, "min", 60), (172_800, "h", 3600)):
        if seconds < until_s:
            return name, unit_s
    return "d", 86_400


def window(name: str) -> str:
    """Return a vendor's window in the one form that is shown: hours up to 48h, days beyond."""
    hours, rest = divmod(window_s(name), 3600)
    if rest:
        return name
    return f"{hours / 24:.0f}d" if hours > 48 and hours % 24 == 0 else f"{hours:.0f}h"


def window_s(name: str) -> float:
    """Return the seconds of a vendor's window: `24h`, `7d`."""
    return float(name[:-1]) * {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}[name[-1]]


def windows(names: Sequence[str]) -> str:
    """Return `24h`, `24h–7d` where one may choose, or a dash where there is none."""
    ends = dict.fromkeys(window(name) for name in (*names[:1], *names[-1:]))
    return "–".join(ends) or "–"


def clock_time(at: float, now: float) -> str:
    """Return 14:02 today, else the date with it; local time."""
    then, today = time.localtime(at), time.localtime(now)
    if then[:3] == today[:3]:
        return time.strftime("%H:%M", then)
    return time.strftime("%Y-%m-%d %H:%M", then)


def size(n: int) -> str:
    """Return bytes in the unit that keeps about three digits: 50 MiB, 1.5 GiB."""
    value = float(n)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if value == int(value) else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def money(cost_usd: Decimal | None) -> str:
    return "price unknown" if cost_usd is None else f"${cost_usd:f}"


def by_name(counts: Mapping[str, int], joint: str = " · ") -> str:
    """Return `12 settled · 3 planned`, leaving out the zeros."""
    return joint.join(f"{number(n)} {name}" for name, n in counts.items() if n)


def width(text: str) -> int:
    """Return how many cells of a terminal a text takes."""
    return sum(
        0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF")
        for c in text
    )


def wrapped(text: str, *, first: int, cells: int) -> list[str]:
    """
    Break a last column that begins at *first* into lines of no more than *cells* in all.

    Only between words: a path or an address stays whole, to be copied.
    """
    room = max(cells - first, 20)
    whole = textwrap.wrap(text, room, break_on_hyphens=False, break_long_words=False)
    return whole or [""]


def columns(
    rows: Sequence[Sequence[str]], *, right: Sequence[int] = (), indent: int = 0
) -> list[str]:
    """Align cells in columns, two spaces apart; *right*: columns of numbers."""
    if not rows:
        return []
    widths = [max(width(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines: list[str] = []
    for row in rows:
        cells: list[str] = []
        for i, (cell, wide) in enumerate(zip(row, widths, strict=True)):
            gap = " " * (wide - width(cell))
            cells.append(gap + cell if i in right else cell + gap)
        lines.append((" " * indent + "  ".join(cells)).rstrip())
    return lines


def shorten(text: str, cells: int) -> str:
    """Cut a text to so many characters, saying so with an ellipsis."""
    line = " ".join(text.split())
    return line if len(line) <= cells else line[: max(cells - 1, 0)] + "…"
