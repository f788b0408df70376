"""``fx demo``: the figures it promises, and nothing left behind."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from pace import limit

from openfl_like.testing.faults.evidence import strays_below

pytestmark = [pytest.mark.process, pytest.mark.torch, pytest.mark.timeout(180)]


def _run(directory: Path, *arguments: str) -> list[dict[str, Any]]:
    """Runs a demo to its end and gives the lines it has printed; of its files only the model may be left."""
    command = [sys.executable, "-m", "openfl_like.cli", "demo", "--json", *arguments]
    environment = {**os.environ, "TMPDIR": str(directory)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit(170), env=environment)
    assert done.returncode == 0, done.stderr
    assert strays_below(directory) == []
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    left = [str(path) for path in directory.glob("fx-*/**/*")]
    assert left == [line["file"] for line in lines if line["kind"] == "model"]
    return lines


def _demo(directory: Path, *arguments: str) -> dict[str, dict[str, float]]:
    comparison, model = _run(directory, *arguments)[-2:]
    assert (comparison["kind"], model["kind"]) == ("comparison", "model")
    return {row["model"]: row for row in comparison["rows"]}


@pytest.mark.long
def test_four_hospitals_together_beat_each_of_them_alone(tmp_path: Path) -> None:
    rows = _demo(tmp_path)
    federated, pooled = rows.pop("federated"), rows.pop("pooled")
    assert sorted(rows) == ["cleveland alone", "hungary alone", "switzerland alone", "va_long_beach alone"]
    assert federated["auc"] >= 0.92
    assert federated["accuracy"] >= 0.85
    for alone in rows.values():
        assert federated["auc"] > alone["auc"]
        assert federated["accuracy"] > alone["accuracy"]
    assert abs(federated["auc"] - pooled["auc"]) <= 0.02
    assert abs(federated["accuracy"] - pooled["accuracy"]) <= 0.02


def test_three_sites_with_different_digits_learn_all_of_them(tmp_path: Path) -> None:
    assert _demo(tmp_path, "--plan", "digits")["federated"]["accuracy"] >= 0.93


@pytest.mark.long
def test_the_director_is_killed_in_mid_round_and_the_model_has_the_same_bytes(tmp_path: Path) -> None:
    lines = _run(tmp_path, "--chaos", "--plan", "breast_cancer", "-s", "aggregator.settings.rounds_to_train=60")
    notes = [line for line in lines if "sequence" not in line]
    assert [line["kind"] for line in notes] == [
        "undisturbed", "killed", "restarted", "back", "killed", "back", "verdict",
    ]  # fmt: skip
    first, killed, restarted, back, again, _, verdict = notes
    assert (killed["process"], restarted["process"], again["process"]) == ("Director", "Director", "Aggregator")
    assert len({killed["pid"], restarted["pid"], again["pid"]}) == 3
    assert 20 <= killed["round"] <= back["round"]
    assert 40 <= again["round"] <= 60
    assert verdict["undisturbed"] == verdict["disturbed"] == first["sha256"]
    assert re.fullmatch("[0-9a-f]{64}", first["sha256"])
    assert verdict["same"] is True
    events = [line for line in lines if "sequence" in line]
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert [event["fields"]["epoch"] for event in events if event["kind"] == "experiment_started"] == [1, 2, 3]


def test_a_demo_that_is_killed_leaves_no_process() -> None:
    command = [sys.executable, "-m", "openfl_like.cli", "demo", "--plan", "breast_cancer", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as demo:
        assert demo.stdout is not None
        assert "experiment_queued" in "".join(line for line, _ in zip(demo.stdout, range(2), strict=False))
        family = psutil.Process(demo.pid).children(recursive=True)
        demo.kill()
    assert len(family) >= 4
    _, alive = psutil.wait_procs(family, timeout=limit(20))
    assert alive == []


@pytest.mark.long
def test_ctrl_c_ends_a_demo_at_once() -> None:
    rounds = "aggregator.settings.rounds_to_train=5000"
    command = [sys.executable, "-m", "openfl_like.cli", "demo", "--plan", "breast_cancer", "--json", "-s", rounds]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as demo:
        assert demo.stdout is not None
        assert any("round_finished" in line for line in demo.stdout)
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=limit(20))
    assert demo.returncode == 6
