"""The live display and the plain lines, drawn from made-up batches."""

import io
from dataclasses import replace

import pytest

from batchmill.cli import text
from batchmill.core.batch import Batch, Counts, Recipe, Source, Status
from batchmill.core.eta import Eta
from batchmill.core.failure import Failure
from batchmill.core.rowset import row_range
from batchmill.core.shard import Progress, Shard, State, Tally
from batchmill.service.inspect import View


def shard(n: int, state: State, **facts: object) -> Shard:
    rows = row_range((n - 1) * 10_000, 10_000)
    facts = {"provider": "sim", "lane": "batch", "rows": rows, "state": state, **facts}
    if state not in (State.PLANNED, State.SUBMITTING):
        facts.setdefault("upstream_id", f"up_{n}")
    return Shard(id=f"batch_x-{n:04d}", batch_id="batch_x", n=n, **facts)


def view(*shards: Shard, **facts: object) -> View:
    batch = Batch(
        id="batch_x",
        name="listings",
        created_at=0.0,
        provider="sim",
        lane="batch",
        recipe=Recipe(model="echo"),
        source=Source(url="/t.csv", format="csv"),
        rows=40_000,
    )
    counts = Counts(
        total=40_000,
        succeeded=9_988,
        errored=12,
        pending=30_000,
        failures={Failure.SERVER: 12},
    )
    found = View(
        batch=batch,
        status=Status.IN_PROGRESS,
        counts=counts,
        shards=shards,
        elapsed_s=19.0,
        answered=14_000,
        rate=736.8,
        eta=Eta(130, 290, "rate so far"),
    )
    return replace(found, **facts)


MIXED = (
    shard(
        1, State.SETTLED, tally=Tally(succeeded=9_988, failed={Failure.SERVER: row_range(0, 12)})
    ),
    shard(2, State.IN_PROGRESS, progress=Progress(succeeded=4_000), note="slow since 14:02"),
    shard(3, State.SUBMITTING),
    shard(4, State.PLANNED),
)


def drawn(found: View, *, each_shard: bool = False, height: int = 40) -> str:
    from rich.console import Console

    from batchmill.cli.live_screen import LiveScreen

    console = Console(file=io.StringIO(), width=100, height=height, force_terminal=False)
    screen = LiveScreen(each_shard=each_shard, console=console)
    screen.close()
    console.file = io.StringIO()
    console.print(screen.frame(found))
    return console.file.getvalue()


def test_the_display_says_all_that_one_wants_to_know() -> None:
    told = drawn(view(*MIXED))
    for words in (
        *("batch_x", "listings", "sim/echo · batch lane · 40,000 rows", "35%"),
        *(
            "14,000 of 40,000 answered",
            "9,988 succeeded · 12 errored · 26,000 to go",
            "0:19 elapsed",
        ),
        *("2–5 min left (rate so far)", "server 12", "slow since 14:02"),
        "1 planned · 1 submitting · 1 in progress · 1 settled",
    ):
        assert words in told


def test_each_shard_has_its_line_those_at_work_first() -> None:
    lines = drawn(view(*MIXED), each_shard=True).splitlines()
    shown = [line.split()[0] for line in lines if line.startswith("000")]
    assert shown == ["0002", "0003", "0004", "0001"]
    two = next(line for line in lines if line.startswith("0002"))
    for words in ("sim/batch", "in progress", "10,000 rows", "4,000 answered", "up_2", "slow"):
        assert words in two


def test_more_shards_than_a_terminal_has_lines_are_counted() -> None:
    many = tuple(shard(n, State.PLANNED) for n in range(1, 101))
    told = drawn(view(*many), each_shard=True, height=24)
    assert len(told.splitlines()) < 24
    assert "further shards" in told


@pytest.mark.parametrize(
    ("shards", "said"),
    [
        (
            [State.IN_PROGRESS] * 12 + [State.PLANNED] * 28,
            (
                "12 of 40 shards are submitted and go on upstream; 28 wait until a batchmill "
                "process runs again: batchmill resume batch_x (or batchmill work)."
            ),
        ),
        (
            [State.SETTLED] * 2 + [State.COLLECTING] + [State.PLANNED],
            "1 of 4 shards is submitted and goes on upstream (2 done before); 1 waits until",
        ),
        ([State.IN_PROGRESS], "1 of 1 shard is submitted and goes on upstream; their answers"),
        ([State.IN_PROGRESS] * 3, "3 of 3 shards are submitted and go on upstream; their answers"),
        (
            [State.SUBMITTING] + [State.PLANNED] * 2,
            (
                "No shard is upstream; 1 in the middle of being submitted, to be looked up first; "
                "2 of 3 wait until"
            ),
        ),
    ],
)
def test_one_sentence_says_what_goes_on_and_what_does_not(shards: list[State], said: str) -> None:
    found = view(*(shard(n, state) for n, state in enumerate(shards, 1)))
    told = text.interrupted(found, moved_by_other=False)
    assert told.startswith("stopped watching batch_x. ")
    assert said in told


