"""What is said about a batch, in plain sentences and lines: no colour, no terminal."""

import os
from collections import Counter
from typing import TYPE_CHECKING

from batchmill.cli import spending, waits, words
from batchmill.cli.pace import Pace
from batchmill.core.failure import POLICIES, Failure
from batchmill.core.plan import LEFT_OUT
from batchmill.core.shard import Shard, State

if TYPE_CHECKING:
    from batchmill.core.batch import Batch
    from batchmill.service.inspect import View
    from batchmill.wiring import Named

#: Any of them, whatever it was started for: one process moves all batches of a home.
RUNS = "a batchmill process runs again:"
#: Classes in which buying a row once more, unchanged, may well end better.
WORTH_A_RETRY = frozenset(
    {
        Failure.SERVER,
        Failure.MISSING,
        Failure.RATE_LIMITED,
        Failure.QUOTA,
        Failure.SCHEMA,
        Failure.REFUSED,
        Failure.INVALID_MEDIA,
        Failure.CANARY,
        Failure.BUDGET,
        Failure.EXPIRED,
        Failure.CANCELED,
    }
)


def model(batch: "Batch") -> str:
    return f"{batch.provider}/{batch.recipe.model}"


def outcomes(view: "View") -> str:
    """Return `39,988 succeeded · 12 errored · 400 to go`, without the zeros."""
    counts = view.counts
    named = {
        "succeeded": counts.succeeded,
        "errored": counts.errored,
        "canceled": counts.canceled,
        "expired": counts.expired,
        "to go": counts.total - view.answered,
    }
    return words.by_name(named) or "no rows"


def states(view: "View") -> str:
    found = Counter(shard.state for shard in view.shards)
    return words.by_name({state.value.replace("_", " "): found[state] for state in State})


def answered(view: "View") -> str:
    return f"{words.number(view.answered)} of {words.number(view.counts.total)} answered"


def failures(view: "View") -> str:
    return " · ".join(f"{f} {words.number(n)}" for f, n in view.counts.failures.items())


def rows(view: "View") -> str:
    """Return `6: 6 succeeded`, or of an unfinished batch also how many have an answer."""
    if view.finished:
        return f"{words.number(view.counts.total)}: {outcomes(view)}"
    return f"{answered(view)} · {outcomes(view)}"


def time(view: "View", pace: Pace | None = None) -> str:
    """Return `1,204 rows/s · 0:19 elapsed · 12–25 s left (rate so far)`, or what is known of it."""
    parts = [pace.now(view) if pace else "", f"{words.stopwatch(view.elapsed_s)} elapsed"]
    # While nothing moves, the rate so far says nothing of the time left.
    if view.eta is not None and not waits.stands_still(view):
        parts.append(words.interval(view.eta, " left"))
    return " · ".join(part for part in parts if part)


def spent(view: "View") -> str:
    usage = view.counts.usage
    tokens = f"{words.number(usage.input_tokens)} in · {words.number(usage.output_tokens)} out"
    return f"{tokens} · {words.money(view.counts.cost_usd)}"


def begun(batch: "Batch", shards: int) -> str:
    return (
        f"{batch.id}: {words.plural(batch.rows, 'row')} in {words.plural(shards, 'shard')} "
        f"for {model(batch)} ({batch.lane} lane)"
    )


def interrupted(view: "View", *, moved_by_other: bool) -> str:
    """Say in one sentence what goes on without us, and what does not."""
    id = view.batch.id
    if moved_by_other:
        return (
            f"stopped watching {id}; another batchmill process goes on moving it. "
            f"Look again: batchmill watch {id}"
        )
    run = f"batchmill resume {id} (or batchmill work)"
    if view.batch.lane == "live":
        done = f"{words.number(view.answered)} of {words.plural(view.counts.total, 'row')}"
        return f"{id} stands still until {RUNS} {run}; finished and kept: {done}."
    return f"stopped watching {id}. {_upstream(view)} {run}."


def _upstream(view: "View") -> str:
    """Say how many shards go on upstream and how many wait here, up to what moves it on."""
    found = Counter(_whereabouts(shard) for shard in view.shards)
    total, away, here = len(view.shards), found["upstream"], found["here"]
    done = f" ({words.number(found['done'])} done before)" if found["done"] else ""
    doubt = (
        f"; {found['in doubt']} in the middle of being submitted, to be looked up first"
        if found["in doubt"]
        else ""
    )
    wait = "waits" if here == 1 else "wait"
    if not away:
        return f"No shard is upstream{done}{doubt}; {here} of {total} {wait} until {RUNS}"
    go = "is submitted and goes on" if away == 1 else "are submitted and go on"
    rest = f"{here} {wait} until" if here else "their answers are fetched when"
    of = words.plural(total, "shard")
    return f"{away} of {of} {go} upstream{done}{doubt}; {rest} {RUNS}"


def _whereabouts(shard: Shard) -> str:
    if shard.state is State.SETTLED:
        return "done"
    if shard.state is State.SUBMITTING:
        return "in doubt"
    return "upstream" if shard.upstream_id is not None else "here"


def through_live(rows: int, provider: str, fewest: int) -> str:
    """Say which rows are too few for a batch, and what comes of it."""
    go = "goes" if rows == 1 else "go"
    return (
        f"{words.plural(rows, 'row')} {go} through the live lane, at list price: a batch of "
        f"{provider} takes no fewer than {words.number(fewest)}."
    )


