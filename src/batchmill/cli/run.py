"""`batchmill run`: the main job, from a table to the same table with answers."""

from typing import TYPE_CHECKING, Any

import click

from batchmill.cli import INTERRUPTED, text
from batchmill.cli.follow import conclude, follow
from batchmill.cli.house import Stop, in_house
from batchmill.cli.reading import Reading, StoppedReadingError
from batchmill.cli.recipe import (
    Asked,
    asks_for_a_recipe,
    check,
    describe,
    may_replace,
    recipe,
    target,
)
from batchmill.cli.screen import JsonLines, Screen, screen

if TYPE_CHECKING:
    from batchmill.service.create import Draft
    from batchmill.wiring import House


@click.command("run")
@asks_for_a_recipe
@click.option("--name", default="", metavar="TEXT", help="What to call the batch in lists.")
@click.option("--detach", is_flag=True, help="Print the batch's id and do not wait for it.")
@click.option("--json", is_flag=True, help="Progress as JSON lines on standard output.")
@click.option("--shards", is_flag=True, help="Progress with one line for each shard.")
def run_command(name: str, detach: bool, json: bool, shards: bool, **flags: Any) -> int:
    """
    Answer every row of TABLE, and write the table with its answers.

    TABLE is a .csv, .tsv, .parquet or .jsonl file, a folder or a glob of them, local or s3://, or
    `-` for standard input. Without -o the answers go to TABLE.answers.csv (or .tsv …) beside it.

    Ctrl-C stops watching, never what a provider has already taken on. Whichever process works in a
    home moves all of its unfinished batches, not only its own.
    """
    asked = Asked(**flags)
    if json and asked.output == "-":
        raise click.UsageError("--json and -o - both want standard output: keep one of them.")

    async def work(house: "House", stop: Stop) -> int:
        shown = screen(json=json, each_shard=shards)
        try:
            draft = await _draft(house, stop, asked, shown, name)
            if asked.force:
                may_replace(draft.batch, house.blobs)  # said once, and good for a `resume` too
            _tell_of_live_rows(house, draft, shown)
            batch = await house.creator.accept(draft)
            if detach:
                return await _leave(house, batch.id, shown)
            view = await follow(house, batch.id, shown, stop, work=True)
            out = batch.target
            return await conclude(
                house, view, shown, interrupted=stop.wanted, out=out, force=asked.force
            )
        except StoppedReadingError:
            shown.close()
            shown.say("stopped while the table was being read: nothing was sent, nothing is kept.")
            return INTERRUPTED
        finally:
            shown.close()

    return in_house(work)


async def _draft(house: "House", stop: Stop, asked: Asked, shown: Screen, name: str) -> "Draft":
    """Look at everything that can be wrong, cheapest first; then cut the table."""
    from batchmill.errors import InvalidSetting, InvalidTarget
    from batchmill.service.create import Wish

    named = house.market.named(asked.model, asked.lane)
    house.market.supplier(named.provider, named.lane)
    if lacking := house.market.missing(named.provider, named.lane):
        raise InvalidSetting(f"provider {named.provider} cannot be used yet: {lacking}.")
    batch_id = house.ids.batch()

    def prepare() -> Wish:
        source = describe(asked, house.blobs, f"batches/{batch_id}/stdin")
        wanted = recipe(asked, named, source, house.blobs)
        check(wanted, source, house.blobs)
        out = target(asked, source, house.blobs)
        if out == "-" and isinstance(shown, JsonLines):
            raise InvalidTarget("--json needs standard output for itself: say -o OUT as well.")
        return Wish(
            batch_id=batch_id,
            provider=named.provider,
            lane=named.lane,
            recipe=wanted,
            source=source,
            target=out,
            window_s=asked.window,
            name=name,
        )

    if sentence := text.long_window(named, asked.window):
        shown.say(sentence)
    reading = Reading(house.clock, stop, shown, batch_id)
    try:
        wish = await reading.watched(prepare)
        draft = await reading.watched(lambda: house.creator.draft(wish, reading.hear))
        reading.tell()  # how long it took, from which whoever shows it counts on
        return draft
    except BaseException:
        house.rows.drop(batch_id)  # what standard input left behind
        raise


def _tell_of_live_rows(house: "House", draft: "Draft", shown: Screen) -> None:
    """Say before anything is bought what is bought at another price than one would think."""
    from batchmill.core import plan
    from batchmill.core.rowset import rows_of

    batch, left_out = draft.batch, rows_of(draft.cutting.unusable.keys())
    fewest = house.market.limits(batch.provider, batch.lane).requests_min
    if batch.lane == "batch" and (rows := plan.too_few(draft.ranges, fewest, left_out)):
        shown.say(text.through_live(rows, batch.provider, fewest))


async def _leave(house: "House", batch_id: str, shown: Screen) -> int:
    shown.close()
    click.echo(batch_id)
    alive, _ = await house.turn.last_seen()
    if not alive:
        shown.say(
            "accepted. No batchmill process is running, so nothing moves it yet: "
            f"keep `batchmill work` running, or run: batchmill resume {batch_id}"
        )
    else:
        shown.say(f"accepted. When it is finished: batchmill resume {batch_id}")
    return 0
