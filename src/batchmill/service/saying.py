"""What is said of an error, in one line, and why a batch is held for one that is no provider's."""

import logging

from batchmill.errors import UserError

log = logging.getLogger(__name__)


def why_held(error: Exception) -> str:
    """Return why a batch is held for an error that is no provider's."""
    if isinstance(error, UserError):
        return words(error)
    log.error("%s", error, extra={"action": "advance_failed"}, exc_info=error)
    return f"a bug in batchmill or in a provider: {type(error).__name__}: {words(error)}"


def words(error: Exception) -> str:
    return " ".join(str(error).split())[:1000] or type(error).__name__
