"""Keys for the tests of this folder, made once."""

from datetime import UTC, datetime, timedelta

import pytest

from openfl_like.testing.certificates import ThrowAwayFederation


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> ThrowAwayFederation:
    """A federation founded a month ago, so that it can have certificates that are expired."""
    founded = datetime.now(UTC) - timedelta(days=30)
    return ThrowAwayFederation(tmp_path_factory.mktemp("federation"), "hospitals", founded)


@pytest.fixture(scope="session")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> ThrowAwayFederation:
    """Another federation that has given itself the same name."""
    founded = datetime.now(UTC) - timedelta(days=30)
    return ThrowAwayFederation(tmp_path_factory.mktemp("strangers"), "hospitals", founded)
