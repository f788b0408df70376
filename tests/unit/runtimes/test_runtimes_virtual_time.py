"""Sites in virtual time: who answers when, who is late, away or failed; a record goes on to the same moment."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest

from openfl_like.errors import InternalError
from openfl_like.federation.announcements import (
    AssignmentSent,
    CollaboratorAbsent,
    CollaboratorAdmitted,
    CollaboratorAway,
    ExperimentBegun,
    RoundFinished,
    RoundStarted,
    UpdateReceived,
    only,
)
from openfl_like.federation.devices.profile import SimulatedDevices
from openfl_like.federation.failure import FailureKind
from openfl_like.federation.status import Status
from openfl_like.federation.task import DevicesWorked, Phase, UpdatePartial
from openfl_like.runtimes.loop import COMMIT_WITHIN_S, Outward, Post
from openfl_like.runtimes.models import ModelRepository
from openfl_like.runtimes.sites import SimulatedSites
from openfl_like.runtimes.virtual_time import InVirtualTime
from openfl_like.store.files import ExperimentFiles
from tests.unit.runtimes.loop_runs import CrashError, DyingStore, PlanWith
from tests.unit.runtimes.virtual_runs import BERN, CHUR, TASKS, ZUG, Devices, each, there

Make = Callable[..., Devices]


@pytest.fixture
def devices(plan_with: PlanWith, tmp_path: Path) -> Make:
    def make(section: Mapping[str, Any], directory: str = "record", **parts: object) -> Devices:
        speed = {"speed": 2, **section}
        plan = plan_with(**{"simulation": {"devices": speed}, "tasks": TASKS, **parts})
        return Devices(plan, tmp_path / directory)

    return make


QUORUM = {"participation": {"policy": "quorum", "min_updates": 1}}


async def test_answers_come_when_their_devices_are_done(devices: Make) -> None:
    run = devices({"speed": each(bern=2, chur=10, zug=5), "evaluates_faster": 3})
    assert (await run.run()).status is Status.FINISHED
    assert run.answers() == [(CHUR, 2), (BERN, 5), (ZUG, 6)]
    assert run.answers(1, Phase.EVALUATE) == [(CHUR, 6 + 0.2), (ZUG, 6 + 0.4), (BERN, 6 + 1)]
    assert run.times(RoundFinished) == [("", 0), ("", 7), ("", 14)]
    assert [told.seconds for told in only(run.history, RoundFinished)] == [0, 7, 7]
    durations = {told.collaborator: told.duration_s for told in only(run.history, UpdateReceived) if told.round == 2}
    assert durations == {CHUR: pytest.approx(0.2), ZUG: pytest.approx(0.4), BERN: 1}


async def test_models_and_updates_take_their_way(devices: Make) -> None:
    run = devices({"network": {"down_bytes_per_s": 100, "up_bytes_per_s": 50, "latency_s": 1}})
    await run.run()
    size = ExperimentFiles(run.directory).model(1).stat().st_size
    begins = 1 + 1 + size / 50  # the first site makes the model, and sends it
    assert run.times(RoundFinished, round=0) == [("", begins)]
    assert run.answers()[0] == (BERN, begins + (1 + size / 100 + 10 / 2 + 1 + size / 50))
    assert run.answers(1, Phase.EVALUATE)[0][1] == run.answers()[-1][1] + (1 + size / 100 + 1 + 1)


async def test_what_happens_at_the_same_time_has_the_order_of_names(devices: Make) -> None:
    run = devices({"speed": each(bern=10, chur=20, zug=30)})
    run.backwards = True
    await run.run()
    assert run.answers() == [(BERN, 1), (CHUR, 1), (ZUG, 1)]


async def test_nothing_depends_on_the_order_in_which_this_machine_is_done(devices: Make) -> None:
    section = {"speed": {"template": "lognormal", "settings": {"median": 2, "sigma": 1}}, "failures": 0.2}
    runs = [devices(section, name, **QUORUM) for name in ("one", "other")]
    runs[1].backwards = True
    for run in runs:
        await run.run()
    assert [(event.time, event.announcement) for event in runs[0].history] == [
        (event.time, event.announcement) for event in runs[1].history
    ]


async def test_an_answer_at_the_deadline_is_in_time_and_one_after_it_is_late_and_never_performed(devices: Make) -> None:
    run = devices({"speed": each(bern=2, chur=4, zug=5.9)}, deadline={"round_s": 5}, **QUORUM)
    assert (await run.run()).degraded
    assert run.answers() == [(BERN, 5), (CHUR, 5)]
    assert run.absences()[0] == (ZUG, FailureKind.DEADLINE)
    assert run.times(CollaboratorAbsent)[0] == (ZUG, 5)
    assert {one.phase for one in run.performers[ZUG].performed} == {Phase.EVALUATE}
    assert [told.late for told in only(run.history, DevicesWorked)] == [(), (ZUG,), (ZUG,)]


async def test_a_task_that_takes_longer_than_its_limit_fails_then(devices: Make) -> None:
    run = devices(
        {"speed": each(bern=2, chur=4, zug=0.1), "network": {"latency_s": 1}},
        deadline={"train_s": 6, "grace_s": 3},
        data_loader={"template": "src.model:Loader", "settings": {"batch_size": 1}},
        **QUORUM,
    )
    await run.run()
    late = run.times(CollaboratorAbsent, round=1)
    assert late == [(ZUG, 2 + 1 + 6 + 3)]  # its first batch takes 10 s
    assert run.absences()[0] == (ZUG, FailureKind.DEADLINE)


@pytest.mark.parametrize(("unit", "speed"), [("samples", 8), ("steps", 2)])
async def test_a_device_without_time_for_all_batches_trains_those_that_fit(
    devices: Make, unit: str, speed: float
) -> None:
    run = devices(
        {"speed": speed, "unit": unit},
        deadline={"train_s": 0.75, "grace_s": 2},
        data_loader={"template": "src.model:Loader", "settings": {"batch_size": 4}},
    )
    assert not (await run.run()).degraded
    wanted = [UpdatePartial(number, name, 2, 2) for number in (1, 2) for name in (BERN, CHUR, ZUG)]
    assert only(run.history, UpdatePartial) == wanted
    assert run.answers() == [(BERN, 1), (CHUR, 1), (ZUG, 1)]  # the second batch is done when its time has been over
    given = [one.batch_limit for one in run.performers[ZUG].performed if one.phase is Phase.TRAIN]
    assert given == [2, 2]


@pytest.mark.parametrize(("batches", "seconds"), [(1, 2), (3, 5), (4, 7)])
async def test_a_device_takes_as_long_as_the_work_that_it_is_given(devices: Make, batches: int, seconds: float) -> None:
    loader = {"template": "src.model:Loader", "settings": {"batch_size": 4}}
    work = {"template": "static", "settings": {"batches": batches}}
    run = devices({"speed": each(bern=2, chur=20, zug=20)}, data_loader=loader, work=work)
    await run.run()
    assert (BERN, seconds) in run.answers()  # ten samples are two batches of four and one of two


async def test_a_device_that_has_time_enough_trains_all(devices: Make) -> None:
    loader = {"template": "src.model:Loader", "settings": {"batch_size": 4}}
    run = devices({"speed": 2}, deadline={"train_s": 15}, data_loader=loader)
    await run.run()
    assert only(run.history, UpdatePartial) == []
    assert {one.batch_limit for one in run.performers[BERN].performed} == {None}


async def test_a_device_that_fails_says_so_within_its_work(devices: Make) -> None:
    run = devices({"failures": each(bern=0, chur=1, zug=0)}, **QUORUM)
    outcome = await run.run()
    assert {name: failure.kind for name, failure in outcome.shortfalls.items()} == {CHUR: FailureKind.SIMULATED}
    ((name, when), *_) = run.times(CollaboratorAbsent)
    assert name == CHUR
    assert 0 < when < 20 / 2
    assert run.performers[CHUR].performed == []
    assert [told.failed for told in only(run.history, DevicesWorked)][1] == (CHUR,)


async def test_code_that_raises_is_told_at_the_virtual_moment(devices: Make) -> None:
    run = devices({"network": {"latency_s": 1}}, **QUORUM)
    run.mistakes[ZUG] = {(1, Phase.TRAIN): "boom"}
    outcome = await run.run()
    assert outcome.shortfalls[ZUG].kind is FailureKind.TASK
    assert run.times(CollaboratorAbsent, round=1) == [(ZUG, 2 + 1 + 15)]


AWAY_FOR_A_WHILE = there(bern=[[0, 1]], chur=[[0, 1], [3, 0], [8, 1]], zug=[[0, 1]])


async def test_a_device_that_comes_back_in_time_does_its_work_anew(devices: Make) -> None:
    run = devices({"availability": AWAY_FOR_A_WHILE}, deadline={"rejoin_s": 5.5})
    assert (await run.run()).status is Status.FINISHED
    assert run.times(CollaboratorAway) == [(CHUR, 3)]
    assert run.times(CollaboratorAdmitted) == [(BERN, 0), (CHUR, 0), (ZUG, 0), (CHUR, 8)]
    assert run.answers() == [(BERN, 5), (ZUG, 15), (CHUR, 8 + 10)]
    trained = [one for one in run.performers[CHUR].performed if (one.round, one.phase) == (1, Phase.TRAIN)]
    assert len(trained) == 1  # the same bytes would come of it
    told = only(run.history, DevicesWorked)[1]
    assert (told.unavailable, told.busy_s[CHUR]) == ((CHUR,), 3 + 10 + 1)


async def test_a_device_that_does_not_come_back_in_time_is_missed(devices: Make) -> None:
    run = devices({"availability": AWAY_FOR_A_WHILE}, deadline={"rejoin_s": 4}, **QUORUM)
    outcome = await run.run()
    assert {name: failure.kind for name, failure in outcome.shortfalls.items()} == {CHUR: FailureKind.NOT_BACK}
    assert run.times(CollaboratorAbsent) == [(CHUR, 7)]
    assert [name for name, _ in run.answers(2)] == [BERN, CHUR, ZUG]


async def test_who_is_away_at_the_beginning_joins_later_or_the_round_waits(devices: Make) -> None:
    away = there(bern=[[0, 1]], chur=[[0, 0], [70, 1]], zug=[[0, 0], [50, 1]])
    admission = {"min_collaborators": 2, "timeout_s": 60}
    run = devices({"availability": away}, admission=admission, **QUORUM)
    await run.run()
    assert run.times(CollaboratorAdmitted) == [(BERN, 0), (ZUG, 50), (CHUR, 70)]
    started = {told.round: told.cohort for told in only(run.history, RoundStarted)}
    assert (started[1], started[2]) == ((BERN, ZUG), (BERN, CHUR, ZUG))
    assert run.times(RoundStarted, round=1) == [("", 60)]
    assert [told.away for told in only(run.history, DevicesWorked)] == [1, 1, 0]


async def test_a_round_that_wants_more_devices_than_there_are_waits_in_virtual_time(devices: Make) -> None:
    hour = 3600.0
    night = there(bern=[[0, 1]], chur=[[0, 1], [15.5, 0], [9 * hour, 1]], zug=[[0, 1], [15.6, 0], [8 * hour, 1]])
    groups = [("trainers", [BERN, CHUR, ZUG], "train"), ("evaluators", [BERN], "validate")]
    parts = [{"name": name, "collaborators": sites, "tasks": [task]} for name, sites, task in groups]
    quorum = {
        "participation": {"policy": "quorum", "min_updates": 2},
        "assigner": {"template": "static", "settings": {"groups": parts}},
    }
    run = devices({"availability": night}, deadline={"rejoin_s": 10 * hour}, **quorum)
    assert (await run.run()).status is Status.FINISHED
    assert run.times(RoundStarted, round=2) == [("", 8 * hour)]
    short = devices({"availability": night}, "short", deadline={"rejoin_s": hour}, **quorum)
    outcome = await short.run()
    assert (outcome.status, "2 of 3 updates are needed" in outcome.reason) == (Status.FAILED, True)


async def test_availability_of_a_round_is_told_at_once(devices: Make) -> None:
    chance = {"template": "bernoulli", "settings": {"probability": each(bern=1, chur=0, zug=1)}}
    run = devices({"availability": chance}, **QUORUM)
    await run.run()
    assert run.times(CollaboratorAbsent, round=1) == [(CHUR, 0), (CHUR, 15)]
    assert {kind for _, kind in run.absences()} == {FailureKind.SIMULATED}
    assert [told.unavailable for told in only(run.history, DevicesWorked)] == [(), (CHUR,), (CHUR,)]


async def test_energy_is_power_by_time_of_each_device_in_each_round(devices: Make) -> None:
    power = {"computing_w": 10, "sending_w": 3, "idle_w": 0.5}
    run = devices({"power": power, "network": {"latency_s": 1}})
    await run.run()
    told = only(run.history, DevicesWorked)[1]
    seconds = only(run.history, RoundFinished)[1].seconds
    assert seconds == (15 + 2) + (1 + 2)
    busy = {BERN: 5 + 1, CHUR: 10 + 1, ZUG: 15 + 1}
    assert told.busy_s == busy
    assert told.energy_j == {name: 10 * spent + 0.5 * (seconds - spent) for name, spent in busy.items()}


async def test_a_selector_goes_by_the_energy_of_devices(devices: Make) -> None:
    """Of 10, 20 and 30 samples at 2 a second and 10 W: bern 50 J, chur 100 J, zug 150 J a training."""
    selector = {"template": "limited_energy", "settings": {"count": 3, "round_j": 160, "site_j": 260}}
    rounds = {"settings": {"rounds_to_train": 5}}
    more = {"selector": selector, "aggregator": rounds}
    run = devices({"power": {"computing_w": 10}}, **more)
    await run.run()
    cohorts = [told.cohort for told in only(run.history, RoundStarted) if told.round]
    assert cohorts == [(BERN, CHUR, ZUG), (BERN, CHUR), (BERN,), (BERN,), (BERN,)]


@dataclass(slots=True)
class Nothing:
    """A runtime of no site."""

    @asynccontextmanager
    async def running(self, post: Post) -> AsyncIterator[None]:  # noqa: ARG002 - nobody has anything to say
        """Do nothing."""
        yield

    async def perform(self, *commands: Outward) -> None:
        """Do nothing."""


async def test_a_simulation_in_which_nothing_will_happen_does_not_hang(devices: Make, tmp_path: Path) -> None:
    plan = devices({}).plan
    assert plan.simulation.devices is not None
    sites = SimulatedSites(plan, tmp_path, tmp_path, {})
    repository = ModelRepository(plan, ExperimentFiles(tmp_path))
    found = InVirtualTime(Nothing(), SimulatedDevices(plan.simulation.devices, 7), sites, repository)
    with pytest.raises(InternalError, match="ever do anything"):
        await found.advance()


EVENTFUL = {
    "speed": {"template": "lognormal", "settings": {"median": 2, "sigma": 1}},
    "network": {"latency_s": {"template": "uniform", "settings": {"low": 0, "high": 1, "each": "round"}}},
    "power": {"computing_w": 3, "idle_w": 1},
    "availability": {"template": "markov", "settings": {"on_s": 60, "off_s": 20}},
    "failures": 0.1,
}
ROUNDS = {
    "aggregator": {"settings": {"rounds_to_train": 8}},
    "model_store": {"keep": {"last": 1}},
    "deadline": {"round_s": 30, "rejoin_s": 12},
    "admission": {"min_collaborators": 1},
    **QUORUM,
}
SITES = {f"site-{number}": number for number in range(4, 12)}


def outline(run: Devices) -> list[tuple[float, object]]:
    """What happened and when; without what is told once more by whoever goes on."""
    again = ExperimentBegun, AssignmentSent, CollaboratorAdmitted
    return [(event.time, event.announcement) for event in run.history if not isinstance(event.announcement, again)]


@pytest.mark.slow
@pytest.mark.parametrize("ahead", [True, False], ids=["commits seldom", "commits every round"])
@pytest.mark.parametrize("deadline", [{"round_s": 30, "rejoin_s": 12}, {"rejoin_s": 17}], ids=["limit", "no limit"])
async def test_a_record_goes_on_from_any_commit_to_the_same_bytes_at_the_same_times(
    devices: Make, deadline: dict[str, float], *, ahead: bool
) -> None:
    def make(name: str) -> Devices:
        run = devices(EVENTFUL, name, **{**ROUNDS, "deadline": deadline})
        run.samples, run.takes = SITES, 0.04 * COMMIT_WITHIN_S
        return run

    whole = make("whole")
    store = DyingStore(whole.record, 0, after=False)
    outcome = await whole.run(store, ahead=ahead)
    assert outcome.status is Status.FINISHED
    commits = -store.left
    assert (commits == 10, 2 < commits < 9) == (
        not ahead,
        ahead,
    )  # the beginning, each round, the end with the last one
    assert {type(told) for _, told in outline(whole)} >= {CollaboratorAway, CollaboratorAbsent}
    for nth in range(1, commits + 1):
        for after in (True, False):
            run = make(f"crash-{nth}-{after}")
            with pytest.raises(CrashError):
                await run.run(DyingStore(run.record, nth, after=after), ahead=ahead)
            run.backwards = True
            await run.run(ahead=ahead)
            assert run.digests == whole.digests, f"crash at commit {nth}"
            assert outline(run) == outline(whole), f"crash at commit {nth}"


async def test_a_device_that_leaves_when_a_round_ends_is_the_same_to_whoever_goes_on(devices: Make) -> None:
    away = there(bern=[[0, 1]], chur=[[0, 1], [16, 0], [20, 1]], zug=[[0, 1]])
    whole = devices({"availability": away}, deadline={"rejoin_s": 5})
    store = DyingStore(whole.record, 0, after=False)
    await whole.run(store)
    assert (whole.times(RoundStarted, round=2), whole.times(CollaboratorAway)) == ([("", 16)], [(CHUR, 16)])
    for nth in range(1, -store.left + 1):
        broken = devices({"availability": away}, f"broken-{nth}", deadline={"rejoin_s": 5})
        with pytest.raises(CrashError):
            await broken.run(DyingStore(broken.record, nth, after=True))
        await broken.run()
        assert outline(broken) == outline(whole)


def eventful(random: Random) -> dict[str, Any]:
    """Devices of any kind, with times that are often the same."""
    away: list[dict[str, Any]] = [
        {"template": "markov", "settings": {"on_s": random.choice([60, 300]), "off_s": random.choice([5, 20, 100])}},
        {"template": "bernoulli", "settings": {"probability": random.uniform(0.5, 1), "every_s": 7}},
        {"template": "bernoulli", "settings": {"probability": random.uniform(0.5, 1)}},
    ]
    return {
        "speed": {"template": "choice", "settings": {"values": [1, 2, 4]}},
        "network": {"latency_s": random.choice([0, 1]), "up_bytes_per_s": random.choice([None, 50])},
        "power": {"computing_w": 3, "sending_w": 2, "idle_w": 1},
        "availability": random.choice(away),
        "failures": random.choice([0, 0.1]),
    }


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_devices_do_it_goes_on_from_the_middle_as_if_nothing_had_happened(
    devices: Make, seed: int
) -> None:
    random = Random(seed)  # noqa: S311 (it draws what is simulated)
    section = eventful(random)
    deadlines: list[dict[str, float]] = [{"round_s": 12, "rejoin_s": 5}, {"train_s": 9, "rejoin_s": 17}, {}]
    selector = random.choice([{"template": "all"}, {"template": "random", "settings": {"count": 4}}])
    parts = {**ROUNDS, "deadline": random.choice(deadlines), "selector": selector, "seed": seed}

    def make(name: str) -> Devices:
        run = devices(section, name, **parts)
        run.samples = SITES
        return run

    whole, broken = make("whole"), make("broken")
    store = DyingStore(whole.record, 0, after=False)
    await whole.run(store)
    times = [event.time for event in whole.history]
    assert times == sorted(times)
    with pytest.raises(CrashError):
        await broken.run(DyingStore(broken.record, max(1, -store.left // 2), after=random.random() < 0.5))
    broken.backwards = True
    await broken.run()
    assert outline(broken) == outline(whole)
    assert broken.digests == whole.digests
