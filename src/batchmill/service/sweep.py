"""Put away what nobody will ask for: segments of tables that were cut but never accepted."""

from batchmill.ports import Blobs, Store


async def sweep(store: Store, blobs: Blobs, older_than: str) -> list[str]:
    """
    Remove the segments of batches the store does not know; return their ids.

    *older_than* is a batch id: ids sort by time, and a table that is being cut elsewhere just now
    has segments but no batch yet, so only what is certainly abandoned may go.
    """
    known = {batch.id for batch in await store.batches()}
    found = {key.split("/")[1] for key in blobs.list("batches/")}
    orphans = sorted(batch_id for batch_id in found - known if batch_id < older_than)
    for batch_id in orphans:
        blobs.delete(f"batches/{batch_id}/")
    return orphans
