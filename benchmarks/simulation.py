"""W3: how many trainings a second a simulation makes.

With ``--workload mlp`` each is small (a network of two layers, 20 samples, one step), so that what a simulation costs
besides shows; with ``cnn`` it is five steps of a small convolutional network on 50 images of the shape of CIFAR-10.

The floor, in turn with each simulation, is bare PyTorch in the same process. For ``local`` it is a loop that loads the
model, trains, and adds up; for ``batched`` a round is one call of vmap over grad, which also invents the samples. For
``process``, whose workers make their sites themselves, it is ``local`` with the same sites. What is counted begins with
the second round; in the first one modules are imported and the first sites are made.

Example: python benchmarks/simulation.py --sites 1000 --per-round 100 --rounds 10 --runtime batched
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from figures import beside, emit, figure, say
from torch import nn
from torch.func import functional_call, grad, vmap
from workloads import CLASSES, CNN, MLP, RATE, WORKLOADS, Workload

from openfl_like.data.made_sites import make_sites
from openfl_like.data.shard import ArrayShard
from openfl_like.federation.announcements import RoundFinished
from openfl_like.frameworks.batched.obstacles import NotBatched
from openfl_like.plan.schema import Plan
from openfl_like.runtimes.sites import WorkerWishes
from openfl_like.services.simulation import Simulation, SimulationSettings
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.sqlite.stores import SQLITE

WORKERS = 2


@dataclass(frozen=True)
class Size:
    """How much is simulated, and how often."""

    sites: int
    per_round: int
    rounds: int
    runs: int

    @property
    def trainings(self) -> int:
        """How many trainings count."""
        return self.per_round * self.rounds


USUAL = {MLP.name: Size(1000, 100, 10, 5), CNN.name: Size(1000, 50, 20, 3)}
QUICK = {MLP.name: Size(30, 10, 3, 1), CNN.name: Size(6, 3, 2, 1)}


def simulate(workload: Workload, shards: Mapping[str, ArrayShard], size: Size, runtime: str) -> float:
    """Return the seconds that the rounds took after the first."""
    with tempfile.TemporaryDirectory(prefix="fx-bench-") as directory:
        plan, place = workload.plan(size.per_round, size.rounds), Path(directory)
        return seconds_of(SimulationSettings(plan, workload.workspace, shards, place, runtime=runtime, tell=refuse))


def simulate_made(workload: Workload, size: Size, runtime: str, workers: int | None = None) -> float:
    """Return the same of sites that the plan makes, wherever they work."""
    params = {"features": workload.shape[0], "classes": CLASSES, "samples": workload.samples, "held_out": 1}
    made_of = {"count": size.sites, "each": {"template": "synthetic", "params": params}}
    usual = workload.plan(size.per_round, size.rounds).model_dump()
    plan = Plan.model_validate({**usual, "simulation": {"sites": made_of}})
    made = make_sites(plan, workload.workspace)
    if made is None:
        raise SystemExit("the plan makes no sites")
    with tempfile.TemporaryDirectory(prefix="fx-bench-") as directory:
        files, wishes = made.files(Path(directory, "shards")), WorkerWishes(workers)
        settings = SimulationSettings(
            plan,
            workload.workspace,
            made.shards,
            Path(directory, "record"),
            files=files,
            runtime=runtime,
            workers=wishes,
        )
        return seconds_of(settings)


def seconds_of(settings: SimulationSettings) -> float:
    """Runs a simulation and gives the seconds that its rounds took after the first."""
    rounds = settings.plan.aggregator.settings.rounds or 0
    with Simulation(settings, SQLITE) as simulation:
        result = asyncio.run(simulation.run())
    if result.outcome.status != "FINISHED":
        raise SystemExit(f"the simulation is {result.outcome.status}: {result.outcome.reason}")
    with closing(SQLITE.experiment(ExperimentFiles(settings.directory))) as record:
        events = record.events(kinds=[RoundFinished.kind])
    ends = {event.announcement.round: event.time for event in events if isinstance(event.announcement, RoundFinished)}
    return ends[rounds] - ends[1]


def refuse(reason: NotBatched) -> None:
    """Ends a measurement in which nothing is batched: it would be one of something else."""
    raise SystemExit(str(reason))


def train_bare(workload: Workload, size: Size) -> float:
    """Return the seconds of as many trainings in a bare loop."""
    torch.set_num_threads(1)
    model, drawn = workload.build(), np.random.default_rng(0)
    data = [
        (torch.from_numpy(one.samples), torch.from_numpy(one.targets))
        for one in map(workload.data, range(min(size.sites, 1000)))
    ]
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    began = time.perf_counter()
    for _ in range(size.rounds):
        total = {name: torch.zeros_like(value) for name, value in weights.items()}
        for site in drawn.choice(size.sites, size.per_round, replace=False):
            model.load_state_dict(weights)
            samples, targets = data[int(site) % len(data)]
            optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
            for first in range(0, len(samples), workload.batch):
                batch = slice(first, first + workload.batch)
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(samples[batch]), targets[batch]).backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
                optimizer.step()
            for name, value in model.state_dict().items():
                total[name] += value
        weights = {name: value / size.per_round for name, value in total.items()}
    return time.perf_counter() - began


def train_at_once(workload: Workload, size: Size) -> float:
    """Return the seconds of as many trainings of which those of a round are one call."""
    torch.set_num_threads(1)
    model = workload.build()
    weights = {name: value.detach().clone() for name, value in model.named_parameters()}

    def loss(own: dict[str, torch.Tensor], samples: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(functional_call(model, own, (samples,)), targets)

    step = vmap(grad(loss), in_dims=(None, 0, 0))
    drawn = np.random.default_rng(0)
    began = time.perf_counter()
    for _ in range(size.rounds):
        data = [workload.data(int(site)) for site in drawn.choice(size.sites, size.per_round, replace=False)]
        samples = torch.from_numpy(np.stack([one.samples for one in data]))
        gradients = step(weights, samples, torch.from_numpy(np.stack([one.targets for one in data])))
        weights = {name: value - RATE * gradients[name].mean(0) for name, value in weights.items()}
    return time.perf_counter() - began


def measure(workload: Workload, size: Size, runtime: str) -> dict[str, object]:
    """Runs simulation and floor in turn and gives the figure: seconds a training."""
    shards = workload.shards(size.sites) if runtime != "process" else {}
    floors: dict[str, Callable[[Workload, Size], float]] = {
        "local": train_bare,
        "batched": train_at_once,
        "process": lambda given, size: simulate_made(given, size, "local"),
    }
    floor = floors[runtime]
    floor(workload, Size(size.sites, size.per_round, 1, 1))
    simulated, bare = [], []
    for _ in range(size.runs):
        bare.append(floor(workload, size) / size.trainings)
        if runtime == "process":
            simulated.append(simulate_made(workload, size, runtime, WORKERS) / size.trainings)
        else:
            simulated.append(simulate(workload, shards, size, runtime) / size.trainings)
    case = f"{size.per_round} of {size.sites}, {size.rounds} rounds"
    case += "".join(f", {word}" for word, usual in ((runtime, "local"), (workload.name, MLP.name)) if word != usual)
    return figure("w3_simulation", case, "s/training", simulated, None, **beside(simulated, bare))


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", choices=WORKLOADS, default="mlp")
    parser.add_argument("--sites", type=int)
    parser.add_argument("--per-round", type=int)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--runs", type=int)
    parser.add_argument("--runtime", choices=["local", "batched", "process"], default="local")
    parser.add_argument("--quick", action="store_true", help="a few sites, a few rounds, once")
    arguments = parser.parse_args()
    workload = WORKLOADS[arguments.workload]
    if arguments.runtime != "local" and workload is not MLP:
        parser.error("this workload is for the runtime local")
    usual = (QUICK if arguments.quick else USUAL)[workload.name]
    size = Size(
        arguments.sites or usual.sites,
        arguments.per_round or usual.per_round,
        arguments.rounds or usual.rounds,
        arguments.runs or usual.runs,
    )
    result = measure(workload, size, arguments.runtime)
    emit(result)
    seconds, floor = float(str(result["value"])), float(str(result["floor"]))
    beside_it = "local" if arguments.runtime == "process" else "bare PyTorch"
    say(f"{result['case']}: {1 / seconds:,.0f} trainings a second; {beside_it} {1 / floor:,.0f}")


if __name__ == "__main__":
    main()
