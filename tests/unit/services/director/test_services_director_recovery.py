"""A power cut after an acknowledgement: what follows from the bundle is made from it again."""

import asyncio
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest

from openfl_like.errors import DamagedError
from openfl_like.federation.status import Status
from openfl_like.pki.authority import Authority
from openfl_like.plan.digest import freeze
from openfl_like.processes.standby import Standby
from openfl_like.services.director.recovery import mend, mend_all
from openfl_like.services.director.service import Director
from openfl_like.services.director.settings import DirectorFile
from openfl_like.store.director_files import DirectorFiles
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.ports import StoredExperiment
from openfl_like.store.sqlite.stores import SQLITE
from openfl_like.testing.faults.checkpoint_moves import EXPERIMENT, PLAN, OfflineDirector


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> OfflineDirector:
    here = OfflineDirector.founded(tmp_path_factory.mktemp("here"), "here")
    asyncio.run(here.run(start=False))
    return here


@pytest.fixture
def here(made: OfflineDirector, tmp_path: Path) -> OfflineDirector:
    """A Director's state with one experiment in its queue."""
    shutil.copytree(made.state, tmp_path / "state")
    found = OfflineDirector(tmp_path / "state", made.director, made.user)
    with closing(SQLITE.director(DirectorFiles(found.state))) as store:
        store.requeue(EXPERIMENT, "resumed by ada")
    return found


def stored(here: OfflineDirector) -> StoredExperiment:
    with closing(SQLITE.director(DirectorFiles(here.state))) as store:
        return store.experiment(EXPERIMENT)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def without_directories(directory: Path) -> None:
    for name in ("models", "spool", "logs", "workspace"):
        shutil.rmtree(directory / name)


CODE = "workspace/src/model.py"
DAMAGE: dict[str, Callable[[Path], object]] = {
    "a plan cut in half": lambda directory: cut(directory / "plan.json"),
    "an empty plan": lambda directory: empty(directory / "plan.json"),
    "no plan": lambda directory: (directory / "plan.json").unlink(),
    "code cut in half": lambda directory: cut(directory / CODE),
    "empty code": lambda directory: empty(directory / CODE),
    "no code": lambda directory: (directory / CODE).unlink(),
    "no workspace": lambda directory: shutil.rmtree(directory / "workspace"),
    "zeros of the same length": lambda directory: (directory / CODE).write_bytes(bytes(11)),
    "no directories": without_directories,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_damaged_is_unpacked_again(here: OfflineDirector, damage: str) -> None:
    directory = here.files.directory
    DAMAGE[damage](directory)
    with closing(SQLITE.director(DirectorFiles(here.state))) as store:
        assert mend_all(DirectorFiles(here.state), store, SQLITE) == [EXPERIMENT]
        assert mend_all(DirectorFiles(here.state), store, SQLITE) == []
    assert (directory / "plan.json").read_bytes() == freeze(PLAN)
    assert (directory / CODE).read_text() == "RUNNER = 1\n"
    assert (directory / "models").is_dir()
    assert [path.name for path in directory.glob("workspace*")] == ["workspace"]
    assert list(directory.glob("*.new")) == []


def test_what_is_whole_is_left_alone_and_so_is_what_lies_beside_it(here: OfflineDirector) -> None:
    cache = here.files.directory / "workspace" / "src" / "__pycache__"
    cache.mkdir()
    before = (here.files.directory / CODE).stat().st_ino
    assert mend(stored(here), here.files) is False
    assert (here.files.directory / CODE).stat().st_ino == before
    assert cache.exists()


def test_a_link_in_the_workspace_is_damage(here: OfflineDirector, tmp_path: Path) -> None:
    code = here.files.directory / CODE
    shutil.copyfile(code, tmp_path / "elsewhere.py")
    code.unlink()
    code.symlink_to(tmp_path / "elsewhere.py")
    assert mend(stored(here), here.files) is True
    assert not code.is_symlink()


@pytest.mark.parametrize("damage", [cut, empty, Path.unlink])
def test_a_damaged_bundle_is_told_and_keeps_nobody_else_from_starting(
    here: OfflineDirector, damage: Callable[[Path], None]
) -> None:
    damage(here.files.bundle)
    with pytest.raises(DamagedError, match=r"bundle.tar.*fx experiment resume"):
        mend(stored(here), here.files)
    with closing(SQLITE.director(DirectorFiles(here.state))) as store:
        assert mend_all(DirectorFiles(here.state), store, SQLITE) == []


def test_what_has_ended_is_not_looked_at(here: OfflineDirector) -> None:
    with closing(SQLITE.director(DirectorFiles(here.state))) as store:
        store.set_status(EXPERIMENT, Status.CANCELLED, "", 3.0)
        cut(here.files.plan)
        assert mend_all(DirectorFiles(here.state), store, SQLITE) == []


class Idle:
    """A standby that has no process ready."""

    def prepare(self) -> None:
        """Nothing is started."""


async def test_an_experiment_whose_bundle_is_damaged_fails_with_the_reason(here: OfflineDirector) -> None:
    cut(here.files.bundle)
    settings = DirectorFile(sample_shape=(1,), target_shape=(), state=here.state)
    with closing(SQLITE.director(DirectorFiles(here.state))) as store:
        director = Director(settings, here.director, cast("Authority", None), store, SQLITE)
        director.standby = cast("Standby", Idle())
        await director.dispatcher._carry_through(store.experiment(EXPERIMENT).summary)
        summary = store.experiment(EXPERIMENT).summary
    assert summary.status is Status.FAILED
    assert "bundle.tar: the file is damaged" in summary.reason
    assert ExperimentFiles(here.files.directory).plan.exists()
