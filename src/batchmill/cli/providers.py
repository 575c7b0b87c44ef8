"""`batchmill providers`: who can be asked, on what terms, and what each of them still needs."""

from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import click

from batchmill.cli import data, words
from batchmill.cli.house import in_market
from batchmill.core.limits import MIB
from batchmill.errors import UserError

if TYPE_CHECKING:
    from batchmill.core.limits import Limits
    from batchmill.settings import Settings
    from batchmill.wiring import Market

CELLS_MAX = 100
HEADS = ("PROVIDER", "LANES", "WINDOW", "ROWS", "SIZE", "SAVES")
LEGEND = (
    "WINDOW: how long a vendor may take. ROWS and SIZE: the most that one upstream batch, or one "
    "live run, takes. SAVES: what the batch lane is cheaper by. Everything about one of them: "
    "batchmill providers NAME"
)


@click.command("providers")
@click.argument("name", required=False)
@click.option("--json", is_flag=True, help="As data.")
def providers_command(name: str | None, json: bool) -> int:
    """
    List who can be asked, on what terms, and what each of them still needs.

    With NAME, say everything about one of them.
    """

    async def work(_: "Settings", market: "Market") -> int:
        if name is not None:
            market.spec(name)  # raises with the nearest names
            one = look_at(market, name)
            for line in [data.page(one)] if json else _facts(one):
                click.echo(line)
            return 0
        found = [look_at(market, each) for each in market.names()]
        if json:
            click.echo(data.page(found))
            return 0
        for line in _table(found):
            click.echo(line)
        click.echo()
        for line in words.wrapped(LEGEND, first=0, cells=CELLS_MAX):
            click.echo(click.style(line, dim=True))
        return 0

    return in_market(work)


def look_at(market: "Market", name: str) -> dict[str, Any]:
    """Return everything that is known of a provider without asking it."""
    try:
        spec, missing = market.spec(name), market.missing(name)
        knobs, terms = market.knobs(name), market.terms(name)
        live = market.limits(name, "live") if "live" in spec.lanes else None
        models, variable = spec.models(knobs), market.key_variable(name)
        limits = market.limits(name)
    except UserError as error:  # one that cannot be used must not hide the others
        return {"provider": name, "title": "", "ready": False, "missing": str(error)}
    batch = "batch" in spec.lanes
    return {
        "provider": name,
        "title": spec.title,
        "lanes": list(spec.lanes),
        "ready": missing is None,
        "missing": missing,
        "key_variable": variable,
        "key_fallbacks": list(spec.key_fallbacks),
        "key_required": spec.key_required and variable is not None,
        "key_found": bool(knobs.key) if variable else None,
        "base_url": knobs.base_url or None,
        "models": None if models is None else list(models),
        "dialects": list(spec.dialects),
        "windows": [words.window(w) for w in spec.windows] if batch else [],
        "requests_min": limits.requests_min,
        "requests_max": limits.requests_max,
        "bytes_max": limits.bytes_max,
        "request_bytes_max": limits.request_bytes_max,
        "live": _limits_as_data(live),
        "found_by": spec.found_by,
        "free": spec.free,
        "discount": spec.discount or None,
        "price_list": terms.vendor,
        "poll_s": knobs.poll_s,
        "timeout_s": knobs.timeout_s,
        "find_after_s": knobs.find_after_s,
        "options": list(spec.options),
    }


def _limits_as_data(limits: "Limits | None") -> dict[str, int] | None:
    if limits is None:
        return None
    return {
        "requests_max": limits.requests_max,
        "bytes_max": limits.bytes_max,
        "request_bytes_max": limits.request_bytes_max,
    }


# -- the table: two lines for each, those that can be used first ------------------------------


def _table(found: list[dict[str, Any]]) -> list[str]:
    """Return the lines of a table that fits a hundred columns."""
    ordered = sorted(found, key=lambda one: (not one["ready"], one["provider"]))
    rows = words.columns([HEADS, *(_cells(one) for one in ordered)], right=(3, 4, 5))
    begins = max(words.width(row) for row in rows) + 2
    lines = [click.style(f"{rows[0]:<{begins}}A LOST SUBMISSION IS FOUND BY", dim=True)]
    for before, one, row in zip([None, *ordered], ordered, rows[1:], strict=False):
        if before is not None and before["ready"] and not one["ready"]:
            lines.append("")
        lines += _block(one, row, begins)
    return lines


