"""What sites train in the benchmark of simulations: data, network and steps."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from openfl_like.data.shard import ArrayShard, Dataset
from openfl_like.plan.load import load_plan
from openfl_like.plan.schema import Plan

WORKSPACES = Path(__file__).parent / "workspaces"
CLASSES, RATE = 10, 0.1


def _mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, CLASSES))


def _cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * 6 * 6, 64), nn.ReLU(), nn.Linear(64, CLASSES),
    )  # fmt: skip


@dataclass(frozen=True)
class Workload:
    """What a site does in a round.

    Attributes:
        name: Of the workspace.
        shape: Of a sample.
        samples: How many a site has.
        batch: How many are in a step.
        build: Makes the network, as the workspace does.
    """

    name: str
    shape: tuple[int, ...]
    samples: int
    batch: int
    build: Callable[[], nn.Module]

    @property
    def workspace(self) -> Path:
        """Where its code is."""
        return WORKSPACES / self.name

    def data(self, site: int, samples: int | None = None) -> Dataset:
        """Invents the samples of a site."""
        generator, count = np.random.default_rng(site), samples or self.samples
        drawn = generator.standard_normal((count, *self.shape), dtype=np.float32)
        return Dataset(drawn, generator.integers(0, CLASSES, count))

    def shards(self, count: int) -> dict[str, ArrayShard]:
        """Makes sites; the held-out samples, which nobody looks at, are few."""
        return {
            f"site-{number:05d}": ArrayShard(
                {"train": self.data(number), "validate": self.data(number, 2)}, "invented", (-9.0, 9.0), CLASSES
            )
            for number in range(count)
        }

    def plan(self, per_round: int, rounds: int) -> Plan:
        """The plan of the workspace with other numbers; one more round is run before those that count."""
        plan = load_plan(self.workspace / "plan.yaml").model_dump()
        plan["aggregator"]["settings"]["rounds_to_train"] = rounds + 1
        plan["selector"]["settings"]["count"] = per_round
        return Plan.model_validate(plan)


MLP = Workload("small_mlp", (32,), 20, 20, _mlp)
CNN = Workload("small_cnn", (3, 32, 32), 50, 10, _cnn)
WORKLOADS = {"mlp": MLP, "cnn": CNN}
