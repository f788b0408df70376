"""What every store promises, whatever is behind it: an acknowledged step is there as a whole, what has ended stays."""

import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openfl_like.errors import ConflictError, DamagedError, NotFoundError
from openfl_like.federation.announcements import Announced, RoundFinished, UnknownAnnouncement
from openfl_like.federation.events import ModelVersion
from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.federation.parties import EnvoyRecord, ExperimentSummary, PublishedVersion, ShardFacts, SiteTerms
from openfl_like.federation.status import Status
from openfl_like.federation.task import Phase
from openfl_like.store.director_files import DirectorFiles
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.ports import (
    Commit,
    DirectorStore,
    ExperimentStore,
    Recorded,
    StoredExperiment,
    Stores,
    TimedAnnouncement,
)
from openfl_like.store.sqlite.stores import SQLITE
from openfl_like.testing.stores import memory_stores

EVERY: dict[str, Callable[[], Stores]] = {"sqlite": lambda: SQLITE, "memory": memory_stores}


@pytest.fixture(params=EVERY)
def stores(request: pytest.FixtureRequest) -> Stores:
    return EVERY[request.param]()


@pytest.fixture
def files(tmp_path: Path) -> ExperimentFiles:
    return ExperimentFiles(tmp_path)


@pytest.fixture
def record(stores: Stores, files: ExperimentFiles) -> Iterator[ExperimentStore]:
    with closing(stores.experiment(files)) as opened:
        yield opened


@pytest.fixture
def second(stores: Stores, record: ExperimentStore, files: ExperimentFiles) -> Iterator[ExperimentStore]:
    """The same record, opened by another process."""
    assert record.events() == []
    with closing(stores.experiment(files)) as opened:
        yield opened


@pytest.fixture
def director(stores: Stores, tmp_path: Path) -> Iterator[DirectorStore]:
    with closing(stores.director(DirectorFiles(tmp_path))) as opened:
        yield opened


# ---- the record of an experiment ----------------------------------------------------------------------------------

FIRST, SECOND = ModelVersion(0, "aa" * 32), ModelVersion(1, "bb" * 32, {"accuracy": 0.5, "loss": 0.1}, best=True)


def step(*kinds: str, now: float = 1.0, version: tuple[ModelVersion, str] | None = None) -> Commit:
    published, hashes = ([version[0]], {version[0].round: version[1]}) if version else ([], {})
    told = [TimedAnnouncement(now, UnknownAnnouncement(kind, {"n": now})) for kind in kinds]
    return Commit(now, {"at": now}, told, published, hashes)


def test_a_new_record_is_empty(record: ExperimentStore) -> None:
    assert record.snapshot() is None
    assert record.events() == []
    assert record.versions() == []
    assert record.recorded() == Recorded(None, 0, ())
    record.verify()


def test_a_commit_answers_with_what_the_history_says(record: ExperimentStore) -> None:
    records = record.commit(step("a", "b", now=3.5))
    assert records == [
        Announced(1, 3.5, UnknownAnnouncement("a", {"n": 3.5})),
        Announced(2, 3.5, UnknownAnnouncement("b", {"n": 3.5})),
    ]
    assert record.events() == records


def test_an_announcement_comes_back_as_the_value_that_it_was(record: ExperimentStore) -> None:
    told = RoundFinished(1, "ab" * 32, contributors=("bern", "zurich"))
    record.commit(Commit(1.0, {}, [TimedAnnouncement(1.0, told)]))
    assert [event.announcement for event in record.events()] == [told]


def test_events_are_numbered_without_gaps(record: ExperimentStore) -> None:
    for kinds in (["a"], [], ["b", "c", "d"], [], ["e"]):
        record.commit(step(*kinds))
    assert [(event.sequence, event.kind) for event in record.events()] == list(enumerate("abcde", 1))
    assert [event.kind for event in record.events(after=3)] == ["d", "e"]
    assert record.events(after=5) == []


def test_only_events_of_the_wanted_kinds_are_read(record: ExperimentStore) -> None:
    record.commit(step("a", "b", "a", "c"))
    assert [event.sequence for event in record.events(kinds=("a", "c"))] == [1, 3, 4]
    assert [event.sequence for event in record.events(1, ("a",))] == [3]


