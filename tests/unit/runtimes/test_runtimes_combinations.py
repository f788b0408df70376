"""Combinations of what a plan can choose for learning, drawn by a seed: each comes to its end, twice to the same bytes.

More of them: ``make combinations COUNT=300 SEED=7``.
"""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openfl_like.data.shard import ArrayShard, Dataset
from openfl_like.federation.events import CollaboratorJoined, Event, EverybodyJoined, SendAssignment
from openfl_like.federation.experiment import Experiment
from openfl_like.federation.parties import Outcome
from openfl_like.federation.status import Status
from openfl_like.federation.task import Phase
from openfl_like.frameworks.numpy import NumpyRunner, Tensors
from openfl_like.frameworks.perform import Performer
from openfl_like.plan.checks import mistakes_in
from openfl_like.plan.schema import Plan
from openfl_like.runtimes.local import LocalRuntime
from openfl_like.runtimes.loop import ExperimentLoop, Outward, Post, Runtime
from openfl_like.runtimes.models import ModelRepository
from openfl_like.runtimes.recorder import Record
from openfl_like.store.files import ExperimentFiles
from openfl_like.tensors.container import read_tensors
from openfl_like.testing.clock import FakeClock
from openfl_like.testing.stores import MemoryExperimentStore, MemoryRecord

COMBINATIONS = int(os.environ.get("OPENFL_LIKE_COMBINATIONS", "15"))
SEED = int(os.environ.get("OPENFL_LIKE_SEED", "1"))
SITES = ("ada", "bern", "chur", "davos", "erlach", "fully")
LATE = "fully"
"""It comes when the others are at work in the second round."""
Choice = dict[str, Any]


def part(template: str, **settings: object) -> Choice:
    return {"template": template, "settings": settings}


CHOICES: dict[str, Sequence[Choice]] = {
    "selector": [
        {},
        *({"selector": part(name, count=4)} for name in ("random", "ucb", "best_time", "rotation")),
        {"selector": part("poisson", rate=0.7)},
        {"selector": part("dynamic", fraction=1.0, decay=0.2, least=3)},
        {"selector": part("power_of_choice", count=3, candidates=5)},
        {"selector": part("fixed", rounds=[[*SITES[:4]], [*SITES[1:]]])},
    ],
    "evaluators": [{}, {"evaluation_selector": part("random", count=2)}],
    "validator": [
        {},
        {"validator": [part("schema"), part("finite"), part("norm", multiple=1.2, above="clip")]},
        {"validator": [part("finite"), part("norm", multiple=3)]},
        {"validator": [part("z_score", bound=2.0), part("cosine", bound=-0.5)]},
        {"validator": [part("finite")], "sample_limit": {"multiple": 1.0, "above": "cap"}},
    ],
    "algorithm": [
        {},
        {"algorithm": part("fedprox", mu=0.1)},
        {"algorithm": part("scaffold")},
        {"algorithm": part("feddyn", alpha=0.1)},
        {"algorithm": part("fednova")},
        {"algorithm": part("mime")},
        {"algorithm": part("mimelite")},
        {"algorithm": part("per_fedavg", alpha=0.05)},
        {"algorithm": part("ditto", pull=0.5, rate=0.05)},
        {"algorithm": part("fedcurv", pull=0.001)},
    ],
    "aggregation": [
        {},
        *({"aggregation": part(name)} for name in ("median", "geometric_median", "norm_bounded_mean")),
        {"aggregation": part("multi_krum", fraction=0.2)},
        {"aggregation": {"rules": [{"match": "bias", "rule": "local"}]}},
        {"aggregation": {"rules": [{"match": "bias", "rule": "median"}]}},
    ],
    "server_optimizer": [{}, {"server_optimizer": part("fedadam")}, {"server_optimizer": part("fedavgm")}],
    "deadline": [{}, {"deadline": {"train_s": 2.5}}],
    "late_join": [
        {"admission": {"min_collaborators": 5, "late_join": how}} for how in ("current_round", "next_round", "deny")
    ],
    "participation": [
        {"participation": {"policy": "quorum", "min_updates": 2}},
        {"participation": {"policy": "skip", "min_updates": 3}},
    ],
    "work": [{}, {"work": part("static", batches=2)}, {"work": part("uniform", least=1, most=3)}],
    "controllers": [
        {},
        {"controllers": [part("fair_weights"), part("skip_unreliable", misses=1, rounds=1)]},
        {"controllers": [part("schedule", argument="learning_rate", shape="cosine", first=0.2, last=0.05)]},
    ],
    "optimizer": [{}, {"collaborator": {"settings": {"opt_treatment": "CONTINUE_LOCAL"}}}],
    "cross_evaluation": [
        {},
        {"cross_evaluation": {"metric": "loss", "margin": 0.5}},
        {"cross_evaluation": {"metric": "validate.loss", "margin": 0.1, "result": "reweigh", "on_missing": "drop"}},
    ],
    "margin": [{}, {"model_store": {"accepted_margin": 0.0}}],
}


