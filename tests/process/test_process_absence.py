"""A site that disappears in the middle of a round: the quorum decides, and the record names it."""

import signal
from pathlib import Path

import pytest
from federations import PLAN, THREE, another, collaborators, federation_of, gate_of, shards
from pace import limit

from openfl_like.federation.announcements import RoundFinished, only
from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.federation.task import Phase

pytestmark = pytest.mark.process
SITES = shards(site_1="site-1", site_2="site-2", site_3="hanging")
DEADLINE_S = limit(10)
HALF = ("participation.policy=quorum", "participation.min_fraction=0.5")
QUORUM = (
    "admission.min_collaborators=3",
    "deadline.round_s=30",
    "deadline.rejoin_s=1",
)


@pytest.mark.long
async def test_with_a_quorum_the_round_goes_on_and_its_record_names_the_absent_site(tmp_path: Path) -> None:
    async with federation_of(SITES, tmp_path) as (federation, user):
        experiment = await user.submit(PLAN, *QUORUM, *HALF)
        await user.until(experiment, "update_received", collaborator="site-1", round=1)
        federation.children["site-3"].process.send_signal(signal.SIGKILL)
        ended = await user.ended(experiment)
        assert ended.status == "FINISHED", ended.reason
        rounds = {told.round: told for told in only(await user.events(experiment), RoundFinished)}
        assert rounds[1].contributors == ("site-1", "site-2")
        text = "left: its connection was lost, did not come back within 1 s"
        lost = Failure(FailureKind.NOT_BACK, text, phase=Phase.TRAIN, round=1, site="site-3")
        assert rounds[1].absent == {"site-3": lost}
        assert rounds[1].selected == ("site-1", "site-2", "site-3")
        assert (ended.degraded, ended.standing) == (True, "FINISHED (DEGRADED)")
        assert ended.shortfalls == {"site-3": lost}
        assert len(rounds) == 4


@pytest.mark.long
async def test_without_a_quorum_the_experiment_fails_with_the_reason(tmp_path: Path) -> None:
    async with federation_of(SITES, tmp_path) as (federation, user):
        experiment = await user.submit(PLAN, *QUORUM)
        await user.until(experiment, "update_received", collaborator="site-1", round=1)
        federation.children["site-3"].process.send_signal(signal.SIGKILL)
        ended = await user.ended(experiment)
        assert ended.status == "FAILED"
        assert "round 1: 3 of 3 updates are needed" in ended.reason
        assert "site 'site-3' left: its connection was lost" in ended.reason


@pytest.mark.long
async def test_a_collaborator_that_dies_again_and_again_is_absent_and_the_reason_says_how_it_died(
    tmp_path: Path,
) -> None:
    async with federation_of(SITES, tmp_path) as (federation, user):
        experiment = await user.submit(PLAN, "admission.min_collaborators=3", "deadline.rejoin_s=3600")
        await user.until(experiment, "update_received", collaborator="site-1", round=1)
        after, collaborator = 0, None
        for _ in range(4):
            joined = await user.until(experiment, "collaborator_joined", after=after, collaborator="site-3")
            collaborator = await another(lambda: collaborators(federation, "site-3"), collaborator)
            after = joined.sequence
            collaborator.kill()
        ended = await user.ended(experiment, timeout_s=30)
        assert ended.status == "FAILED"
        reason = "site 'site-3' left: its collaborator ended: killed by SIGKILL, 4 times without delivering anything"
        assert reason in ended.reason


@pytest.mark.long
async def test_a_site_that_sends_nothing_is_absent_at_the_deadline(tmp_path: Path) -> None:
    async with federation_of(SITES, tmp_path) as (_, user):
        experiment = await user.submit(
            PLAN, "admission.min_collaborators=3", f"deadline.round_s={DEADLINE_S:g}", *HALF,
            "aggregator.settings.rounds_to_train=1",
        )  # fmt: skip
        ended = await user.ended(experiment)
        assert ended.status == "FINISHED", ended.reason
        (last,) = only(await user.events(experiment), RoundFinished)[1:]
        late = Failure(
            FailureKind.DEADLINE, f"sent no update within {DEADLINE_S:g} s", phase=Phase.TRAIN, round=1, site="site-3"
        )
        assert last.absent == {"site-3": late}


async def test_too_few_envoys_end_the_experiment_with_their_names(tmp_path: Path) -> None:
    async with federation_of(shards(site_1="site-1"), tmp_path) as (_, user):
        experiment = await user.submit(PLAN, "admission.collaborators=[site-1, site-9]", "admission.timeout_s=1")
        ended = await user.ended(experiment)
        assert ended.status == "FAILED"
        assert "missing: site-9" in ended.reason


@pytest.mark.long
async def test_an_envoy_that_was_killed_and_started_again_is_part_of_the_running_experiment(tmp_path: Path) -> None:
    async with federation_of(THREE, tmp_path) as (federation, user), gate_of() as gate:
        gate.open(2)
        rounds = "aggregator.settings.rounds_to_train=4"
        experiment = await user.submit(PLAN, "admission.min_collaborators=3", *HALF, rounds, gate.setting)
        await gate.arrived(3)
        federation.children["site-3"].process.kill()
        await federation.children["site-3"].wait()
        left = await user.until(experiment, "collaborator_left", collaborator="site-3")
        await federation.start_envoy("site-3")
        back = await user.until(experiment, "collaborator_joined", after=left.sequence, collaborator="site-3")
        gate.open(3)
        await gate.arrived(4)  # all three: had it missed round 3, it would still be part of the next one
        gate.open_all()
        await user.until(experiment, "update_received", after=back.sequence, collaborator="site-3", phase="train")
        ended = await user.ended(experiment)
        assert ended.status == "FINISHED", ended.reason


@pytest.mark.long
async def test_two_hundred_quick_rounds_lose_no_site(tmp_path: Path) -> None:
    async with federation_of(THREE, tmp_path) as (_, user):
        rounds = "aggregator.settings.rounds_to_train=200"
        ended = await user.ended(await user.submit(PLAN, "admission.min_collaborators=3", rounds), timeout_s=110)
        assert ended.status == "FINISHED", ended.reason
        events = await user.events(ended.id)
        assert [
            event.announcement for event in events if event.kind in {"collaborator_left", "collaborator_absent"}
        ] == []
