"""What OpenAI-shaped vendors say of a batch, and of what they refuse."""

import re
from collections.abc import Mapping
from typing import Final

from batchmill.core.failure import Failure
from batchmill.ports import Offer
from batchmill.providers._rest import Words, objects, text, whole
from batchmill.providers._unrun import OF_A_ROW
from batchmill.wire import failures

MARK: Final = "batchmill_shard"
ENDED: Final = frozenset({"completed", "failed", "expired", "cancelled"})
UNDER_WAY: Final = frozenset({"validating", "in_progress", "finalizing", "cancelling"})
ENDED_AT: Final = ("completed_at", "expired_at", "cancelled_at", "failed_at", "finalizing_at")

_QUOTED = re.compile(r"['`\"]([^'`\"]+)['`\"]")


def status_of(batch: Mapping[str, object]) -> str:
    status = text(batch, "status").lower()
    return {"canceled": "cancelled", "canceling": "cancelling"}.get(status, status)


def ours(batch: Mapping[str, object], offer: Offer) -> bool:
    """Say whether a batch has our mark, or none and our input file."""
    mark = text(batch, "metadata", MARK)
    if mark:
        return mark == offer.shard_id
    return bool(offer.ref) and text(batch, "input_file_id") == offer.ref


def reads(status: int, body: bytes) -> Words:
    """Return what an error says."""
    code, message = failures.error_words(body)
    words = f"{status}: {message}" if code in ("", str(status)) else f"{status} {code}: {message}"
    return Words(failures.failure_of(status, code, message), words)


def refusal(batch: Mapping[str, object], offer: Offer) -> tuple[Words, Mapping[int, Words]]:
    """Return why a batch failed as a whole, and the lines that are to blame, from 1."""
    errors = objects(batch, "errors", "data")
    if not errors:
        return Words(Failure.SERVER, "the batch failed, and no reason was given"), {}
    named: dict[int, Words] = {}
    for error in errors:
        why = _complaint(error, offer)
        line = whole(error, "line")
        if why.failure not in OF_A_ROW:
            return why, {}
        if 1 <= line <= offer.count:
            named.setdefault(line, why)
    return _complaint(errors[0], offer), named


def _complaint(error: Mapping[str, object], offer: Offer) -> Words:
    """Return what one validation error means."""
    code, message, param = text(error, "code"), text(error, "message"), text(error, "param")
    words = f"{code}: {message}" if code else message
    failure = failures.failure_of(400, code, message)
    if param.endswith("file_id"):
        # The input was deleted, or expired, while the batch waited: it is uploaded anew.
        return Words(Failure.SERVER, words)
    if failure is Failure.ACCOUNT and code in failures.OF_THE_MODEL:
        models = _QUOTED.findall(message)
        if whole(error, "line") and models and offer.model not in models:
            failure = Failure.INVALID_REQUEST  # a line that names a model of its own
    return Words(failure, words)
