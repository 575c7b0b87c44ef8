"""`batchmill providers`: who can be asked, and what each of them still needs."""

from typing import TYPE_CHECKING, Any

import click

from batchmill.cli import data, words
from batchmill.cli.house import in_market
from batchmill.errors import UserError

if TYPE_CHECKING:
    from batchmill.settings import Settings
    from batchmill.wiring import Market

CELLS_MAX = 100


@click.command("providers")
@click.option("--json", is_flag=True, help="As data.")
def providers_command(json: bool) -> int:
    """List who can be asked, and what each of them still needs."""

    async def work(_: "Settings", market: "Market") -> int:
        found = [_look_at(market, name) for name in market.names()]
        if json:
            click.echo(data.page(found))
            return 0
        for i, line in enumerate(_table(found)):
            click.echo(click.style(line, dim=True) if i == 0 else line)
        click.echo()
        click.echo("ROWS and SIZE: the most that one upstream batch takes.")
        return 0

    return in_market(work)


def _look_at(market: "Market", name: str) -> dict[str, Any]:
    try:
        spec, missing = market.spec(name), market.missing(name)
        limits, models = market.limits(name), spec.models(market.knobs(name))
        variable = market.key_variable(name)
    except UserError as error:  # one that cannot be used must not hide the others
        return {"provider": name, "title": "", "ready": False, "missing": str(error)}
    return {
        "provider": name,
        "title": spec.title,
        "lanes": list(spec.lanes),
        "ready": missing is None,
        "missing": missing,
        "key_variable": variable,
        "key_found": bool(market.knobs(name).key) if variable else None,
        "base_url": market.knobs(name).base_url or None,
        "models": None if models is None else list(models),
        "dialects": list(spec.dialects),
        "windows": list(spec.windows),
        "requests_max": limits.requests_max,
        "bytes_max": limits.bytes_max,
        "found_by": spec.found_by,
        "free": spec.free,
        "discount": None,
    }


def _table(found: list[dict[str, Any]]) -> list[str]:
    """Return the lines of a table that fits; what is long comes last, and is wrapped."""
    heads = ("PROVIDER", "LANES", "READY", "ROWS", "SIZE")
    table = words.columns([heads, *(_cells(one) for one in found)], right=(3, 4))
    begins = max(words.width(line) for line in table) + 2
    titles = ["WHAT IT IS", *(one["title"] or one["missing"] for one in found)]
    lines: list[str] = []
    for line, title in zip(table, titles, strict=True):
        first, *rest = words.wrapped(title, first=begins, cells=CELLS_MAX)
        lines.append((line + " " * (begins - words.width(line)) + first).rstrip())
        lines += [" " * begins + more for more in rest]
    return lines


def _cells(one: dict[str, Any]) -> tuple[str, ...]:
    if "lanes" not in one:
        return (one["provider"], "–", "no", "", "")
    return (
        one["provider"],
        ", ".join(one["lanes"]),
        one["missing"] or ("key found" if one["key_found"] else "no key needed"),
        words.number(one["requests_max"]),
        words.size(one["bytes_max"]),
    )
