"""The archive of what callbacks have written: made while they write, and taken from anybody within bounds."""

from pathlib import Path

import pytest

from openfl_like.errors import BundleError, ConflictError, NotFoundError
from openfl_like.plan.bundles.archive import END, header_of
from openfl_like.store.results import INDEX, LEFT_OUT, MOST_BYTES, MOST_FILES, read_results, write_results


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


def test_files_beyond_what_an_archive_holds_are_left_out_and_the_others_have_their_share(tmp_path: Path) -> None:
    folder = results_in(tmp_path)
    (folder / "a-flood").mkdir()
    for number in range(MOST_FILES + 1):
        (folder / "a-flood" / str(number)).touch()
    write_results(folder, tmp_path / "r.tar")
    found = read_results(tmp_path / "r.tar", tmp_path / "into")
    assert len(found) == MOST_FILES
    assert {"save/metrics.csv", "plot/final.svg"} < {path.relative_to(tmp_path / "into").as_posix() for path in found}
    lines = (tmp_path / "into" / LEFT_OUT).read_text().splitlines()
    assert lines[0] == "a-flood/996: its folder has more than an archive can hold"
    assert len(lines) == 4


def test_names_that_cannot_be_sent_are_left_out_and_told(tmp_path: Path) -> None:
    folder = results_in(tmp_path)
    for name in ("save/\x1b[2J", "save/Metrics.csv", "save/con", b"save/\xff".decode(errors="surrogateescape")):
        (folder / name).touch()
    write_results(folder, tmp_path / "r.tar")
    into = tmp_path / "into"
    found = [path.relative_to(into).as_posix() for path in read_results(tmp_path / "r.tar", into)]
    assert found == [LEFT_OUT, "plot/final.svg", "save/Metrics.csv"]
    told = (into / LEFT_OUT).read_text()
    assert told.isascii()
    assert "\x1b" not in told
    lines = told.splitlines()
    assert [line.partition(": ")[0] for line in lines] == [
        "save/\\x1b[2J", "save/con", "save/metrics.csv", "save/\\udcff",
    ]  # fmt: skip
    assert lines[2].endswith("differs from 'save/Metrics.csv' by case only")


def test_what_is_too_large_is_left_out(tmp_path: Path) -> None:
    folder = results_in(tmp_path)
    (folder / "big").mkdir()
    with (folder / "big" / "hole").open("wb") as file:
        file.truncate(MOST_BYTES)
    write_results(folder, tmp_path / "r.tar")
    found = read_results(tmp_path / "r.tar", tmp_path / "into")
    assert [path.name for path in found] == [LEFT_OUT, "final.svg", "metrics.csv"]


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