def test_the_live_lane_stands_still_and_keeps_what_is_finished() -> None:
    found = view(shard(1, State.IN_PROGRESS, lane="live"))
    found = replace(found, batch=replace(found.batch, lane="live"))
    told = text.interrupted(found, moved_by_other=False)
    assert told == (
        "batch_x stands still until a batchmill process runs again: batchmill resume batch_x "
        "(or batchmill work); finished and kept: 14,000 of 40,000 rows."
    )


def test_only_after_an_interrupt_the_next_one_is_said_to_leave_at_once() -> None:
    assert "Ctrl-C again leaves at once" in text.draining(2, interrupted=True)
    told = text.draining(2, interrupted=False)
    assert told.startswith("waiting for 2 answers of other batches, already asked for and paid;")
    assert "again leaves" not in told


@pytest.mark.parametrize(
    ("words", "about"),
    [
        ("The model `x` does not exist", True),
        ("echo is not available in your region", True),
        ("Incorrect API key provided", False),
    ],
)
def test_a_hold_about_the_model_says_that_a_batch_keeps_its_model(words: str, about: bool) -> None:
    found = view(*MIXED).batch
    told = text.held(replace(found, held=words))
    assert ("put this one away with: batchmill cancel batch_x" in told) is about
    assert ("batch_x. If the model's name is wrong: run" in told) is about
    assert "batchmill resume batch_x" in told


def test_what_another_process_moves_goes_on() -> None:
    told = text.interrupted(view(*MIXED), moved_by_other=True)
    assert "another batchmill process goes on moving it" in told


def test_plain_lines_come_when_there_is_news(capsys: pytest.CaptureFixture[str]) -> None:
    from batchmill.cli.screen import PlainLines

    screen = PlainLines()
    for elapsed_s, answered in ((0.0, 0), (1.0, 5), (6.0, 5), (7.0, 9), (12.0, 9), (30.0, 9)):
        screen.show(view(*MIXED, elapsed_s=elapsed_s, answered=answered))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "batch_x: 40,000 rows in 4 shards for sim/echo (batch lane)"
    assert lines[1] == "slow since 14:02"
    assert lines[3].startswith("9 of 40,000 answered")
    assert len(lines) == 4
    assert "pending" not in " ".join(lines)


def test_the_receipt_names_each_failure_and_the_command_that_helps() -> None:
    counts = Counts(
        total=100,
        succeeded=90,
        errored=10,
        failures={Failure.SERVER: 4, Failure.TOO_LONG: 6},
        retried=20,
    )
    lines = text.receipt(view(status=Status.COMPLETED, counts=counts, eta=None), "/o.csv")
    told = "\n".join(lines)
    for words in (
        *("server 4 – the provider's trouble", "too_long 6 – shorten the row"),
        *("20 beyond the first", "price unknown", "/o.csv", "100: 90 succeeded · 10 errored"),
        "batchmill retry batch_x --class server",
    ):
        assert words in told


DEAD = "endpoint http://gpu1/v1 does not answer since 14:02: connection refused"


def told(capsys: pytest.CaptureFixture[str], *views: View) -> list[str]:
    """Return the plain lines after the first that are said when the batch stands so."""
    from batchmill.cli.screen import PlainLines

    screen = PlainLines()
    for found in views:
        screen.show(found)
    return capsys.readouterr().err.splitlines()[1:]


def noted(elapsed_s: float, *notes: str) -> View:
    shards = [shard(n, State.IN_PROGRESS, note=note) for n, note in enumerate(notes, 1)]
    return view(*shards, elapsed_s=elapsed_s)


def test_each_trouble_is_said_once_whatever_its_clock_says(
    capsys: pytest.CaptureFixture[str],
) -> None:
    later = DEAD.replace("14:02", "14:09:31")
    views = [noted(0, DEAD, DEAD), noted(6, later, later), noted(12, "", ""), noted(18, DEAD, DEAD)]
    assert told(capsys, *views) == [DEAD]


def test_troubles_are_said_one_at_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    notes = [f"trouble {n}" for n in "abc"]
    views = [noted(s, *notes) for s in range(8)]
    assert told(capsys, *views) == ["trouble a", "trouble b"]


def test_why_a_batch_is_held_is_no_further_note(capsys: pytest.CaptureFixture[str]) -> None:
    found = noted(0, "the key is wrong")
    held = replace(found, batch=replace(found.batch, held="the key is wrong"))
    assert told(capsys, held) == []


def test_the_display_shows_the_newest_trouble() -> None:
    from batchmill.cli.waits import Notes

    notes = Notes()
    assert notes.current(noted(0, "b is slow")) == ["b is slow"]
    assert notes.current(noted(1, "a is slow", "b is slow")) == ["b is slow", "a is slow"]
    assert notes.current(noted(2, "", "b is slow")) == ["b is slow"]
    assert notes.current(noted(3, "a is slow", "b is slow"))[-1] == "a is slow"
    assert "(1 other note) b is slow" in drawn(noted(0, "a is slow", "b is slow"))
    assert "that is why" in drawn(noted(0, "long " * 20 + "that is why"))


