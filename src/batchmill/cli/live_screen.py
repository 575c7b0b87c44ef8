"""The live display on a terminal: a few calm lines, drawn in place."""

from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from batchmill.cli import pace, text, waits, words
from batchmill.cli.pace import Pace
from batchmill.cli.screen import NOTE_CELLS, shard_cells
from batchmill.core.outcome import Usage
from batchmill.core.shard import Shard, State
from batchmill.rows.places import shown

if TYPE_CHECKING:
    from batchmill.service.inspect import View

BAR_CELLS = 48
#: Two characters, as there may be no colours to tell the parts by.
BAR = "━"
BAR_TO_DO = "·"
NOTHING_USED = Usage()
#: Lines the display needs beside those of single shards.
FRAME_LINES = 13

STATE_STYLES = {
    State.PLANNED: "dim",
    State.SUBMITTING: "yellow",
    State.IN_PROGRESS: "cyan",
    State.CANCELLING: "yellow",
    State.COLLECTING: "cyan",
    State.SETTLED: "green",
}


class LiveScreen:
    """Draws in place; leaves nothing behind but what was said."""

    every_s = 0.2

    def __init__(
        self, *, each_shard: bool = False, console: Console | None = None, over: str = ""
    ) -> None:
        self.each_shard = each_shard
        self.console = console or Console(stderr=True, highlight=False, soft_wrap=False)
        self.pace = Pace()
        self._notes = waits.Notes(over)
        self._live = Live(console=self.console, auto_refresh=False, transient=True)
        self._live.start()

    def reading(self, batch_id: str, rows: int, elapsed_s: float) -> None:
        speed = pace.told(rows, elapsed_s)
        read = f"reading the table: {words.plural(rows, 'row')}"
        line = Text(f"{read} · {speed}" if speed else read, no_wrap=True)
        self._live.update(line, refresh=True)

    def show(self, view: "View") -> None:
        self.pace.look(view)
        self._live.update(self.frame(view), refresh=True)

    def writing(self, view: "View", out: str) -> None:
        if self._live.is_started:
            words_ = f"writing the answers to {text.place(out)}"
            line = Text(words_, style="dim", overflow="ellipsis")
            self._live.update(Group(self.frame(view), line), refresh=True)

    def say(self, sentence: str) -> None:
        self.console.print(sentence, markup=False)

    def close(self) -> None:
        self._live.stop()

    def frame(self, view: "View") -> Group:
        """Return the whole display for one moment."""
        batch = view.batch
        head = Text.assemble(
            (batch.id, "bold"), (f"  {batch.name}" if batch.name else ""), no_wrap=True
        )
        rows = f"{words.plural(batch.rows, 'row')} of {shown(batch.source.url)}"
        asked = f"{text.model(batch)} · {batch.lane} lane · {rows}"
        lines = [
            head,
            Text(asked, style="dim", no_wrap=True, overflow="ellipsis"),
            Text(""),
            bar(view),
            *self._facts(view),
        ]
        if self.each_shard:
            lines += [Text(""), *self._shards(view.shards)]
        return Group(*lines)

    def _facts(self, view: "View") -> list[Text]:
        pairs: list[tuple[str, str, str]] = [("rows", text.outcomes(view), "")]
        pairs.append(("time", text.time(view, self.pace), ""))
        if view.counts.failures:
            pairs.append(("failures", text.failures(view), "red"))
        pairs.append(("shards", text.states(view), ""))
        if view.counts.usage != NOTHING_USED:
            pairs.append(("tokens", text.spent(view), ""))
        if again := waits.offers(view):
            pairs.append(("waiting", again, ""))
        if view.batch.held:
            pairs.append(("held", words.shorten(view.batch.held, NOTE_CELLS), "yellow"))
        elif notes := self._notes.current(view):
            more = f"({words.plural(len(notes) - 1, 'other note')}) " if len(notes) > 1 else ""
            pairs.append(("note", words.shorten(more + notes[-1], NOTE_CELLS), "yellow"))
        return [_fact(*pair) for pair in pairs]

    def _shards(self, shards: tuple[Shard, ...]) -> list[Text]:
        """Return one line a shard, as many as the terminal has room for; those at work first."""
        room = max(self.console.height - FRAME_LINES, 3)
        order = {State.SETTLED: 2, State.PLANNED: 1}
        chosen = sorted(shards, key=lambda s: (order.get(s.state, 0), s.n))
        shown, rest = chosen[:room], len(chosen) - room
        cells = [shard_cells(s) for s in shown]
        lines = [
            Text(line, style=STATE_STYLES[shard.state], no_wrap=True, overflow="ellipsis")
            for line, shard in zip(words.columns(cells, right=(3,)), shown, strict=True)
        ]
        if rest > 0:
            lines.append(Text(f"and {words.plural(rest, 'further shard')}", style="dim"))
        return lines


def _fact(label: str, value: str, style: str) -> Text:
    parts = ((f"{label:<10}", "dim"), (value, style))
    if label in ("held", "note"):  # sentences of others, often with what matters at their end
        return Text.assemble(*parts)
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def bar(view: "View") -> Text:
    """Return the rows as a bar: succeeded, failed, answered upstream, not yet."""
    counts = view.counts
    total = max(counts.total, 1)
    parts = (
        (counts.succeeded, "green"),
        (counts.unsuccessful, "red"),
        (view.answered - (counts.total - counts.pending), "cyan"),
    )
    line, drawn, done = Text(no_wrap=True), 0, 0
    for rows, style in parts:
        done += rows
        # A single failed row among millions is still to be seen.
        cells = max(done * BAR_CELLS // total, drawn + 1) - drawn if rows else 0
        cells = min(cells, BAR_CELLS - drawn)
        line.append(BAR * cells, style=style)
        drawn += cells
    line.append(BAR_TO_DO * (BAR_CELLS - drawn), style="bright_black")
    percent = 100 * view.answered // total if counts.total else 100
    line.append(f"  {percent}%  ")
    line.append(text.answered(view), style="dim")
    return line
