"""Where there is no GPU, ``make test-gpu`` says so and ends well; where one cannot be used it does not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.children


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "gpu.py"), "--collect-only", "-q"]
    environment = {**os.environ, "PATH": str(folder)}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=ROOT)


def driver(folder: Path, script: str) -> None:
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)


@pytest.mark.parametrize("script", ["", "exit 9", "exit 0"])
def test_without_a_gpu_it_says_so_and_ends_well(script: str, tmp_path: Path) -> None:
    if script:
        driver(tmp_path, script)
    done = run(tmp_path)
    assert done.returncode == 0
    assert "there is no NVIDIA GPU on this machine" in done.stdout


@pytest.mark.torch
def test_a_gpu_that_pytorch_cannot_use_is_no_success(tmp_path: Path) -> None:
    if pytest.importorskip("torch").cuda.is_available():
        pytest.skip("this one can")
    driver(tmp_path, "echo 'GPU 0: NVIDIA H200 (UUID: GPU-0)'")
    done = run(tmp_path)
    assert done.returncode == 1
    assert "GPU 0" in done.stdout
    assert "cannot use it" in done.stderr


def test_its_tests_are_left_out_of_any_other_run(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "tests/gpu"]
    environment = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=ROOT)
    assert "deselected" in done.stdout
    assert "::" not in done.stdout
