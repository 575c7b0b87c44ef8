"""`batchmill quote`: what a table would come to. Nothing is sent, spent or kept."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import click

from batchmill.cli import INTERRUPTED, data, text, words
from batchmill.cli.house import in_market, listening
from batchmill.cli.recipe import Asked, asks_for_a_recipe, check, describe, recipe, target
from batchmill.cli.screen import PlainLines, screen
from batchmill.errors import StorageTrouble

if TYPE_CHECKING:
    from batchmill.ports import Cutting
    from batchmill.service.quote import Quote
    from batchmill.wiring import Market, Named

KEPT = "kept/"


class Nowhere:
    """`ports.Blobs` that measures and forgets; only standard input is kept, in memory or a file."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    @contextmanager
    def create(self, key: str) -> Iterator[BinaryIO]:
        if not key.startswith(KEPT):
            yield cast("BinaryIO", _Hole())
            return
        file = io.BytesIO()
        yield file
        self._kept[key] = file.getvalue()

    @contextmanager
    def open(self, key: str) -> Iterator[BinaryIO]:
        if key not in self._kept:
            raise StorageTrouble(f"{key}: a quote keeps nothing.")
        yield io.BytesIO(self._kept[key])

    def exists(self, key: str) -> bool:
        return key in self._kept

    def list(self, prefix: str) -> "list[str]":
        return [key for key in self._kept if key.startswith(prefix)]

    def delete(self, prefix: str) -> None:
        for key in self.list(prefix):
            del self._kept[key]


class _Hole(io.RawIOBase):
    """Takes everything, keeps nothing."""

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        return len(data)


@click.command("quote")
@asks_for_a_recipe
@click.option("--json", is_flag=True, help="As data.")
@click.option("--name", hidden=True)
@click.option("--detach", is_flag=True, hidden=True)
@click.option("--shards", is_flag=True, hidden=True)
def quote_command(json: bool, name: str | None, detach: bool, shards: bool, **asked: Any) -> int:
    """
    Say what TABLE would come to; sends, spends and keeps nothing.

    Takes the flags of `run`, and renders every row as it would: what is wrong shows here.
    """
    wanted = Asked(**asked)
    return in_market(lambda settings, market: _quote(market, wanted, json=json))


async def _quote(market: "Market", asked: Asked, *, json: bool) -> int:
    from batchmill.cli.reading import Reading, StoppedReadingError
    from batchmill.rows.segments import Segments
    from batchmill.service.quote import quote
    from batchmill.wiring import web_for

    named, blobs = market.named(asked.model, asked.lane), Nowhere()
    limits = market.limits(named.provider, named.lane)

    def work() -> "tuple[Cutting, str]":
        source = describe(asked, blobs, f"{KEPT}stdin")
        wanted = recipe(asked, named, source, blobs)
        check(wanted, source, blobs)
        if asked.output:  # who only asks for a price is not told that the last answers are there
            target(asked, source, blobs)
        rows = Segments(blobs, web=web_for(market.settings, market.clock))
        return rows.cut("quote", wanted, source, limits, reading.hear), wanted.dialect

    shown = PlainLines() if json else screen()
    try:
        with listening() as stop:
            reading = Reading(market.clock, stop, shown, "")
            cutting, dialect = await reading.watched(work)
    except StoppedReadingError:
        return INTERRUPTED
    finally:
        shown.close()
    found = quote(
        cutting,
        named.provider,
        named.lane,
        named.model,
        asked.max_tokens,
        limits.requests_min,
        dialect=dialect,
    )
    if json:
        click.echo(data.page(_as_data(found)))
        return 0
    for line in words.columns(_facts(found, named), indent=2):
        click.echo(line)
    if found.live_rows:
        sentence = text.through_live(found.live_rows, named.provider, limits.requests_min)
        click.echo(f"\n  {sentence}")
    if sentence := text.long_window(named, asked.window):
        click.echo(f"\n  {sentence}")
    return 0


def _as_data(found: "Quote") -> dict[str, Any]:
    return {
        "rows": found.rows,
        "left_out": found.left_out,
        "live_rows": found.live_rows,
        "size_bytes": found.size_bytes,
        "input_tokens": found.input_tokens,
        "output_tokens_max": found.output_tokens_max,
        "shards": found.shards,
        "provider": found.provider,
        "lane": found.lane,
        "model": found.model,
    }


def _facts(found: "Quote", named: "Named") -> list[tuple[str, str]]:
    facts = [
        ("model", f"{found.provider}/{found.model} · {found.lane} lane · {named.spec.title}"),
        ("rows", words.number(found.rows)),
        *_left_out(found.left_out),
        ("size", f"{words.size(found.size_bytes)} of requests"),
        ("tokens in", f"about {words.number(found.input_tokens)}, estimated from bytes"),
        ("tokens out", _out(found)),
        ("shards", words.number(found.shards)),
    ]
    if found.first_body:
        first = words.shorten(found.first_body.decode("utf-8", "replace"), 300)
        facts.append(("first row", first))
    return facts


def _out(found: "Quote") -> str:
    if found.each_says:
        return "as each request says"
    if found.output_tokens_max is None:
        return "no limit set (--max-tokens)"
    most = f"at most {words.number(found.output_tokens_max)}"
    if not found.rows:
        return most
    each = words.number(found.output_tokens_max // found.rows)
    return f"{most}, {each} for each row"


def _left_out(rows: int) -> list[tuple[str, str]]:
    of = f"{words.plural(rows, 'row')} whose image cannot be read: not sent, not counted above"
    return [("left out", of)] if rows else []