def held(batch: "Batch") -> str:
    """Return the provider's words, and what to do."""
    other = another_model(batch)
    return (
        f"{batch.id} is held: {batch.held.rstrip('.')}. Nothing more is offered until you have "
        f"mended that and run: batchmill resume {batch.id}{f'. {other}' if other else ''}"
    )


def another_model(batch: "Batch") -> str:
    """Say what to do where the hold may be about the model's name, which a batch keeps."""
    if "model" not in batch.held.lower() and batch.recipe.model not in batch.held:
        return ""
    return (
        "If the model's name is wrong: run the table again with the right --model, and put this "
        f"one away with: batchmill cancel {batch.id}"
    )


def long_window(named: "Named", window_s: float | None) -> str:
    """Say that a vendor's own window ends before the person's; empty where it does not."""
    longest = named.spec.windows[-1] if named.spec.windows else ""
    if named.lane != "batch" or not longest or (window_s or 0.0) <= words.window_s(longest):
        return ""
    return (
        f"{named.provider} ends a batch after {words.window(longest)} at the latest; rows without "
        "an answer by then are offered again until --window is over."
    )


def also_moves(others: "list[str]") -> str:
    """Say which other batches a process works on: all of its home that are not held."""
    what = words.plural(len(others), "other unfinished batch")
    which = f": {others[0]}" if len(others) == 1 else "; see batchmill list"
    return f"also moves {what}{which}"


def draining(waiting: int, *, interrupted: bool) -> str:
    """Say what is waited for at the end; after an interrupt it may be of this batch, too."""
    answers_ = words.plural(waiting, "answer")
    again = "those rows are then sent, and paid for, again."
    if interrupted:
        return f"waiting for {answers_} already asked for. Ctrl-C again leaves at once; {again}"
    return (
        f"waiting for {answers_} of other batches, already asked for and paid; Ctrl-C twice leaves "
        f"at once; {again}"
    )


def table(batch: "Batch") -> str:
    """Return what a batch was made of, as a person would say it."""
    from batchmill.rows.places import shown  # with it comes pyarrow

    url = batch.source.url
    return "a table of standard input" if url.startswith("spool:") else shown(url)


def place(out: str) -> str:
    """Return where answers go, as a person would say it."""
    from batchmill.rows.places import shown  # with it comes pyarrow

    return "standard output" if out == "-" else shown(out)


def answers(batch: "Batch") -> str:
    """Say where the answers of a finished batch are, or how to get them there."""
    if batch.target is None:
        return f"batchmill results {batch.id} -o OUT"
    from batchmill.rows.bucket import is_remote

    # To look into a bucket may take long, and need a key: that is not worth it here.
    if batch.target == "-" or is_remote(batch.target) or os.path.exists(batch.target):
        return place(batch.target)
    return f"not written yet: batchmill resume {batch.id} writes {place(batch.target)}"


def ended(view: "View") -> str:
    """Say in one line that a batch is finished, for whoever does not wait for its answers."""
    batch, got = view.batch, outcomes(view).replace(" · ", ", ")
    # What came in through the server names no OUT.
    how = f"resume {batch.id}" if batch.target else f"results {batch.id} -o OUT"
    said = f"{batch.id} finished: {words.plural(batch.rows, 'row')}, {got}"
    return f"{said}; its answers: batchmill {how}"


def receipt(view: "View", out: str | None, speed: str = "") -> list[str]:
    """Return what became of a batch and what it came to, line by line."""
    counts, batch = view.counts, view.batch
    named = f" “{batch.name}”" if batch.name else ""
    pairs = [("rows", rows(view))]
    pairs += [
        (
            "failures" if i == 0 else "",
            f"{f} {words.number(n)} – {POLICIES[f].hint}",
        )
        for i, (f, n) in enumerate(counts.failures.items())
    ]
    pairs += spending.facts(view)
    took = words.duration(view.elapsed_s)
    pairs.append(("time", f"{took} · {speed}" if speed else took))
    pairs.append(("answers", answers(batch) if out is None else place(out)))
    lines = [f"{batch.id}{named} {view.status.value} · {model(batch)}", ""]
    lines += words.columns(pairs, indent=2)
    if counts.unsuccessful:
        lines += ["", *what_helps(view)]
    return lines


def what_helps(view: "View") -> list[str]:
    """Say which command brings further the rows that did not succeed."""
    id, failed = view.batch.id, _can_be_sent(view)
    if Failure.DEADLINE in failed or (Failure.EXPIRED in failed and view.batch.deadline):
        return ["  The window was over: run the table again with a longer --window."]
    lines: list[str] = []
    worth = [failure for failure in failed if failure in WORTH_A_RETRY]
    if worth:
        few = len(worth) < len(failed)
        chosen = "".join(f" --class {failure}" for failure in worth) if few else ""
        lines.append(f"  Offer them again: batchmill retry {id}{chosen}")
    if Failure.TRUNCATED in failed:
        more = f"batchmill retry {id} --class truncated --max-tokens N"
        lines.append(f"  Let the truncated answers be longer: {more}")
    return lines or ["  Unchanged they would fail again: mend table or flags, and run it again."]


def _can_be_sent(view: "View") -> "dict[Failure, int]":
    """Return the failed rows by class, without those that were left out: no retry sends them."""
    failed = dict(view.counts.failures)
    for shard in view.shards:
        if shard.kept == LEFT_OUT:
            for failure, rows in shard.tally.failed.items():
                failed[failure] = failed.get(failure, 0) - len(rows)
    return {failure: n for failure, n in failed.items() if n > 0}
