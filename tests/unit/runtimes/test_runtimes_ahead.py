"""A simulation whose record is behind the work: it goes on from any commit to the same bytes."""

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from openfl_like.federation.announcements import (
    RoundFinished,
    only,
)
from openfl_like.federation.task import Assignment, Phase, Update
from openfl_like.plan.schema import Plan
from openfl_like.runtimes.loop import COMMIT_WITHIN_S, WRITE_WITHIN_S
from openfl_like.store.files import ExperimentFiles
from openfl_like.testing.clock import FakeClock
from openfl_like.testing.performers import FakePerformer
from openfl_like.testing.stores import MemoryExperimentStore, MemoryRecord
from tests.unit.runtimes.loop_runs import LONG, SITES, CrashError, DyingStore, PlanWith, Run, Unwritten, sites_of


class Idle(FakePerformer):
    """A site that has samples in the first of every three rounds only."""

    def perform(self, assignment: Assignment, model: Path | None, out: Path) -> Update:
        """Do the assignment, and say how many samples there were."""
        update = super().perform(assignment, model, out)
        return replace(update, num_samples=update.num_samples if assignment.round % 3 == 1 else 0)


def sites_that_take_time(
    clock: FakeClock, seconds: float, kind: type[FakePerformer] = FakePerformer
) -> dict[str, FakePerformer]:
    """Two sites whose every task lets so much time pass."""
    loop = asyncio.get_running_loop()
    performers = {name: kind(step=float(number), num_samples=number) for number, name in enumerate(SITES, 1)}

    async def pass_time() -> None:
        clock.advance(seconds)

    def wait() -> None:
        asyncio.run_coroutine_threadsafe(pass_time(), loop).result(10)

    for performer in performers.values():
        phases = Phase.TRAIN, Phase.EVALUATE
        performer.mistakes = {(number, phase): wait for number in range(1, LONG + 1) for phase in phases}
    return performers


@dataclass(frozen=True, slots=True)
class Ahead:
    """What is run with commits behind the work.

    Attributes:
        plan: The plan.
        kind: Of its sites.
        seconds: How long each task takes.
    """

    plan: Plan
    kind: type[FakePerformer] = FakePerformer
    seconds: float = 0.05

    async def run(self, directory: Path, nth: int = 0, *, after: bool = False) -> tuple[bool, int, list[str]]:
        """Run with a crash at the nth commit; say whether it crashed, how many there were, and the models' digests."""
        files = ExperimentFiles(directory)
        files.prepare()
        record, clock, crashed = MemoryRecord(), FakeClock(), False
        store = DyingStore(record, nth, after=after)
        try:
            sites = sites_that_take_time(clock, self.seconds, self.kind)
            await Run(self.plan, store, directory, clock, ahead=True).to_its_end(sites)
        except CrashError:
            crashed, clock = True, FakeClock()
            again = Run(self.plan, MemoryExperimentStore(record), directory, clock, ahead=True)
            await again.loop(sites_that_take_time(clock, self.seconds, self.kind)).run()
        found = MemoryExperimentStore(record)
        numbers = [event.sequence for event in found.events()]
        assert numbers == list(range(1, len(numbers) + 1))
        finished = [event.round for event in only(found.events(), RoundFinished)]
        assert finished == list(range(LONG + 1))
        assert len(files.models()) <= 2  # the last and the best: nothing is left behind
        assert list((directory / "spool").iterdir()) == []
        return crashed, nth - store.left, [item.version.digest for item in found.versions()]

    async def crash_at_each(self, directory: Path, commits: int, digests: list[str], *, after: bool) -> None:
        """Crash at every commit; how many there are depends a little on which answers came together."""
        reached = 0
        for nth in range(1, commits + 1):
            crashed, _, found = await self.run(directory / f"crash-{nth}", nth, after=after)
            assert found == digests, f"crash at commit {nth}"
            reached += crashed
        assert reached >= commits // 2


ROUNDS_AHEAD = {"aggregator": {"settings": {"rounds_to_train": LONG}}, "model_store": {"keep": {"last": 1}}}


@pytest.mark.parametrize("after", [True, False], ids=["after the commit", "before the commit"])
@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        pytest.param({}, FakePerformer, id="plain"),
        pytest.param(
            {"server_optimizer": {"template": "fedavgm"}}, Idle, id="a state and rounds that keep their model"
        ),
        pytest.param({}, Idle, id="idle rounds"),
        pytest.param({}, Unwritten, id="updates in memory"),
    ],
)
async def test_a_simulation_commits_seldom_and_goes_on_from_any_commit_to_the_same_bytes(
    plan_with: PlanWith, tmp_path: Path, settings: dict[str, object], kind: type[FakePerformer], *, after: bool
) -> None:
    ahead = Ahead(plan_with(**ROUNDS_AHEAD, **settings), kind)
    _, commits, digests = await ahead.run(tmp_path / "whole")
    assert len(digests) == LONG + 1
    assert 3 < commits <= 2 + round(4 * LONG * 0.05 / COMMIT_WITHIN_S)
    await ahead.crash_at_each(tmp_path, commits, digests, after=after)


@pytest.mark.parametrize("after", [True, False], ids=["after the commit", "before the commit"])
async def test_updates_in_memory_are_written_with_the_commits_within_a_long_round(
    plan_with: PlanWith, tmp_path: Path, *, after: bool
) -> None:
    ahead = Ahead(plan_with(**ROUNDS_AHEAD), Unwritten, seconds=0.35 * WRITE_WITHIN_S)
    _, commits, digests = await ahead.run(tmp_path / "whole")
    assert commits > LONG  # one in each round, and one in the middle of most
    await ahead.crash_at_each(tmp_path, commits, digests, after=after)


async def test_a_simulation_that_is_ahead_has_its_start_in_the_record_before_any_work(
    plan_with: PlanWith, tmp_path: Path
) -> None:
    files, sites = ExperimentFiles(tmp_path), sites_of(*SITES)
    files.prepare()
    run = Run(plan_with(), DyingStore(MemoryRecord(), 1, after=False), tmp_path, ahead=True)
    with pytest.raises(CrashError):
        await run.to_its_end(sites)
    assert files.models() == {}
    assert all(site.performed == [] for site in sites.values())
