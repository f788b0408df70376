"""What rule and server optimizer keep between rounds: it goes with the version, whatever dies and whenever."""

import asyncio
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest

from openfl_like import failpoints
from openfl_like.federation.experiment import Experiment
from openfl_like.federation.status import Status
from openfl_like.plan.schema import Plan
from openfl_like.runtimes.local import LocalRuntime
from openfl_like.runtimes.loop import ExperimentLoop
from openfl_like.runtimes.models import ModelRepository
from openfl_like.runtimes.recorder import Record
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.sqlite.stores import SQLITE
from openfl_like.tensors.container import read_tensors
from openfl_like.tensors.manifest import file_digest
from openfl_like.testing.clock import FakeClock
from openfl_like.testing.performers import FakePerformer, read_vector

PlanWith = Callable[..., Plan]
ROUNDS = 2
"""The second one goes on from what the first one has kept."""
SMALL, LARGE = 4, 40_000
"""Elements of a model: with the former, a round is combined at once, with the latter on other threads."""


class KilledError(BaseException):
    """The process dies here; nobody may catch it."""


class Reaper:
    """Stands in for the armed points of a process: it dies at the nth point that it comes to, of those that count."""

    def __init__(self, nth: int, counting: tuple[str, ...]) -> None:
        self.left = nth
        self.point = ""
        self._counting = counting

    def hit(self, point: str, path: Path | None) -> None:
        if path is not None and point.startswith("tensors.") and path.parent.name == "spool":
            return  # that is a site, which is another process
        if not point.startswith(self._counting):
            return
        self.left -= 1
        if self.left == 0:
            self.point = point
        if self.left <= 0:  # other threads of a dead process do nothing any more, either
            raise KilledError(point)


def performers(elements: int) -> dict[str, FakePerformer]:
    return {
        name: FakePerformer(step=float(number), num_samples=number, elements=elements)
        for number, name in enumerate(("bern", "zurich"), 1)
    }


async def loop(plan: Plan, directory: Path, elements: int) -> Status:
    """One process's worth of the experiment."""
    files = ExperimentFiles(directory)
    files.prepare()
    with closing(SQLITE.experiment(files)) as store:
        store.take_epoch()
        sites, repository = performers(elements), ModelRepository(plan, files)
        snapshot, versions = store.snapshot(), [item.version for item in store.versions()]
        experiment = Experiment.restore(plan, snapshot, versions) if snapshot else Experiment("e1", plan, tuple(sites))
        if experiment.status.ended:
            return experiment.status
        loop = ExperimentLoop(
            experiment,
            LocalRuntime(sites, sites.__getitem__, repository),
            Record(store, repository),
            FakeClock(),
        )
        async with asyncio.timeout(20):
            return (await loop.run()).status


def found(directory: Path) -> dict[str, str]:
    """What an experiment has left: every model and every state, by its digest."""
    return {path.name: file_digest(path) for path in sorted((directory / "models").glob("v*"))}


@pytest.fixture
def plan(plan_with: PlanWith) -> Plan:
    return plan_with(
        aggregator={"settings": {"rounds_to_train": ROUNDS}},
        aggregation={"template": "geometric_median", "settings": {"weighted": True}},
        server_optimizer={"template": "fedavgm", "settings": {"momentum": 0.5}},
    )


EVERYWHERE = ("",)
WHERE_FILES_ARE = ("aggregator.aggregate", "aggregator.publish", "aggregator.version", "aggregator.spool", "tensors")


@pytest.mark.parametrize(
    ("elements", "counting"), [(SMALL, EVERYWHERE), (LARGE, WHERE_FILES_ARE)], ids=["at once", "on threads"]
)
async def test_a_kill_at_any_failpoint_changes_no_bit(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elements: int, counting: tuple[str, ...]
) -> None:
    assert await loop(plan, tmp_path / "whole", elements) is Status.FINISHED
    wanted = found(tmp_path / "whole")
    assert "v0002.state.safetensors" in wanted
    points, nth, alive = set(), 0, False
    while not alive:
        nth += 1
        directory, reaper = tmp_path / f"killed-{nth}", Reaper(nth, counting)
        with monkeypatch.context() as patch:
            patch.setattr(failpoints, "_armed", reaper)
            try:
                alive = await loop(plan, directory, elements) is Status.FINISHED
            except KilledError:
                points.add(reaper.point)
        if not alive:
            assert await loop(plan, directory, elements) is Status.FINISHED, reaper.point
        assert found(directory) == wanted, f"killed at {reaper.point}, the {nth}th point"
    assert {"aggregator.publish.state", "aggregator.publish.synced", "aggregator.aggregate.after"} <= points
    assert {"tensors.rename.before", "aggregator.version.before", "aggregator.spool.cleared"} <= points


