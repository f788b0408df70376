"""Hypothesis judges what a test finds, not how busy the machine is; and long tests can be sampled."""

import random

import pytest
from hypothesis import HealthCheck, settings

SHARE = 8
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds ``--sample SEED``."""
    parser.addoption(
        "--sample", type=int, metavar="SEED", help=f"of the long tests run one in {SHARE}, drawn by this seed"
    )


def pytest_report_header(config: pytest.Config) -> str:
    """Says how to draw the same sample again."""
    seed = config.getoption("sample")
    return (
        ""
        if seed is None
        else f"one in {SHARE} of the long tests; the same ones again: make test-process-sample SEED={seed}"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out the long tests that were not drawn."""
    seed = config.getoption("sample")
    if seed is None:
        return
    long = sorted(item.nodeid for item in items if item.get_closest_marker("long") is not None)
    drawn = set(random.Random(seed).sample(long, -(-len(long) // SHARE)))  # noqa: S311 (chooses tests, protects nothing)
    left_out = [item for item in items if item.nodeid in set(long) - drawn]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)
