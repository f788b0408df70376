"""Sites evaluate each other's models: a simulated federation, from the models to the matrix."""

import asyncio
import shutil
from pathlib import Path

import numpy as np
import psutil
import pytest

from openfl_like.authoring.baselines import load_shards
from openfl_like.errors import FederationError
from openfl_like.events.bus import EventBus
from openfl_like.federation.announcements import Announced
from openfl_like.federation.history.rounds import round_records
from openfl_like.plan.evaluation import evaluation_of, place_of
from openfl_like.plan.load import load_plan
from openfl_like.services.simulation import Simulation, SimulationSettings
from openfl_like.store.files import ExperimentFiles
from openfl_like.tensors.container import write_tensors
from openfl_like.testing.stores import memory_stores

OBEDIENT = Path(__file__).parents[2] / "assets" / "obedient"
SITES = ("site-1", "site-2")


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    shutil.copytree(OBEDIENT, tmp_path / "code", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "code"


def history_of(bus: EventBus) -> list[Announced]:
    async def read() -> list[Announced]:
        return [event async for event in bus.tail()]

    return asyncio.run(read())


def test_a_simulation_that_cannot_begin_leaves_no_record_open(workspace: Path, tmp_path: Path) -> None:
    plan = load_plan(workspace / "plan.yaml", ["aggregator.settings.init_state_path=none.safetensors"])
    simulation = Simulation(SimulationSettings(plan, workspace, {}, tmp_path / "record"), memory_stores())
    with pytest.raises(FederationError, match=r"none\.safetensors"):
        simulation.__enter__()
    assert [file.path for file in psutil.Process().open_files() if file.path.startswith(str(tmp_path))] == []


def test_given_models_are_evaluated_and_nothing_is_trained(workspace: Path, tmp_path: Path) -> None:
    values = {"zero": 0.0, "ten": 10.0}
    for name, value in values.items():
        path = workspace / place_of(name)
        path.parent.mkdir(exist_ok=True)
        write_tensors(path, {"vector": np.full(100, value, np.float32)})
    plan = evaluation_of(load_plan(workspace / "plan.yaml"), list(values))
    shards = load_shards({name: workspace / "shards" / f"{name}.yaml" for name in SITES})
    numbers = {name: float(shard.get_dataset("train").samples.mean()) for name, shard in shards.items()}
    with Simulation(SimulationSettings(plan, workspace, shards, tmp_path / "record"), memory_stores()) as simulation:
        result = asyncio.run(simulation.run())
        events = history_of(simulation.bus)
    assert result.outcome.status.value == "FINISHED", result.outcome.reason
    last = list(round_records(events))[-1]
    losses = {site: {name: row[name]["loss"] for name in row} for site, row in last.matrix.items()}
    wanted = {
        site: {name: pytest.approx(abs(value - number)) for name, value in values.items()}
        for site, number in numbers.items()
    }
    assert losses == wanted
    assert last.contributors == {}
    assert set(last.evaluators) == set(SITES)
    files = ExperimentFiles(tmp_path / "record")
    assert files.model(1).read_bytes() == files.model(0).read_bytes()
