"""Every workspace template, run in memory: each site performs, the models are averaged by samples."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from openfl_like.data.shard import ShardDescriptor, build_shard
from openfl_like.data.shard_file import ShardConfig, load_shard_config
from openfl_like.federation.participation.assignment import calls_in_phase
from openfl_like.federation.task import Assignment, Phase, TaskCall, Update
from openfl_like.frameworks.perform import Performer
from openfl_like.plan.digest import plan_digest
from openfl_like.plan.load import load_plan, workspace_of
from openfl_like.plan.schema import Plan
from openfl_like.plan.workspace import installed_plans, plan_path, template_path, templates
from openfl_like.tensors.container import read_tensors, write_tensors
from tests.frameworks import marks_of

PLAN_OF = {
    "torch_heart_disease": "heart_disease",
    "torch_digits": "digits_fedavg",
    "numpy_breast_cancer": "breast_cancer",
    "sklearn_breast_cancer": "breast_cancer_sklearn",
    "keras_digits": "digits_keras",
}
OWN_DATA = [pytest.param(name, marks=marks_of("torch")) for name in ("csv", "torch_zoo")] + ["numpy_parts"]
"""The templates for files of one's own; there are no ready-made plans of them."""


def site_shards(workspace: Path) -> dict[str, ShardDescriptor]:
    return {
        file.stem: build_shard(load_shard_config(file), file.parent)
        for file in sorted((workspace / "shards").glob("*.yaml"))
    }


class Consortium:
    """Sites that train one after the other in this process."""

    def __init__(self, plan: Plan, workspace: Path, shards: Mapping[str, ShardDescriptor], place: Path) -> None:
        self.plan, self.place = plan, place
        self.model = place / "global"
        self.sites = {name: Performer(plan, shard, workspace) for name, shard in shards.items()}

    def phase(self, round_number: int, phase: Phase) -> dict[str, Update]:
        tasks = calls_in_phase(self.plan.tasks, tuple(self.plan.tasks), phase)
        model = None if phase is Phase.INITIALISE else self.model
        return {
            name: site.perform(
                Assignment(round_number, phase, name, tasks, "", self.plan.seed + round_number),
                model,
                self.place / name,
            )
            for name, site in self.sites.items()
        }

    def train(self, rounds: int) -> Path:
        for round_number in range(rounds + 1):
            updates = self.phase(round_number, Phase.TRAIN if round_number else Phase.INITIALISE)
            weights = np.array([update.num_samples for update in updates.values()], dtype=np.float64)
            models = [read_tensors(self.place / name) for name in updates]
            mean = {
                name: np.tensordot(weights, np.stack([model[name].astype(np.float64) for model in models]), 1)
                / weights.sum()
                for name in models[0]
            }
            write_tensors(self.model, {name: mean[name].astype(models[0][name].dtype) for name in mean}, sync=False)
        return self.model


def judged(performer: Performer, model: Path) -> Mapping[str, float]:
    task = TaskCall("validate", "validate")
    return performer.perform(Assignment(1, Phase.EVALUATE, "judge", (task,), "", 0), model, model).metrics["validate"]


@pytest.mark.sklearn  # most have their data from there
@pytest.mark.parametrize("template", [*OWN_DATA, *(pytest.param(name, marks=marks_of(name)) for name in PLAN_OF)])
def test_a_template_learns_in_two_rounds(template: str, tmp_path: Path) -> None:
    workspace = template_path(template)
    plan = load_plan(workspace / "plan.yaml")
    shards = site_shards(workspace)
    assert tuple(shards) == plan.admission.collaborators
    losses = []
    for rounds in (0, 2):
        place = tmp_path / str(rounds)
        place.mkdir()
        consortium = Consortium(plan, workspace, shards, place)
        consortium.train(rounds)
        updates = consortium.phase(rounds, Phase.EVALUATE)
        losses.append(np.mean([update.metrics["validate"]["loss"] for update in updates.values()]))
    assert losses[1] < losses[0]


@pytest.mark.parametrize("template", PLAN_OF)
def test_the_ready_made_plan_is_the_template_s_own(template: str) -> None:
    ready, own = load_plan(plan_path(PLAN_OF[template])), load_plan(template_path(template) / "plan.yaml")
    assert plan_digest(ready) == plan_digest(own)
    assert workspace_of(plan_path(PLAN_OF[template]), ready) == template_path(template)


def test_every_template_and_plan_is_known_here() -> None:
    assert set(templates()) == {*PLAN_OF, "csv", "torch_zoo", "numpy_parts"}
    assert set(installed_plans()) == {
        *PLAN_OF.values(),
        *("digits_devices", "digits_dirichlet", "digits_quorum", "digits_scaffold"),
    }


@pytest.mark.parametrize("template", [*PLAN_OF, "csv", "torch_zoo", "numpy_parts"])
def test_a_template_is_complete(template: str) -> None:
    folder = template_path(template)
    for name in ("README.md", "plan.yaml", "requirements.txt", "src/__init__.py"):
        assert (folder / name).is_file()


@pytest.mark.torch
@pytest.mark.slow
def test_four_hospitals_together_do_better_than_each_alone(tmp_path: Path) -> None:
    workspace = template_path("torch_heart_disease")
    plan = load_plan(workspace / "plan.yaml")
    shards = site_shards(workspace)
    everybody = build_shard(ShardConfig(template="heart_disease", params={"hospital": "all"}))
    judge = Performer(plan, everybody, workspace)
    found = {}
    groups = {"together": shards, "pooled": {"all": everybody}, **{name: {name: shards[name]} for name in shards}}
    for title, group in groups.items():
        (tmp_path / title).mkdir()
        model = Consortium(plan, workspace, group, tmp_path / title).train(plan.aggregator.settings.rounds or 0)
        found[title] = judged(judge, model)
    together, pooled = found.pop("together"), found.pop("pooled")
    assert together["auc"] >= 0.92
    assert together["accuracy"] >= 0.85
    for metric in ("auc", "accuracy"):
        assert together[metric] >= pooled[metric] - 0.02
        assert together[metric] > max(alone[metric] for alone in found.values())


@pytest.mark.torch
@pytest.mark.slow
def test_three_sites_read_digits(tmp_path: Path) -> None:
    workspace = template_path("torch_digits")
    plan = load_plan(workspace / "plan.yaml")
    consortium = Consortium(plan, workspace, site_shards(workspace), tmp_path)
    consortium.train(plan.aggregator.settings.rounds or 0)
    updates = consortium.phase(1, Phase.EVALUATE).values()
    right = sum(update.metrics["validate"]["accuracy"] * update.num_samples for update in updates)
    assert right / sum(update.num_samples for update in updates) >= 0.93
