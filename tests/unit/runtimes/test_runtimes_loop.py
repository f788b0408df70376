"""The loop: what it commits, what it survives, how it ends."""

import asyncio
import errno
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from openfl_like.errors import ConflictError, StorageError
from openfl_like.federation.announcements import (
    Announced,
    ExperimentEnded,
    NothingLearnt,
    RoundFinished,
    RoundStarted,
    UpdateReceived,
    UpdateRefused,
)
from openfl_like.federation.events import Aggregate, CancelRequested, PlaceUpdates, UpdatesValidated, ValidateUpdates
from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.federation.parties import Outcome
from openfl_like.federation.status import Status
from openfl_like.federation.task import Phase
from openfl_like.plan.schema import Plan
from openfl_like.plan.section import Component
from openfl_like.runtimes.loop import SystemClock
from openfl_like.runtimes.models import ModelRepository
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.ports import Commit, ExperimentStore
from openfl_like.testing.clock import FakeClock
from openfl_like.testing.performers import FakePerformer, read_vector
from openfl_like.testing.stores import MemoryExperimentStore, MemoryRecord
from tests.unit.runtimes.loop_runs import SITES, CrashError, DyingStore, PlanWith, Run, sites_of


@pytest.fixture
def run(plan_with: PlanWith, store: ExperimentStore, files: ExperimentFiles) -> Run:
    return Run(plan_with(), store, files.directory)


async def test_two_rounds(run: Run, files: ExperimentFiles) -> None:
    outcome = await run.to_its_end(sites_of(*SITES))
    assert outcome.status is Status.FINISHED
    versions = run.store.versions()
    assert [item.version.round for item in versions] == [0, 1, 2]
    # bern adds 1 with weight 1, zurich adds 2 with weight 2: 5/3 a round
    assert read_vector(files.model(2)).tolist() == pytest.approx([10 / 3] * 4)
    assert versions[2].version.metrics["accuracy"] == pytest.approx(10 / 3)
    assert versions[2].version.best
    assert list((files.directory / "spool").iterdir()) == []


async def test_what_happened_while_nobody_drove_it_is_taken_after_its_start(run: Run) -> None:
    async with asyncio.timeout(10):
        outcome = await run.loop(sites_of(*SITES)).run(CancelRequested("ada"))
    assert outcome.status is Status.CANCELLED
    assert "experiment_started" in [event.kind for event in run.told]  # once it has ended nothing begins any more


async def test_everybody_is_told_what_the_store_has(run: Run) -> None:
    await run.to_its_end(sites_of(*SITES))
    assert run.told == run.store.events()
    assert [event.sequence for event in run.told] == list(range(1, len(run.told) + 1))
    assert isinstance(run.told[-1].announcement, ExperimentEnded)


async def test_a_run_that_gives_back_the_model_that_it_began_with_says_so_before_its_end(run: Run) -> None:
    still = {name: FakePerformer(step=0.0) for name in SITES}
    assert (await run.to_its_end(still)).status is Status.FINISHED
    (told,) = run.only(NothingLearnt)
    first, *_, last = run.store.versions()
    assert (told.rounds, told.digest) == (2, first.version.digest) == (2, last.version.digest)
    assert [event.kind for event in run.told[-2:]] == ["nothing_learnt", "experiment_ended"]


@pytest.mark.parametrize("moving", [SITES, SITES[:1]])
async def test_a_run_in_which_one_site_has_learnt_says_nothing_of_the_kind(run: Run, moving: tuple[str, ...]) -> None:
    await run.to_its_end({name: FakePerformer(step=float(name in moving)) for name in SITES})
    assert run.only(NothingLearnt) == []


async def test_a_plan_that_trains_nothing_need_not_learn(
    plan_with: PlanWith, store: ExperimentStore, files: ExperimentFiles
) -> None:
    run = Run(plan_with(tasks={"validate": {"function": "validate"}}), store, files.directory)
    assert (await run.to_its_end({name: FakePerformer(step=0.0) for name in SITES})).status is Status.FINISHED
    assert run.only(NothingLearnt) == []


