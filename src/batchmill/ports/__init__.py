"""
The doors of the house: everything the service needs from outside, as protocols.

Streams travel in chunks (sequences of some thousand requests or results): at ten million rows the
price of an `async for` step is paid per chunk, not per row.
"""

from batchmill.ports.provider import Checked, Found, Offer, Pricing, Provider, Supplier, Suppliers
from batchmill.ports.rows import Cutting, Kept, Rows
from batchmill.ports.store import Engine, Logged, Store, Turn
from batchmill.ports.world import Answer, Blobs, Clock, Download, Http, Ids, Random, Upload, Web

__all__ = [
    "Answer",
    "Blobs",
    "Checked",
    "Clock",
    "Cutting",
    "Download",
    "Engine",
    "Found",
    "Http",
    "Ids",
    "Kept",
    "Logged",
    "Offer",
    "Pricing",
    "Provider",
    "Random",
    "Rows",
    "Store",
    "Supplier",
    "Suppliers",
    "Turn",
    "Upload",
    "Web",
]
