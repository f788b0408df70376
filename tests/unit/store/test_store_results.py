"""The archive of what callbacks have written: made while they write, and taken from anybody within bounds."""

from pathlib import Path

import pytest

from openfl_like.errors import BundleError, ConflictError, NotFoundError
from openfl_like.plan.bundles.archive import END, header_of
from openfl_like.store.results import INDEX, MOST_BYTES, MOST_FILES, read_results, write_results


def results_in(path: Path) -> Path:
    folder = path / "results"
    for name, text in (("save/metrics.csv", "round,value\n1,2\n"), ("plot/final.svg", "<svg/>"), ("a/.b.part", "?")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "save/secret").symlink_to("/etc/passwd")
    return folder


def archive_of(path: Path, *entries: tuple[str, bytes], size: int | None = None) -> Path:
    out = path / "made.tar"
    parts = [
        header_of(name, len(data) if size is None else size) + data + b"\0" * (-len(data) % 512)
        for name, data in entries
    ]
    out.write_bytes(b"".join(parts) + END)
    return out


def test_complete_plain_files_travel(tmp_path: Path) -> None:
    write_results(results_in(tmp_path), tmp_path / "r.tar")
    into = tmp_path / "new/folder"
    assert read_results(tmp_path / "r.tar", into) == [into / "plot/final.svg", into / "save/metrics.csv"]
    assert (into / "save/metrics.csv").read_text() == "round,value\n1,2\n"
    assert sorted(path.name for path in into.rglob("*") if path.is_file()) == ["final.svg", "metrics.csv"]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["folder"]


def test_an_empty_folder_is_filled_and_another_is_not(tmp_path: Path) -> None:
    write_results(results_in(tmp_path), tmp_path / "r.tar")
    (tmp_path / "empty").mkdir()
    assert len(read_results(tmp_path / "r.tar", tmp_path / "empty")) == 2
    with pytest.raises(ConflictError, match="something already"):
        read_results(tmp_path / "r.tar", tmp_path / "empty")


def test_without_results_there_is_no_archive(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no results"):
        write_results(tmp_path / "results", tmp_path / "r.tar")


def test_too_many_files_are_not_sent(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    for number in range(MOST_FILES + 1):
        (folder / str(number)).touch()
    with pytest.raises(ConflictError, match="4,097 files"):
        write_results(folder, tmp_path / "r.tar")


@pytest.mark.parametrize("name", ["../out", "/etc/out", "results/../../out", "results//etc/out", "elsewhere/out"])
def test_what_leads_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    archive = archive_of(tmp_path, (INDEX, b"[]"), (name, b"x"))
    with pytest.raises(BundleError, match="is refused"):
        read_results(archive, tmp_path / "into")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made.tar"]


def test_more_than_callbacks_may_write_is_refused(tmp_path: Path) -> None:
    archive = archive_of(tmp_path, (INDEX, b""), size=MOST_BYTES + 1)
    with pytest.raises(BundleError, match="holds more than"):
        read_results(archive, tmp_path / "into")


def test_another_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="first entry must be index"):
        read_results(archive_of(tmp_path, ("plan.json", b"{}")), tmp_path / "into")