async def test_each_site_is_asked_once_per_phase(run: Run) -> None:
    performers = sites_of(*SITES)
    await run.to_its_end(performers)
    asked = [(job.round, job.phase) for job in performers["zurich"].performed]
    assert asked == [(1, Phase.TRAIN), (1, Phase.EVALUATE), (2, Phase.TRAIN), (2, Phase.EVALUATE)]
    assert performers["bern"].performed[0].phase is Phase.INITIALISE


async def test_the_deadline_closes_the_round_without_the_late(
    plan_with: PlanWith, store: ExperimentStore, files: ExperimentFiles
) -> None:
    clock, loop = FakeClock(), asyncio.get_running_loop()

    async def pass_time() -> None:
        clock.advance(30.0)

    plan = plan_with(deadline={"round_s": 30}, participation={"policy": "quorum", "min_fraction": 0.5})
    run = Run(plan, store, files.directory, clock)
    performers = sites_of(*SITES)
    performers["zurich"].mistakes = {
        (1, Phase.TRAIN): lambda: asyncio.run_coroutine_threadsafe(pass_time(), loop).result(10)
    }
    assert (await run.to_its_end(performers)).status is Status.FINISHED
    first, second = run.only(RoundFinished)[-2:]
    assert first.contributors == ("bern",)
    late = Failure(FailureKind.DEADLINE, "sent no update within 30 s", phase=Phase.TRAIN, round=1, site="zurich")
    assert first.absent == {"zurich": late}
    assert first.seconds == 30.0
    assert second.contributors == ("bern", "zurich")
    assert run.only(UpdateRefused)[0].collaborator == "zurich"


async def test_nobody_comes(plan_with: PlanWith, store: ExperimentStore, files: ExperimentFiles) -> None:
    clock = FakeClock()
    plan = plan_with(admission={"collaborators": ["bern"], "timeout_s": 60})
    run = Run(plan, store, files.directory, clock)
    running = asyncio.create_task(run.loop({}).run())
    while not clock.pending:  # noqa: ASYNC110 (lets the loop take its first steps)
        await asyncio.sleep(0)
    assert clock.pending == (60.0, 60.0)  # of the admission, and the first look at whether anybody answers
    clock.advance(60.0)
    outcome = await running
    assert outcome.status is Status.FAILED
    assert "bern" in outcome.reason


async def test_a_task_that_raises_is_told_with_its_reason(run: Run) -> None:
    performers = sites_of(*SITES)
    performers["zurich"].mistakes = {(1, Phase.TRAIN): "task 'train' raised ValueError: no data"}
    outcome = await run.to_its_end(performers)
    assert outcome.status is Status.FAILED
    assert "zurich failed in task 'train': task 'train' raised ValueError: no data" in outcome.reason.replace(
        "'zurich'", "zurich"
    )


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyError("a defect")], ids=["full disk", "defect"]
)
async def test_a_site_whose_process_fails_otherwise_ends_the_wait_for_it(run: Run, error: Exception) -> None:
    def fail() -> None:
        raise error

    performers = sites_of(*SITES)
    performers["zurich"].mistakes = {(1, Phase.TRAIN): fail}
    outcome = await run.to_its_end(performers)
    assert outcome.status is Status.FAILED
    assert str(error.args[-1]) in outcome.reason


