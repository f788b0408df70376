"""The buffered mode in virtual time: what a version is made of, and that a record goes on to the same bytes."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openfl_like.federation.announcements import (
    AssignmentSent,
    CollaboratorAbsent,
    RoundFinished,
    UpdateReceived,
    UpdateRefused,
    only,
)
from openfl_like.federation.failure import FailureKind
from openfl_like.federation.status import Status
from openfl_like.federation.task import BufferTaken, DevicesWorked, Phase
from openfl_like.store.files import ExperimentFiles
from openfl_like.testing.performers import read_vector
from tests.unit.runtimes.loop_runs import CrashError, DyingStore, PlanWith
from tests.unit.runtimes.virtual_runs import BERN, CHUR, TASKS, ZUG, Devices, each, there

Make = Callable[..., Devices]
NAMES = tuple(f"site-{number:02}" for number in range(20))
HEAVY = {
    "speed": {"template": "lognormal", "settings": {"median": 2, "sigma": 1.5}},
    "availability": {"template": "markov", "settings": {"on_s": 60, "off_s": 20}},
    "failures": 0.1,
}


def buffered(buffer: int, concurrency: int, **settings: object) -> dict[str, Any]:
    return {"template": "buffered", "settings": {"buffer": buffer, "concurrency": concurrency, **settings}}


@pytest.fixture
def devices(plan_with: PlanWith, tmp_path: Path) -> Make:
    def make(section: Mapping[str, Any], mode: object, directory: str = "record", **parts: object) -> Devices:
        basis: dict[str, object] = {"simulation": {"devices": {"speed": 2, **section}}, "tasks": TASKS, "mode": mode}
        rounds = {"settings": {"rounds_to_train": parts.pop("rounds", 2)}}
        plan = plan_with(**{**basis, "aggregator": rounds, **parts})
        return Devices(plan, tmp_path / directory)

    return make


def crowd(devices: Make, directory: str, **parts: object) -> Devices:
    quorum = {"participation": {"policy": "quorum", "min_updates": 1}, "admission": {"min_collaborators": 5}}
    run = devices(HEAVY, buffered(3, 6, most_staleness=4), directory, rounds=12, **quorum, **parts)
    run.samples = {name: 5 + place for place, name in enumerate(NAMES)}
    return run


def taken(run: Devices) -> list[tuple[tuple[str, ...], tuple[int, ...]]]:
    return [(told.sites, told.staleness) for told in only(run.history, BufferTaken)]


async def test_a_version_is_made_of_the_first_updates_and_slow_ones_count_later(devices: Make) -> None:
    run = devices({"speed": each(bern=10, chur=20, zug=20)}, buffered(2, 3), tasks={"train": TASKS["train"]})
    assert (await run.run()).status is Status.FINISHED
    assert run.times(UpdateReceived, phase=Phase.TRAIN) == [(BERN, 1), (CHUR, 1), (ZUG, 1.5), (BERN, 2), (CHUR, 2)]
    assert taken(run) == [((BERN, CHUR), (0, 0)), ((ZUG, BERN), (1, 0))]
    assert run.times(RoundFinished) == [("", 0), ("", 1), ("", 2)]


async def test_a_late_update_moves_the_newest_model_by_its_difference_less_its_staleness(devices: Make) -> None:
    mode = buffered(1, 2, staleness={"template": "polynomial", "settings": {"a": 1}})
    run = devices({"speed": each(bern=10, chur=14)}, mode, tasks={"train": TASKS["train"]}, rounds=2)
    run.samples = {BERN: 10, CHUR: 20}
    await run.run()
    assert taken(run) == [((BERN,), (0,)), ((CHUR,), (1,))]
    files = ExperimentFiles(run.directory)
    assert read_vector(files.model(1)) == pytest.approx(np.full(4, 10.0))
    assert read_vector(files.model(2)) == pytest.approx(np.full(4, 10.0 + 20.0 / 2))
    assert only(run.history, BufferTaken)[1].factors == (0.5,)


async def test_robust_rules_and_server_optimizers_combine_differences(devices: Make) -> None:
    parts: dict[str, object] = {
        "aggregation": {"template": "median"},
        "server_optimizer": {"template": "fedavgm", "settings": {"momentum": 0.5}},
    }
    run = devices({"speed": each(bern=10, chur=14, zug=2)}, buffered(2, 3), rounds=4, **parts)
    assert (await run.run()).status is Status.FINISHED
    assert len(set(run.digests)) == 5


async def test_so_many_train_at_any_time_and_a_site_counts_once_in_a_version(devices: Make) -> None:
    run = crowd(devices, "record")
    assert (await run.run()).status is Status.FINISHED
    at_work: set[str] = set()
    most = 0
    for event in run.history:
        match event.announcement:
            case AssignmentSent(phase=Phase.TRAIN, collaborator=name):
                at_work.add(name)
                most = max(most, len(at_work))
            case (
                UpdateReceived(phase=Phase.TRAIN, collaborator=name)
                | CollaboratorAbsent(phase=Phase.TRAIN, collaborator=name)
            ):
                at_work.discard(name)
    assert most == 6
    versions = taken(run)
    assert len(versions) == 12
    assert all(len({*sites}) == len(sites) == 3 for sites, _ in versions)
    assert max(late for _, staleness in versions for late in staleness) in range(1, 5)
    identities = [
        (told.round, told.collaborator) for told in only(run.history, UpdateReceived) if told.phase == "train"
    ]
    assert len(identities) == len({*identities})


async def test_who_trains_does_not_evaluate(devices: Make) -> None:
    run = crowd(devices, "record")
    await run.run()
    at_work: set[str] = set()
    evaluations = 0
    for event in run.history:
        match event.announcement:
            case AssignmentSent(phase=Phase.TRAIN, collaborator=name):
                at_work.add(name)
            case UpdateReceived(phase=Phase.TRAIN, collaborator=name) | CollaboratorAbsent(collaborator=name):
                at_work.discard(name)
            case AssignmentSent(phase=Phase.EVALUATE, collaborator=name):
                assert name not in at_work
                evaluations += 1
    assert evaluations > 12


async def test_who_is_too_stale_is_withdrawn(devices: Make) -> None:
    mode = buffered(1, 3, most_staleness=1)
    tasks = {"train": TASKS["train"]}
    run = devices({"speed": each(bern=10, chur=10, zug=0.01)}, mode, tasks=tasks, rounds=4)
    assert (await run.run()).status is Status.FINISHED
    assert all(ZUG not in sites for sites, _ in taken(run))
    stale = only(run.history, CollaboratorAbsent)[0]
    assert (stale.collaborator, stale.round) == (ZUG, 1)
    assert stale.failure is not None
    assert stale.failure.kind is FailureKind.DEADLINE
    assert run.times(CollaboratorAbsent)[0] == (ZUG, run.times(RoundFinished, round=2)[0][1])


async def test_a_version_that_nobody_can_fill_fails_and_says_why(devices: Make) -> None:
    run = devices({}, buffered(2, 2))
    run.mistakes = {name: {(1, Phase.TRAIN): "boom"} for name in (BERN, CHUR, ZUG)}
    outcome = await run.run()
    assert outcome.status is Status.FAILED
    assert "2 of 2 updates are needed, 0 can come" in outcome.reason


@pytest.mark.parametrize("ahead", [False, True])
async def test_nothing_depends_on_this_machine(devices: Make, *, ahead: bool) -> None:
    runs = [crowd(devices, name) for name in ("one", "other")]
    runs[1].backwards = True
    for run in runs:
        await run.run(ahead=ahead)
    assert [(event.time, event.announcement) for event in runs[0].history] == [
        (event.time, event.announcement) for event in runs[1].history
    ]
    assert runs[0].digests == runs[1].digests


@pytest.mark.parametrize("after", [False, True])
async def test_a_record_goes_on_to_the_same_bytes_after_every_commit(devices: Make, *, after: bool) -> None:
    whole = crowd(devices, "whole")
    store = DyingStore(whole.record, 0, after=False)
    await whole.run(store)
    commits = -store.left
    assert commits > 12
    for nth in range(1, commits + 1):
        run = crowd(devices, f"broken-{nth}")
        with pytest.raises(CrashError):
            await run.run(DyingStore(run.record, nth, after=after))
        await run.run()
        assert run.digests == whole.digests, nth
        assert taken(run) == taken(whole), nth
        assert run.times(UpdateReceived) == whole.times(UpdateReceived), nth
        assert _worked(run) == _worked(whole), nth


def _worked(run: Devices) -> dict[int, object]:
    return {told.round: told for told in only(run.history, DevicesWorked)}


async def test_what_devices_have_done_is_told_once(devices: Make) -> None:
    power = {"computing_w": 10, "sending_w": 3, "idle_w": 0.5}
    run = devices(
        {"speed": each(bern=10, chur=14, zug=1.5), "power": power},
        buffered(1, 3),
        tasks={"train": TASKS["train"]},
        rounds=8,
    )
    await run.run()
    told = only(run.history, DevicesWorked)
    answers = [name for name, _ in run.times(UpdateReceived, phase=Phase.TRAIN)]
    for name, seconds in ((BERN, 1.0), (CHUR, 20 / 14)):
        spent = sum(each_.busy_s.get(name, 0.0) for each_ in told)
        assert spent >= seconds * answers.count(name) - 1e-9
    ends = [event.time for event in run.history if isinstance(event.announcement, RoundFinished)][-1]
    for name in (BERN, CHUR, ZUG):
        assert sum(each_.energy_j.get(name, 0.0) for each_ in told) <= 10 * ends + 1e-9
    assert [one.round for one in told] == sorted({one.round for one in told})


async def test_a_device_that_comes_back_trains_on_what_it_was_given(devices: Make) -> None:
    away = there(bern=[[0, 1]], chur=[[0, 1], [1, 0], [4, 1]], zug=[[0, 1]])
    run = devices({"availability": away, "speed": each(bern=10, chur=10, zug=10)}, buffered(1, 2), rounds=6)
    assert (await run.run()).status is Status.FINISHED
    given = [one for one in run.performers[CHUR].performed if one.phase is Phase.TRAIN]
    rounds = [one.round for one in given]
    assert rounds == sorted(rounds)
    assert not only(run.history, UpdateRefused)


async def test_versions_that_are_trained_on_are_kept(devices: Make) -> None:
    store = {"keep": {"last": 1}, "best": {"metric": "accuracy"}}
    run = devices(
        {"speed": each(bern=10, chur=20, zug=10)}, buffered(1, 3, most_staleness=9), model_store=store, rounds=8
    )
    assert (await run.run()).status is Status.FINISHED
    assert max(late for _, staleness in taken(run) for late in staleness) > 1
    times = [event.time for event in run.history]
    assert all(before <= now for before, now in pairwise(times))
