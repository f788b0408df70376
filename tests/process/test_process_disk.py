"""Disks that are full: nothing is acknowledged that is not stored, nothing ends, and all goes on when there is room."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pace import limit

pytestmark = [pytest.mark.process, pytest.mark.long, pytest.mark.timeout(320)]  # the scenario has 300
SCENARIO = Path(__file__).with_name("disk_scenario.py")
NAMESPACES = ("unshare", "--user", "--map-root-user", "--mount")
RECOVERY_S = limit(30)


def run(*command: str, timeout_s: float) -> subprocess.CompletedProcess[str]:
    """Runs a command within user and mount namespaces of its own."""
    words = (*NAMESPACES, *command)
    return subprocess.run(words, capture_output=True, text=True, timeout=limit(timeout_s), check=False)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What was seen of a federation on small disks."""
    place = tmp_path_factory.mktemp("disks")
    probe = run("mount", "-t", "tmpfs", "none", str(place), timeout_s=10)
    if probe.returncode:
        pytest.skip(f"user and mount namespaces are not allowed here: {probe.stderr.strip()}")
    found = run(sys.executable, str(SCENARIO), str(place), timeout_s=300)
    assert found.returncode == 0, found.stderr[-4000:]
    said: dict[str, dict[str, Any]] = json.loads(found.stdout)
    assert "error" not in said, said
    said["logs of all"] = {name: (place / f"{name}.log").read_text() for name in ("director", "site-1")}
    return said


def test_a_full_state_refuses_plainly_waits_and_recovers(seen: dict[str, dict[str, Any]]) -> None:
    state = seen["state"]
    assert "E307" in state["refusal"]
    assert "no room on the disk" in state["refusal"]
    assert "director-state" in state["problems"][0]
    assert state["while full"] in {"RUNNING", "STARTING"}
    assert state["rounds while full"] < 12
    assert state["recovered_s"] < RECOVERY_S
    assert "degraded: there is no room on the disk of" in seen["logs of all"]["director"]
    assert "there is room again" in seen["logs of all"]["director"]


def test_a_full_site_waits_and_recovers(seen: dict[str, dict[str, Any]]) -> None:
    envoy = seen["envoy"]
    assert envoy["while full"] == "RUNNING"
    assert envoy["rounds while full"] < 1, "the fault has not landed"
    assert envoy["recovered_s"] < RECOVERY_S


def test_logs_without_room_disturb_nothing(seen: dict[str, dict[str, Any]]) -> None:
    assert seen["logs"]["end"] == "FINISHED"


def test_nobody_was_started_again_and_the_bytes_are_the_same(seen: dict[str, dict[str, Any]]) -> None:
    assert seen["same processes"]["same"]
    assert {seen[part]["sha256"] for part in ("undisturbed", "state", "envoy", "logs")} == {
        seen["undisturbed"]["sha256"]
    }
    assert "Traceback" not in seen["logs of all"]["director"]
