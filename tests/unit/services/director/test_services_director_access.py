"""What of the queue somebody is told who is neither the owner of an experiment nor an admin."""

from dataclasses import replace
from pathlib import Path

from openfl_like.federation.parties import ExperimentSummary, Waiting, WaitKind
from openfl_like.federation.status import Status
from openfl_like.pki.roles import Identity, Role
from openfl_like.services.director.access import ExperimentAccess
from openfl_like.store.ports import StoredExperiment
from openfl_like.testing.certificates import ThrowAwayFederation
from openfl_like.testing.stores import MemoryDirectorStore

ADA, BOB = Identity("test", Role.USER, "ada"), Identity("test", Role.USER, "bob")
ADMIN = Identity("test", Role.ADMIN, "bob")


def test_who_waits_for_another_s_experiment_is_not_told_its_name(tmp_path: Path) -> None:
    pki, store = ThrowAwayFederation(tmp_path), MemoryDirectorStore()
    for name in ("ada", "bob"):
        summary = ExperimentSummary(f"of-{name}", "digits", Status.QUEUED, "", name, 1.0)
        chain = pki.credentials(Role.USER, name).chain
        store.add(f"00{name}", StoredExperiment(summary, "cd" * 32, b"", chain))
    access = ExperimentAccess(store)
    waits = replace(store.experiment("of-bob").summary, waiting=Waiting(WaitKind.SITE, "bern", "of-ada"))
    hidden = replace(waits, waiting=Waiting(WaitKind.SITE, "bern", ""))
    assert [access.shown(caller, waits) for caller in (BOB, ADA, ADMIN)] == [hidden, waits, waits]
    mine = replace(waits, waiting=Waiting(WaitKind.KEPT, "bern", "of-bob"))
    place = replace(waits, waiting=Waiting(WaitKind.PLACE, running=2, places=2))
    assert [access.shown(BOB, summary) for summary in (mine, place)] == [mine, place]


def test_one_that_is_removed_meanwhile_is_missing_from_the_list_and_the_others_are_there(tmp_path: Path) -> None:
    chain, store = ThrowAwayFederation(tmp_path).credentials(Role.USER, "ada").chain, MemoryDirectorStore()
    for name in ("one", "two"):
        summary = ExperimentSummary(name, "digits", Status.CANCELLED, "", "ada", 1.0)
        store.add(name, StoredExperiment(summary, "cd" * 32, b"", chain))
    listed = store.experiments()
    store.remove("one")
    assert [summary.id for summary in ExperimentAccess(store).visible(ADA, listed)] == ["two"]
