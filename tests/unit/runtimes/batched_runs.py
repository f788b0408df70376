"""The same assignments for two runtimes, and how far what they make of them is apart."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import numpy as np

from openfl_like import registry
from openfl_like.data.shard import ArrayShard, Dataset
from openfl_like.federation.events import Event, SendAssignment, TaskFailed, UpdateCommitted
from openfl_like.federation.task import Assignment, Phase, TaskCall
from openfl_like.frameworks.batched.obstacles import NotBatched
from openfl_like.frameworks.batched.trial import SiteUpdate, distance
from openfl_like.frameworks.perform import Performer
from openfl_like.plan.schema import Plan
from openfl_like.runtimes.models import ModelRepository
from openfl_like.runtimes.sites import RuntimeFactory, SimulatedSites
from openfl_like.store.files import ExperimentFiles
from openfl_like.tensors.container import read_tensors
from openfl_like.tensors.memory import TensorMemory

WORKSPACE = Path(__file__).resolve().parents[2] / "assets" / "batched"
TRAIN = TaskCall("train", "train", {"epochs": 3}, "local", trains=True)
LOOK, LOOK_LOCAL = TaskCall("look", "validate"), TaskCall("look_local", "validate", apply="local")


def shard(number: int, train: int, held: int = 5, classes: int = 5) -> ArrayShard:
    """Invents the data of a site; without classes, targets are two numbers."""
    drawn = np.random.default_rng(number)

    def some(count: int) -> Dataset:
        samples = drawn.standard_normal((count, 6), dtype=np.float32)
        if not classes:
            return Dataset(samples, np.stack([samples[:, 0] * 2, samples[:, 1] - 1], axis=1))
        return Dataset(samples, drawn.integers(0, classes, count))

    return ArrayShard({"train": some(train), "validate": some(held)}, "invented", (-99.0, 99.0), classes)


@dataclass
class Answers:
    """What a runtime answered.

    Attributes:
        updates: Of each site.
        failures: Of each site.
        reasons: What it told.
        posts: How many events came at once, each time.
    """

    updates: dict[str, SiteUpdate] = field(default_factory=dict)
    failures: dict[str, TaskFailed] = field(default_factory=dict)
    reasons: list[NotBatched] = field(default_factory=list)
    posts: list[int] = field(default_factory=list)


class Study:
    """A plan with its sites, and an initial model.

    Args:
        runner: Of the asset's `src.models`.
        shards: Of the sites.
        directory: Where files go.
        parts: Of the plan, besides; and the ``device`` that the sites compute on.
    """

    def __init__(self, runner: str, shards: Mapping[str, ArrayShard], directory: Path, **parts: object) -> None:
        device = cast("str", parts.pop("device", "cpu"))
        settings = cast("dict[str, object]", parts.pop("settings", {}))
        plan: dict[str, object] = {
            "name": "study",
            "seed": 3,
            "aggregator": {"settings": {"rounds_to_train": 4}},
            "task_runner": {"template": f"src.models:{runner}", "settings": settings},
            "data_loader": {"template": "torch", "settings": {"batch_size": 4}},
            "tasks": {"train": {"function": "train"}},
            "model_store": {"best": {"metric": "loss", "mode": "min"}},
        }
        self.plan = Plan.model_validate(plan | parts)
        self.shards, self.directory, self.device = dict(shards), directory, device

    def orders(self, *tasks: TaskCall, phase: Phase = Phase.TRAIN, **others: object) -> list[Assignment]:
        """Ask all sites for the same."""
        given = [
            Assignment(2, phase, site, tasks, "", 11 * number + 5) for number, site in enumerate(sorted(self.shards))
        ]
        return [replace(one, **others) for one in given]  # type: ignore[arg-type]  # fields of an assignment

    def answers(self, runtime: str, orders: Sequence[Assignment]) -> Answers:
        """Have a runtime perform assignments."""
        return asyncio.run(self._answers(runtime, orders))

    async def _answers(self, name: str, orders: Sequence[Assignment]) -> Answers:
        answers, come = Answers(), asyncio.Queue[Event]()
        files = ExperimentFiles(self.directory / name)
        files.prepare()
        repository = ModelRepository(self.plan, files)
        performer = Performer(self.plan, next(iter(self.shards.values())), WORKSPACE)
        initial = performer.perform(Assignment(0, Phase.INITIALISE, "", (), "", 9), None, files.model(0))
        repository.put(initial.digest, 0)
        sites = SimulatedSites(
            self.plan, WORKSPACE, files.directory, self.shards, device=self.device, tell=answers.reasons.append
        )
        runtime = cast("RuntimeFactory", registry.resolve("runtime", name))(sites, repository)

        def post(*events: Event) -> None:
            if any(isinstance(event, UpdateCommitted | TaskFailed) for event in events):
                answers.posts.append(len(events))
            for event in events:
                come.put_nowait(event)

        async with runtime.running(post):
            await runtime.perform(*(SendAssignment(replace(order, model=initial.digest)) for order in orders))
            while len(answers.updates) + len(answers.failures) < len(orders):
                event = await asyncio.wait_for(come.get(), 60)
                if isinstance(event, TaskFailed):
                    answers.failures[event.collaborator] = event
                elif isinstance(event, UpdateCommitted):
                    content = repository.in_memory.find(event.update)
                    path = repository.spool_path(event.update)
                    if content is None and path.exists():
                        content = TensorMemory.of(read_tensors(path))
                        assert content.manifest.digest == event.update.digest
                    answers.updates[event.update.collaborator] = SiteUpdate(event.update, content)
        return answers


def apart(one: Answers, other: Answers) -> float:
    """How far two runtimes are apart at most; what failed must have failed alike."""
    assert one.updates.keys() == other.updates.keys()
    assert {site: event.failure for site, event in one.failures.items()} == {
        site: event.failure for site, event in other.failures.items()
    }
    return max((distance(one.updates[site], other.updates[site]) for site in one.updates), default=0.0)
