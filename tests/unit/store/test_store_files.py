"""The files of an experiment: names, hard links, and what is let go."""

from pathlib import Path

import pytest

from openfl_like.errors import NotFoundError
from openfl_like.federation.events import ModelVersion
from openfl_like.federation.parties import PublishedVersion
from openfl_like.federation.task import Phase
from openfl_like.store.files import ExperimentFiles, pick_version, retire
from openfl_like.tensors.manifest import manifest_path


@pytest.fixture
def files(tmp_path: Path) -> ExperimentFiles:
    found = ExperimentFiles(tmp_path / "exp")
    found.prepare()
    return found


def test_the_directories_are_private(files: ExperimentFiles) -> None:
    files.prepare()
    for name in ("models", "spool", "logs"):
        assert (files.directory / name).stat().st_mode & 0o777 == 0o700


def test_names_sort_like_rounds(files: ExperimentFiles) -> None:
    names = [files.model(number).name for number in (0, 9, 10, 123)]
    assert names == sorted(names)
    assert files.update(3, Phase.TRAIN, "bern").name == "0003-train-bern.safetensors"
    assert files.log("bern").name == "bern.log"


def test_a_carried_model_shares_its_bytes(files: ExperimentFiles) -> None:
    files.model(1).write_bytes(b"model")
    files.model(2).write_bytes(b"an attempt before a crash")
    files.carry(1, 2)
    assert files.model(2).samefile(files.model(1))


def test_only_the_spool_of_the_round_is_cleared(files: ExperimentFiles) -> None:
    for number in (1, 10, 11):
        files.update(number, Phase.TRAIN, "bern").touch()
    part = files.update(1, Phase.TRAIN, "zurich")
    part.with_name(part.name + ".part").touch()
    files.clear_spool(1)
    names = ["0010-train-bern.safetensors", "0011-train-bern.safetensors"]
    assert sorted(path.name for path in (files.directory / "spool").iterdir()) == [*names, "spare-bern"]
    files.clear_spool(2, ended=True)
    assert sorted(path.name for path in (files.directory / "spool").iterdir()) == names


def test_a_spare_keeps_its_own_manifest(tmp_path: Path) -> None:
    first, second, recyclable = tmp_path / "first", tmp_path / "second", tmp_path / "spare"
    first.write_bytes(b"1")
    manifest_path(first).write_bytes(b"of the first")
    retire(first, recyclable)
    assert (recyclable.read_bytes(), manifest_path(recyclable).read_bytes()) == (b"1", b"of the first")
    second.write_bytes(b"2")
    retire(second, recyclable)
    assert recyclable.read_bytes() == b"2"
    assert not manifest_path(recyclable).exists(), "that of another file would be a lie"
    retire(tmp_path / "none", recyclable)
    assert recyclable.exists()


def test_a_file_with_another_name_is_no_spare(tmp_path: Path) -> None:
    path, recyclable = tmp_path / "model", tmp_path / "spare"
    path.write_bytes(b"1")
    (tmp_path / "other").hardlink_to(path)
    retire(path, recyclable)
    assert not path.exists()
    assert not recyclable.exists()


def test_only_the_named_rounds_are_kept(files: ExperimentFiles) -> None:
    for number in range(5):
        files.model(number).touch()
        if number:
            files.server_state(number).touch()
    assert sorted(files.models()) == [0, 1, 2, 3, 4]
    assert sorted(files.server_states()) == [1, 2, 3, 4]
    files.retain([1, 4, 9], newest=4)
    assert sorted(path.name for path in (files.directory / "models").iterdir()) == [
        "v0001.safetensors",
        "v0001.state.safetensors",
        "v0004.safetensors",
        "v0004.state.safetensors",
    ]


def test_removing_twice_is_fine(files: ExperimentFiles) -> None:
    files.remove()
    files.remove()
    assert not files.directory.exists()


def versions(best: tuple[bool, ...]) -> list[PublishedVersion]:
    return [PublishedVersion(ModelVersion(n, f"d{n}", best=mark), "", 0.0) for n, mark in enumerate(best)]


@pytest.mark.parametrize(
    ("which", "best", "round_number"),
    [
        ("last", (False, True, False), 2),
        ("best", (False, True, False), 1),
        ("best", (True, True, False), 1),
        ("0", (False, True), 0),
        ("01", (False, True), 1),
    ],
)
def test_a_version_is_found(which: str, best: tuple[bool, ...], round_number: int) -> None:
    assert pick_version(versions(best), which).version.round == round_number


@pytest.mark.parametrize("which", ["7", "-1", "newest", "", "1.0", "²"])
def test_a_version_that_is_not_there(which: str) -> None:
    with pytest.raises(NotFoundError, match="ask for best, last or a round; published so far: rounds 0 to 1"):
        pick_version(versions((False, True)), which)


def test_without_a_best_version_its_metric_is_named() -> None:
    with pytest.raises(NotFoundError, match=r"no round has the metric 'auc'.*--which last"):
        pick_version(versions((False, False)), "best", "auc")


@pytest.mark.parametrize("which", ["best", "last", "0"])
def test_before_the_first_version(which: str) -> None:
    with pytest.raises(NotFoundError, match="none is published yet"):
        pick_version([], which)