def test_the_latest_event_of_some_kinds(record: ExperimentStore) -> None:
    assert record.latest("a", "b") is None
    records = record.commit(step("a", "b", "a", "c"))
    assert record.latest("a", "b") == records[2]
    assert record.latest("c") == records[3]
    assert record.latest("d") is None
    assert record.latest() is None


def test_numbers_go_on_after_a_restart(stores: Stores, files: ExperimentFiles) -> None:
    for kinds in (["a", "b"], ["c"]):
        with closing(stores.experiment(files)) as record:
            record.commit(step(*kinds))
    with closing(stores.experiment(files)) as record:
        assert [(event.sequence, event.kind) for event in record.events()] == [(1, "a"), (2, "b"), (3, "c")]
        assert record.snapshot() == {"at": 1.0}


def test_only_the_newest_epoch_may_commit(record: ExperimentStore, second: ExperimentStore) -> None:
    record.commit(step("a", now=1.0))
    record.check_epoch()
    assert (record.epoch, second.take_epoch()) == (1, 2)
    with pytest.raises(ConflictError, match="taken the experiment's record over from epoch 1"):
        record.commit(step("late", now=2.0, version=(FIRST, "s0")))
    with pytest.raises(ConflictError):
        record.check_epoch()
    assert (second.snapshot(), second.versions()) == ({"at": 1.0}, [])
    assert [event.sequence for event in second.commit(step("b", now=3.0))] == [2]
    assert [event.kind for event in record.events()] == ["a", "b"]


def test_an_epoch_alone_is_no_snapshot(record: ExperimentStore) -> None:
    assert record.take_epoch() == 1
    assert record.snapshot() is None
    assert record.recorded() == Recorded(None, 1, ())
    assert record.take_epoch() == 2
    record.commit(step("a"))
    assert record.epoch == 2


def test_who_asks_for_an_epoch_takes_one(record: ExperimentStore, second: ExperimentStore) -> None:
    assert (record.epoch, record.epoch, second.epoch) == (1, 1, 2)


def test_who_was_told_something_meanwhile_under_its_number_is_refused(
    record: ExperimentStore, second: ExperimentStore
) -> None:
    record.commit(step("a"))
    assert second.announce(2.0, UnknownAnnouncement("b")) == Announced(2, 2.0, UnknownAnnouncement("b"))
    with pytest.raises(ConflictError):
        record.commit(step("c", now=3.0))
    assert [event.kind for event in record.events()] == ["a", "b"]
    assert record.snapshot() == {"at": 1.0}
    record.commit(step(now=4.0))  # this needs no number
    with pytest.raises(ConflictError):
        record.commit(step("c", now=5.0))
    assert record.snapshot() == {"at": 4.0}


def test_a_new_epoch_knows_what_was_told_meanwhile(record: ExperimentStore, second: ExperimentStore) -> None:
    second.announce(2.0, UnknownAnnouncement("a"))
    assert [event.sequence for event in record.commit(step("b"))] == [2]
    assert record.announce(3.0, UnknownAnnouncement("c")).sequence == 3
    assert [event.sequence for event in record.commit(step("d"))] == [4]


def test_the_last_snapshot_counts(record: ExperimentStore) -> None:
    record.commit(step(now=1.0))
    record.commit(step(now=2.0))
    assert record.snapshot() == {"at": 2.0}


def test_what_a_caller_does_with_its_values_later_is_not_recorded(record: ExperimentStore) -> None:
    state, metrics = {"sites": ["bern"]}, {"loss": 0.5}
    record.commit(Commit(1.0, state, versions=[ModelVersion(0, "aa" * 32, metrics)]))
    state["sites"].append("zurich")
    metrics["loss"] = 0.1
    assert record.snapshot() == {"sites": ["bern"]}
    assert record.versions()[0].version.metrics == {"loss": 0.5}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.parametrize("kind", EVERY)
@settings(max_examples=30, deadline=None)
@given(state=st.dictionaries(st.text(), json_values, max_size=5))
def test_any_snapshot_comes_back(kind: str, state: dict[str, object]) -> None:
    with tempfile.TemporaryDirectory() as place, closing(EVERY[kind]().experiment(ExperimentFiles(Path(place)))) as one:
        one.commit(Commit(1.0, state))
        assert one.snapshot() == state


