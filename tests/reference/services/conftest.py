from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.reference.services_process import ServicesUnderTest, running_services


@pytest.fixture
async def services(tmp_path: Path) -> AsyncIterator[ServicesUnderTest]:
    """Services over new books."""
    async with running_services(tmp_path) as services:
        yield services
