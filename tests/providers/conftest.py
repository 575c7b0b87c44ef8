"""What several providers' tests are given."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.providers.gpu_server import Setting


@pytest.fixture
async def setting(tmp_path: Path) -> AsyncIterator[Setting]:
    made = Setting(tmp_path / "providers" / "gpu1")
    await made.server.up()
    yield made
    await made.server.down()  # first: closing a provider waits for what is in flight
    for provider in made.opened:
        await provider.aclose()
    await made.client.aclose()
