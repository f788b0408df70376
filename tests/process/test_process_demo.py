"""``fx demo``: the figures it promises, and nothing left behind."""

import json
import re
import subprocess
import sys
from typing import Any

import psutil
import pytest

pytestmark = [pytest.mark.process, pytest.mark.torch, pytest.mark.timeout(180)]


def _run(*arguments: str) -> list[dict[str, Any]]:
    """Runs a demo to its end and gives the lines it has printed; nothing of it may be left."""
    before = {process.pid for process in psutil.process_iter()}
    command = [sys.executable, "-m", "openfl_like.cli", "demo", "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=170)
    assert done.returncode == 0, done.stderr
    left = [
        process
        for process in psutil.process_iter(["pid", "cmdline"])
        if process.pid not in before and "openfl_like" in " ".join(process.info["cmdline"] or ())
        and "pytest" not in " ".join(process.info["cmdline"] or ())
    ]  # fmt: skip
    assert left == []
    return [json.loads(line) for line in done.stdout.splitlines()]


def _demo(*arguments: str) -> dict[str, dict[str, float]]:
    comparison = _run(*arguments)[-1]
    assert comparison["kind"] == "comparison"
    return {row["model"]: row for row in comparison["rows"]}


def test_four_hospitals_together_beat_each_of_them_alone() -> None:
    rows = _demo()
    federated, pooled = rows.pop("federated"), rows.pop("pooled")
    assert sorted(rows) == ["cleveland alone", "hungary alone", "switzerland alone", "va_long_beach alone"]
    assert federated["auc"] >= 0.92
    assert federated["accuracy"] >= 0.85
    for alone in rows.values():
        assert federated["auc"] > alone["auc"]
        assert federated["accuracy"] > alone["accuracy"]
    assert abs(federated["auc"] - pooled["auc"]) <= 0.02
    assert abs(federated["accuracy"] - pooled["accuracy"]) <= 0.02


def test_three_sites_with_different_digits_learn_all_of_them() -> None:
    assert _demo("--plan", "digits")["federated"]["accuracy"] >= 0.93


def test_the_director_is_killed_in_mid_round_and_the_model_has_the_same_bytes() -> None:
    lines = _run("--chaos")
    notes = [line for line in lines if "sequence" not in line]
    assert [line["kind"] for line in notes] == [
        "undisturbed", "killed", "restarted", "back", "killed", "back", "verdict",
    ]  # fmt: skip
    first, killed, restarted, back, again, _, verdict = notes
    assert (killed["process"], restarted["process"], again["process"]) == ("Director", "Director", "Aggregator")
    assert len({killed["pid"], restarted["pid"], again["pid"]}) == 3
    assert 10 <= killed["round"] <= back["round"] < again["round"] <= 30
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
    _, alive = psutil.wait_procs(family, timeout=20)
    assert alive == []
