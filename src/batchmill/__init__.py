"""A table of prompts in, the same table with answers out, through the provider you name."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchmill.api import Batch, Receipt, arun, attach, run
    from batchmill.errors import BatchmillError, UserError

__version__ = "0.1.0"

_HOMES = {
    "Batch": "batchmill.api",
    "BatchmillError": "batchmill.errors",
    "Receipt": "batchmill.api",
    "UserError": "batchmill.errors",
    "arun": "batchmill.api",
    "attach": "batchmill.api",
    "run": "batchmill.api",
}


def __getattr__(name: str) -> object:
    """Import on first use: `--help` does not pay for tables and databases."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "Batch",
    "BatchmillError",
    "Receipt",
    "UserError",
    "__version__",
    "arun",
    "attach",
    "run",
]
