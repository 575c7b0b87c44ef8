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
        *("9,988 succeeded · 12 errored · 30,000 pending", "737 rows/s · 0:19 elapsed"),
        *("2–5 min (rate so far)", "server 12", "slow since 14:02"),
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
                "12 of 40 shards are submitted and go on upstream; 28 wait until you run: "
                "batchmill resume batch_x (or keep `batchmill work` running)."
            ),
        ),
        (
            [State.SETTLED] * 2 + [State.COLLECTING] + [State.PLANNED],
            "1 of 4 shards is submitted and goes on upstream (2 done before); 1 waits until",
        ),
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
        "batch_x stands still until you run: batchmill resume batch_x (or keep `batchmill work` "
        "running); 14,000 of 40,000 rows are finished and kept."
    )


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
    assert len(lines) == 3


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
        *("20 beyond the first", "price not known", "/o.csv", "100: 90 succeeded · 10 errored"),
        "batchmill retry batch_x --class server",
    ):
        assert words in told
