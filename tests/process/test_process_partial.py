"""A site whose time is over before it has trained all: what it has trained counts, with so many samples."""

from pathlib import Path

import pytest
from federations import PLAN, federation_of, shards
from pace import limit

from openfl_like.federation.announcements import Announced, AssignmentSent, ModelMade, UpdateReceived, only
from openfl_like.federation.reports.progress import TaskProgressed
from openfl_like.federation.task import Phase, UpdatePartial

pytestmark = pytest.mark.process
SITES = shards(site_1="site-1", site_2="site-2")
TRAIN_S = limit(4)
SLEEPY = (
    "task_runner.template=src.sleepy:Runner",
    f"task_runner.settings={{sleeps: 1.0, seconds: {TRAIN_S:g}}}",
    "data_loader.template=src.sleepy:Loader",
    "aggregator.settings.rounds_to_train=1",
    "admission.min_collaborators=2",
    f"deadline.train_s={TRAIN_S:g}",
)


async def test_a_site_that_sleeps_in_its_third_batch_gives_three_batches(tmp_path: Path) -> None:
    async with federation_of(SITES, tmp_path) as (_, user):
        experiment = await user.submit(PLAN, *SLEEPY)
        watched = [item async for item in user.client.watch(experiment, progress=True)]
        ended = await user.ended(experiment)
        assert ended.status == "FINISHED", ended.reason
        assert not ended.degraded
        history = await user.events(experiment)
    events = [item for item in watched if isinstance(item, Announced)]
    far = [event.announcement for event in events if not event.sequence]
    assert all(isinstance(told, TaskProgressed) for told in far)
    assert (1, "site-1", "train", 3) in {
        (t.round, t.collaborator, t.task, t.batches) for t in only(events, TaskProgressed)
    }
    assert [event for event in events if event.sequence] == history, "how far a task was is in no history"
    assert only(history, UpdatePartial) == [UpdatePartial(1, "site-1", 12, 3)]
    (model,) = [told for told in only(history, ModelMade) if told.round == 1]
    assert model.weights == {"site-1": pytest.approx(12 / 52), "site-2": pytest.approx(40 / 52)}
    sent = next(event.time for event in history if _is(event.announcement, AssignmentSent))
    came = next(event.time for event in history if _is(event.announcement, UpdateReceived))
    assert TRAIN_S <= came - sent < 2 * TRAIN_S + limit(3)  # at most its third batch after the deadline


async def test_a_site_that_comes_to_no_batch_in_time_is_absent(tmp_path: Path) -> None:
    async with federation_of(SITES, tmp_path) as (_, user):
        quorum = ("participation.policy=quorum", "participation.min_updates=1", "deadline.grace_s=1")
        experiment = await user.submit(PLAN, *SLEEPY, *quorum, "task_runner.settings.seconds=999")
        ended = await user.ended(experiment)
    assert (ended.status, ended.degraded) == ("FINISHED", True)
    assert f"it took longer than {TRAIN_S + 1:g} s" in str(ended.shortfalls["site-1"])


async def test_each_site_trains_what_the_plan_gives_it(tmp_path: Path) -> None:
    async with federation_of(SITES, tmp_path) as (_, user):
        work = ("work.template=static", "work.settings={batches: 2, sites: {site-2: {samples: 20, which: fixed}}}")
        experiment = await user.submit(PLAN, *SLEEPY, *work, "deadline.train_s=null")
        ended = await user.ended(experiment)
        assert ended.status == "FINISHED", ended.reason
        history = await user.events(experiment)
    assert only(history, UpdatePartial) == []
    trained = [told for told in only(history, UpdateReceived) if (told.round, told.phase) == (1, Phase.TRAIN)]
    assert {told.collaborator: told.num_samples for told in trained} == {"site-1": 8, "site-2": 20}


def _is(told: object, kind: type[AssignmentSent | UpdateReceived]) -> bool:
    return isinstance(told, kind) and (told.round, told.phase, told.collaborator) == (1, Phase.TRAIN, "site-1")
