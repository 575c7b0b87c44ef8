"""The front door for hands: one file a command family; parse, call a service, print."""

import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from batchmill.errors import UserError

# Nothing but click may be imported here: `--help` has 250 ms, and rich alone would take 200.

INTERRUPTED = 130
CALLER_MUST_ACT = 2
SOME_ROWS_FAILED = 3

#: Headings of `--help`; under each: command -> (module, what it does). Told here and not by the
#: commands themselves, so that to list them imports none of them. A test compares the two.
COMMANDS: dict[str, dict[str, tuple[str, str]]] = {
    "The main job": {
        "run": ("run", "Answer every row of a table, and write the table with its answers."),
        "quote": ("quote", "Say what a table would come to; sends, spends and keeps nothing."),
    },
    "One batch's life": {
        "list": ("look", "List all batches, the newest first."),
        "show": ("look", "Show one batch: rows, shards, failures, what it waits for."),
        "watch": ("resume", "Watch a batch until it is finished; never works on it."),
        "resume": ("resume", "Go on with a batch, wait for it and write its answers."),
        "cancel": ("steer", "Ask that a batch stops; what is finished is kept."),
        "retry": ("resume", "Offer the failed or canceled rows of a batch again."),
        "results": ("results", "Write the answers of a batch to a table."),
    },
    "The workshop": {
        "work": ("work", "Keep every unfinished batch moving until stopped."),
        "providers": ("providers", "List who can be asked, and what each of them still needs."),
        "doctor": ("doctor", "Say what is wrong with this set-up, and what to do about it."),
    },
}

_MODULES = {name: module for group in COMMANDS.values() for name, (module, _) in group.items()}


class LazyGroup(click.Group):
    """A group that imports a command when it is called, and not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _MODULES:
            return None
        module = import_module(f"{__name__}.{_MODULES[cmd_name]}")
        # `list` and `show` hide builtins or say too little as names of functions.
        return getattr(module, f"{cmd_name}_command")

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for heading, commands in COMMANDS.items():
            with formatter.section(heading):
                formatter.write_dl([(name, words) for name, (_, words) in commands.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if not args[0].startswith("-") and args[0] not in _MODULES:
            import difflib

            near = difflib.get_close_matches(args[0], _MODULES, n=2, cutoff=0.5)
            hint = f"Did you mean {' or '.join(near)}? " if near else ""
            raise click.UsageError(
                f"there is no command {args[0]!r}. {hint}See batchmill --help.", ctx
            )
        return super().resolve_command(ctx, args)


def _show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"batchmill {version('batchmill')}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    subcommand_metavar="COMMAND [ARGS]…",
    epilog="ID is a batch's id, any unambiguous beginning of it, its --name if no other has it, or "
    "`last`. Exit status: 0 every row succeeded; 3 finished, some rows did not; 2 you must fix "
    "something; 130 interrupted.",
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_show_version,
    help="Show the version and exit.",
)
def batchmill() -> None:
    """
    A table of prompts in, the same table with answers out.

    \b
    batchmill run products.csv --model local/smollm2-135m \\
        --prompt 'Name the brand of: {{ title }}'
    """


def main(args: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status. No traceback ever meets a person here."""
    try:
        status: Any = batchmill.main(args=args, prog_name="batchmill", standalone_mode=False)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except UserError as error:
        return _complain(str(error), CALLER_MUST_ACT)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return CALLER_MUST_ACT
    except click.ClickException as error:
        return _complain(_in_one_line(error), CALLER_MUST_ACT)
    except OSError as error:
        return _system_said_no(error)
    except Exception as error:  # noqa: BLE001, a bug is told in one line, whatever it is
        return _own_up(error)


def _in_one_line(error: click.ClickException) -> str:
    words = error.format_message()
    ctx = getattr(error, "ctx", None)
    if not isinstance(error, click.UsageError) or ctx is None or "--help" in words:
        return words
    words = words[:1].lower() + words[1:]
    command = ctx.command_path.removeprefix("batchmill").strip()
    return f"{command}: {words} See {ctx.command_path} --help.".removeprefix(": ")


def _complain(words: str, status: int) -> int:
    click.echo(f"batchmill: {' '.join(words.split())}", err=True)
    return status


def _system_said_no(error: OSError) -> int:
    """Tell what the machine, not batchmill, is short of: anything else an OSError says is a bug."""
    if error.errno == errno.EPIPE:
        # Whoever read our output has heard enough. Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    ours_to_mend = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EMFILE}
    if error.errno in ours_to_mend:
        where = f"{error.filename}: " if error.filename else ""
        return _complain(f"{where}{error.strerror}. Mend that, then go on.", CALLER_MUST_ACT)
    return _own_up(error)


def _own_up(error: Exception) -> int:
    from batchmill.cli.log import keep_traceback

    if os.environ.get("BATCHMILL_DEBUG"):
        import traceback

        traceback.print_exception(error)
    words = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return _complain(f"this is a bug in batchmill: {words}. {keep_traceback(error)}", 1)


__all__ = ["COMMANDS", "batchmill", "main"]
