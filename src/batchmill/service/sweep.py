"""Put away what nobody will ask for: segments of tables that were cut but never accepted."""

from batchmill.ports import Blobs, Rows, Store


async def sweep(store: Store, blobs: Blobs, rows: Rows, older_than: str) -> list[str]:
    """
    Remove the segments of drafts that nobody will accept any more; return their ids.

    Only what is marked as a draft may go: segments of a batch this store does not know may belong
    to another store over the same blobs, or to a database that was lost, and may have been paid
    for. *older_than* is a batch id, and ids sort by time: a younger draft may still be accepted.
    """
    drafts = sorted({key.split("/")[1] for key in blobs.list("drafts/")})
    known = {batch.id for batch in await store.batches()} if drafts else set[str]()
    abandoned = [batch_id for batch_id in drafts if batch_id < older_than]
    for batch_id in abandoned:
        if batch_id in known:
            rows.adopt(batch_id)  # it was accepted, and a crash kept that from being noted
        else:
            rows.drop(batch_id)
    return [batch_id for batch_id in abandoned if batch_id not in known]
