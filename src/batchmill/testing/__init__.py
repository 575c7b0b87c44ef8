"""A test bench for batch code: simulated time, provider, store, and whole lives from seeds."""

from batchmill.providers._sim_shelf import FolderShelf, MemoryShelf, Sale
from batchmill.providers._sim_weather import Faults
from batchmill.providers.sim import SimProvider
from batchmill.testing.auditor import Broken, World, audit
from batchmill.testing.clock import SimClock
from batchmill.testing.lives import History, simulate
from batchmill.testing.rows import MemoryRows
from batchmill.testing.store import Disk, MemoryStore

__all__ = [
    "Broken",
    "Disk",
    "Faults",
    "FolderShelf",
    "History",
    "MemoryRows",
    "MemoryShelf",
    "MemoryStore",
    "Sale",
    "SimClock",
    "SimProvider",
    "World",
    "audit",
    "simulate",
]