def _block(one: dict[str, Any], row: str, begins: int) -> list[str]:
    """Put the row and what is said of the key on the left, and on the right the last column."""
    mark = "✓" if one["ready"] else "·"
    said = words.wrapped(_status(one), first=4, cells=begins - 2)
    said = [f"{mark if i == 0 else ' '} {line}" for i, line in enumerate(said)]
    right = words.wrapped(one.get("found_by", ""), first=begins, cells=CELLS_MAX)
    lines: list[str] = []
    for i, (left, more) in enumerate(zip_longest([row, *said], right, fillvalue="")):
        gap = " " * (begins - words.width(left) - (2 if i else 0))
        if i:
            left = "  " + click.style(left, fg="green" if one["ready"] else "yellow")
        else:
            left = click.style(one["provider"], bold=True) + left[len(one["provider"]) :]
        lines.append((left + gap + more).rstrip())
    return lines


def _cells(one: dict[str, Any]) -> tuple[str, ...]:
    if "lanes" not in one:
        return (one["provider"], "–", "", "", "", "")
    least = f"{one['requests_min']:,}–" if one["requests_min"] > 1 else ""
    return (
        one["provider"],
        ", ".join(one["lanes"]),
        words.windows(one["windows"]),
        least + words.number(one["requests_max"]),
        words.size(one["bytes_max"] // MIB * MIB),
        "free" if one["free"] else one["discount"] or "–",
    )


def _status(one: dict[str, Any]) -> str:
    """Say whether it can be used, and else what it needs."""
    if one["missing"]:
        return one["missing"]
    if one["key_found"]:
        return f"{one['key_variable']}: key found"
    return "no key needed" if not one["key_variable"] else f"no key needed; {one['key_variable']}"


# -- one of them -------------------------------------------------------------------------------


def _facts(one: dict[str, Any]) -> list[str]:
    facts = [("provider", one["provider"]), ("what it is", one["title"])]
    if "lanes" not in one:
        return words.columns([*facts[:1], ("missing", one["missing"])])
    facts.append(("state", f"needs: {one['missing']}" if one["missing"] else "can be used"))
    facts.append(("key", _key(one)))
    facts.append(("address", one["base_url"] or "–"))
    facts.append(("lanes", ", ".join(one["lanes"])))
    if "batch" in one["lanes"]:
        facts.append(("windows", words.windows(one["windows"])))
        facts.append(("one batch", _most(one, one["requests_min"])))
    if one["live"]:
        facts.append(("one live run", _most(one["live"])))
    facts.append(("price", _price(one)))
    facts.append(("found by", one["found_by"]))
    facts.append(("dialects", ", ".join(one["dialects"])))
    models = one["models"]
    facts.append(("models", "any name passes" if models is None else ", ".join(models)))
    waits = f"looked at every {one['poll_s']:g} s, a call may take {one['timeout_s']:g} s"
    facts.append(("waits", waits))
    own = ", ".join(one["options"]) or "none beside those that every provider has"
    facts.append(("settings", own))
    label = max(words.width(name) for name, _ in facts) + 2
    lines: list[str] = []
    for name, said in facts:
        first, *rest = words.wrapped(said, first=label, cells=CELLS_MAX)
        lines.append(click.style(f"{name:<{label}}", dim=True) + first)
        lines += [" " * label + more for more in rest]
    return lines


def _key(one: dict[str, Any]) -> str:
    if not one["key_variable"]:
        return "none needed"
    variables = " or ".join([one["key_variable"], *one["key_fallbacks"]])
    if one["key_found"]:
        return f"found ({variables})"
    return f"{variables}: not set" + ("" if one["key_required"] else ", and not needed")


def _most(limits: dict[str, Any], least: int = 1) -> str:
    rows = f"{least:,} to {limits['requests_max']:,} rows" if least > 1 else ""
    rows = rows or f"at most {limits['requests_max']:,} rows"
    most, each = words.size(limits["bytes_max"]), words.size(limits["request_bytes_max"])
    return f"{rows}, {most}; one request at most {each}"


def _price(one: dict[str, Any]) -> str:
    if one["free"]:
        return "free"
    listed = one["price_list"]
    known = f"as {listed} lists it" if listed else "unknown: nobody has a price list of it"
    saves = f"; the batch lane is {one['discount']} cheaper" if one["discount"] else ""
    return known + saves
