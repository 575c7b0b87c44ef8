"""Vendors on loopback, one file each; the file's name is the provider's name."""

import pkgutil
from importlib import import_module

from tests.fakes.vendor import FakeVendor


def names() -> list[str]:
    """Return the providers that have a fake."""
    found = (m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))
    return sorted(name for name in found if name != "vendor")


def fake(name: str) -> FakeVendor:
    """Return a new vendor, not yet up."""
    return import_module(f"{__name__}.{name}").FAKE()
