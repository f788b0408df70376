"""Parts of a round from the workspace at a Director: the bits of a simulation, or an end with a reason."""

import shutil
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import psutil
import pytest
from federations import User, federation_of, fx_fine, run_fx

from openfl_like.errors import PlanError
from openfl_like.federation.announcements import ExperimentEnded, RoundFinished, only
from openfl_like.federation.callback_end import CallbackEnded
from openfl_like.federation.failure import FailureKind
from openfl_like.federation.round_control import RoundControlled
from openfl_like.plan.workspace import template_path
from openfl_like.processes.sandbox.confinement import available
from openfl_like.services.local_federation import LocalFederation
from openfl_like.tensors.manifest import sha256_file

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not available().sufficient, reason="this kernel cannot confine a referee"),
]
WORKSPACE = template_path("numpy_parts")
REFEREE = {"referee": "process", "referee_limits": {"decision_s": 2.0, "block_s": 5.0, "memory_mb": 2048}}
ROUNDS = "aggregator.settings.rounds_to_train=40"
HOSTILE = """
import os, pathlib, time
import numpy as np
from src.decisions import LeastAsked

DEEDS = {
    "reads": lambda path: pathlib.Path(path).read_bytes(),
    "sleeps": lambda path: time.sleep(3600),
    "dies": lambda path: os.kill(os.getpid(), 9),
}


class Hostile(LeastAsked):
    def __init__(self, count, deed, path=""):
        super().__init__(count)
        self.deed, self.path = deed, path or pathlib.Path(__file__).parents[2] / "certificate" / "key.pem"

    def select(self, view):
        if view.round > 1:
            DEEDS[self.deed](self.path)
        return super().select(view)


class NotANumber:
    def reduce(self, blocks, weights):
        return np.full(blocks.shape[1], np.nan)
"""


def place_of(directory: Path) -> Path:
    """A workspace with the template's code, and hostile code beside it."""
    workspace = directory / "study"
    shutil.copytree(WORKSPACE, workspace, ignore=shutil.ignore_patterns("__pycache__"))
    (workspace / "src" / "hostile.py").write_text(HOSTILE)
    return workspace


def parts_federation(
    workspace: Path, directory: Path, **settings: object
) -> AbstractAsyncContextManager[tuple[LocalFederation, User]]:
    sites = {f"site-{number}": workspace / f"shards/site-{number}.yaml" for number in (1, 2, 3)}
    return federation_of(sites, directory, sample_shape=(8,), settings=settings)


def is_referee(process: psutil.Process) -> bool:
    return "referee.child" in " ".join(process.cmdline())


async def test_all_six_parts_give_the_model_of_the_simulation_over_a_restart(tmp_path: Path) -> None:
    workspace = place_of(tmp_path)
    async with parts_federation(workspace, tmp_path, **REFEREE) as (federation, user):
        experiment = await user.submit(workspace / "plan.yaml", ROUNDS)
        await user.until(experiment, "round_finished", round=3)
        director = psutil.Process(federation.children["director"].process.pid)
        referees = [child for child in director.children(recursive=True) if is_referee(child)]
        assert len(referees) == 2
        aggregator = referees[0].parent()
        assert aggregator is not None
        aggregator.kill()
        await user.until(experiment, "aggregator_lost")
        ended = await user.ended(experiment)
        assert not any(referee.is_running() for referee in referees)
        record, history = await user.client.experiment(experiment), await user.events(experiment)
        await fx_fine("experiment", "results", experiment, "-o", str(tmp_path / "results"), federation=federation)
        log = await fx_fine("experiment", "logs", experiment, "--site", "aggregator", federation=federation)
    assert (ended.status, ended.reason) == ("FINISHED", "40 of 40 rounds are done")
    assert "confined: files, processes" in log
    out = tmp_path / "simulated.safetensors"
    place = ("--directory", str(tmp_path / "simulated"), "-o", str(out), "-s", ROUNDS)
    await fx_fine("simulate", str(workspace / "plan.yaml"), *place)
    assert record.versions[-1].sha256 == sha256_file(out)
    rounds = only(history, RoundFinished)
    assert [told.selected for told in rounds][1:4] == [("site-1", "site-2"), ("site-1", "site-3"), ("site-2", "site-3")]
    assert next(told.arguments for told in only(history, RoundControlled)) == {"train": {"epochs": 2}}
    assert not only(history, CallbackEnded)
    told = (tmp_path / "results" / "Progress" / "progress.txt").read_text()
    assert told == (tmp_path / "simulated" / "results" / "Progress" / "progress.txt").read_text()
    assert len(told.splitlines()) == 40


async def test_hostile_parts_end_their_experiments_and_nothing_else(tmp_path: Path) -> None:
    workspace = place_of(tmp_path)
    plan = workspace / "plan.yaml"
    hostile = "selector={{template: src.hostile:Hostile, settings: {{count: 2, deed: {}, path: {!r}}}}}"
    async with parts_federation(workspace, tmp_path, **REFEREE) as (federation, user):
        director = psutil.Process(federation.children["director"].process.pid)
        key = federation.user_certificates / "key.pem"
        assert key.exists()
        trials = {
            hostile.format("reads", str(key)): "raised PermissionError: [Errno 13] Permission denied",
            hostile.format("reads", ""): "raised PermissionError: [Errno 13] Permission denied",
            hostile.format("sleeps", ""): "did not answer within 2 s",
            hostile.format("dies", ""): "ended the referee: killed by SIGKILL",
            "aggregation={template: src.hostile:NotANumber}": "answered a value that is not finite",
        }
        for override, told in trials.items():
            experiment = await user.submit(plan, override)
            ended = await user.ended(experiment)
            assert (ended.status, told in ended.reason) == ("FAILED", True), ended.reason
            assert ended.failure is not None
            assert ended.failure.kind is FailureKind.PART
            (end,) = only(await user.events(experiment), ExperimentEnded)
            assert end.failure == ended.failure
        why = await fx_fine("experiment", "why", experiment, federation=federation)
        assert "the aggregation rule 'src.hostile:NotANumber' answered a value that is not finite" in " ".join(
            why.split()
        )
        assert (await user.ended(await user.submit(plan))).status == "FINISHED"
        assert director.is_running()
        assert [child for child in director.children(recursive=True) if is_referee(child)] == []


async def test_a_director_without_a_referee_refuses_them(tmp_path: Path) -> None:
    workspace = place_of(tmp_path)
    async with parts_federation(workspace, tmp_path) as (federation, user):
        with pytest.raises(PlanError, match="referee: process") as caught:
            await user.submit(workspace / "plan.yaml")
        for more in ((), ("--dry-run",)):
            code, out, err = await run_fx(
                "experiment", "submit", str(workspace / "plan.yaml"), *more, federation=federation
            )
            assert code == 2
            assert "this Director runs none" in " ".join(err.split())
            assert "travel" not in out + err
    assert "is code of the workspace, and this Director runs none" in str(caught.value)


async def test_a_part_that_cannot_be_built_is_the_first_cause(tmp_path: Path) -> None:
    workspace = place_of(tmp_path)
    async with parts_federation(workspace, tmp_path, **REFEREE) as (federation, user):
        experiment = await user.submit(workspace / "plan.yaml", "selector.settings={cout: 2}")
        ended = await user.ended(experiment)
        why = " ".join((await fx_fine("experiment", "why", experiment, federation=federation)).split())
    assert ended.failure is not None
    assert ended.failure.kind is FailureKind.PART
    told = "the selector 'src.decisions:LeastAsked' cannot be built: "
    assert ended.reason.startswith(told)
    assert told in why
    assert "mend the part" in why
