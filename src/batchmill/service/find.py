"""Find a batch by what a person calls it: its id, an unambiguous beginning of it, or `last`."""

from batchmill.errors import NotFound
from batchmill.ports import Store

PREFIX = "batch_"
SHOWN_MAX = 4


async def find(store: Store, called: str) -> str:
    """Return the id of the batch that is meant; raise `NotFound` naming those it could be."""
    ids = [batch.id for batch in await store.batches()]
    if called in ids:
        return called
    if not ids:
        raise NotFound(f"there is no batch {called!r}: this home has none yet.")
    if called == "last":
        return ids[0]
    begins = called if called.startswith(PREFIX) else PREFIX + called
    close = [id for id in ids if id.startswith(begins)]
    if len(close) == 1:
        return close[0]
    if close:
        more = f" and {len(close) - SHOWN_MAX} more" if len(close) > SHOWN_MAX else ""
        raise NotFound(
            f"{called!r} is the beginning of {', '.join(close[:SHOWN_MAX])}{more}. "
            "Say more letters of it."
        )
    return (await store.batch(called)).id  # which knows the nearest ids, and raises with them
