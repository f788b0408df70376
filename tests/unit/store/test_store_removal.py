"""A folder goes however deep code has made it, and nothing outside of it."""

import os
from pathlib import Path

import pytest

from openfl_like.store.removal import remove_tree
from openfl_like.store.site_files import SiteFiles


def nest(folder: Path, levels: int) -> None:
    """Makes a folder in a folder, as code does that wants to be in the way; the lowest has no path that is allowed."""
    start = os.open(".", os.O_RDONLY)
    try:
        os.chdir(folder)
        for _ in range(levels):
            os.mkdir("level" * 10)  # noqa: PTH102 (relative to where we are)
            os.chdir("level" * 10)
        Path("last").write_text("x")
    finally:
        os.fchdir(start)
        os.close(start)


def test_a_folder_deeper_than_python_can_call(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    nest(folder, 1500)
    remove_tree(folder)
    assert not folder.exists()


def test_links_go_and_what_they_lead_to_stays(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    folder = tmp_path / "folder" / "inner"
    folder.mkdir(parents=True)
    (folder / "link").symlink_to(outside)
    (tmp_path / "folder" / "removed-0").write_text("a name that is taken")
    os.mkfifo(folder / "pipe")
    remove_tree(tmp_path / "folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outside"]
    link = tmp_path / "link"
    link.symlink_to(outside)
    remove_tree(link)
    remove_tree(tmp_path / "none")
    assert [path.name for path in outside.iterdir()] == ["kept"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may do everything")
def test_a_folder_without_rights_goes(tmp_path: Path) -> None:
    folder = tmp_path / "folder" / "inner"
    folder.mkdir(parents=True)
    (folder / "file").write_text("x")
    folder.chmod(0)
    remove_tree(tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


def test_a_site_clears_what_code_has_made_too_deep(tmp_path: Path) -> None:
    files = SiteFiles(tmp_path).experiment("digits-0123abcd")
    work = files.run / "work"
    work.mkdir(parents=True)
    nest(work, 1500)
    files.clear()
    assert [path.name for path in files.run.iterdir()] == []
