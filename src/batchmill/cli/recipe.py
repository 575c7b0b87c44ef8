"""The flags that say what is asked of each row: the same for `run` and `quote`."""

import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import click

if TYPE_CHECKING:
    from batchmill.core.batch import Batch, Recipe, Source
    from batchmill.ports import Blobs
    from batchmill.wiring import Named

Command = TypeVar("Command", bound=Callable[..., Any])
COUNT = click.IntRange(min=1)
UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Window(click.ParamType[float]):
    """A length of time with its unit: 90m, 24h, 2d; as seconds."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        try:
            seconds = float(value[:-1]) * UNITS_S[value[-1:]]
        except (ValueError, KeyError):
            seconds = 0.0
        if not 0 < seconds < 1e9:
            self.fail(f"{value!r}: expected a number with s, m, h or d, e.g. 24h.", param, ctx)
        return seconds


class Parameter(click.ParamType[tuple[str, object]]):
    """`k=v`; v is JSON where it can be read as such, else a string."""

    name = "k=v"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, object]:
        if isinstance(value, tuple):
            return value  # pyright: ignore[reportUnknownVariableType]
        name, equals, text = value.partition("=")
        if not equals or not name.strip():
            self.fail(f"{value!r}: expected NAME=VALUE, e.g. temperature=0.2.", param, ctx)
        try:
            return name.strip(), json.loads(text, parse_constant=_no_constant)
        except ValueError:
            return name.strip(), text


def _no_constant(_: str) -> object:
    raise ValueError  # NaN and Infinity are no JSON to the other side


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the flags of `run` and `quote` say."""

    table: str
    model: str
    prompt: str | None
    prompt_file: str | None
    system: str | None
    schema: str | None
    image: tuple[str, ...]
    image_max_side: int | None
    skip_bad_images: bool
    max_tokens: int | None
    param: tuple[tuple[str, object], ...]
    endpoint: str | None
    lane: str
    limit: int | None
    encoding: str
    format: str | None
    same_prompt: bool
    output: str | None
    force: bool
    window: float | None


ENDPOINTS = ("chat", "responses", "embeddings")
LANES = ("auto", "batch", "live")
FORMATS = ("csv", "tsv", "parquet", "jsonl", "requests")

FLAGS = (
    click.argument("table"),
    click.option("--model", required=True, metavar="PROVIDER/MODEL", help="Who answers."),
    click.option("--prompt", metavar="TEXT", help="Asked of each row; {{ column }} is its value."),
    click.option("--prompt-file", metavar="FILE", help="The prompt, from a file."),
    click.option("--system", metavar="TEXT", help="System message; may name columns as well."),
    click.option(
        "--schema", metavar="FILE", help="JSON Schema of answers; each property a column."
    ),
    click.option(
        "--image",
        multiple=True,
        metavar="COLUMN",
        help="Column of images or PDFs: links, s3://, data: URLs, paths. What must be read is read "
        "before anything is sent; rows where that fails are named, and nothing is sent.",
    ),
    click.option(
        "--image-max-side",
        type=COUNT,
        metavar="PIXELS",
        help="Make larger images smaller first; linked ones are fetched for that.",
    ),
    click.option(
        "--skip-bad-images",
        is_flag=True,
        help="Leave out rows whose image cannot be read: they end as errored, and cost nothing.",
    ),
    click.option("--max-tokens", type=COUNT, metavar="N", help="Most tokens of one answer."),
    click.option(
        "--param", multiple=True, type=Parameter(), help="A request field: temperature=0."
    ),
    click.option(
        "--endpoint",
        type=click.Choice(ENDPOINTS),
        metavar="NAME",
        help="chat (or what ready-made lines say), responses, embeddings.",
    ),
    click.option(
        "--lane",
        type=click.Choice(LANES),
        default="auto",
        metavar="NAME",
        help="batch, live, or auto: the provider's first.",
    ),
    click.option("--limit", type=COUNT, metavar="N", help="Only the first N rows."),
    click.option("--encoding", default="utf-8", metavar="NAME", help="Of the table; utf-8."),
    click.option(
        "--format",
        type=click.Choice(FORMATS),
        metavar="NAME",
        help="csv, tsv, parquet, jsonl, requests; where no suffix says.",
    ),
    click.option("--same-prompt", is_flag=True, help="Yes, ask every row the very same."),
    click.option("-o", "--output", metavar="OUT", help="Where answers go; `-` is stdout."),
    click.option("--force", is_flag=True, help="Replace OUT if it is there already."),
    click.option("--window", type=Window(), help="How long it may take, e.g. 24h."),
)


def asks_for_a_recipe(command: Command) -> Command:
    """Put the common flags on a command."""
    for flag in reversed(FLAGS):
        command = flag(command)
    return command


