"""`batchmill cancel`: wish that a batch stops."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from batchmill.cli import words
from batchmill.cli.house import Stop, in_house
from batchmill.core.shard import State

if TYPE_CHECKING:
    from batchmill.service.inspect import View
    from batchmill.wiring import House


def _run_to_their_end(house: "House", view: "View") -> Iterator[str]:
    """Say of each provider that cannot cancel how many rows it will answer, and be paid for."""
    away: Counter[str] = Counter()
    for shard in view.shards:
        if shard.lane == "batch" and shard.state not in (State.PLANNED, State.SETTLED):
            away[shard.provider] += len(shard.rows)
    for provider, rows in away.items():
        if not house.market.spec(provider).cancels:
            yield (
                f"{provider} cannot cancel: nothing more is offered, but "
                f"{words.plural(rows, 'row')} that it has will run to the end, and be paid for."
            )


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
        for sentence in _run_to_their_end(house, view):
            click.echo(sentence)
        if view.stalled_since is not None:
            click.echo(
                "No batchmill process is running to carry this out. "
                f"Run: batchmill resume {batch_id} (or batchmill work)"
            )
        return 0

    return in_house(work)