def test_why_a_batch_was_held_is_no_news_once_that_is_ended_but_is_if_it_comes_back() -> None:
    from batchmill.cli.waits import Notes

    notes = Notes(over="the key is wrong")
    assert notes.current(noted(0, "the key is wrong", "b is slow")) == ["b is slow"]
    assert notes.current(noted(1, "", "")) == []
    assert notes.current(noted(2, "the key is wrong")) == ["the key is wrong"]


def again(*, due_at: float, **facts: object) -> View:
    """Forty-four rows, of which five failed and wait."""
    failed = facts.pop("failed", {Failure.SERVER: row_range(3, 5)})
    first = shard(1, State.SETTLED, rows=row_range(0, 44), tally=Tally(succeeded=39, failed=failed))
    second = shard(2, State.PLANNED, rows=row_range(3, 5), attempt=2, due_at=due_at)
    counts = Counts(total=44, succeeded=39, pending=5)
    return view(first, second, counts=counts, answered=39, **facts)


def test_rows_that_wait_for_their_next_offer_are_told_with_the_reason() -> None:
    from batchmill.cli.waits import offers

    said = "5 rows wait to be offered again (server), next in 8 s"
    assert offers(again(due_at=26.4)) == said
    assert said in drawn(again(due_at=26.4))
    assert "39 succeeded · 5 to go" in drawn(again(due_at=26.4))
    assert offers(again(due_at=18.0)) == ""
    mixed = {Failure.SERVER: row_range(3, 2), Failure.RATE_LIMITED: row_range(5, 3)}
    assert "again (rate_limited 3, server 2), next" in offers(again(due_at=26.4, failed=mixed))
    unknown = {Failure.SERVER: row_range(3, 2)}
    assert "offered again, next in" in offers(again(due_at=26.4, failed=unknown))
    assert offers(again(due_at=26.4, stalled_since=1.0)).endswith("again (server)")
    assert " left" in drawn(again(due_at=18.0))
    assert " left" not in drawn(again(due_at=26.4))


def test_the_last_failure_of_a_row_is_the_one_it_waits_for() -> None:
    from batchmill.cli.waits import offers

    found = again(due_at=26.4)
    first, second = found.shards
    second = replace(
        second, state=State.SETTLED, tally=Tally(failed={Failure.QUOTA: row_range(3, 5)})
    )
    third = replace(second, n=3, state=State.PLANNED, tally=Tally(), attempt=3)
    assert "(quota)" in offers(replace(found, shards=(first, second, third)))


def test_what_waits_is_said_in_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    begun = view(shard(1, State.IN_PROGRESS), elapsed_s=0.0, answered=0)
    (line,) = told(capsys, begun, again(due_at=26.4))
    assert line.startswith("39 of 44 answered · 39 succeeded · 5 to go · 0:19 elapsed")
    assert line.endswith("5 rows wait to be offered again (server), next in 8 s")


def test_the_bar_needs_no_colours() -> None:
    from batchmill.cli.live_screen import BAR_CELLS, bar

    drawn = bar(view(*MIXED)).plain[:BAR_CELLS]
    done = 14_000 * BAR_CELLS // 40_000
    assert drawn == "━" * done + "·" * (BAR_CELLS - done)


def paced(*looks: tuple[float, int], shards: tuple[Shard, ...] = MIXED) -> str:
    from batchmill.cli.pace import Pace

    pace = Pace()
    found = view(*shards)
    for elapsed_s, answered in looks:
        found = view(*shards, elapsed_s=elapsed_s, answered=answered)
        pace.look(found)
    return pace.now(found)


def test_a_speed_is_of_what_was_seen_here_and_of_ten_rows_at_least() -> None:
    assert paced((0.0, 0), (10.0, 200)) == "20 rows/s"
    assert paced((0.0, 0), (10.0, 9)) == ""
    assert paced((3600.0, 5000), (3610.0, 5200)) == "20 rows/s"
    assert paced((0.0, 0)) == ""


def test_a_pause_ends_a_speed() -> None:
    from batchmill.cli.pace import Pace

    pace = Pace()
    pace.look(view(*MIXED, elapsed_s=0.0, answered=0))
    pace.look(again(due_at=400.0))
    assert pace.now(again(due_at=400.0)) == ""
    over = view(*again(due_at=0).shards[:1], status=Status.COMPLETED, elapsed_s=500.0, answered=44)
    pace.look(over)
    assert pace.now(over) == ""
    assert pace.overall(over) == ""


def test_the_receipt_offers_truncated_rows_more_room() -> None:
    counts = Counts(total=9, succeeded=8, errored=1, failures={Failure.TRUNCATED: 1})
    lines = text.receipt(view(status=Status.COMPLETED, counts=counts, eta=None), "/o.csv")
    assert lines[-1].endswith("batchmill retry batch_x --class truncated --max-tokens N")
