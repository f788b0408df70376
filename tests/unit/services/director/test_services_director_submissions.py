"""A submission that is repeated while it is worked on: one experiment, told once."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import cast

import psutil
import pytest

from openfl_like.errors import DamagedError, NotAllowedError
from openfl_like.federation.announcements import ExperimentQueued, UpdateSurplus
from openfl_like.federation.deliveries import UpdateStatus
from openfl_like.federation.parties import ExperimentSummary, LogLines
from openfl_like.federation.ports import StopOrder, Submission
from openfl_like.federation.status import Status
from openfl_like.pki.authority import Authority
from openfl_like.pki.signing import sign_bundle
from openfl_like.plan.bundles.bundle import pack
from openfl_like.services.director.run import RunningExperiment
from openfl_like.services.director.service import Director
from openfl_like.services.director.settings import DirectorFile
from openfl_like.store.director_files import DirectorFiles
from openfl_like.store.ports import StoredExperiment
from openfl_like.store.sqlite.stores import SQLITE
from openfl_like.tensors.manifest import manifest_of
from openfl_like.testing.faults.checkpoint_moves import PLAN, OfflineDirector


@pytest.fixture
def here(tmp_path: Path) -> OfflineDirector:
    return OfflineDirector.founded(tmp_path, "here")


@pytest.fixture
def director(here: OfflineDirector) -> Iterator[Director]:
    settings = DirectorFile(sample_shape=(1,), target_shape=(), state=here.state)
    with closing(SQLITE.director(DirectorFiles(here.state))) as store:
        made = Director(settings, here.director, cast("Authority", None), store, SQLITE)
        yield made
        made.feeds.close()


async def submit(director: Director, here: OfflineDirector, bundle: Path) -> Submission:
    """Has a bundle delivered, and not yet taken."""
    manifest = manifest_of(bundle)
    submission = Submission("00ff00ff", manifest, sign_bundle(manifest.digest, here.user), here.user.chain)
    landing = await director.expect_bundle(here.user.identity.uri, submission)
    landing.path.write_bytes(bundle.read_bytes())
    return submission


async def test_there_is_one_experiment_and_its_history_says_so_once(
    director: Director, here: OfflineDirector, tmp_path: Path
) -> None:
    (tmp_path / "code").mkdir()
    pack(tmp_path / "code", PLAN, tmp_path / "bundle.tar")
    submission = await submit(director, here, tmp_path / "bundle.tar")
    first, *others = await asyncio.gather(*(director.submit("ada", submission) for _ in range(3)))
    assert others == [first, first]
    assert await director.submit("ada", submission) == first
    assert [path.name for path in (here.state / "experiments").iterdir()] == [first.id]
    assert list((here.state / "incoming").iterdir()) == []
    with closing(SQLITE.experiment(DirectorFiles(here.state).experiment(first.id))) as store:
        assert [event.announcement for event in store.events()] == [ExperimentQueued("ada")]


async def test_who_asks_for_it_is_told_of_updates_that_could_not_count(
    director: Director, here: OfflineDirector, tmp_path: Path
) -> None:
    (tmp_path / "code").mkdir()
    pack(tmp_path / "code", PLAN, tmp_path / "bundle.tar")
    queued = await director.submit("ada", await submit(director, here, tmp_path / "bundle.tar"))
    assert (await director.experiment(queued.id)).update_surplus == {}
    with closing(SQLITE.experiment(DirectorFiles(here.state).experiment(queued.id))) as store:
        for number, count in ((1, 1), (1, 7), (2, 1)):
            store.announce(1.0, UpdateSurplus(number, "bern", UpdateStatus.LATE, count))
    record = await director.experiment(queued.id)
    assert (record.update_surplus, record.versions) == ({"bern": {"late": 8}}, ())


async def test_a_director_that_died_before_it_told_so_tells_it_when_it_is_asked_again(
    director: Director, here: OfflineDirector, tmp_path: Path
) -> None:
    (tmp_path / "code").mkdir()
    pack(tmp_path / "code", PLAN, tmp_path / "bundle.tar")
    submission = await submit(director, here, tmp_path / "bundle.tar")
    queued = await director.submissions.admit("ada", submission)
    assert await director.submit("ada", submission) == queued
    with closing(SQLITE.experiment(DirectorFiles(here.state).experiment(queued.id))) as store:
        assert [event.kind for event in store.events()] == ["experiment_queued"]


async def test_a_director_that_ends_leaves_no_record_open(
    director: Director, here: OfflineDirector, tmp_path: Path
) -> None:
    (tmp_path / "code").mkdir()
    pack(tmp_path / "code", PLAN, tmp_path / "bundle.tar")
    await director.submit("ada", await submit(director, here, tmp_path / "bundle.tar"))
    assert open_records(here.state) != []
    director.feeds.close()
    assert open_records(here.state) == []


def open_records(state: Path) -> list[str]:
    """Names what is open of the records of experiments."""
    return [file.path for file in psutil.Process().open_files() if file.path.startswith(str(state / "experiments"))]


@pytest.mark.parametrize(("said", "instead"), [("user/ada", "admin/ada"), ("user/ada", "user/bob")])
async def test_who_submits_is_who_has_signed_and_not_somebody_called_alike(
    director: Director, here: OfflineDirector, tmp_path: Path, said: str, instead: str
) -> None:
    (tmp_path / "code").mkdir()
    pack(tmp_path / "code", PLAN, tmp_path / "bundle.tar")
    manifest = manifest_of(tmp_path / "bundle.tar")
    submission = Submission("00ff00ff", manifest, sign_bundle(manifest.digest, here.user), here.user.chain)
    uri = here.user.identity.uri
    with pytest.raises(NotAllowedError, match=f"{instead} submits a bundle that fx://.*/{said} signed"):
        await director.expect_bundle(uri.replace(said, instead), submission)
    assert not (await director.expect_bundle(uri, submission)).complete


async def test_a_damaged_row_ends_no_session(director: Director, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(_: str) -> None:
        raise DamagedError("the row of 'e-1' is damaged")

    monkeypatch.setattr(director.store, "experiment", damaged)
    assert not director._unwanted("e-1")
    director._on_logs(LogLines("e-1", "bern", ("a line",)))


async def test_a_site_that_works_for_what_has_ended_is_told_how_it_ended(
    director: Director, here: OfflineDirector
) -> None:
    summary = ExperimentSummary("e-1", "digits", Status.QUEUED, "", "ada", 1.0)
    director.store.add("00ff", StoredExperiment(summary, "ab" * 32, b"", b""))
    assert director._stop_order("e-1") is None
    director.store.set_status("e-1", Status.FAILED, "no sites", 2.0)
    assert director._stop_order("e-1") == StopOrder("e-1", "no sites", Status.FAILED)
    assert director._stop_order("e-2") == StopOrder("e-2", "the experiment has ended")


async def test_log_lines_are_taken_of_sites_that_were_asked_and_of_those_that_wrote_before(
    director: Director, here: OfflineDirector, tmp_path: Path
) -> None:
    (tmp_path / "code").mkdir()
    pack(tmp_path / "code", PLAN, tmp_path / "bundle.tar")
    experiment = (await director.submit("ada", await submit(director, here, tmp_path / "bundle.tar"))).id
    logs = director.settings.files.experiment(experiment)
    logs.log("zurich").write_text("before the director was started again\n")
    director.roster._asked[experiment] = {"bern"}
    for site in ("bern", "zurich", "basel"):
        director._on_logs(LogLines(experiment, site, ("a line",)))
    assert "a line" in logs.log("bern").read_text()
    assert "a line" in logs.log("zurich").read_text()
    assert not logs.log("basel").exists()


async def test_one_that_was_cancelled_while_the_queue_was_read_is_not_run(
    director: Director, here: OfflineDirector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "code").mkdir()
    pack(tmp_path / "code", PLAN, tmp_path / "bundle.tar")
    queued = await director.submit("ada", await submit(director, here, tmp_path / "bundle.tar"))
    begun: list[str] = []
    monkeypatch.setattr(RunningExperiment, "__init__", lambda *_: begun.append("made"))
    await director.cancel("ada", queued.id)
    await director.dispatcher._carry_through(queued)  # it was read from the store before
    assert begun == []
