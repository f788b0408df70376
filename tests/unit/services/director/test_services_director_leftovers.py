from contextlib import closing
from pathlib import Path

from openfl_like.federation.announcements import ExperimentQueued
from openfl_like.plan.bundles.bundle import STAGING
from openfl_like.services.director.recovery import remove_leftovers
from openfl_like.store.director_files import DirectorFiles
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.sqlite.experiment import experiment_database
from openfl_like.store.sqlite.stores import SQLITE


def experiment(state: Path, name: str, *, told: bool) -> Path:
    directory = state / "experiments" / name
    directory.mkdir(parents=True)
    with closing(SQLITE.experiment(ExperimentFiles(directory))) as store:
        if told:
            store.announce(1.0, ExperimentQueued("ada"))
    return directory


def test_what_nobody_was_told_of_goes_and_everything_else_stays(tmp_path: Path) -> None:
    known = experiment(tmp_path, "known", told=False)
    broken_off = experiment(tmp_path, "broken-off", told=False)
    restored = experiment(tmp_path, "from-a-backup", told=True)
    bare, damaged = tmp_path / "experiments" / "bare", tmp_path / "experiments" / "damaged"
    for directory in (bare, damaged):
        directory.mkdir()
    experiment_database(ExperimentFiles(damaged)).write_bytes(b"no database at all")
    staging = tmp_path / "incoming" / "unpacked-1"
    staging.mkdir(parents=True)
    upload = tmp_path / "incoming" / "ada-0001.tar"
    upload.touch()
    halves = [tmp_path / "incoming" / f"{STAGING}1", known / f"{STAGING}2"]
    for half in halves:
        half.mkdir()
    gone = [*halves, staging, bare, broken_off]
    assert sorted(remove_leftovers(DirectorFiles(tmp_path), {"known"}, SQLITE)) == sorted(gone)
    assert [path.exists() for path in (known, restored, damaged, upload)] == [True] * 4
    assert [path.exists() for path in gone] == [False] * 5


def test_a_new_state_has_no_leftovers(tmp_path: Path) -> None:
    assert remove_leftovers(DirectorFiles(tmp_path), set(), SQLITE) == []