def test_versions_come_by_round_with_their_hash_and_time(record: ExperimentStore) -> None:
    record.commit(step(now=2.0, version=(SECOND, "s1")))
    record.commit(step(now=1.0, version=(FIRST, "s0")))
    versions = [PublishedVersion(FIRST, "s0", 1.0), PublishedVersion(SECOND, "s1", 2.0)]
    assert record.versions() == versions
    assert record.recorded() == Recorded({"at": 1.0}, 1, tuple(versions))
    record.verify()


def test_a_hash_may_become_known_later(record: ExperimentStore) -> None:
    record.commit(Commit(1.0, {}, versions=[FIRST, SECOND]))
    record.commit(Commit(2.0, {}, sha256={1: "s1", 7: "of a round that is not there"}))
    assert [(item.version.round, item.sha256, item.published_at) for item in record.versions()] == [
        (0, "", 1.0),
        (1, "s1", 1.0),
    ]


def test_a_round_that_is_published_again_replaces_itself(record: ExperimentStore) -> None:
    record.commit(step(version=(SECOND, "s1")))
    record.commit(Commit(2.0, {}, versions=[ModelVersion(1, "cc" * 32)]))
    assert record.versions() == [PublishedVersion(ModelVersion(1, "cc" * 32), "", 2.0)]


def test_a_round_that_is_missing_is_damage(record: ExperimentStore) -> None:
    record.commit(step(version=(SECOND, "s1")))
    with pytest.raises(DamagedError, match="rows of 'versions' are missing"):
        record.verify()


def test_a_step_that_fails_half_way_leaves_nothing(record: ExperimentStore) -> None:
    record.commit(step("a", now=1.0))
    bad = ModelVersion(1, "bb" * 32, {"accuracy": object()})  # type: ignore[dict-item] # what no store can take
    with pytest.raises(TypeError):
        record.commit(step("lost", now=2.0, version=(bad, "s")))
    assert record.snapshot() == {"at": 1.0}
    assert [event.kind for event in record.events()] == ["a"]
    assert record.versions() == []
    assert record.commit(step("b"))[0].sequence == 2


# ---- a record and its directory


@pytest.fixture
def copy(stores: Stores, tmp_path: Path) -> Iterator[ExperimentStore]:
    (tmp_path / "copy").mkdir()
    with closing(stores.experiment(ExperimentFiles(tmp_path / "copy"))) as opened:
        yield opened


def test_a_record_is_filled_with_what_another_one_was(record: ExperimentStore, copy: ExperimentStore) -> None:
    record.take_epoch()
    record.commit(step("a", "b", now=2.0, version=(FIRST, "s0")))
    record.announce(3.0, UnknownAnnouncement("c"))
    copy.fill(record.recorded(), iter(record.events()))
    assert (copy.recorded(), copy.events()) == (record.recorded(), record.events())
    copy.verify()
    assert copy.announce(4.0, UnknownAnnouncement("d")).sequence == 4
    assert copy.take_epoch() == 2
    assert [event.sequence for event in copy.commit(step("e"))] == [5]


def test_a_record_that_nobody_began_is_filled_with_its_history(record: ExperimentStore, copy: ExperimentStore) -> None:
    copy.fill(Recorded(None, 0, ()), [Announced(1, 1.0, UnknownAnnouncement("a"))])
    assert (copy.recorded(), [event.kind for event in copy.events()]) == (record.recorded(), ["a"])


@pytest.mark.parametrize(
    "begin",
    [
        lambda store: store.take_epoch(),
        lambda store: store.announce(1.0, UnknownAnnouncement("a")),
        lambda store: store.commit(Commit(1.0, {}, versions=[FIRST])),
    ],
    ids=["epoch", "event", "version"],
)
def test_only_an_empty_record_is_filled(record: ExperimentStore, begin: Callable[[ExperimentStore], object]) -> None:
    begin(record)
    before = record.recorded(), record.events()
    with pytest.raises(ConflictError, match="only an empty one"):
        record.fill(Recorded({"at": 9.0}, 9, ()), [Announced(1, 1.0, UnknownAnnouncement("b"))])
    assert (record.recorded(), record.events()) == before


