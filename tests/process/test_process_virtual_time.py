"""Simulated devices in virtual time: the same history in every runtime, and after the death of the simulation."""

import asyncio
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from federations import fx_fine, run_fx

from openfl_like.plan.load import load_plan
from openfl_like.plan.workspace import template_path
from openfl_like.processes.child import fx_command, spawn
from openfl_like.testing.gate import Gate

pytestmark = [pytest.mark.process, pytest.mark.sklearn]
ROUNDS, SITES = 6, 24
SECTION = f"""
participation: {{policy: quorum, min_updates: 1}}
deadline: {{round_s: 40, rejoin_s: 20}}
simulation:
  sites: {{count: {SITES}, shard: breast_cancer}}
  devices:
    speed: {{template: lognormal, settings: {{median: 2, sigma: 1}}}}
    network: {{down_bytes_per_s: {{template: pareto, settings: {{least: 100, alpha: 1}}}}, up_bytes_per_s: 200}}
    power: {{computing_w: 4, sending_w: 1, idle_w: 0.2}}
    availability: {{template: markov, settings: {{on_s: 120, off_s: 40}}}}
    failures: 0.05
"""
BUFFERED = ("-s", "mode={template: buffered, settings: {buffer: 3, concurrency: 8, most_staleness: 4}}")
GATED = """
    def begin(self, seed):
        pass_gate(self._gate, seed)
        super().begin(seed)

    def build_model("""


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    """The numpy template with devices, and a gate."""
    ignored = shutil.ignore_patterns("shards", "__pycache__")
    workspace = shutil.copytree(template_path("numpy_breast_cancer"), tmp_path / "study", ignore=ignored)
    path: Path = workspace / "plan.yaml"
    text = path.read_text().replace("rounds_to_train: 10", f"rounds_to_train: {ROUNDS}")
    text = text.replace("{collaborators: [site-1, site-2, site-3], min_collaborators: 3,", "{min_collaborators: 8,")
    path.write_text(text + SECTION)
    code = workspace / "src" / "breast_cancer.py"
    text = code.read_text().replace(
        "weight_decay: float = 0.01,\n", 'weight_decay: float = 0.01,\n        gate: str = "",\n'
    )
    text = text.replace("        self._weight_decay = ", "        self._gate = gate\n        self._weight_decay = ")
    text = text.replace("\n    def build_model(", GATED)
    code.write_text("from openfl_like.testing.gate import pass_gate\n" + text)
    return path


def history(output: str) -> tuple[dict[str, Any], list[tuple[float, str, Any]]]:
    """The result, and what happened when; without what is told once more by whoever goes on."""
    lines = [json.loads(line) for line in output.splitlines()]
    events = [line for line in lines if "sequence" in line]
    again = {"experiment_started", "assignment_sent", "collaborator_joined", "collaborators_joined"}
    return lines[-1], [(one["time"], one["kind"], one["fields"]) for one in events if one["kind"] not in again]


@pytest.mark.parametrize("changes", [(), BUFFERED], ids=["synchronous", "buffered"])
async def test_every_runtime_has_the_same_history_to_the_last_byte(
    plan: Path, tmp_path: Path, changes: tuple[str, ...]
) -> None:
    words = ("simulate", str(plan), *changes, "--json")
    outputs = await asyncio.gather(
        fx_fine(*words, cwd=tmp_path),
        fx_fine(*words, "--runtime", "process", cwd=tmp_path),
        fx_fine(*words, "--runtime", "process", "--sandbox", cwd=tmp_path),
    )
    assert set(outputs) == {outputs[0]}
    result, told = history(outputs[0])
    assert result["virtual"]["late"] > 0 or changes
    assert result["virtual"]["seconds"] == told[-1][0] > 40
    worked = [fields for _, kind, fields in told if kind == "devices_worked"]
    assert sum(sum(fields["energy_j"].values()) for fields in worked) == pytest.approx(result["virtual"]["energy_j"])
    assert {kind for _, kind, _ in told} >= {"collaborator_left", "collaborator_absent"}


@pytest.mark.parametrize(
    "chosen",
    [(), ("-s", "algorithm={template: fedprox, settings: {mu: 0.1}}"), BUFFERED],
    ids=["none", "fedprox", "buffered"],
)
async def test_a_simulation_that_is_killed_goes_on_to_the_same_bytes_at_the_same_times(
    plan: Path, tmp_path: Path, chosen: tuple[str, ...]
) -> None:
    sites = [f"site-{number:02}" for number in range(1, SITES + 1)]
    async with Gate(load_plan(plan).seed, sites) as gate:
        words = ("simulate", str(plan), "-s", gate.setting, *chosen, "--json")
        gate.open(3)
        child = await spawn(fx_command(*words, "--directory", "record"), cwd=tmp_path)
        wanted = "round_finished" if "fedprox" in str(chosen) else "experiment_started"
        while json.loads(await child.line()).get("kind") != wanted:
            pass
        child.kill()
        assert await child.wait() == -9
        gate.open_all()
        whole = await fx_fine(*words, cwd=tmp_path)
        rest = await fx_fine(*words, "--directory", "record", "--runtime", "process", cwd=tmp_path)
        again = await fx_fine(*words, "--directory", "record", cwd=tmp_path)
    assert history(rest) == history(whole)
    assert history(again)[1] == history(whole)[1]
    assert history(again)[0] == {**history(whole)[0], "had_ended": True}


async def test_devices_that_no_device_could_be_are_refused_with_their_place_and_cure(
    plan: Path, tmp_path: Path
) -> None:
    (plan.parent / "speeds.csv").write_text("time_s,value\n0,5\n60,-1\n")
    trace = "simulation.devices.speed={template: trace, settings: {file: speeds.csv}}"
    code, out, told = await run_fx("simulate", str(plan), "-s", trace, cwd=tmp_path)
    assert (code, out) == (2, "")
    assert "simulation.devices.speed: must be more than 0, and may be -1" in told


@pytest.mark.long
@pytest.mark.parametrize(
    ("script", "first"),
    [
        ("draw_virtual_time.py", ["120", "600", "1800"]),
        ("draw_asynchronous.py", ["rounds", "rounds", "buffered,"]),
    ],
)
async def test_the_picture_of_the_page_is_drawn(tmp_path: Path, script: str, first: list[str]) -> None:
    pytest.importorskip("matplotlib")
    path = Path(__file__).parents[2] / "docs" / script
    child = await spawn([sys.executable, str(path), "small.svg", "0.1"], cwd=tmp_path)
    told = [line.split() for line in [await child.line() for _ in range(3)]]
    assert await child.wait() == 0
    assert [line[0] for line in told] == first
    assert "devices that have contributed" in (tmp_path / "small.svg").read_text()