@pytest.mark.parametrize("step", ["aggregate", "publish", "commit"])
async def test_a_full_disk_is_waited_for(run: Run, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    owner = run.store if step == "commit" else run.repository
    real: Callable[[object], object] = getattr(owner, step)
    failures: list[Exception] = [OSError(errno.ENOSPC, "No space left on device"), StorageError("no room")] * 2

    def full(what: object) -> object:
        if failures:
            raise failures.pop()
        return real(what)

    monkeypatch.setattr(owner, step, full)
    outcome = await run.to_its_end(sites_of(*SITES))
    assert outcome.status is Status.FINISHED, outcome.reason
    assert not failures


async def test_a_defect_in_a_step_ends_the_experiment_and_is_logged(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: ValidateUpdates) -> UpdatesValidated:
        raise RuntimeError("what nobody thought of")

    monkeypatch.setattr(run.repository, "validate", broken)
    outcome = await run.to_its_end(sites_of(*SITES))
    assert outcome.status is Status.FAILED
    assert "RuntimeError: what nobody thought of" in outcome.reason
    assert "Traceback" in caplog.text


async def test_a_cancellation_ends_it_and_names_who(run: Run) -> None:
    loop = run.loop(sites_of(*SITES))
    loop.post(CancelRequested("alice"))
    async with asyncio.timeout(30):
        outcome = await loop.run()
    assert outcome == Outcome(Status.CANCELLED, "cancelled by alice")
    assert run.store.snapshot() is not None
    assert run.only(ExperimentEnded)[0].status is Status.CANCELLED


async def test_no_timer_is_left_behind(plan_with: PlanWith, store: ExperimentStore, files: ExperimentFiles) -> None:
    clock = FakeClock()
    run = Run(plan_with(deadline={"round_s": 30}), store, files.directory, clock)
    await run.to_its_end(sites_of(*SITES))
    assert clock.pending == ()


class Usurped(MemoryExperimentStore):
    """A record that another process takes over when the nth commit is due."""

    def __init__(self, record: MemoryRecord, nth: int) -> None:
        super().__init__(record)
        self.left = nth

    def commit(self, step: Commit) -> list[Announced]:
        self.left -= 1
        if self.left == 0:
            MemoryExperimentStore(self._record).take_epoch()
        return super().commit(step)


@pytest.mark.parametrize("nth", [1, 4, 10])
async def test_who_was_replaced_ends_and_tells_nobody_that_the_experiment_did(
    plan_with: PlanWith, tmp_path: Path, nth: int
) -> None:
    ExperimentFiles(tmp_path).prepare()
    record = MemoryRecord()
    asleep = Usurped(record, nth)
    run = Run(plan_with(), asleep, tmp_path)
    with pytest.raises(ConflictError):
        await run.to_its_end(sites_of(*SITES))
    assert "experiment_ended" not in {event.kind for event in asleep.events()}
    newer = MemoryExperimentStore(record)
    assert (await Run(plan_with(), newer, tmp_path).to_its_end(sites_of(*SITES))).status is Status.FINISHED


async def crashed_and_resumed(plan: Plan, directory: Path, nth: int, *, after: bool) -> tuple[bool, Outcome, list[str]]:
    """Runs with a crash at the nth commit and then again; says whether there was a crash at all."""
    ExperimentFiles(directory).prepare()
    record = MemoryRecord()
    store = DyingStore(record, nth, after=after)
    crashed = False
    try:
        outcome = await Run(plan, store, directory).to_its_end(sites_of(*SITES))
    except CrashError:
        crashed = True
        outcome = await Run(plan, MemoryExperimentStore(record), directory).to_its_end(sites_of(*SITES))
    digests = [item.version.digest for item in store.versions()]
    numbers = [event.sequence for event in store.events()]
    assert numbers == list(range(1, len(numbers) + 1))
    return crashed, outcome, digests


@pytest.mark.parametrize("after", [True, False], ids=["after the commit", "before the commit"])
async def test_a_crash_at_any_commit_changes_no_bit(plan_with: PlanWith, tmp_path: Path, *, after: bool) -> None:
    _, undisturbed, digests = await crashed_and_resumed(plan_with(), tmp_path / "whole", 0, after=after)
    assert undisturbed.status is Status.FINISHED
    assert len(digests) == 3
    nth = 0
    crashed = True
    while crashed:
        nth += 1
        directory = tmp_path / f"crash-{nth}"
        crashed, outcome, found = await crashed_and_resumed(plan_with(), directory, nth, after=after)
        assert (outcome, found) == (undisturbed, digests), f"crash at commit {nth}"
    assert nth > 10


class AtOnce(ModelRepository):
    """Does every step at once, as an Aggregator does whose updates were looked at when they came."""

    def quick(self, command: ValidateUpdates | PlaceUpdates | Aggregate, *, alone: bool = False) -> bool:  # noqa: ARG002 (whatever it is)
        """Say so."""
        return True


class FullDisk(MemoryExperimentStore):
    """Has no room for what says that all updates of round 1 are here, once."""

    def __init__(self, record: MemoryRecord, begun: threading.Event) -> None:
        super().__init__(record)
        self.refused, self.sent_ahead = False, False
        self._begun = begun

    def commit(self, step: Commit) -> list[Announced]:
        """Refuse that step, and look whether the next round begins all the same before it is published."""
        of_round = any(isinstance(item.announcement, UpdateReceived) and item.announcement.round for item in step.told)
        if of_round and not step.versions and not self.refused:
            self.refused = True
            raise StorageError("no room")
        if self.refused and [version.round for version in step.versions] == [1]:
            self.sent_ahead = self._begun.wait(0.3)
        return super().commit(step)


async def test_the_next_round_is_not_sent_ahead_of_updates_that_the_record_has_no_room_for(
    plan_with: PlanWith, tmp_path: Path
) -> None:
    ExperimentFiles(tmp_path).prepare()
    begun = threading.Event()
    store, sites = FullDisk(MemoryRecord(), begun), {"bern": FakePerformer(mistakes={(2, Phase.TRAIN): begun.set})}
    plan = plan_with(tasks={"train": {"function": "train"}})
    run = Run(plan, store, tmp_path)
    run.repository = AtOnce(plan, ExperimentFiles(tmp_path))
    assert (await run.to_its_end(sites)).status is Status.FINISHED
    assert (store.refused, store.sent_ahead) == (True, False)
    assert [event.round for event in run.only(RoundFinished)] == [0, 1, 2]


async def test_an_experiment_that_had_ended_ends_at_once_again(run: Run) -> None:
    outcome = await run.to_its_end(sites_of(*SITES))
    async with asyncio.timeout(0.2):
        assert await run.loop(sites_of(*SITES)).run() == outcome


async def test_the_machine_s_clock_calls_back_and_can_be_told_not_to() -> None:
    clock, rung = SystemClock(), asyncio.Event()
    clock.call_later(0.0, lambda: pytest.fail("it was cancelled"))()
    clock.call_later(0.0, rung.set)
    async with asyncio.timeout(10):
        await rung.wait()
    assert clock.now() > 1_700_000_000


async def test_what_has_travelled_is_what_the_files_have(
    plan_with: PlanWith, store: ExperimentStore, files: ExperimentFiles
) -> None:
    run = Run(plan_with(stop={"any": [{"traffic_bytes": 10**9}]}), store, files.directory)
    await run.to_its_end(sites_of("bern", "zurich"))
    initial, *updates = [told.size_bytes for told in run.only(UpdateReceived) if told.phase is not Phase.EVALUATE]
    model_bytes = files.model(2).stat().st_size
    assert initial == files.model(0).stat().st_size == model_bytes
    assert len(updates) == 4
    assert set(updates) == {model_bytes}  # nothing is compressed
    assert run.only(RoundFinished)[-1].traffic_bytes == initial + 4 * model_bytes + 3 * 2 * model_bytes


async def test_sites_are_told_apart_by_what_their_training_does(
    plan_with: PlanWith, store: ExperimentStore, files: ExperimentFiles
) -> None:
    selector = Component(template="cluster", settings={"count": 2, "clusters": 2})
    rounds = {"settings": {"rounds_to_train": 8}}
    run = Run(plan_with(selector=selector, aggregator=rounds), store, files.directory)
    names = ("down-1", "down-2", "down-3", "up-1", "up-2", "up-3")
    performers = {name: FakePerformer(step=-1.0 if name < "e" else 1.0, num_samples=5) for name in names}
    await run.to_its_end(performers)
    cohorts = [told.cohort for told in run.only(RoundStarted) if told.round]
    seen = [name for cohort in cohorts[:3] for name in cohort]
    assert sorted(seen) == sorted(names), "whoever has not trained yet comes first"
    assert all({name[:2] for name in cohort} == {"do", "up"} for cohort in cohorts[3:])
