"""Find a batch by what a person calls it: id, unambiguous beginning of it, name, or `last`."""

from batchmill.errors import NotFound
from batchmill.ports import Store

PREFIX = "batch_"
SHOWN_MAX = 4


async def find(store: Store, called: str) -> str:
    """Return the id of the batch that is meant; raise `NotFound` naming those it could be."""
    batches = await store.batches()
    ids = [batch.id for batch in batches]
    if called in ids:
        return called
    if not ids:
        raise NotFound(f"there is no batch {called!r}: this home has none yet.")
    if called == "last":
        return ids[0]
    named = [batch.id for batch in batches if batch.name == called]
    if len(named) == 1:
        return named[0]
    begins = called if called.startswith(PREFIX) else PREFIX + called
    close = [id for id in ids if id.startswith(begins)]
    if len(close) == 1:
        return close[0]
    if close:
        raise NotFound(f"{called!r} is the beginning of {_some(close)}. Say more letters of it.")
    if named:
        raise NotFound(f"{called!r} is the name of {_some(named)}. Say the id of one.")
    return (await store.batch(called)).id  # which knows the nearest ids, and raises with them


def _some(ids: list[str]) -> str:
    more = f" and {len(ids) - SHOWN_MAX} more" if len(ids) > SHOWN_MAX else ""
    return f"{', '.join(ids[:SHOWN_MAX])}{more}"
