"""What the federation brought: its model beside each site's own and beside one trained on all data together.

Only somebody who has every site's data can make this comparison: a simulation, or a demo on one machine.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from openfl_like.data.pooled import PooledShard
from openfl_like.data.shard import ShardDescriptor, build_shard
from openfl_like.data.shard_file import load_shard_config
from openfl_like.errors import ShardError
from openfl_like.federation.participation.assignment import calls_in_phase
from openfl_like.federation.seeds import derive_seed
from openfl_like.federation.task import Assignment, Phase
from openfl_like.frameworks.perform import Performer
from openfl_like.plan.schema import Admission, Plan
from openfl_like.plan.section import Component
from openfl_like.plan.simulation import SimulationSection
from openfl_like.services.devices.placement import place_here
from openfl_like.services.simulation import Shards, Simulation, SimulationSettings
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.ports import Stores
from openfl_like.tensors.manifest import file_digest


@dataclass(frozen=True, slots=True)
class Row:
    """How one model does on the held-out samples of all sites together."""

    model: str
    train_samples: int
    metrics: Mapping[str, float]


def load_shards(files: Mapping[str, Path]) -> dict[str, ShardDescriptor]:
    """Build every site's shard in this process.

    Raises:
        SettingsError: If a file is missing or has a mistake.
        ShardError: If a shard cannot be made.
    """
    return {name: _shard_of(path) for name, path in files.items()}


def _shard_of(path: Path) -> ShardDescriptor:
    try:
        return build_shard(load_shard_config(path), path.parent)
    except ShardError as error:  # there are many files: it is said which
        error.place = f"{path}, {error.place}" if error.place else str(path)
        raise


async def compare(plan: Plan, workspace: Path, shards: Shards, federated: Path, stores: Stores) -> list[Row]:
    """Train a model at each site alone and one on all data pooled, with the plan's own rounds.

    Args:
        plan: The plan of the federation.
        workspace: Its code.
        shards: Site name -> its shard.
        federated: The federation's model file.
        stores: Opens the records of the simulations.

    Returns:
        Rows for the federated model, every site by name, and the pooled one; all are measured on the union of the
        sites' held-out samples.
    """
    pooled = PooledShard(list(shards.values()))
    judge = Performer(plan, pooled, workspace, place_here(plan.collaborator.settings.device))
    rows = [Row("federated", pooled.schema.counts["train"], _judged(judge, plan, federated))]
    candidates: dict[str, ShardDescriptor] = {**{f"{name} alone": shard for name, shard in shards.items()}}
    candidates["pooled"] = pooled
    for title, shard in candidates.items():
        with tempfile.TemporaryDirectory(prefix="fx-compare-") as directory:
            model = await _train_alone(plan, workspace, shard, Path(directory), stores)
            rows.append(Row(title, shard.schema.counts["train"], _judged(judge, plan, model)))
    return rows


async def _train_alone(plan: Plan, workspace: Path, shard: ShardDescriptor, directory: Path, stores: Stores) -> Path:
    alone = plan.model_copy(
        update={
            "admission": Admission(min_collaborators=1),
            "assigner": Component(template="all"),
            "selector": Component(template="all"),
            "simulation": SimulationSection(),
        }
    )
    with Simulation(SimulationSettings(alone, workspace, {"alone": shard}, directory), stores) as simulation:
        result = await simulation.run()
    return ExperimentFiles(directory).model(result.versions[-1].version.round)


def _judged(judge: Performer, plan: Plan, model: Path) -> dict[str, float]:
    tasks = calls_in_phase(plan.tasks, list(plan.tasks), Phase.EVALUATE)
    seed = derive_seed(plan.seed, "comparison")
    assignment = Assignment(1, Phase.EVALUATE, "judge", tasks, file_digest(model), seed)
    update = judge.perform(assignment, model, model.with_suffix(".unused"))
    return {name: value for metrics in update.metrics.values() for name, value in metrics.items()}