def test_a_history_that_breaks_off_leaves_the_record_empty(record: ExperimentStore) -> None:
    def broken() -> Iterator[Announced]:
        yield Announced(1, 1.0, UnknownAnnouncement("a"))
        raise NotFoundError("the rest is missing")

    with pytest.raises(NotFoundError):
        record.fill(Recorded({"at": 1.0}, 3, (PublishedVersion(FIRST, "", 1.0),)), broken())
    assert (record.recorded(), record.events()) == (Recorded(None, 0, ()), [])
    assert [event.sequence for event in record.commit(step("b"))] == [1]


def test_a_record_moves_and_goes_with_its_directory(stores: Stores, tmp_path: Path) -> None:
    here, there = ExperimentFiles(tmp_path / "here"), ExperimentFiles(tmp_path / "there")
    here.directory.mkdir()
    assert not stores.has_record(here)
    with closing(stores.experiment(here)) as record:
        record.commit(step("a"))
    assert stores.has_record(here)
    here.directory.rename(there.directory)
    assert (stores.has_record(here), stores.has_record(there)) == (False, True)
    with closing(stores.experiment(there)) as record:
        assert [event.kind for event in record.events()] == ["a"]
    shutil.rmtree(there.directory)
    assert not stores.has_record(there)
    there.directory.mkdir()
    with closing(stores.experiment(there)) as record:
        assert record.events() == []


