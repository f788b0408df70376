"""Every store, once in memory and once in a file."""

from pathlib import Path

import pytest


@pytest.fixture(params=["memory", "file"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return None if request.param == "memory" else tmp_path
