"""`batchmill watch`, `resume` and `retry`: wait for a batch that is there already."""

from typing import TYPE_CHECKING, Any

import click

from batchmill.cli import CALLER_MUST_ACT, text, words
from batchmill.cli.follow import conclude, follow
from batchmill.cli.house import Stop, in_house
from batchmill.cli.screen import Screen, screen
from batchmill.core.failure import Failure

if TYPE_CHECKING:
    from batchmill.wiring import House

ID = click.argument("batch", metavar="ID")
JSON = click.option("--json", is_flag=True, help="Progress as JSON lines on standard output.")
SHARDS = click.option("--shards", is_flag=True, help="Progress with one line for each shard.")
OUT = click.option("-o", "--output", metavar="OUT", help="Another place than its `run` named.")
FORCE = click.option("--force", is_flag=True, help="Replace OUT if it is there already.")


@click.command("watch")
@ID
@JSON
@SHARDS
def watch_command(batch: str, json: bool, shards: bool) -> int:
    """
    Watch a batch until it is finished; never works on it.

    Nothing is written, and Ctrl-C changes nothing but what you see. `resume` writes the answers.
    """

    async def work(house: "House", stop: Stop) -> int:
        from batchmill.service.find import find

        shown = screen(json=json, each_shard=shards)
        try:
            batch_id = await find(house.store, batch)
            view = await follow(house, batch_id, shown, stop, work=False)
            return await conclude(house, view, shown, interrupted=stop.wanted, out=None)
        finally:
            shown.close()

    return in_house(work)


@click.command("resume")
@ID
@JSON
@SHARDS
@OUT
@FORCE
def resume_command(batch: str, json: bool, shards: bool, output: str | None, force: bool) -> int:
    """
    Go on with a batch, wait for it and write its answers.

    A batch that was held goes on; one that is finished is written at once. The exit status is that
    of its `run`.
    """

    async def work(house: "House", stop: Stop) -> int:
        from batchmill.service.find import find
        from batchmill.service.plan import resume

        batch_id = await find(house.store, batch)
        batch_ = await house.store.batch(batch_id)
        await resume(house.store, batch_id)
        shown = screen(json=json, each_shard=shards, over=batch_.held)
        shown.say(f"{batch_id}: {text.table(batch_)}")
        return await _finish(house, stop, batch_id, shown, output=output, force=force)

    _refuse_two_on_stdout(json, output)
    return in_house(work)


@click.command("retry")
@ID
@click.option(
    "--class",
    "classes",
    multiple=True,
    metavar="CLASS",
    type=click.Choice([failure.value for failure in Failure]),
    help="Only rows that failed in this class, e.g. server; may be given again.",
)
@click.option(
    "--max-tokens",
    type=click.IntRange(min=1),
    metavar="N",
    help="A larger limit for rows that were truncated.",
)
@click.option("--detach", is_flag=True, help="Plan it and do not wait for it.")
@JSON
@SHARDS
@OUT
@FORCE
def retry_command(
    batch: str, classes: tuple[str, ...], max_tokens: int | None, detach: bool, **asked: Any
) -> int:
    """
    Offer the failed rows of a batch again, wait for it and write its answers.

    The rows are bought again, as they were asked for; their later answers replace the earlier. Rows
    of a batch that was cancelled count as failed.
    """

    async def work(house: "House", stop: Stop) -> int:
        from batchmill.service.find import find
        from batchmill.service.plan import resume, retry

        batch_id = await find(house.store, batch)
        chosen = [Failure(name) for name in classes] or None
        before = await house.store.batch(batch_id)
        fewest = house.market.limits(before.provider).requests_min
        rows = await retry(
            house.store,
            house.clock,
            batch_id,
            chosen,
            max_tokens=max_tokens,
            requests_min=fewest,
        )
        of = f" of class {', '.join(classes)}" if classes else ""
        what = words.plural(rows, "row") if rows else f"no failed row{of}"
        click.echo(f"{batch_id}: {what} to offer again.", err=True)
        if not rows and before.held and not (await house.inspector.view(batch_id)).finished:
            # To go on would buy all that waits, which nobody asked for here.
            click.echo(text.held(before), err=True)
            return CALLER_MUST_ACT
        await resume(house.store, batch_id)
        if detach:
            click.echo(f"Go on with it: batchmill resume {batch_id}", err=True)
            return 0
        shown = screen(json=asked["json"], each_shard=asked["shards"], over=before.held)
        return await _finish(
            house, stop, batch_id, shown, output=asked["output"], force=asked["force"]
        )

    _refuse_two_on_stdout(asked["json"], asked["output"])
    return in_house(work)


def _refuse_two_on_stdout(json: bool, output: str | None) -> None:
    if json and output == "-":
        raise click.UsageError("--json and -o - both want standard output: keep one of them.")


async def _finish(
    house: "House", stop: Stop, batch_id: str, shown: Screen, *, output: str | None, force: bool
) -> int:
    """Work on a batch, or wait for who does; then write its answers."""
    from batchmill.cli.endings import place
    from batchmill.rows.target import check_target

    try:
        batch = await house.store.batch(batch_id)
        out = place(output) or batch.target
        if out is not None:
            check_target(out, batch.source, house.blobs, batch_id=batch_id, force=force)
        view = await follow(house, batch_id, shown, stop, work=True)
        return await conclude(house, view, shown, interrupted=stop.wanted, out=out, force=force)
    finally:
        shown.close()