async def test_momentum_is_the_one_of_the_paper(plan_with: PlanWith, tmp_path: Path) -> None:
    optimizer = {"template": "fedavgm", "settings": {"momentum": 0.5, "learning_rate": 0.75}}
    plan = plan_with(aggregator={"settings": {"rounds_to_train": ROUNDS}}, server_optimizer=optimizer)
    assert await loop(plan, tmp_path, SMALL) is Status.FINISHED
    model, velocity = np.float32(0), 0.0
    gone = np.average([1.0, 2.0], weights=[1, 2])  # every site adds its number, from any model
    for _ in range(ROUNDS):
        velocity = 0.5 * velocity - gone
        model = np.float32(model - 0.75 * velocity)
    assert read_vector(tmp_path / "models/v0002.safetensors") == pytest.approx([model] * SMALL, rel=1e-6)
    kept = read_tensors(tmp_path / "models/v0002.state.safetensors")
    assert kept["server_optimizer.momentum/weights"] == pytest.approx([velocity] * SMALL, rel=1e-6)


async def test_states_are_kept_as_models_are(plan: Plan, plan_with: PlanWith, tmp_path: Path) -> None:
    parts = plan.model_dump(include={"aggregation", "server_optimizer"})
    short = plan_with(**parts, model_store={"keep": {"last": 1}})
    await loop(short, tmp_path, SMALL)
    # every model is better than the one before: the newest one is the best
    assert list(found(tmp_path)) == ["v0002.safetensors", "v0002.state.safetensors"]
    assert list((tmp_path / "spool").iterdir()) == []
    with closing(SQLITE.experiment(ExperimentFiles(tmp_path))) as store:
        snapshot = store.snapshot()
    assert snapshot is not None
    assert snapshot["server_states"] == {"2": file_digest(tmp_path / "models/v0002.state.safetensors")}


async def test_a_plan_that_keeps_nothing_has_no_such_file(plan_with: PlanWith, tmp_path: Path) -> None:
    await loop(plan_with(), tmp_path, SMALL)
    assert [name for name in found(tmp_path) if "state" in name] == []


async def test_after_a_rejected_round_model_and_state_are_those_before_whatever_dies(
    plan: Plan, plan_with: PlanWith, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = plan.model_dump(include={"aggregation", "server_optimizer"})
    # the fakes' accuracy grows with every round: if less of it is better, every round after the first one is worse
    store = {"best": {"metric": "accuracy", "mode": "min"}, "accepted_margin": 0.5}
    strict = plan_with(**parts, aggregator={"settings": {"rounds_to_train": 3}}, model_store=store)
    assert await loop(strict, tmp_path / "whole", SMALL) is Status.FINISHED
    wanted = found(tmp_path / "whole")
    for number in (2, 3):
        for kind in ("", ".state"):
            assert wanted[f"v{number:04d}{kind}.safetensors"] == wanted[f"v0001{kind}.safetensors"]
    nth, alive = 0, False
    while not alive:
        nth += 1
        directory, reaper = tmp_path / f"killed-{nth}", Reaper(nth, EVERYWHERE)
        with monkeypatch.context() as patch:
            patch.setattr(failpoints, "_armed", reaper)
            with suppress(KilledError):
                alive = await loop(strict, directory, SMALL) is Status.FINISHED
        if not alive:
            assert await loop(strict, directory, SMALL) is Status.FINISHED, reaper.point
        assert found(directory) == wanted, f"killed at {reaper.point}, the {nth}th point"
    assert nth > 10
