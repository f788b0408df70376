"""Logs: small, and never in the way."""

import os
from pathlib import Path

import pytest

from openfl_like.store import logs
from openfl_like.store.logs import LogFile, former_of, read_log


def whole(path: Path) -> list[str]:
    """Everything that is left of a log."""
    lines, position = list[str](), 0
    while (piece := read_log(path, position)).lines:
        lines, position = [*lines, *piece.lines], piece.ends[-1]
    return lines


def whole_end(path: Path) -> int:
    """Where a log ends now."""
    position = 0
    while (piece := read_log(path, position)).lines:
        position = piece.ends[-1]
    return position


def test_a_full_log_becomes_the_former_one(tmp_path: Path) -> None:
    path = tmp_path / "site.log"
    log = LogFile(path, limit_bytes=100)
    for number in range(60):
        log.write([f"line {number:03d}"])
    log.close()
    assert path.stat().st_size <= 120
    assert former_of(path).stat().st_size <= 120
    lines = whole(path)
    assert lines == [f"line {number:03d}" for number in range(60 - len(lines), 60)]
    assert 8 <= len(lines) < 20
    piece = read_log(path)
    assert piece.missing_bytes > 0
    assert read_log(path, piece.ends[0]).lines[0] == piece.lines[1]
    assert read_log(path, whole_end(path)).lines == ()


def test_who_reads_on_while_files_change_places_misses_nothing_and_gets_nothing_twice(tmp_path: Path) -> None:
    path = tmp_path / "site.log"
    log = LogFile(path, limit_bytes=100)
    position, found = 0, list[str]()
    for number in range(200):
        log.write([f"line {number:03d}"])
        if number % 7 == 0:
            while (piece := read_log(path, position, most_bytes=30)).lines:
                assert piece.missing_bytes == 0
                position = piece.ends[-1]
                found += piece.lines
    log.close()
    assert found == [f"line {number:03d}" for number in range(len(found))]
    assert len(found) == 197


def test_who_is_too_slow_is_told_how_much_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "site.log"
    log = LogFile(path, limit_bytes=100)
    for number in range(60):
        log.write([f"line {number:03d}"])
    log.close()
    first = read_log(path, 18)
    gone = int(first.lines[0].removeprefix("line ")) * 9
    notes = first.missing_bytes + 18 - gone
    assert 0 < notes < 60 * 45  # each file begins with a note, which counts as well


def test_a_line_stays_one_line_and_cannot_steer_a_terminal(tmp_path: Path) -> None:
    path = tmp_path / "site.log"
    log = LogFile(path)
    log.write(["one\ntwo\r\x1b[2Jthree\u202e", "tab\tstays \udc80"])
    log.close()
    assert read_log(path).lines == ("one\\ntwo\\r\\x1b[2Jthree\\u202e", "tab\tstays \\udc80")
    path.write_bytes(b"old\x1b[1m\xff\n")
    assert read_log(path).lines == ("old\\x1b[1m\ufffd",)


def test_half_a_line_is_not_read_before_its_end_is_there(tmp_path: Path) -> None:
    path = tmp_path / "site.log"
    path.write_text("one\ntw")
    piece = read_log(path)
    assert (piece.lines, piece.ends) == (("one",), (4,))
    path.write_text("one\ntwo\n")
    assert read_log(path, 4).lines == ("two",)


def test_lines_without_room_are_dropped_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = LogFile(tmp_path / "site.log")
    monkeypatch.setattr(logs, "crowded", lambda _: True)
    log.write(["one", "two"])
    monkeypatch.setattr(logs, "crowded", lambda _: False)
    log.write(["three"])
    log.close()
    assert whole(tmp_path / "site.log") == [
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
    assert read_log(folder / "site.log").lines[-1] == "two"


def test_a_disk_is_crowded_when_a_sixteenth_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = os.statvfs(tmp_path)

    def small(blocks: int, free: int) -> os.statvfs_result:
        return os.statvfs_result((4096, 4096, blocks, free, free, *found[5:10]))

    for free, expected in ((62, True), (64, False)):
        result = small(1000, free)
        monkeypatch.setattr(os, "statvfs", lambda _, result=result: result)
        assert logs.crowded(tmp_path) is expected
