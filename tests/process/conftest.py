"""Keys for the tests of this folder, made once; and the pace at which they run."""

import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pace import limit, slow_down

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


def pytest_configure(config: pytest.Config) -> None:
    """Slows all down that the tests start, if that is wanted; whoever runs them in the background may press Ctrl-C."""
    slow_down()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell does that for `&`, and children inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Gives slow processes the time they need."""
    usual = float(config.getini("timeout"))
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            wanted = item.get_closest_marker("timeout")
            seconds = wanted.args[0] if wanted is not None else usual
            item.add_marker(pytest.mark.timeout(limit(seconds)), append=False)
