"""The data plane: people's tables in, the same tables with answers out, in bounded memory."""

from batchmill.rows.blobs import Bucket, Folder, open_blobs
from batchmill.rows.frames import spool_frame
from batchmill.rows.join import Joined, join, results_reader
from batchmill.rows.read import Glimpse, describe, glimpse, spool
from batchmill.rows.segments import Segments
from batchmill.rows.target import check_target, default_target

__all__ = [
    "Bucket",
    "Folder",
    "Glimpse",
    "Joined",
    "Segments",
    "check_target",
    "default_target",
    "describe",
    "glimpse",
    "join",
    "open_blobs",
    "results_reader",
    "spool",
    "spool_frame",
]
