"""Sites of a simulation that have one runner between them, because its class says that it is stateless."""

import asyncio
import re
import shutil
from pathlib import Path

import pytest

from openfl_like.data.synthetic import SyntheticShard
from openfl_like.federation.status import Status
from openfl_like.federation.task import Assignment, Phase, TaskCall
from openfl_like.plan.digest import freeze
from openfl_like.plan.load import load_plan
from openfl_like.processes.batch import Batch, Setting, SiteOrder
from openfl_like.processes.site_worker import SiteWorker
from openfl_like.services.simulation import Simulation, SimulationResult, SimulationSettings
from openfl_like.testing.stores import memory_stores

TEMPLATE = Path(__file__).parents[3] / "workspace_templates" / "numpy_breast_cancer"
CLASS_LINE = "class BreastCancerRunner(NumpyRunner):\n"
TRAIN = (TaskCall("train", "train", trains=True),)
SAID = "    stateless = True\n"
REMEMBERS = """    def train(self, epochs=1):
        self.lr *= 0.9
        return super().train(epochs)
"""

LATER = """self.done = getattr(self, "done", 0) + 1
        self.lr *= 0.9 if self.done > 2 else 1.0"""


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
    plan = load_plan(workspace / "plan.yaml", ["aggregator.settings.rounds_to_train=3", "admission={}", *overrides])
    shards = {f"site-{site}": SyntheticShard(site, samples=40, features=8, classes=2) for site in range(1, 7)}
    with Simulation(SimulationSettings(plan, workspace, shards, record), memory_stores()) as simulation:
        return asyncio.run(simulation.run())


def model_of(result: SimulationResult) -> str:
    assert result.outcome.status is Status.FINISHED, result.outcome.reason
    return result.versions[-1].sha256


def test_a_shared_runner_gives_the_bytes_that_one_for_each_site_gives(workspace: Path, tmp_path: Path) -> None:
    own = model_of(run(workspace, tmp_path / "own"))
    say(workspace, SAID)
    assert model_of(run(workspace, tmp_path / "shared")) == own


def test_a_runner_that_had_no_time_to_train_all_is_compared_over_as_many_batches(
    workspace: Path, tmp_path: Path
) -> None:
    hurry = "deadline.train_s=1e-9", "data_loader.settings.batch_size=8"  # it is over with the first batch
    own = model_of(run(workspace, tmp_path / "own", *hurry))
    say(workspace, SAID)
    assert model_of(run(workspace, tmp_path / "shared", *hurry)) == own
    assert own != model_of(run(workspace, tmp_path / "all", hurry[1]))


def test_an_optimizer_s_state_stays_at_its_site_without_an_algorithm_too(workspace: Path, tmp_path: Path) -> None:
    kept = "collaborator.settings.opt_treatment=CONTINUE_LOCAL"
    own = model_of(run(workspace, tmp_path / "own", kept))
    assert own != model_of(run(workspace, tmp_path / "forgotten"))
    say(workspace, SAID)
    assert model_of(run(workspace, tmp_path / "shared", kept)) == own


@pytest.mark.parametrize(
    "algorithm", ["ditto", "fedcurv", "feddyn", "fednova", "fedprox", "mime", "per_fedavg", "scaffold"]
)
def test_every_algorithm_goes_with_tensors_that_stay_at_their_sites(
    workspace: Path, tmp_path: Path, algorithm: str
) -> None:
    settings = {"feddyn": "alpha: 0.1", "fedprox": "mu: 0.1", "per_fedavg": "alpha: 0.01"}
    given = settings.get(algorithm, "pull: 0.1" if algorithm in {"ditto", "fedcurv"} else "")
    chosen = f"algorithm={{template: {algorithm}, settings: {{{given}}}}}"
    assert model_of(run(workspace, tmp_path / "record", chosen, "aggregation.rules=[{match: bias, rule: local}]"))


@pytest.mark.parametrize(
    ("lines", "overrides", "runners"),
    [
        ((), (), 6),
        ((SAID,), (), 4),  # of those that share it, the first, second and fourth are compared with one of their own
        ((SAID,), ("collaborator.settings.opt_treatment=CONTINUE_GLOBAL",), 4),
        ((SAID,), ("collaborator.settings.opt_treatment=CONTINUE_LOCAL",), 6),
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


def test_one_that_begins_to_remember_later_is_found_out_later(workspace: Path, tmp_path: Path) -> None:
    say(workspace, SAID, REMEMBERS.replace("self.lr *= 0.9", LATER))
    result = run(workspace, tmp_path / "record")
    assert result.outcome.status is Status.FAILED
    assert "stateless" in result.outcome.reason


def test_a_result_that_is_no_number_is_no_difference(workspace: Path, tmp_path: Path) -> None:
    say(workspace, SAID)
    result = run(workspace, tmp_path / "record", "task_runner.settings.lr=1e300")
    assert result.outcome.status is Status.FAILED
    assert "stateless" not in result.outcome.reason


def test_a_worker_for_many_sites_tries_it_as_well(workspace: Path, tmp_path: Path) -> None:
    say(workspace, SAID, REMEMBERS)
    plan = load_plan(workspace / "plan.yaml", ["admission={}"])
    (tmp_path / "plan.json").write_bytes(freeze(plan))
    shard = str(tmp_path / "shard.yaml")
    Path(shard).write_text("template: synthetic\nparams: {samples: 40, features: 8, classes: 2}\n")
    setting = Setting(str(tmp_path / "plan.json"), str(workspace), str(tmp_path), "cpu")
    worker, model = SiteWorker("here"), tmp_path / "model"
    orders = [
        SiteOrder("bern", shard, Assignment(0, Phase.INITIALISE, "bern", (), "", 7), "", str(model)),
        *(
            SiteOrder(
                site, shard, Assignment(1, Phase.TRAIN, site, TRAIN, "m", 7), str(model), str(tmp_path / "update")
            )
            for site in ("bern", "zurich")
        ),
    ]
    told = [dict(answer.told) for answer in worker.answers(Batch(setting, tuple(orders)))]
    assert ["update" in answer for answer in told] == [True, True, False]
    assert "stateless" in str(told[-1])
