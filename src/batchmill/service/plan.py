"""Offer again what a person asks for: failed rows of chosen classes, or a batch that was held."""

from collections.abc import Collection

from batchmill.core import plan
from batchmill.core.batch import Batch, last_words
from batchmill.core.failure import Failure
from batchmill.core.shard import Shard, State
from batchmill.errors import Conflict, Overtaken
from batchmill.ports import Clock, Store


async def retry(
    store: Store,
    clock: Clock,
    batch_id: str,
    classes: Collection[Failure] | None = None,
    *,
    max_tokens: int | None = None,
    requests_min: int = 1,
) -> int:
    """
    Plan new shards for the rows that finally failed in one of *classes* (None: in any).

    Returns how many rows; 0 when there is none. They are bought again, as they were asked for, or
    with room for *max_tokens* of answer. A cancelled batch is taken up again by this.
    """
    while True:
        batch = await store.batch(batch_id)
        shards = await store.shards(batch_id)
        _still_open(batch, shards, clock)
        failed = last_words(shards)
        chosen = failed if classes is None else classes
        again = plan.retry(shards, failed, chosen, clock.now(), max_tokens, requests_min)
        if not again:
            return 0
        try:
            await store.replan(batch, again)
        except Overtaken:
            continue
        return sum(len(shard.rows) for shard in again)


async def resume(store: Store, batch_id: str) -> Batch:
    """End a hold, so that the batch goes on where it stood."""
    batch = await store.batch(batch_id)
    if batch.held:
        await store.release(batch_id)
    return await store.batch(batch_id)


async def unfinished(store: Store) -> list[Batch]:
    """Return the batches that still have something to do, oldest first."""
    found: list[Batch] = []
    for batch in await store.batches():
        shards = await store.shards(batch.id)
        if any(shard.state is not State.SETTLED for shard in shards):
            found.append(batch)
    return found[::-1]


def _still_open(batch: Batch, shards: Collection[Shard], clock: Clock) -> None:
    if batch.cancel_wanted and any(shard.state is not State.SETTLED for shard in shards):
        raise Conflict(
            f"{batch.id} is still being cancelled: wait until that is over "
            f"(batchmill watch {batch.id}), then retry."
        )
    if batch.deadline is not None and clock.now() >= batch.deadline:
        raise Conflict(f"the window of {batch.id} is over: run again with a longer --window.")
