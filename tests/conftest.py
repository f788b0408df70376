"""Hypothesis judges what it finds, not how busy a machine is; long tests can be sampled; frameworks stay apart."""

import random
from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import frameworks

SHARE = 8
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds ``--sample SEED`` and ``--frameworks RUN``."""
    parser.addoption(
        "--sample", type=int, metavar="SEED", help=f"of the long tests run one in {SHARE}, drawn by this seed"
    )
    parser.addoption(
        "--frameworks",
        choices=list(frameworks.FORBIDDEN),
        default=frameworks.DEFAULT,
        help="whose tests run, besides (but for tensorflow and jax) those that need none; torch: scikit-learn's, too",
    )


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Says which tests are left out, and how to draw the same sample again."""
    run, seed = config.getoption("frameworks"), config.getoption("sample")
    runs = f"frameworks: {run} (tests of the others are left out; runs: {', '.join(frameworks.FORBIDDEN)})"
    sample = f"one in {SHARE} of the long tests; the same ones again: make test-process-sample SEED={seed}"
    return [runs] if seed is None else [runs, sample]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves out modules that import a framework of another run at their top."""
    return frameworks.imports_another(collection_path.stem, config.getoption("frameworks")) or None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Fails the first test that imports a framework of another run, or is collected with it."""
    yield
    frameworks.check(item.config.getoption("frameworks"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out the tests of other runs, and the long tests that were not drawn."""
    run = config.getoption("frameworks")
    others = [item for item in items if not frameworks.belongs({mark.name for mark in item.iter_markers()}, run)]
    items[:] = [item for item in items if item not in set(others)]
    for item in items if run == "jax" and find_spec("jax") is None else ():
        item.add_marker(pytest.mark.skip("JAX is not installed: pip install openfl_like[jax]"))
    config.hook.pytest_deselected(items=others)
    _draw(config, items)


def _draw(config: pytest.Config, items: list[pytest.Item]) -> None:
    seed = config.getoption("sample")
    if seed is None:
        return
    long = sorted(item.nodeid for item in items if item.get_closest_marker("long") is not None)
    drawn = set(random.Random(seed).sample(long, -(-len(long) // SHARE)))  # noqa: S311 (chooses tests, protects nothing)
    left_out = [item for item in items if item.nodeid in set(long) - drawn]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)
