"""Whole experiments in this process, one per compression: they learn, and nobody's turn matters."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from openfl_like.data.shard import build_shard
from openfl_like.data.shard_file import load_shard_config
from openfl_like.federation.parties import PublishedVersion
from openfl_like.plan.load import load_plan
from openfl_like.plan.schema import CompressionPipeline, Plan
from openfl_like.plan.section import Component
from openfl_like.plan.workspace import template_path
from openfl_like.services.simulation import Shards, Simulation, SimulationSettings
from openfl_like.store.files import ExperimentFiles
from openfl_like.tensors.container import read_tensors
from openfl_like.testing.stores import memory_stores

OBEDIENT = Path(__file__).parents[2] / "assets" / "obedient"
COMPRESSIONS: dict[str, Component] = {
    "none": Component(template="none"),
    "float16": Component(template="float16"),
    "bfloat16": Component(template="bfloat16"),
    "quantise": Component(template="quantise"),
    "quantise-4": Component(template="quantise", settings={"bits": 4}),
    "top_k": Component(template="top_k", settings={"fraction": 0.3}),
    "random_k": Component(template="random_k", settings={"fraction": 0.3}),
    "none-zstd": CompressionPipeline(template="none", lossless=Component(template="zstd")),
    "top_k-zstd": CompressionPipeline(
        template="top_k", settings={"fraction": 0.3}, lossless=Component(template="zstd", settings={"level": 3})
    ),
}


def shards_in(workspace: Path) -> Shards:
    names = ("site-1", "site-2", "site-3")
    return {
        name: build_shard(load_shard_config(workspace / "shards" / f"{name}.yaml"), workspace / "shards")
        for name in names
    }


def plan_of(workspace: Path, compression: Component, rounds: int, *, delta: bool | None = None) -> Plan:
    plan = load_plan(workspace / "plan.yaml")
    aggregator, collaborator = plan.aggregator.settings, plan.collaborator.settings
    sections = {
        "aggregator": {"settings": {**aggregator.model_dump(), "rounds_to_train": rounds}},
        "collaborator": {"settings": {**collaborator.model_dump(), "delta_updates": delta}},
        "compression_pipeline": compression.model_dump(),
    }
    return Plan.model_validate({**plan.model_dump(), **sections})


def run(plan: Plan, workspace: Path, shards: Shards, directory: Path) -> tuple[PublishedVersion, ...]:
    directory.mkdir()
    with Simulation(SimulationSettings(plan, workspace, shards, directory), memory_stores()) as simulation:
        result = asyncio.run(simulation.run())
    assert result.outcome.status.value == "FINISHED"
    return result.versions


@pytest.fixture
def vector(tmp_path: Path) -> Callable[..., np.ndarray]:
    def model(plan: Plan, shards: Shards, name: str) -> np.ndarray:
        versions = run(plan, OBEDIENT, shards, tmp_path / name)
        path = ExperimentFiles(tmp_path / name).model(versions[-1].version.round)
        return read_tensors(path)["vector"]

    return model


@pytest.mark.sklearn
@pytest.mark.parametrize("compression", COMPRESSIONS.values(), ids=list(COMPRESSIONS))
def test_a_classifier_learns(compression: Component, tmp_path: Path) -> None:
    workspace = template_path("numpy_breast_cancer")
    versions = run(plan_of(workspace, compression, 4), workspace, shards_in(workspace), tmp_path / "record")
    assert len(versions) == 5
    first, last = versions[1].version.metrics, versions[-1].version.metrics
    assert last["loss"] < 0.9 * first["loss"]
    assert last["loss"] < 0.15
    assert last["auc"] > 0.99


@pytest.mark.parametrize("compression", COMPRESSIONS.values(), ids=list(COMPRESSIONS))
def test_the_sites_order_changes_no_bit(compression: Component, vector: Callable[..., np.ndarray]) -> None:
    shards, plan = shards_in(OBEDIENT), plan_of(OBEDIENT, compression, 2)
    forwards = vector(plan, shards, "forwards")
    backwards = vector(plan, dict(reversed(list(shards.items()))), "backwards")
    assert forwards.tobytes() == backwards.tobytes()


@pytest.mark.parametrize(
    ("compression", "delta", "error"),
    [
        ("none", True, 1e-6),
        ("none-zstd", True, 1e-6),
        ("float16", False, 0.005),
        ("float16", True, 0.002),
        ("bfloat16", True, 0.01),
        ("quantise", True, 0.02),
        ("quantise-4", True, 0.3),
    ],
)
def test_the_model_is_near_that_without_compression(
    compression: str,
    delta: bool,  # noqa: FBT001 - a parameter
    error: float,
    vector: Callable[..., np.ndarray],
) -> None:
    shards = shards_in(OBEDIENT)
    exact = vector(plan_of(OBEDIENT, COMPRESSIONS["none"], 3), shards, "exact")
    found = vector(plan_of(OBEDIENT, COMPRESSIONS[compression], 3, delta=delta), shards, "compressed")
    assert found.dtype == np.float32
    assert 0 < np.abs(found - exact).max() < error


def test_packing_changes_no_bit_of_the_model(vector: Callable[..., np.ndarray]) -> None:
    shards = shards_in(OBEDIENT)
    for bare in ("none", "top_k"):
        plans = plan_of(OBEDIENT, COMPRESSIONS[bare], 3), plan_of(OBEDIENT, COMPRESSIONS[f"{bare}-zstd"], 3)
        found = [vector(plan, shards, f"{bare}-{number}").tobytes() for number, plan in enumerate(plans)]
        assert found[0] == found[1]
