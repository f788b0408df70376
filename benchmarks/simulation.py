"""W3: how many trainings a second a simulation makes when each is small: a network of two layers, 20 samples, one step.

The floor, in turn with each simulation, is bare PyTorch in the same process. For ``local`` it is a loop that
loads the model, trains, and adds up; for ``batched`` a round is one call of vmap over grad, which also invents the
samples. For ``process``, whose workers make their sites themselves, it is ``local`` with the same sites. What is
counted begins with the second round; in the first one modules are imported and the first sites are made.

Example: python benchmarks/simulation.py --sites 1000 --per-round 100 --rounds 10 --runtime batched
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from figures import beside, emit, figure, say
from torch import nn
from torch.func import functional_call, grad, vmap

from openfl_like.data.made_sites import make_sites
from openfl_like.data.shard import ArrayShard, Dataset
from openfl_like.federation.announcements import RoundFinished
from openfl_like.frameworks.batched.obstacles import NotBatched
from openfl_like.plan.load import load_plan
from openfl_like.plan.schema import Plan
from openfl_like.runtimes.sites import WorkerWishes
from openfl_like.services.simulation import Simulation, SimulationSettings
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.sqlite.stores import SQLITE

WORKSPACE = Path(__file__).parent / "workspaces" / "small_mlp"
FEATURES, HIDDEN, CLASSES, SAMPLES, RATE = 32, 64, 10, 20, 0.1
WORKERS = 2


def samples_of(site: int) -> Dataset:
    """Invents the samples of a site."""
    generator = np.random.default_rng(site)
    features = generator.standard_normal((SAMPLES, FEATURES), dtype=np.float32)
    return Dataset(features, generator.integers(0, CLASSES, SAMPLES))


def make_shards(count: int) -> dict[str, ArrayShard]:
    """Makes the sites."""
    return {
        f"site-{number:05d}": ArrayShard(
            {"train": samples_of(number), "validate": samples_of(number)}, "invented", (-9.0, 9.0), CLASSES
        )
        for number in range(count)
    }


def plan_for(per_round: int, rounds: int) -> Plan:
    """The plan of the workspace with other numbers; one more round is run before those that count."""
    plan = load_plan(WORKSPACE / "plan.yaml").model_dump()
    plan["aggregator"]["settings"]["rounds_to_train"] = rounds + 1
    plan["selector"]["settings"]["count"] = per_round
    return Plan.model_validate(plan)


def simulate(shards: Mapping[str, ArrayShard], per_round: int, rounds: int, runtime: str = "local") -> float:
    """Return the seconds that the rounds took after the first."""
    with tempfile.TemporaryDirectory(prefix="fx-bench-") as directory:
        plan = plan_for(per_round, rounds)
        return seconds_of(SimulationSettings(plan, WORKSPACE, shards, Path(directory), runtime=runtime, tell=refuse))


def simulate_made(sites: int, per_round: int, rounds: int, runtime: str, workers: int | None = None) -> float:
    """Return the same of sites that the plan makes, wherever they work."""
    params = {"features": FEATURES, "classes": CLASSES, "samples": SAMPLES, "held_out": 1}
    made_of = {"count": sites, "each": {"template": "synthetic", "params": params}}
    plan = Plan.model_validate({**plan_for(per_round, rounds).model_dump(), "simulation": {"sites": made_of}})
    made = make_sites(plan, WORKSPACE)
    if made is None:
        raise SystemExit("the plan makes no sites")
    with tempfile.TemporaryDirectory(prefix="fx-bench-") as directory:
        files, wishes = made.files(Path(directory, "shards")), WorkerWishes(workers)
        record = Path(directory, "record")
        settings = SimulationSettings(
            plan, WORKSPACE, made.shards, record, files=files, runtime=runtime, workers=wishes
        )
        return seconds_of(settings)


def seconds_of(settings: SimulationSettings) -> float:
    """Runs a simulation, and return the seconds that its rounds took after the first."""
    rounds = settings.plan.aggregator.settings.rounds_to_train
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


def train_bare(sites: int, per_round: int, rounds: int) -> float:
    """Return the seconds of as many trainings in a bare loop."""
    torch.set_num_threads(1)
    model = nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES))
    drawn = np.random.default_rng(0)
    data = [
        (torch.from_numpy(one.samples), torch.from_numpy(one.targets))
        for one in map(samples_of, range(min(sites, 1000)))
    ]
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    began = time.perf_counter()
    for _ in range(rounds):
        total = {name: torch.zeros_like(value) for name, value in weights.items()}
        for site in drawn.choice(sites, per_round, replace=False):
            model.load_state_dict(weights)
            features, targets = data[int(site) % len(data)]
            optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(features), targets).backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
            optimizer.step()
            for name, value in model.state_dict().items():
                total[name] += value
        weights = {name: value / per_round for name, value in total.items()}
    return time.perf_counter() - began


def train_at_once(sites: int, per_round: int, rounds: int) -> float:
    """Return the seconds of as many trainings of which those of a round are one call."""
    torch.set_num_threads(1)
    model = nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES))
    weights = {name: value.detach().clone() for name, value in model.named_parameters()}

    def loss(own: dict[str, torch.Tensor], features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(functional_call(model, own, (features,)), targets)

    step = vmap(grad(loss), in_dims=(None, 0, 0))
    drawn = np.random.default_rng(0)
    began = time.perf_counter()
    for _ in range(rounds):
        data = [samples_of(int(site)) for site in drawn.choice(sites, per_round, replace=False)]
        features = torch.from_numpy(np.stack([one.samples for one in data]))
        gradients = step(weights, features, torch.from_numpy(np.stack([one.targets for one in data])))
        weights = {name: value - RATE * gradients[name].mean(0) for name, value in weights.items()}
    return time.perf_counter() - began


def train_locally(sites: int, per_round: int, rounds: int) -> float:
    """Return the seconds of as many trainings in one process, of sites that the plan makes."""
    return simulate_made(sites, per_round, rounds, "local")


def measure(sizes: tuple[int, int, int, int], runtime: str) -> dict[str, object]:
    """Runs simulation and floor in turn and gives the figure: seconds a training."""
    sites, per_round, rounds, runs = sizes
    shards, trainings = make_shards(sites), per_round * rounds
    floor = {"local": train_bare, "batched": train_at_once, "process": train_locally}[runtime]
    floor(sites, per_round, 1)
    simulated, bare = [], []
    for _ in range(runs):
        bare.append(floor(sites, per_round, rounds) / trainings)
        if runtime == "process":
            simulated.append(simulate_made(sites, per_round, rounds, runtime, WORKERS) / trainings)
        else:
            simulated.append(simulate(shards, per_round, rounds, runtime) / trainings)
    case = f"{per_round} of {sites}, {rounds} rounds" + (f", {runtime}" if runtime != "local" else "")
    return figure("w3_simulation", case, "s/training", simulated, None, **beside(simulated, bare))


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", type=int, default=1000)
    parser.add_argument("--per-round", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--runtime", choices=["local", "batched", "process"], default="local")
    parser.add_argument("--quick", action="store_true", help="30 sites, 10 a round, 3 rounds, once")
    arguments = parser.parse_args()
    sizes = (
        (30, 10, 3, 1) if arguments.quick else (arguments.sites, arguments.per_round, arguments.rounds, arguments.runs)
    )
    result = measure(sizes, arguments.runtime)
    emit(result)
    seconds, floor = float(str(result["value"])), float(str(result["floor"]))
    beside_it = "local" if arguments.runtime == "process" else "bare PyTorch"
    say(f"{result['case']}: {1 / seconds:,.0f} trainings a second; {beside_it} {1 / floor:,.0f}")


if __name__ == "__main__":
    main()
