"""Wish that a batch stops. What is finished upstream is kept, as it was paid for."""

from batchmill.core.batch import FINISHED, Batch, status
from batchmill.errors import Conflict
from batchmill.ports import Store


async def cancel(store: Store, batch_id: str) -> Batch:
    """Record the wish; the loop carries it out. Saying it twice is no error."""
    batch = await store.batch(batch_id)
    ended = status(batch, await store.shards(batch_id))
    if ended in FINISHED:
        if batch.cancel_wanted:
            return batch
        raise Conflict(f"{batch_id} is already {ended}: there is nothing left to cancel.")
    await store.wish_cancel(batch_id)
    return await store.batch(batch_id)
