"""The Director's memory: nothing acknowledged is lost or doubled, nothing that ended changes."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from openfl_like.errors import ConflictError, NotFoundError
from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.federation.parties import ExperimentSummary, ShardFacts
from openfl_like.federation.status import Status
from openfl_like.federation.task import Phase
from openfl_like.store.director import DirectorStore, StoredExperiment

ENDED = [status for status in Status if status.ended]
OPEN = [status for status in Status if not status.ended]
LEFT = Failure(FailureKind.LEFT, "no power", phase=Phase.TRAIN, round=2, site="bern")


def queued(name: str, owner: str = "alice") -> StoredExperiment:
    summary = ExperimentSummary(name, "digits", Status.QUEUED, "", owner, submitted_at=5.0, plan_digest="ab" * 32)
    return StoredExperiment(summary, "cd" * 32, b"\x30\x00\xff", b"-----BEGIN CERTIFICATE-----\n")


@pytest.fixture
def store(location: Path | None) -> Iterator[DirectorStore]:
    opened = DirectorStore(location)
    yield opened
    opened.close()


def test_an_experiment_comes_back_as_it_went_in(store: DirectorStore) -> None:
    assert store.add("00ff", queued("one")) == queued("one").summary
    assert store.experiment("one") == queued("one")


def test_the_same_request_never_makes_two_experiments(store: DirectorStore) -> None:
    store.add("00ff", queued("one"))
    assert store.add("00ff", queued("two")).id == "one"
    assert [item.id for item in store.experiments()] == ["one"]
    assert store.requested("alice", "00ff") == queued("one").summary


def test_two_users_may_choose_the_same_request_id(store: DirectorStore) -> None:
    store.add("00ff", queued("one"))
    assert store.add("00ff", queued("two", owner="bob")).id == "two"
    assert store.requested("carol", "00ff") is None


def test_a_repeated_request_is_answered_with_the_present_status(store: DirectorStore) -> None:
    store.add("00ff", queued("one"))
    store.set_status("one", Status.FAILED, "no sites", 9.0)
    assert store.add("00ff", queued("two")).status is Status.FAILED


def test_many_threads_with_one_request_make_one_experiment(store: DirectorStore) -> None:
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda number=number: found.append(store.add("00ff", queued(f"e{number}")).id))
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert set(found) == {item.id for item in store.experiments()}
    assert len(set(found)) == 1


def test_experiments_are_listed_in_the_order_in_which_they_came(store: DirectorStore) -> None:
    for number, name in enumerate(["zeta", "alpha", "mid"]):
        store.add(f"{number:04x}", queued(name))
    store.set_status("alpha", Status.RUNNING, "", 7.0)
    assert [item.id for item in store.experiments()] == ["zeta", "alpha", "mid"]


def test_the_times_of_a_life(store: DirectorStore) -> None:
    store.add("00ff", queued("one"))
    store.set_status("one", Status.STARTING, "", 10.0)
    store.set_status("one", Status.RUNNING, "", 11.0)
    ended = store.set_status("one", Status.FINISHED, "all rounds", 20.0)
    assert ended == replace(
        queued("one").summary, status=Status.FINISHED, reason="all rounds", started_at=10.0, ended_at=20.0
    )


@pytest.mark.parametrize(("status", "degraded"), [(Status.FINISHED, True), (Status.FAILED, False)])
def test_what_finished_without_a_site_is_degraded(store: DirectorStore, status: Status, *, degraded: bool) -> None:
    store.add("00ff", queued("one"))
    failure = Failure(FailureKind.COMBINE, "no", "NoData", round=2) if status is Status.FAILED else None
    ended = store.set_status("one", status, "all rounds", 20.0, {"bern": LEFT}, failure)
    assert ended.failure == failure
    assert (ended.degraded, ended.shortfalls) == (degraded, {"bern": LEFT})
    assert ended.standing == ("FINISHED (DEGRADED)" if degraded else "FAILED")


@pytest.mark.parametrize("later", Status)
@pytest.mark.parametrize("ended", ENDED)
def test_what_has_ended_never_changes(store: DirectorStore, ended: Status, later: Status) -> None:
    store.add("00ff", queued("one"))
    before = store.set_status("one", ended, "the reason", 20.0)
    assert store.set_status("one", later, "another", 30.0) == before
    assert store.experiment("one").summary == before


@pytest.mark.parametrize("ended", [Status.FAILED, Status.CANCELLED])
def test_what_did_not_finish_can_be_queued_again(store: DirectorStore, ended: Status) -> None:
    store.add("00ff", queued("one"))
    store.set_status("one", Status.STARTING, "", 10.0)
    store.set_status("one", ended, "the reason", 20.0, {"bern": LEFT})
    again = store.requeue("one", "bob")
    assert again == replace(queued("one").summary, resumed_by="bob", started_at=10.0)
    assert store.experiment("one").summary == again
    assert store.set_status("one", Status.FINISHED, "all rounds", 30.0).ended_at == 30.0


@pytest.mark.parametrize("status", [*OPEN, Status.FINISHED])
def test_nothing_else_can_be_queued_again(store: DirectorStore, status: Status) -> None:
    store.add("00ff", queued("one"))
    before = store.set_status("one", status, "the reason", 20.0)
    with pytest.raises(ConflictError, match=f"'one' is {status}; only one that FAILED or was CANCELLED") as caught:
        store.requeue("one", "bob")
    assert ("submit its plan again" in caught.value.cure) is status.ended
    assert store.experiment("one").summary == before


@pytest.mark.parametrize("status", OPEN)
def test_an_open_status_has_no_end(store: DirectorStore, status: Status) -> None:
    store.add("00ff", queued("one"))
    assert store.set_status("one", status, "", 20.0).ended_at == 0.0


def test_an_unknown_experiment_is_told_how_to_list_the_known(store: DirectorStore) -> None:
    for ask in (
        store.experiment,
        lambda name: store.set_status(name, Status.FAILED, "", 0.0),
        lambda name: store.requeue(name, ""),
    ):
        with pytest.raises(NotFoundError, match=r"no experiment 'ghost' \('fx experiment list' shows them\)"):
            ask("ghost")


def test_envoys_are_remembered_offline_by_name(store: DirectorStore) -> None:
    facts = ShardFacts((3, 8), (), "heart", {"counts": {"train": 5}})
    store.record_envoy("zurich", facts, 1.0)
    store.record_envoy("bern", facts, 2.0)
    store.record_envoy("zurich", replace(facts, description="new"), 3.0)
    first, second = store.envoys()
    assert (first.name, first.online, first.last_seen, first.shard) == ("bern", False, 2.0, facts)
    assert (second.name, second.last_seen, second.shard.description) == ("zurich", 3.0, "new")


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    first = DirectorStore(tmp_path)
    first.add("00ff", queued("one"))
    first.record_envoy("bern", ShardFacts((1,), ()), 2.0)
    first.close()
    second = DirectorStore(tmp_path)
    assert second.add("00ff", queued("two")).id == "one"
    assert [envoy.name for envoy in second.envoys()] == ["bern"]
    second.close()
