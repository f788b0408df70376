"""Tests of a machine with an NVIDIA GPU: run by ``make test-gpu``, left out wherever there is none."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from openfl_like.processes.child import clean_environment, fx_command
from openfl_like.tensors.manifest import sha256_file

Simulate = Callable[..., str]
DEVICE = os.environ.get("OPENFL_LIKE_TEST_DEVICE", "cuda")
"""What plans ask for; the CPU will do to try these tests themselves."""


def gpu_is_here() -> bool:
    """Whether the driver's own tool lists a GPU."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return False
    told = subprocess.run([tool, "--list-gpus"], capture_output=True, text=True, check=False)
    return told.returncode == 0 and bool(told.stdout.strip())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what needs a GPU where there is none."""
    needing = [item for item in items if item.get_closest_marker("gpu") is not None]
    if needing and DEVICE != "cpu" and not gpu_is_here():
        items[:] = [item for item in items if item not in set(needing)]
        config.hook.pytest_deselected(items=needing)


@pytest.fixture
def simulate(tmp_path: Path) -> Simulate:
    """Runs a simulation in a process of its own; gives the SHA-256 of its model."""
    numbers = iter(range(100))

    def run(plan: str, *options: str, device: str = DEVICE) -> str:
        output = tmp_path / f"model-{next(numbers)}.safetensors"
        wish = f"collaborator.settings.device={device}"
        command = fx_command("simulate", plan, "-s", wish, "-o", str(output), *options)
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=clean_environment(), cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        assert "not batched" not in done.stdout, done.stdout
        return sha256_file(output)

    return run
