"""`batchmill doctor`: what is wrong with this set-up, and what to do about it."""

import os
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from batchmill.cli import data, words
from batchmill.cli.house import at_home, run
from batchmill.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batchmill.settings import Settings
    from batchmill.wiring import Market

CELLS_MAX = 100
DISK_FREE_MIN = 1 << 30
#: This program was not written before that: 2026-01-01.
NOT_BEFORE_S = 1_767_225_600.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    about: str
    ok: bool
    found: str
    todo: str = ""  #: what to do about it
    matters: bool = True  #: whether it spoils the whole: a provider nobody uses does not


@click.command("doctor")
@click.option("--json", is_flag=True, help="As data.")
@click.option("--offline", is_flag=True, help="Ask no provider anything.")
def doctor_command(json: bool, offline: bool) -> int:
    """
    Say what is wrong with this set-up, and what to do about it.

    Each provider that is set up here is asked something that costs nothing. Exit status 0 when all
    is well, 2 when something is not.
    """
    settings = at_home()

    async def work() -> int:
        providers = await _providers(settings, offline=offline)
        findings = [*_ground(settings), *await _house(settings), *providers]
        sick = [f for f in findings if not f.ok and f.matters]
        if json:
            click.echo(data.page([asdict(f) for f in findings]))
        else:
            _print(findings, len(sick))
        return 2 if sick else 0

    return run(work)


def _print(findings: list[Finding], sick: int) -> None:
    shown = [f for f in findings if f.ok or f.matters]
    rows = [(_word(f), f.about, "") for f in shown]
    begins = max(words.width(line) for line in words.columns(rows)) + 2
    colours = {"ok": "green", "problem": "red"}
    for line, f in zip(words.columns(rows), shown, strict=True):
        word = _word(f)
        first, *more = words.wrapped(f.found, first=begins, cells=CELLS_MAX)
        mark = click.style(line[: len(word)], fg=colours.get(word))
        click.echo(mark + f"{line[len(word) :]:<{begins - len(word)}}{first}")
        for rest in more:
            click.echo(" " * begins + rest)
        if f.todo:
            click.echo(" " * begins + f"→ {f.todo}")
    if unused := [f.about.removeprefix("provider ") for f in findings if f not in shown]:
        click.echo()
        said = f"Not set up: {', '.join(unused)}. What each of them needs: batchmill providers"
        for line in words.wrapped(said, first=0, cells=CELLS_MAX):
            click.echo(click.style(line, dim=True))
    click.echo()
    click.echo("all is well" if not sick else f"{words.plural(sick, 'problem')} to mend")


def _word(finding: Finding) -> str:
    return "ok" if finding.ok else "problem"


def _ground(settings: "Settings") -> "Iterator[Finding]":
    """Look at what lies below the house: Python, settings, home, disk."""
    from batchmill.settings import file_used

    python = f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
    yield Finding("python", ok=True, found=python)
    used = file_used()
    yield Finding("settings", ok=True, found=str(used) if used else "no batchmill.toml; defaults")
    yield _writable(settings.home)
    try:
        free = shutil.disk_usage(_nearest(settings.home)).free
    except OSError as error:
        yield Finding("disk", ok=False, found=f"cannot be measured: {error.strerror}")
        return
    tight = free < DISK_FREE_MIN
    todo = "make room: segments and answers need about three times the table" if tight else ""
    yield Finding("disk", ok=not tight, found=f"{words.size(free)} free", todo=todo)


def _nearest(path: Path) -> Path:
    return next((p for p in (path, *path.parents) if p.exists()), Path("/"))


def _writable(home: Path) -> Finding:
    try:
        if not home.exists():
            if not os.access(_nearest(home), os.W_OK):
                raise PermissionError(13, os.strerror(13))
            return Finding("home", ok=True, found=f"{home}, made when first needed")
        with tempfile.NamedTemporaryFile(dir=home, prefix=".doctor-"):
            return Finding("home", ok=True, found=f"{home}, writable")
    except OSError as error:
        todo = "set BATCHMILL_HOME to a folder you may write"
        return Finding("home", ok=False, found=f"{home}: {error.strerror}", todo=todo)


async def _house(settings: "Settings") -> list[Finding]:
    """Look at the database, the worker and the clock."""
    from batchmill.wiring import SystemClock, open_house

    now = SystemClock().now()
    if now < NOT_BEFORE_S:
        wrong = "set the clock: deadlines and ids depend on it"
        return [Finding("clock", ok=False, found=f"{now:.0f} s since 1970", todo=wrong)]
    if settings.database_url is None and not (settings.home / "batchmill.db").exists():
        return [Finding("database", ok=True, found="none yet, made by the first run")]
    try:
        async with open_house(settings) as house:
            batches = await house.store.batches()
            alive, seen_at = await house.turn.last_seen()
            views = [await house.inspector.view(batch.id) for batch in batches]
    except UserError as error:
        return [Finding("database", ok=False, found=str(error), todo="see what it says")]
    opened = [view for view in views if not view.finished]
    found = [Finding("database", ok=True, found=f"current, {words.plural(len(batches), 'batch')}")]
    ahead = max((batch.created_at for batch in batches), default=0.0) - now
    late = "set the clock: the newest batch was made in its future" if ahead > 60 else ""
    found.append(Finding("clock", ok=not late, found=words.clock_time(now, 0.0), todo=late))
    if alive:
        words_ = "alive"
    elif seen_at is None:
        words_ = "none so far"
    else:
        words_ = f"none since {words.clock_time(seen_at, now)}"
    idle = bool(opened) and not alive
    todo = f"batchmill work, or batchmill resume {opened[0].batch.id}" if idle else ""
    waiting = f", {len(opened):,} unfinished" if opened else ""
    found.append(Finding("worker", ok=not idle, found=words_ + waiting, todo=todo))
    for view in opened:
        if view.batch.held:
            mend = f"mend it, then: batchmill resume {view.batch.id}"
            found.append(Finding("held", ok=False, found=view.batch.held, todo=mend))
    for view in views:
        for shard, upstream in view.strays:
            look = f"look at {upstream} at the provider: it was bought twice"
            found.append(Finding("alarm", ok=False, found=shard, todo=look))
    return found


async def _providers(settings: "Settings", *, offline: bool) -> list[Finding]:
    """Look at each provider, and ask those that are set up: nobody has every key."""
    from contextlib import AsyncExitStack

    from batchmill.cli.probes import ask
    from batchmill.wiring import Market, SystemClock, SystemIds

    async with AsyncExitStack() as stack:
        clock, ids = SystemClock(), SystemIds()
        market = Market(settings=settings, clock=clock, ids=ids, stack=stack)
        found = {name: _provider(market, name) for name in market.names()}
        asked = [name for name, finding in found.items() if finding.ok and not offline]
        for name, heard in (await ask(market, asked)).items():
            words_ = f"{found[name].found} – {heard.words}" if heard.ok else heard.words
            found[name] = replace(found[name], ok=heard.ok, found=words_, todo=heard.todo)
    return list(found.values())


def _provider(market: "Market", name: str) -> Finding:
    about, meant = f"provider {name}", name in market.settings.providers
    try:
        missing, title = market.missing(name), market.spec(name).title
    except UserError as error:
        return Finding(about, ok=False, found=str(error), todo="see what it says")
    if missing is None:
        return Finding(about, ok=True, found=title)
    return Finding(about, ok=False, found=title, todo=missing, matters=meant)
