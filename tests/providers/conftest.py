"""What several providers' tests are given."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests import fakes
from tests.providers.gpu_server import Setting
from tests.providers.vendor_town import VendorTown

from batchmill import providers

VENDORS = [name for name in fakes.names() if "batch" in providers.spec(name).lanes]


@pytest.fixture(params=VENDORS)
async def town(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[VendorTown]:
    """A house in front of each vendor that sells batches."""
    async with VendorTown(fakes.fake(request.param), tmp_path) as made:
        yield made


@pytest.fixture
async def setting(tmp_path: Path) -> AsyncIterator[Setting]:
    made = Setting(tmp_path / "providers" / "gpu1")
    await made.server.up()
    yield made
    await made.server.down()  # first: closing a provider waits for what is in flight
    for provider in made.opened:
        await provider.aclose()
    await made.client.aclose()
