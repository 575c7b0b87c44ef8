"""`batchmill cancel`: wish that a batch stops."""

from typing import TYPE_CHECKING

import click

from batchmill.cli import words
from batchmill.cli.house import Stop, in_house

if TYPE_CHECKING:
    from batchmill.wiring import House


@click.command("cancel")
@click.argument("batch", metavar="ID")
def cancel_command(batch: str) -> int:
    """
    Ask that a batch stops; what is finished is kept.

    What was answered was paid for, and is in the results. What no provider has yet is not offered.
    """

    async def work(house: "House", _: Stop) -> int:
        from batchmill.service.cancel import cancel
        from batchmill.service.find import find

        batch_id = await find(house.store, batch)
        await cancel(house.store, batch_id)
        view = await house.inspector.view(batch_id)
        if view.finished:
            click.echo(f"{batch_id} is {view.status}. Its answers: batchmill results {batch_id}")
            return 0
        click.echo(
            f"{batch_id} will stop: {view.counts.pending:,} of "
            f"{words.plural(view.counts.total, 'row')} not finished. Answers that were paid for "
            "are kept."
        )
        if view.stalled_since is not None:
            click.echo(
                "No batchmill process is running to carry this out. "
                f"Run: batchmill resume {batch_id} (or batchmill work)"
            )
        return 0

    return in_house(work)
