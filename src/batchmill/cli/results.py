"""`batchmill results`: write the answers that are there."""

from typing import TYPE_CHECKING

import click

from batchmill.cli import words
from batchmill.cli.house import Stop, in_house
from batchmill.cli.screen import screen

if TYPE_CHECKING:
    from batchmill.wiring import House


@click.command("results")
@click.argument("batch", metavar="ID")
@click.option("-o", "--output", metavar="OUT", help="Where to; `-` is standard output.")
@click.option("--partial", is_flag=True, help="Write what there is; open rows get no outcome.")
@click.option("--answers-only", is_flag=True, help="Our columns alone: the table may have changed.")
@click.option("--force", is_flag=True, help="Replace OUT if it is there already.")
def results_command(
    batch: str, output: str | None, partial: bool, answers_only: bool, force: bool
) -> int:
    """
    Write the table of a batch with its answers.

    Without -o it goes where its `run` wanted it. Works on nothing and waits for nothing.
    """

    async def work(house: "House", _: Stop) -> int:
        from batchmill.cli import endings
        from batchmill.errors import Conflict, InvalidTarget
        from batchmill.rows.places import shown
        from batchmill.rows.target import check_target
        from batchmill.service.find import find

        batch_id = await find(house.store, batch)
        view = await house.inspector.view(batch_id)
        if not view.finished and not partial:
            raise Conflict(
                f"{batch_id} is {view.status}: {words.number(view.counts.pending)} of "
                f"{words.plural(view.counts.total, 'row')} not finished. Wait for them with "
                f"batchmill resume {batch_id}, or say --partial for what there is."
            )
        out = endings.place(output) or view.batch.target
        if out is None:
            raise InvalidTarget(f"{batch_id} names no place for its answers: say -o OUT.")
        check_target(out, view.batch.source, house.blobs, batch_id=batch_id, force=force)
        shows = screen()
        try:
            written = await endings.write(
                house, view, out, shows, force=force, partial=partial, answers_only=answers_only
            )
        finally:
            shows.close()
        if written != "-":
            click.echo(f"{shown(written)}: {words.plural(view.counts.total, 'row')}", err=True)
        return endings.status_of(view) if view.finished else 0

    return in_house(work)
