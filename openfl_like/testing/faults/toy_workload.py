"""A small model that drifts towards its site's number: quick, and every round, site and seed shows in its bits."""

import json
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from openfl_like.data.shard import DataSchema, Dataset
from openfl_like.frameworks.algorithms.base import LocalEnd, LocalStart
from openfl_like.frameworks.model import Observation, Tensors
from openfl_like.frameworks.numpy import NumpyModel
from openfl_like.frameworks.runner import LabelledData, RunnerContext, Shard, TaskResult
from openfl_like.testing.gate import pass_gate

SAMPLE_SHAPE = (1,)
TARGET_SHAPE = ()


class NumberShard:
    """Ten samples and five held-out ones, all the same number.

    Args:
        value: The number.
        site: Which site has it, where a plan makes the sites.
    """

    sample_shape = SAMPLE_SHAPE
    target_shape = TARGET_SHAPE
    dataset_description = "one number"
    schema = DataSchema("float32", "int64", (-100.0, 100.0), (0.0, 0.0), 0, {"train": 10, "validate": 5})

    def __init__(self, value: float = 0.0, site: int = 1) -> None:
        self._value, self.site = value, site

    def get_dataset(self, kind: str) -> Dataset:
        """The number, as often as the kind wants it."""
        count = self.schema.counts[kind]
        return Dataset(np.full((count, 1), self._value, np.float32), np.zeros((count,), np.int64))


class NumberLoader:
    """Hands the number on.

    Args:
        shard: The site's shard.
    """

    num_train = 10
    num_validate = 5

    def __init__(self, shard: Shard) -> None:
        data: LabelledData = shard.get_dataset("train")
        self.value = float(data.samples.mean())

    def train_batches(self, seed: int, epoch: int) -> list[object]:  # noqa: ARG002 (the loader's interface)
        """Not used."""
        return []

    def validate_batches(self) -> list[object]:
        """Not used."""
        return []


class DriftRunner:
    """A float32 vector; training moves it half of the way to the site's number, with noise from the assignment's seed.

    Args:
        loader: The site's number.
        context: Has the plan's algorithm.
        length: Length of the vector.
        delay_s: Seconds that a training takes, so that a fault drawn at random can fall into it.
        gate: Address of a `testing.gate.Gate`, at which every assignment waits; empty: there is none.
    """

    def __init__(
        self,
        loader: NumberLoader,
        context: RunnerContext,
        *,
        length: int = 10_000,
        delay_s: float = 0.0,
        gate: str = "",
    ) -> None:
        self._value = loader.value
        self._hooks = context.hooks
        self._delay_s = delay_s
        self._gate = gate
        self._seed = 0
        self._vector = np.zeros(length, np.float32)

    def initialise(self, seed: int) -> None:
        """Draw the vector."""
        self._vector = np.random.default_rng(seed).standard_normal(len(self._vector), np.float32)

    def begin(self, seed: int) -> None:
        """Take the seed of an assignment, when its gate is open."""
        pass_gate(self._gate, seed)
        self._seed = seed

    def get_tensors(self) -> dict[str, np.ndarray]:
        """The vector."""
        return {"vector": self._vector}

    def set_tensors(self, tensors: Mapping[str, np.ndarray]) -> None:
        """Take the vector."""
        self._vector = np.array(tensors["vector"])

    def train(self) -> TaskResult:
        """Move half of the way."""
        time.sleep(self._delay_s)
        model = NumpyModel(self._look, self._step, lambda: {"vector": self._vector})
        self._hooks.begin(model)
        _, slopes = self._look(self._vector, self._vector)
        model.apply(self._hooks.adjust(slopes, model))
        self._hooks.after_step(model)
        return TaskResult(10, {"loss": self._distance()})

    def _look(self, *_: np.ndarray) -> tuple[Observation, dict[str, np.ndarray]]:
        noise = np.random.default_rng(self._seed).standard_normal(len(self._vector), np.float32)
        slope = (self._vector - self._value) / 2 - noise / 16
        return Observation(self._distance(), self._vector, self._vector), {"vector": slope}

    def _step(self, slopes: Tensors) -> None:
        self._vector = self._vector - slopes["vector"]

    def validate(self) -> TaskResult:
        """Tell how far it is."""
        return TaskResult(5, {"loss": self._distance()})

    def _distance(self) -> float:
        return float(np.abs(self._vector - self._value).mean())


class HabitAlgorithm:
    """A site repeats a part of what it did in its rounds before: what it keeps shows in the bits of every model."""

    def shared(self, model: Tensors) -> Tensors:
        """The sum of all habits, to be averaged."""
        return {"habit": np.zeros_like(model["vector"])}

    def begin(self, start: LocalStart) -> None:
        """Take up the habit."""
        self._start = start
        self._habit = start.state["habit"] if "habit" in start.state else start.weights["vector"] * np.float32(0)

    def adjust(self, gradients: Tensors, weights: Tensors) -> Tensors:  # noqa: ARG002 (the protocol's)
        """Add it, and what is shared."""
        part = np.float32(1 / 16)
        return {"vector": gradients["vector"] + part * (self._habit + self._start.shared["habit"])}

    def after_step(self, weights: Tensors) -> None:
        """Do nothing."""

    def end(self, weights: Tensors) -> LocalEnd:
        """Keep half of the habit and half of the way of this round."""
        habit = (self._habit + self._start.weights["vector"] - weights["vector"]) / np.float32(2)
        return LocalEnd(shared={"habit": habit}, state={"habit": habit})


def write_workspace(place: Path, sites: Mapping[str, float]) -> tuple[Path, dict[str, Path]]:
    """Write a workspace whose plan wants all the sites in every round.

    Args:
        place: Its directory.
        sites: Site -> its number.

    Returns:
        The plan, and site -> shard.yaml.
    """
    module = "openfl_like.testing.faults.toy_workload"
    (place / "shards").mkdir(parents=True, exist_ok=True)
    shards = {name: place / "shards" / f"{name}.yaml" for name in sites}
    for name, path in shards.items():
        _write(path, {"template": f"{module}:NumberShard", "params": {"value": sites[name]}})
    plan = place / "plan.yaml"
    sections: dict[str, object] = {
        "name": "drift",
        "task_runner": {"template": f"{module}:DriftRunner"},
        "data_loader": {"template": f"{module}:NumberLoader"},
        "algorithm": {"template": f"{module}:HabitAlgorithm"},
        "tasks": {"train": {"function": "train"}, "validate": {"function": "validate"}},
        "admission": {"collaborators": sorted(sites), "timeout_s": 120},
        "deadline": {"rejoin_s": 120},
        "model_store": {"best": {"metric": "loss", "mode": "min"}},
    }
    _write(plan, sections)
    return plan, shards


def _write(path: Path, sections: Mapping[str, object]) -> None:
    path.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in sections.items()), encoding="utf-8")
