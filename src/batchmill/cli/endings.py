"""How a batch ends for the one who waited: the answers written, the receipt, the exit status."""

import asyncio
from functools import partial as partial_of
from typing import TYPE_CHECKING

import click

from batchmill.cli import SOME_ROWS_FAILED, text
from batchmill.cli.screen import JsonLines, Screen
from batchmill.errors import InvalidTarget, StorageTrouble

if TYPE_CHECKING:
    from batchmill.service.inspect import View
    from batchmill.wiring import House


def status_of(view: "View") -> int:
    return SOME_ROWS_FAILED if view.counts.unsuccessful else 0


def place(output: str | None) -> str | None:
    """Return where *output* is, from wherever the batch is resumed; `-` stays what it is."""
    from batchmill.rows.places import absolute

    return absolute(output) if output and output != "-" else output


async def write(
    house: "House",
    view: "View",
    out: str,
    screen: Screen,
    *,
    force: bool = False,
    partial: bool = False,
    answers_only: bool = False,
) -> str:
    """Join the table with its answers into *out*; return where it was written."""
    from batchmill.rows.join import join

    ranges = await house.store.ranges(view.batch.id)
    if out == "-":
        screen.close()  # answers and progress may share one terminal
    work = partial_of(
        join,
        house.blobs,
        view.batch,
        ranges,
        view.shards,
        out,
        force=force,
        partial=partial,
        answers_only=answers_only,
    )
    joining = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        while not (await asyncio.wait({joining}, timeout=screen.every_s))[0]:
            screen.writing(view, out)
        joined = joining.result()
    except (InvalidTarget, StorageTrouble) as error:
        # Nothing is lost: the answers are here, only the place is wrong.
        raise type(error)(
            f"{error} The answers are safe: batchmill results {view.batch.id} -o OUT"
        ) from error
    return joined.target


def tell(view: "View", screen: Screen, written: str | None, status: int) -> None:
    """Print the receipt; to stderr where stdout carries the answers."""
    screen.close()
    if isinstance(screen, JsonLines):
        screen.end(view, written, status)
        return
    for line in text.receipt(view, written, screen.pace.overall(view)):
        click.echo(line, err=written == "-")
