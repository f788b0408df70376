"""Logs: small, and never in the way."""

import os
from pathlib import Path

import pytest

from openfl_like.store import logs
from openfl_like.store.logs import LogFile, former_of, read_log


def test_a_full_log_becomes_the_former_one(tmp_path: Path) -> None:
    path = tmp_path / "site.log"
    log = LogFile(path, limit_bytes=100)
    for number in range(60):
        log.write([f"line {number:03d}"])
    log.close()
    assert path.stat().st_size <= 110
    assert former_of(path).stat().st_size <= 110
    lines = read_log(path).splitlines()
    assert lines == [f"line {number:03d}" for number in range(60 - len(lines), 60)]


def test_lines_without_room_are_dropped_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = LogFile(tmp_path / "site.log")
    monkeypatch.setattr(logs, "crowded", lambda _: True)
    log.write(["one", "two"])
    monkeypatch.setattr(logs, "crowded", lambda _: False)
    log.write(["three"])
    log.close()
    assert read_log(tmp_path / "site.log").splitlines() == [
        "(2 lines are missing here: there was no room on the disk)",
        "three",
    ]


def test_what_cannot_be_written_is_dropped(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    log = LogFile(folder / "site.log")
    folder.rmdir()
    log.write(["one"])
    folder.mkdir()
    log.write(["two"])
    log.close()
    assert read_log(folder / "site.log").splitlines()[-1] == "two"


def test_a_disk_is_crowded_when_a_sixteenth_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = os.statvfs(tmp_path)

    def small(blocks: int, free: int) -> os.statvfs_result:
        return os.statvfs_result((4096, 4096, blocks, free, free, *found[5:10]))

    for free, expected in ((62, True), (64, False)):
        result = small(1000, free)
        monkeypatch.setattr(os, "statvfs", lambda _, result=result: result)
        assert logs.crowded(tmp_path) is expected
