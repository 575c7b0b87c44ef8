"""Links inside request bodies: which rows ask for an image that is certainly no longer there."""

from collections.abc import AsyncIterator, Sequence

from batchmill.core.request import Request, row_of
from batchmill.core.rowset import RowSet, rows_of
from batchmill.ports import Web
from batchmill.wire.translate import links


async def gone_rows(
    web: Web, requests: AsyncIterator[Sequence[Request]], shard_id: str, dialect: str
) -> RowSet:
    """Return the rows of *requests*, in *dialect*, that link to media which is certainly gone."""
    rows_by_link: dict[str, list[int]] = {}
    async for chunk in requests:
        for request in chunk:
            row = row_of(request.custom_id, shard_id)
            assert row is not None
            for link in links(dialect, request.body):
                rows_by_link.setdefault(link, []).append(row)
    if not rows_by_link:
        return rows_of(())
    gone = await web.gone(rows_by_link.keys())
    return rows_of(row for link in gone for row in rows_by_link[link])
