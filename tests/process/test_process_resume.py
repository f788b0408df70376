"""Go on with what was cancelled or has failed, across deaths of the Director: to the bytes of the undisturbed run."""

from pathlib import Path

import pytest
from federations import PLAN, THREE, User, federation_of, gate_of, run_fx

from openfl_like.errors import ConflictError
from openfl_like.federation.announcements import ExperimentBegun, RoundFinished, only
from openfl_like.services.local_federation import LocalFederation
from openfl_like.testing.faults.evidence import gather
from openfl_like.testing.faults.invariants import Expected
from openfl_like.testing.faults.invariants import check as judge
from openfl_like.testing.gate import Gate

pytestmark = pytest.mark.process
ROUNDS = 12
ALL = ("admission.collaborators=[site-1, site-2, site-3]", f"aggregator.settings.rounds_to_train={ROUNDS}")


async def check(user: User, experiment: str, undisturbed: str) -> list[str]:
    """Compares a resumed experiment with the undisturbed one and gives the kinds of its history."""
    record, wanted = await user.client.experiment(experiment), await user.client.experiment(undisturbed)
    assert record.summary.status == "FINISHED", record.summary.reason
    assert record.versions[-1].sha256 == wanted.versions[-1].sha256 != ""
    events = await user.events(experiment)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    finished = only(events, RoundFinished)
    assert [told.round for told in finished] == list(range(ROUNDS + 1))
    assert [(told.absent, told.unevaluated) for told in finished] == [({}, {})] * len(finished)
    assert not record.summary.degraded, record.summary.shortfalls
    assert [item.version for item in record.versions] == [item.version for item in wanted.versions]
    return [event.kind for event in events]


def breaches(federation: LocalFederation) -> list[str]:
    """What the checker has against the Director's state, but for submissions: no history of the client is kept here."""
    evidence = gather(federation.directory / "director-state", federation.directory / "no-history")
    assert [item.status for item in evidence.experiments] == ["FINISHED"] * 3
    return [str(breach) for breach in judge(evidence, Expected()) if breach.letter != "A1"]


async def again(federation: LocalFederation) -> None:
    """Kills the Director and starts the next one."""
    federation.children["director"].process.kill()
    await federation.children["director"].wait()
    await federation.start_director()


async def cancelled_twice(federation: LocalFederation, user: User, gate: Gate, experiment: str) -> list[str]:
    """Cancels it in two of its lives, and kills the Director in the second one and after it; gives its last words."""
    await gate.arrived(4)
    with pytest.raises(ConflictError, match="is RUNNING; only one that FAILED or was CANCELLED can be resumed"):
        await user.client.resume(experiment)
    assert (await user.client.cancel(experiment)).status == "CANCELLED"
    assert (await user.client.resume(experiment)).status == "QUEUED"
    after = (await user.until(experiment, "experiment_resumed", by="user")).sequence
    started = await user.until(experiment, "experiment_started", after=after)
    assert isinstance(started.announcement, ExperimentBegun)
    assert (started.announcement.resumed, started.announcement.epoch) == (True, 2)
    gate.open(5)
    gate.open(6, "site-1")
    await user.until(experiment, "update_received", after=after, round=6, collaborator="site-1")
    await again(federation)
    gate.open(7)
    await gate.arrived(8)
    assert (await user.client.cancel(experiment)).status == "CANCELLED"
    await again(federation)
    gate.open_all()
    code, shown, words = await run_fx("experiment", "resume", experiment, "--watch", federation=federation)
    assert code == 0, words
    assert "resumed by user" in shown
    assert "CANCELLED" not in shown  # that is how it ended before
    return shown.splitlines()[-1:]


async def failed_for_a_site(federation: LocalFederation, user: User, gate: Gate, experiment: str) -> None:
    """Lets it fail for a site that is killed, and resumes it before that site is back."""
    await gate.arrived(5)
    gate.open(5, "site-1", "site-2")
    federation.children["site-3"].process.kill()
    await federation.children["site-3"].wait()
    failed = await user.ended(experiment)
    assert failed.status == "FAILED"
    assert "site-3" in failed.reason
    assert (await user.client.resume(experiment)).resumed_by == "user"
    await user.until(experiment, "experiment_waiting", missing=("site-3",))
    await federation.start_envoy("site-3")
    gate.open_all()
    assert (await user.ended(experiment)).status == "FINISHED"


@pytest.mark.long
async def test_whatever_ended_it_what_is_resumed_has_the_bytes_of_the_undisturbed_run(tmp_path: Path) -> None:
    async with federation_of(THREE, tmp_path) as (federation, user), gate_of() as first, gate_of() as second:
        first.open(3)
        undisturbed, cancelled = await user.submit(PLAN, *ALL), await user.submit(PLAN, *ALL, first.setting)
        last = await cancelled_twice(federation, user, first, cancelled)
        assert last == [f"FINISHED: {ROUNDS} of {ROUNDS} rounds are done"]
        second.open(4)
        failed = await user.submit(PLAN, *ALL, second.setting, "deadline.rejoin_s=0.5")
        await failed_for_a_site(federation, user, second, failed)
        code, _, refusal = await run_fx("experiment", "resume", undisturbed, federation=federation)
        assert (code, "is FINISHED; only one that FAILED or was CANCELLED can be resumed" in refusal) == (4, True)

        kinds = await check(user, cancelled, undisturbed)
        assert [kinds.count(f"experiment_{kind}") for kind in ("resumed", "started", "ended")] == [2, 4, 3]
        kinds = await check(user, failed, undisturbed)
        assert [kinds.count(f"experiment_{kind}") for kind in ("resumed", "ended")] == [1, 2]
        assert breaches(federation) == []
