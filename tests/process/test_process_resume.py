"""Go on with what was cancelled or has failed, across deaths of the Director: to the bytes of the undisturbed run."""

from pathlib import Path
from typing import cast

import pytest
from federations import PLAN, THREE, User, federation_of, run_fx

from openfl_like.errors import ConflictError
from openfl_like.services.local_federation import LocalFederation
from openfl_like.testing.faults.evidence import gather
from openfl_like.testing.faults.invariants import Expected
from openfl_like.testing.faults.invariants import check as judge

pytestmark = pytest.mark.process
ROUNDS = 50
ALL = ("admission.collaborators=[site-1, site-2, site-3]", f"aggregator.settings.rounds_to_train={ROUNDS}")


async def check(user: User, experiment: str, undisturbed: str, lost: frozenset[str] = frozenset()) -> list[str]:
    """Compares a resumed experiment with the undisturbed one and gives the kinds of its history.

    Args:
        user: Who asks.
        experiment: The resumed one.
        undisturbed: The other one.
        lost: Sites that were killed: the kill may fall into an evaluation.
    """
    record, wanted = await user.client.experiment(experiment), await user.client.experiment(undisturbed)
    assert record.summary.status == "FINISHED", record.summary.reason
    assert record.versions[-1].sha256 == wanted.versions[-1].sha256 != ""
    events = await user.events(experiment)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    finished = [event.fields for event in events if event.kind == "round_finished"]
    assert [fields["round"] for fields in finished] == list(range(ROUNDS + 1))
    # An evaluation goes on without a site that is away, and says so; what is the best version may follow from that.
    away = {cast("int", fields["round"]): set(cast("dict[str, str]", fields["unevaluated"])) for fields in finished}
    assert [fields["absent"] for fields in finished] == [{}] * len(finished)
    assert record.summary.degraded is any(away.values()), record.summary.shortfalls
    assert {site for sites in away.values() for site in sites} <= lost
    versions = list(
        zip((item.version for item in record.versions), (item.version for item in wanted.versions), strict=True)
    )
    assert [found.digest for found, _ in versions] == [expected.digest for _, expected in versions]
    for found, expected in versions:
        assert away[found.round] or found.metrics == expected.metrics
    assert any(away.values()) or [found.best for found, _ in versions] == [expected.best for _, expected in versions]
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


async def cancelled_twice(federation: LocalFederation, user: User, experiment: str) -> list[str]:
    """Cancels it in two of its lives, and kills the Director in the second one and after it; gives its last words."""
    await user.until(experiment, "round_finished", round=5)
    with pytest.raises(ConflictError, match="is RUNNING; only one that FAILED or was CANCELLED can be resumed"):
        await user.client.resume(experiment)
    assert (await user.client.cancel(experiment)).status == "CANCELLED"
    assert (await user.client.resume(experiment)).status == "QUEUED"
    after = (await user.until(experiment, "experiment_resumed", by="user")).sequence
    started = await user.until(experiment, "experiment_started", after=after)
    assert (started.fields["resumed"], started.fields["epoch"]) == (True, 2)
    await user.until(experiment, "update_received", after=after, round=15)
    await again(federation)
    await user.until(experiment, "round_finished", after=after, round=25)
    assert (await user.client.cancel(experiment)).status == "CANCELLED"
    await again(federation)
    code, shown, words = await run_fx("experiment", "resume", experiment, "--watch", federation=federation)
    assert code == 0, words
    return shown.splitlines()[-1:]


async def failed_for_a_site(federation: LocalFederation, user: User, experiment: str) -> None:
    """Lets it fail for a site that is killed, and resumes it before that site is back."""
    await user.until(experiment, "update_received", round=8)
    federation.children["site-3"].process.kill()
    await federation.children["site-3"].wait()
    failed = await user.ended(experiment)
    assert failed.status == "FAILED"
    assert "site-3" in failed.reason
    assert (await user.client.resume(experiment)).reason == "resumed by user"
    await user.until(experiment, "experiment_waiting", missing=["site-3"])
    await federation.start_envoy("site-3")
    assert (await user.ended(experiment)).status == "FINISHED"


@pytest.mark.long
async def test_whatever_ended_it_what_is_resumed_has_the_bytes_of_the_undisturbed_run(tmp_path: Path) -> None:
    async with federation_of(THREE, tmp_path) as (federation, user):
        undisturbed, cancelled = await user.submit(PLAN, *ALL), await user.submit(PLAN, *ALL)
        assert await cancelled_twice(federation, user, cancelled) == [f"FINISHED: {ROUNDS} of {ROUNDS} rounds are done"]
        failed = await user.submit(PLAN, *ALL, "deadline.rejoin_s=0.5")
        await failed_for_a_site(federation, user, failed)
        code, _, refusal = await run_fx("experiment", "resume", undisturbed, federation=federation)
        assert (code, "is FINISHED; only one that FAILED or was CANCELLED can be resumed" in refusal) == (4, True)

        kinds = await check(user, cancelled, undisturbed)
        assert [kinds.count(f"experiment_{kind}") for kind in ("resumed", "started", "ended")] == [2, 4, 3]
        kinds = await check(user, failed, undisturbed, frozenset({"site-3"}))
        assert [kinds.count(f"experiment_{kind}") for kind in ("resumed", "ended")] == [1, 2]
        assert breaches(federation) == []
