"""Whether a provider has room for one more shard: enqueued tokens are counted on our side."""

from dataclasses import dataclass

from batchmill.core import enqueued
from batchmill.core.batch import Batch
from batchmill.core.failure import Failure, Patience
from batchmill.core.shard import Event, Postponed, Refused, Shard
from batchmill.ports import Clock, Store, Supplier


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """
    What is known of the room at each provider: what was set, and what its refusals have named.

    What was learnt is not stored: after a restart it costs one refused batch to learn it again,
    and a refused batch costs nothing.
    """

    clock: Clock
    store: Store
    patience: Patience
    learnt: dict[tuple[str, str], int]  #: by provider and model

    def learn(self, batch: Batch, shard: Shard, words: str) -> None:
        """Take a provider at its word when it names the limit it refused a shard for."""
        limit = enqueued.limit_in(words)
        if limit is not None:
            self.learnt[shard.provider, batch.recipe.model] = limit

    async def no_room(self, shard: Shard, batch: Batch, supplier: Supplier) -> Event | None:
        """Return what to record instead of offering a shard for which there is no room now."""
        limits = (
            self.learnt.get((shard.provider, batch.recipe.model)),
            supplier.enqueued_tokens_max,
        )
        known = [limit for limit in limits if limit is not None]
        if shard.lane != "batch" or not known:
            return None
        limit = min(known)
        ranges = await self.store.ranges(batch.id)
        siblings = await self.store.shards(batch.id)
        wanted = enqueued.tokens(shard, ranges, enqueued.bytes_per_token(siblings, ranges))
        if wanted > limit and len(shard.rows) > 1:
            words = f"about {wanted:,} tokens, and the provider takes {limit:,} at a time: cut"
            return Refused(words, Failure.NOT_RUN)
        waiting = await self._waiting(shard, batch)
        if not waiting or waiting + wanted <= limit:
            return None
        wait_s = self.patience.backoff_s(Failure.QUOTA, shard.trouble + 1)
        words = f"waits for room: {waiting:,} of {limit:,} tokens are enqueued, it has {wanted:,}"
        return Postponed(self.clock.now() + wait_s, words)

    async def _waiting(self, shard: Shard, batch: Batch) -> int:
        """Return about how many tokens of the same model the provider has from us."""
        found = 0
        batches = {batch.id: batch}
        for other in await self.store.in_flight(shard.provider):
            if other.lane != "batch" or other.id == shard.id:
                continue
            if other.batch_id not in batches:
                batches[other.batch_id] = await self.store.batch(other.batch_id)
            if batches[other.batch_id].recipe.model == batch.recipe.model:
                ranges = await self.store.ranges(other.batch_id)
                siblings = await self.store.shards(other.batch_id)
                ratio = enqueued.bytes_per_token(siblings, ranges)
                found += enqueued.tokens(other, ranges, ratio)
        return found
