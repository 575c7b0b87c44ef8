"""`batchmill list` and `show`: how things stand, now."""

import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from batchmill.cli import data, spending, text, waits, words
from batchmill.cli.house import Stop, in_house
from batchmill.cli.screen import shard_cells
from batchmill.core.failure import POLICIES
from batchmill.core.shard import State

if TYPE_CHECKING:
    from batchmill.service.inspect import View
    from batchmill.wiring import House

NOTES_SHOWN_MAX = 5
#: Of output that is no terminal: nothing has to fit.
ANY_WIDTH = 1_000_000
#: To how little a name or a model is shortened.
LEAST_CELLS = 8


@click.command("list")
@click.option("--json", is_flag=True, help="As data.")
def list_command(json: bool) -> int:
    """List all batches, the newest first."""

    async def work(house: "House", _: Stop) -> int:
        views = [await house.inspector.view(b.id) for b in await house.store.batches()]
        if json:
            click.echo(data.page([data.batch(view) for view in views]))
        elif not views:
            click.echo("no batches yet. The first: batchmill run TABLE --model … --prompt …")
        else:
            for i, line in enumerate(_list(views, house.clock.now(), room())):
                click.echo(click.style(line, dim=True) if i == 0 else line)
        return 0

    return in_house(work)


HEADS: tuple[str, ...] = (
    "BATCH",
    "NAME",
    "STATUS",
    "ROWS",
    "ANSWERED",
    "FAILED",
    "MODEL",
    "CREATED",
)
NUMBERS = ("ROWS", "ANSWERED", "FAILED")


def _list(views: "Sequence[View]", now: float, cells: int) -> list[str]:
    """Return one line for each batch, no wider than a terminal: by shorter words, then fewer."""
    rows = [dict(zip(HEADS, _list_cells(view, now), strict=True)) for view in views]
    heads = list(HEADS)
    if _wide(rows, heads) > cells:
        for row in rows:
            row["STATUS"] = row["STATUS"].rpartition(", ")[2]
        for spare in ("CREATED", "MODEL"):
            for name in ("NAME", "MODEL"):
                over = _wide(rows, heads) - cells
                most = max(_width(rows, name) - max(over, 0), LEAST_CELLS)
                for row in rows:
                    row[name] = words.shorten(row[name], most)
            if _wide(rows, heads) > cells:
                heads.remove(spare)
    table = [heads, *([row[head] for head in heads] for row in rows)]
    return words.columns(table, right=[heads.index(name) for name in NUMBERS])


def room() -> int:
    """Return how many cells a line may have."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else ANY_WIDTH


def _wide(rows: list[dict[str, str]], heads: list[str]) -> int:
    return sum(_width(rows, head) + 2 for head in heads) - 2


def _width(rows: list[dict[str, str]], head: str) -> int:
    return max(words.width(head), *(words.width(row[head]) for row in rows))


def _list_cells(view: "View", now: float) -> tuple[str, ...]:
    counts, batch = view.counts, view.batch
    word = str(view.status).replace("_", " ")
    if batch.held and not view.finished:
        word = "held"
    elif view.stalled_since is not None:
        word += ", stalled"
    return (
        batch.id,
        words.shorten(batch.name, 24),
        word,
        words.number(counts.total),
        words.number(view.answered),
        words.number(counts.unsuccessful),
        text.model(batch),
        words.clock_time(batch.created_at, now),
    )


@click.command("show")
@click.argument("batch", metavar="ID")
@click.option("--json", is_flag=True, help="As data, each shard included.")
@click.option("--shards", is_flag=True, help="One line for each shard.")
def show_command(batch: str, json: bool, shards: bool) -> int:
    """Show one batch: rows, shards, failures, what it waits for."""

    async def work(house: "House", _: Stop) -> int:
        from batchmill.service.find import find

        view = await house.inspector.view(await find(house.store, batch))
        if json:
            each = [data.shard(shard) for shard in view.shards]
            told = {**data.batch(view), "receipt": spending.as_data(view), "each_shard": each}
            click.echo(data.page(told))
            return 0
        for line in words.columns(_facts(view, house.clock.now())):
            label, value = line[:LABEL_CELLS], line[LABEL_CELLS:]
            click.echo(click.style(label, dim=True) + value)
        if shards and view.shards:
            click.echo()
            for line in words.columns([shard_cells(s) for s in view.shards], right=(3,)):
                click.echo(line)
        return 0

    return in_house(work)


LABEL_CELLS = 10


def _facts(view: "View", now: float) -> list[tuple[str, str]]:
    batch, counts, source = view.batch, view.counts, view.batch.source
    facts: list[tuple[str, str]] = [("batch".ljust(LABEL_CELLS - 2), batch.id)]
    if batch.name:
        facts.append(("name", batch.name))
    facts.append(("status", _status(view, now)))
    if batch.held:
        facts += [("held", batch.held), ("", f"once mended: batchmill resume {batch.id}")]
        if other := text.another_model(batch):
            facts.append(("", other))
    facts.append(("model", f"{text.model(batch)} · {batch.lane} lane · {batch.recipe.url}"))
    facts.append(("table", source.url + (f" (first {source.limit:,})" if source.limit else "")))
    facts.append(("answers", _answers(view)))
    facts.append(("created", words.clock_time(batch.created_at, now)))
    facts.append(("deadline", _deadline(view, now)))
    facts.append(("rows", text.rows(view)))
    if again := waits.offers(view):
        facts.append(("waiting", again))
    for i, (failure, n) in enumerate(counts.failures.items()):
        hint = POLICIES[failure].hint
        facts.append(("" if i else "failures", f"{failure} {words.number(n)} – {hint}"))
    facts.append(("shards", text.states(view) or "none"))
    facts.append(("time", text.time(view)))
    facts += spending.facts(view)
    facts += _notes(view)
    facts += [("alarm", _alarm(shard, upstream)) for shard, upstream in view.strays]
    return facts


def _status(view: "View", now: float) -> str:
    word = str(view.status).replace("_", " ")
    if waits.at_a_standstill(view):
        return f"{word}, held"  # that nothing moves is as it should be, then
    if view.stalled_since is None:
        return word
    since = words.clock_time(view.stalled_since, now)
    return f"{word}, stalled: nothing has moved it since {since}"


def _answers(view: "View") -> str:
    if view.finished:
        return text.answers(view.batch)
    target = view.batch.target
    return "standard output" if target == "-" else target or "–"


def _deadline(view: "View", now: float) -> str:
    at = view.batch.deadline
    if at is None:
        return "none; each provider's own window"
    when = words.clock_time(at, now)
    if view.finished:
        return when
    return f"{when}, in {words.duration(at - now)}" if at > now else f"{when}, which is over"


def _notes(view: "View") -> list[tuple[str, str]]:
    noted = [s for s in view.shards if s.note and s.state is not State.SETTLED]
    noted = noted or [s for s in view.shards if s.note]
    lines = [f"{s.n:04d}: {words.shorten(s.note, 200)}" for s in noted[:NOTES_SHOWN_MAX]]
    if len(noted) > NOTES_SHOWN_MAX:
        lines.append(f"and {words.plural(len(noted) - NOTES_SHOWN_MAX, 'further note')}: --shards")
    return [("" if i else "notes", line) for i, line in enumerate(lines)]


def _alarm(shard_id: str, upstream_id: str) -> str:
    return (
        f"{shard_id}: the provider has a second batch for it, {upstream_id}. "
        "Look at it there; batchmill neither cancels nor collects it."
    )