def describe(asked: Asked, blobs: "Blobs", spool_key: str) -> "Source":
    """Find the table; standard input is kept under *spool_key* first."""
    from batchmill.rows.read import describe, spool

    if asked.table == "-":
        if sys.stdin.isatty():
            click.echo("reading the table from the keyboard; Ctrl-D ends it", err=True)
        return spool(
            _stdin(),
            blobs,
            spool_key,
            format=asked.format,
            encoding=asked.encoding,
            limit=asked.limit,
        )
    return describe(asked.table, encoding=asked.encoding, format=asked.format, limit=asked.limit)


def may_replace(batch: "Batch", blobs: "Blobs") -> None:
    """Let the batch replace what is at its OUT now, whoever writes it in the end."""
    from batchmill.rows.target import allow_replacing

    if batch.target is not None:
        allow_replacing(batch.target, batch.source, blobs, batch.id)


def _stdin() -> BinaryIO:
    """Return standard input without the lock of its buffer, which a thread may die holding."""
    try:
        return io.FileIO(sys.stdin.fileno(), closefd=False)  # pyright: ignore[reportReturnType]
    except (OSError, ValueError):  # no file at all: a test's, or a notebook's
        return sys.stdin.buffer


def check(recipe: "Recipe", source: "Source", blobs: "Blobs") -> None:
    """Raise now what the cut would raise of prompt, flags and columns: cheap, before OUT's turn."""
    from batchmill.rows.cutting import FromRows
    from batchmill.rows.reach import Reach
    from batchmill.rows.read import columns_of
    from batchmill.rows.readymade import ReadyMade

    if source.format == "requests":
        ReadyMade(recipe, Reach())
    else:
        FromRows(recipe, columns_of(source, blobs), Reach())


def target(asked: Asked, source: "Source", blobs: "Blobs") -> str:
    """Return where the answers go; raise now for what could not be written there later."""
    from batchmill.cli.endings import place
    from batchmill.rows.target import check_target, default_target

    out = place(asked.output) or default_target(source)
    check_target(out, source, blobs, force=asked.force)
    return out


def recipe(asked: Asked, named: "Named", source: "Source", blobs: "Blobs") -> "Recipe":
    """Return what is asked of each row; raise where the flags contradict each other."""
    from batchmill.core.batch import Recipe
    from batchmill.errors import InvalidRecipe
    from batchmill.wiring import asked_at

    ready_made = source.format == "requests"
    prompt = _prompt(asked)
    if prompt is None and not ready_made:
        raise InvalidRecipe(
            f"{asked.table}: what shall be asked of each row? Say --prompt 'TEXT with "
            "{{ column }}' or --prompt-file FILE; only ready-made request lines need none."
        )
    dialect, url = asked_at(named, source, blobs, asked.endpoint)
    return Recipe(
        model=named.model,
        dialect=dialect,
        url=url,
        prompt=prompt,
        system=asked.system,
        schema=_schema(asked.schema),
        images=asked.image,
        image_max_side=asked.image_max_side,
        skip_bad_images=asked.skip_bad_images,
        links=named.spec.links,
        max_tokens=asked.max_tokens,
        params=dict(asked.param),
        same_prompt=asked.same_prompt,
    )


def _prompt(asked: Asked) -> str | None:
    from batchmill.errors import InvalidRecipe

    if asked.prompt is not None and asked.prompt_file is not None:
        raise InvalidRecipe("--prompt and --prompt-file both say what to ask: keep one of them.")
    if asked.prompt_file is None:
        return asked.prompt
    text = _read("--prompt-file", asked.prompt_file)
    # An editor's newline at the end of the file is no part of the question.
    return text.removesuffix("\n").removesuffix("\r")


def _schema(path: str | None) -> dict[str, object] | None:
    from batchmill.errors import InvalidRecipe
    from batchmill.rows.schema import Judge

    if path is None:
        return None
    try:
        found = json.loads(_read("--schema", path))
    except json.JSONDecodeError as error:
        raise InvalidRecipe(
            f"--schema {path}: line {error.lineno}, column {error.colno}: no JSON: {error.msg}. "
            "Expected a JSON Schema."
        ) from error
    except RecursionError as error:
        raise InvalidRecipe(f"--schema {path}: nested too deeply to be read.") from error
    if not isinstance(found, dict):
        raise InvalidRecipe(f"--schema {path}: expected a JSON Schema, that is an object {{…}}.")
    try:
        Judge(found)  # pyright: ignore[reportUnknownArgumentType]
    except InvalidRecipe as error:
        raise InvalidRecipe(f"--schema {path}: {error}") from error
    return found  # pyright: ignore[reportUnknownVariableType]


def _read(flag: str, path: str) -> str:
    from batchmill.errors import InvalidRecipe

    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InvalidRecipe(f"{flag} {path}: cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise InvalidRecipe(
            f"{flag} {path}: byte {error.start + 1} is not UTF-8. Save the file as UTF-8."
        ) from error