def test_a_store_without_a_directory_is_refused(stores: Stores, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(ConflictError, match="cannot be"):
        stores.experiment(ExperimentFiles(missing))
    with pytest.raises(ConflictError, match="cannot be"):
        stores.director(DirectorFiles(missing))
    assert not stores.has_record(ExperimentFiles(missing))


# ---- the memory of a Director -------------------------------------------------------------------------------------

ENDED = [status for status in Status if status.ended]
OPEN = [status for status in Status if not status.ended]
LEFT = Failure(FailureKind.LEFT, "no power", phase=Phase.TRAIN, round=2, site="bern")


def queued(name: str, owner: str = "alice") -> StoredExperiment:
    summary = ExperimentSummary(name, "digits", Status.QUEUED, "", owner, submitted_at=5.0, plan_digest="ab" * 32)
    return StoredExperiment(summary, "cd" * 32, b"\x30\x00\xff", b"-----BEGIN CERTIFICATE-----\n")


def test_an_experiment_comes_back_as_it_went_in(director: DirectorStore) -> None:
    assert director.add("00ff", queued("one")) == queued("one").summary
    assert director.experiment("one") == queued("one")
    director.require("one")
    director.verify()


def test_an_experiment_that_has_ended_elsewhere_comes_back_as_it_went_in(director: DirectorStore) -> None:
    failure = Failure(FailureKind.COMBINE, "no", "NoData", round=2)
    ended = replace(queued("one").summary, status=Status.FAILED, ended_at=9.0, failure=failure, shortfalls={"a": LEFT})
    stored = replace(queued("one"), summary=ended)
    director.add("00ff", stored)
    assert director.experiment("one") == stored


def test_the_same_request_never_makes_two_experiments(director: DirectorStore) -> None:
    director.add("00ff", queued("one"))
    assert director.add("00ff", queued("two")).id == "one"
    assert [item.id for item in director.experiments()] == ["one"]
    assert director.requested("alice", "00ff") == queued("one").summary


def test_two_users_may_choose_the_same_request_id(director: DirectorStore) -> None:
    director.add("00ff", queued("one"))
    assert director.add("00ff", queued("two", owner="bob")).id == "two"
    assert director.requested("carol", "00ff") is None


def test_a_second_request_cannot_make_an_experiment_of_the_same_id(director: DirectorStore) -> None:
    director.add("00ff", queued("one"))
    with pytest.raises(ConflictError, match="an experiment 'one' already"):
        director.add("00fe", queued("one", owner="bob"))
    assert director.requested("bob", "00fe") is None
    assert director.experiment("one") == queued("one")


def test_a_repeated_request_is_answered_with_the_present_status(director: DirectorStore) -> None:
    director.add("00ff", queued("one"))
    director.set_status("one", Status.FAILED, "no sites", 9.0)
    assert director.add("00ff", queued("two")).status is Status.FAILED


def test_many_threads_with_one_request_make_one_experiment(director: DirectorStore) -> None:
    answers: list[str] = []
    threads = [
        threading.Thread(target=lambda number=number: answers.append(director.add("00ff", queued(f"e{number}")).id))
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
    assert set(answers) == {item.id for item in director.experiments()}
    assert len(set(answers)) == 1


def test_experiments_are_listed_in_the_order_in_which_they_came(director: DirectorStore) -> None:
    for number, name in enumerate(["zeta", "alpha", "mid"]):
        director.add(f"{number:04x}", queued(name))
    director.set_status("alpha", Status.RUNNING, "", 7.0)
    assert [item.id for item in director.experiments()] == ["zeta", "alpha", "mid"]


def test_the_times_of_a_life(director: DirectorStore) -> None:
    director.add("00ff", queued("one"))
    director.set_status("one", Status.STARTING, "", 10.0)
    director.set_status("one", Status.RUNNING, "", 11.0)
    ended = director.set_status("one", Status.FINISHED, "all rounds", 20.0)
    assert ended == replace(
        queued("one").summary, status=Status.FINISHED, reason="all rounds", started_at=10.0, ended_at=20.0
    )


@pytest.mark.parametrize(("status", "degraded"), [(Status.FINISHED, True), (Status.FAILED, False)])
def test_what_finished_without_a_site_is_degraded(director: DirectorStore, status: Status, *, degraded: bool) -> None:
    director.add("00ff", queued("one"))
    failure = Failure(FailureKind.COMBINE, "no", "NoData", round=2) if status is Status.FAILED else None
    ended = director.set_status("one", status, "all rounds", 20.0, {"bern": LEFT}, failure)
    assert ended.failure == failure
    assert (ended.degraded, ended.shortfalls) == (degraded, {"bern": LEFT})
    assert ended.standing == ("FINISHED (DEGRADED)" if degraded else "FAILED")


@pytest.mark.parametrize("later", Status)
@pytest.mark.parametrize("ended", ENDED)
def test_what_has_ended_never_changes(director: DirectorStore, ended: Status, later: Status) -> None:
    director.add("00ff", queued("one"))
    before = director.set_status("one", ended, "the reason", 20.0)
    assert director.set_status("one", later, "another", 30.0) == before
    assert director.experiment("one").summary == before


@pytest.mark.parametrize("status", OPEN)
def test_an_open_status_has_no_end(director: DirectorStore, status: Status) -> None:
    director.add("00ff", queued("one"))
    assert director.set_status("one", status, "", 20.0).ended_at == 0.0


def test_an_unknown_experiment_is_told_how_to_list_the_known(director: DirectorStore) -> None:
    for ask in (
        director.experiment,
        director.require,
        lambda name: director.set_status(name, Status.FAILED, "", 0.0),
        lambda name: director.requeue(name, ""),
        director.remove,
    ):
        with pytest.raises(NotFoundError, match=r"no experiment 'ghost' \('fx experiment list' shows them\)"):
            ask("ghost")


def test_envoys_are_remembered_offline_by_name(director: DirectorStore) -> None:
    terms = SiteTerms(10, installs_requirements=False, devices=("cpu", "cuda:1"))
    facts = ShardFacts((3, 8), (), "heart", {"counts": {"train": 5}}, terms=terms)
    known = EnvoyRecord("zurich", online=True, last_seen=1.0, shard=facts)
    new = replace(known, last_seen=3.0, shard=replace(facts, description="new"))
    tables, pictures = (replace(facts, interface=name, experiments_at_once=3) for name in ("tables", "pictures"))
    bern = replace(known, name="bern", last_seen=2.0)
    athens = replace(known, name="athens", shard=tables, more_shards=(pictures,), certificate_list=7)
    for envoy in (known, bern, new, athens):
        director.record_envoy(envoy)
    assert director.envoys() == [replace(envoy, online=False) for envoy in (athens, bern, new)]


def test_everything_is_there_after_a_restart(stores: Stores, tmp_path: Path) -> None:
    with closing(stores.director(DirectorFiles(tmp_path))) as first:
        first.add("00ff", queued("one"))
        first.record_envoy(EnvoyRecord("bern", online=False, last_seen=2.0, shard=ShardFacts((1,), ())))
    with closing(stores.director(DirectorFiles(tmp_path))) as again:
        assert again.add("00ff", queued("two")).id == "one"
        assert [envoy.name for envoy in again.envoys()] == ["bern"]
        again.verify()