class Line(NumpyRunner):
    """Linear regression."""

    def build_model(self, random: np.random.Generator) -> Tensors:
        return {"weight": random.normal(size=(3, 1)), "bias": np.zeros(1)}

    def predict(self, model: Tensors, samples: np.ndarray) -> np.ndarray:
        return samples @ model["weight"] + model["bias"]

    def gradient(self, model: Tensors, samples: np.ndarray, targets: np.ndarray) -> tuple[float, Tensors]:
        errors = self.predict(model, samples) - targets[:, None]
        slope = 2 * errors / len(samples)
        return float((errors**2).mean()), {"weight": samples.T @ slope, "bias": slope.sum(axis=0)}


class Joining:
    """A runtime whose last site comes late."""

    def __init__(self, inner: Runtime) -> None:
        self._inner, self._late = inner, False

    @asynccontextmanager
    async def running(self, post: Post) -> AsyncIterator[None]:
        """As the inner one; whoever is there at the beginning joins one by one."""

        def one_by_one(*events: Event) -> None:
            early = [CollaboratorJoined(name) for name in SITES if name != LATE]
            for event in events:
                post(*(early if isinstance(event, EverybodyJoined) else (event,)))

        self._post = one_by_one
        async with self._inner.running(one_by_one):
            yield

    async def perform(self, *commands: Outward) -> None:
        """Hand them on, and have the last site come before the first answer of the second round."""
        for command in commands:
            if isinstance(command, SendAssignment) and not self._late:
                job = command.assignment
                if (job.round, job.phase) == (2, Phase.TRAIN):
                    self._late = True
                    self._post(CollaboratorJoined(LATE))
        await self._inner.perform(*commands)


def shard(number: int) -> ArrayShard:
    drawn = np.random.default_rng(number)
    truth = np.array([1.0, -2.0, 0.5 * number])

    def data(rows: int) -> Dataset:
        samples = drawn.normal(size=(rows, 3))
        return Dataset(samples, samples @ truth + number / 5)

    return ArrayShard({"train": data(8 + 4 * number), "validate": data(6)}, "drawn", (-9.0, 9.0))


def drawn_plans(seed: int, wanted: int) -> list[Plan]:
    """Draws combinations until so many of them may be had together."""
    chance, found = random.Random(seed), list[Plan]()  # noqa: S311 - nothing is secret
    while len(found) < wanted:
        values: Choice = {
            "name": f"combination-{len(found)}",
            "seed": chance.randrange(1000),
            "aggregator": {"settings": {"rounds_to_train": 4}},
            "task_runner": part(f"{__name__}:Line", momentum=0.5),
            "data_loader": part("numpy", batch_size=4),
            "tasks": {"train": {"function": "train"}, "validate": {"function": "validate"}},
        }
        for choices in CHOICES.values():
            values |= chance.choice(choices)
        plan = Plan.model_validate(values)
        found += [] if mistakes_in(plan) else [plan]
    return found


async def digest_of(plan: Plan, folder: Path) -> tuple[Outcome, str]:
    """Runs a plan to its end; gives how it ended, and the digest of its model."""
    files = ExperimentFiles(folder / "record")
    files.prepare()
    repository = ModelRepository(plan, files)
    store = MemoryExperimentStore(MemoryRecord())

    def performer(name: str) -> Performer:
        ticks = count()
        number = SITES.index(name) + 1
        return Performer(plan, shard(number), folder, clock=lambda: float(next(ticks)), state=folder / name)

    performers = {name: performer(name) for name in SITES}
    runtime = Joining(LocalRuntime(performers, performers.__getitem__, repository))
    record = Record(store, repository, lambda _: None, pause_s=0.0)
    loop = ExperimentLoop(Experiment("e1", plan, ()), runtime, record, FakeClock())
    async with asyncio.timeout(20):
        outcome = await loop.run()
    digest = store.versions()[-1].version.digest
    model = read_tensors(repository.path(digest))
    assert all(np.isfinite(value).all() for value in model.values())
    return outcome, digest


@pytest.mark.parametrize("plan", drawn_plans(SEED, COMBINATIONS), ids=lambda plan: plan.name)
async def test_every_combination_comes_to_its_end_twice_with_the_same_bytes(plan: Plan, tmp_path: Path) -> None:
    once, again = [await digest_of(plan, tmp_path / name) for name in ("once", "again")]
    assert once == again, f"seed {SEED}"
    told = once[0].reason
    all_skipped = plan.participation.policy == "skip" and "in none of them came as many updates" in told
    too_few = "needed" in told or "min_updates" in told or all_skipped  # what validators and scores have left
    assert once[0].status is Status.FINISHED or too_few, f"seed {SEED}: {told}"
