"""Sites of a simulation that have one runner between them, because its class says that it is stateless."""

import asyncio
import re
import shutil
from pathlib import Path

import pytest

from openfl_like.authoring.baselines import load_shards
from openfl_like.federation.status import Status
from openfl_like.plan.load import load_plan
from openfl_like.services.simulation import Simulation, SimulationResult, SimulationSettings
from openfl_like.testing.stores import memory_stores

TEMPLATE = Path(__file__).parents[3] / "workspace_templates" / "numpy_breast_cancer"
CLASS_LINE = "class BreastCancerRunner(NumpyRunner):\n"
SAID = "    stateless = True\n"
REMEMBERS = """    def train(self, epochs=1):
        self.lr *= 0.9
        return super().train(epochs)
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    shutil.copytree(TEMPLATE, tmp_path / "code", ignore=shutil.ignore_patterns("__pycache__"))
    source = tmp_path / "code" / "src" / "breast_cancer.py"
    source.write_text(re.sub(r" +stateless = True.*\n+", "", source.read_text()))
    return tmp_path / "code"


def say(workspace: Path, *lines: str) -> None:
    source = workspace / "src" / "breast_cancer.py"
    source.write_text(source.read_text().replace(CLASS_LINE, CLASS_LINE + "".join(lines)))


def run(workspace: Path, record: Path, *overrides: str) -> SimulationResult:
    plan = load_plan(workspace / "plan.yaml", ["aggregator.settings.rounds_to_train=3", *overrides])
    shards = load_shards({path.stem: path for path in sorted((workspace / "shards").glob("*.yaml"))})
    with Simulation(SimulationSettings(plan, workspace, shards, record), memory_stores()) as simulation:
        return asyncio.run(simulation.run())


def model_of(result: SimulationResult) -> str:
    assert result.outcome.status is Status.FINISHED, result.outcome.reason
    return result.versions[-1].sha256


def test_a_shared_runner_gives_the_bytes_that_one_for_each_site_gives(workspace: Path, tmp_path: Path) -> None:
    own = model_of(run(workspace, tmp_path / "own"))
    say(workspace, SAID)
    assert model_of(run(workspace, tmp_path / "shared")) == own


@pytest.mark.parametrize(
    ("lines", "overrides", "runners"),
    [
        ((), (), 3),
        ((SAID,), (), 2),  # the second one is compared with the first, once
        ((SAID,), ("collaborator.settings.opt_treatment=CONTINUE_GLOBAL",), 2),
        ((SAID,), ("collaborator.settings.opt_treatment=CONTINUE_LOCAL",), 3),
    ],
)
def test_a_runner_is_shared_if_it_says_so_and_no_state_of_an_optimizer_stays_with_it(
    workspace: Path,
    tmp_path: Path,
    lines: tuple[str, ...],
    overrides: tuple[str, ...],
    runners: int,
    capfd: pytest.CaptureFixture[str],
) -> None:
    say(workspace, *lines)
    source = workspace / "src" / "breast_cancer.py"
    source.write_text(source.read_text() + "\n\nprint('imported')\n")
    model_of(run(workspace, tmp_path / "record", *overrides))
    assert capfd.readouterr().out.count("imported") == runners


def test_a_runner_that_says_it_is_stateless_and_is_not_ends_the_simulation(workspace: Path, tmp_path: Path) -> None:
    say(workspace, SAID, REMEMBERS)
    result = run(workspace, tmp_path / "record")
    assert result.outcome.status is Status.FAILED
    assert "stateless" in result.outcome.reason
