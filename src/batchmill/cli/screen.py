"""What a person or a program sees while a batch is on its way: live, in plain lines, or as JSON."""

import sys
from typing import TYPE_CHECKING, Protocol

import click

from batchmill.cli import data, pace, spending, text, waits, words
from batchmill.cli.pace import Pace
from batchmill.core.outcome import Usage
from batchmill.core.shard import Shard, State

if TYPE_CHECKING:
    from batchmill.service.inspect import View


class Screen(Protocol):
    """Progress goes to stderr, so that answers may go to stdout; `--json` is the exception."""

    every_s: float  #: how often it wants to be told
    pace: Pace  #: how fast it went, as seen here

    def reading(self, batch_id: str, rows: int, elapsed_s: float) -> None:
        """Tell how many rows of the table are read."""
        ...

    def show(self, view: "View") -> None:
        """Tell how the batch stands."""
        ...

    def writing(self, view: "View", out: str) -> None:
        """Tell that the answers are being written."""
        ...

    def say(self, sentence: str) -> None:
        """Tell something once."""
        ...

    def close(self) -> None: ...


def screen(
    *, json: bool = False, each_shard: bool = False, quiet: bool = False, over: str = ""
) -> Screen:
    """Return the screen for where our output goes; *over* is why the batch was held until now."""
    if json:
        return JsonLines(each_shard=each_shard)
    if sys.stderr.isatty() and not quiet:
        from batchmill.cli.live_screen import LiveScreen

        return LiveScreen(each_shard=each_shard, over=over)
    return PlainLines(each_shard=each_shard, over=over)


#: What a note may take of a log; whole pages of a proxy come as words, too.
NOTE_CELLS = 300


class PlainLines:
    """For logs and pipes: a line at the start, one every few seconds if there is news, the end."""

    every_s = 0.5

    def __init__(
        self, *, each_shard: bool = False, news_every_s: float = 5.0, over: str = ""
    ) -> None:
        self.each_shard = each_shard
        self.news_every_s = news_every_s
        self.pace = Pace()
        self._told_at: float | None = None
        self._told: object = None
        self._shards: dict[str, str] = {}
        self._written: str | None = None
        self._notes = waits.Notes(over)
        self._noted: set[str] = set()
        self._noted_at: float | None = None

    def reading(self, batch_id: str, rows: int, elapsed_s: float) -> None:
        if rows and elapsed_s - (self._told_at or 0.0) >= self.news_every_s:
            self._told_at = elapsed_s
            speed = pace.told(rows, elapsed_s)
            self.say(f"{words.plural(rows, 'row')} read" + (f" · {speed}" if speed else ""))

    def show(self, view: "View") -> None:
        self.pace.look(view)
        if self._told_at is None or self._told is None:
            self._told_at, self._told = view.elapsed_s, self._news(view)
            self.say(text.begun(view.batch, len(view.shards)))
        if self.each_shard:
            self._show_shards(view.shards)
        news = self._news(view)
        if news != self._told and view.elapsed_s - self._told_at >= self.news_every_s:
            self._told_at, self._told = view.elapsed_s, news
            failed = f"failures: {text.failures(view)}" if view.counts.failures else ""
            parts = (text.rows(view), text.time(view, self.pace), failed, waits.offers(view))
            self.say(" · ".join(part for part in parts if part))
        self._show_note(view)

    def _show_note(self, view: "View") -> None:
        """Say each trouble once, and one at a time: a hundred shards may have a hundred."""
        new = [n for n in self._notes.current(view) if waits.same_trouble(n) not in self._noted]
        due = self._noted_at is None or view.elapsed_s - self._noted_at >= self.news_every_s
        if new and due:
            self._noted_at = view.elapsed_s
            self._noted.add(waits.same_trouble(new[0]))
            self.say(words.shorten(new[0], NOTE_CELLS))

    def writing(self, view: "View", out: str) -> None:
        if self._written is None:
            self._written = out
            self.say(f"writing the answers to {text.place(out)}")

    def _news(self, view: "View") -> object:
        # That rows wait is news; that they wait a second less is none.
        return view.counts, view.answered, view.status, text.states(view), bool(waits.offers(view))

    def _show_shards(self, shards: tuple[Shard, ...]) -> None:
        for shard in shards:
            line = "  ".join(cell for cell in shard_cells(shard) if cell)
            if self._shards.get(shard.id) != line:
                self._shards[shard.id] = line
                self.say(line)

    def say(self, sentence: str) -> None:
        click.echo(sentence, err=True)

    def close(self) -> None:
        pass


class JsonLines:
    """For programs: one object a line on stdout, at least one a second."""

    every_s = 0.5

    def __init__(self, *, each_shard: bool = False) -> None:
        self.each_shard = each_shard
        self.pace = Pace()
        self._read_s = 0.0  # what reading took, before there was a batch
        self._elapsed_s = 0.0

    def reading(self, batch_id: str, rows: int, elapsed_s: float) -> None:
        self._read_s = elapsed_s
        counted = {"total": rows, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
        line = {
            "batch": batch_id,
            "status": "validating",
            "rows": {**counted, "pending": rows},
            "answered": 0,
            "failures": {},
            "eta_s": None,
            "eta_basis": None,
            "rate": None,
            "elapsed_s": self._since(0.0),
            "cost_usd": None,
            "tokens": data.tokens(Usage()),
            "shards": {},
            "held": None,
        }
        click.echo(data.line(line))

    def show(self, view: "View") -> None:
        click.echo(data.line(self._line(view)))

    def writing(self, view: "View", out: str) -> None:
        click.echo(data.line({**self._line(view), "status": "finalizing"}))

    def end(self, view: "View", out: str | None, status: int) -> None:
        """Print the last line."""
        receipt = spending.as_data(view)
        over = {"done": view.finished, "out": out, "exit": status, "receipt": receipt}
        click.echo(data.line({**self._line(view), **over}))

    def _line(self, view: "View") -> dict[str, object]:
        each = {"each_shard": [data.shard(s) for s in view.shards]} if self.each_shard else {}
        return {**data.progress(view), "elapsed_s": self._since(view.elapsed_s), **each}

    def _since(self, elapsed_s: float) -> float:
        """Count from the start of the command, and never backwards: programs subtract."""
        self._elapsed_s = max(self._elapsed_s, self._read_s + elapsed_s)
        return round(self._elapsed_s, 3)

    def say(self, sentence: str) -> None:
        click.echo(sentence, err=True)

    def close(self) -> None:
        pass


def shard_cells(shard: Shard) -> tuple[str, ...]:
    """Return what one line says of a shard: number, whose, state, rows, progress, id, note."""
    return (
        f"{shard.n:04d}" + (f" (offer {shard.attempt})" if shard.attempt > 1 else ""),
        f"{shard.provider}/{shard.lane}",
        shard.state.value.replace("_", " "),
        words.plural(len(shard.rows), "row"),
        shard_progress(shard),
        shard.upstream_id or "",
        words.shorten(shard.note, 80),
    )


def shard_progress(shard: Shard) -> str:
    if shard.state is State.SETTLED:
        failed = sum(len(rows) for rows in shard.tally.failed.values())
        return words.by_name({"succeeded": shard.tally.succeeded, "failed": failed})
    p = shard.progress
    return words.by_name({"answered": p.succeeded, "errored": p.errored})
