"""The machine: what a daemon would stumble over."""

import errno
import os
import resource
from pathlib import Path

import pytest

from openfl_like.doctor import host
from openfl_like.doctor.checks import run_checks
from openfl_like.doctor.finding import Verdict
from openfl_like.services.daemon.lock import holder, only_one


def test_this_python_will_do() -> None:
    assert host.python().verdict is Verdict.OK
    assert host.python(oldest=(4, 0)).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("hard", "verdict"),
    [(resource.RLIM_INFINITY, Verdict.OK), (65536, Verdict.OK), (1024, Verdict.WARN), (100, Verdict.FAIL)],
)
def test_a_low_limit_of_open_files_is_told(hard: int, verdict: Verdict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, hard))
    found = host.open_files()
    assert found.verdict is verdict
    assert verdict is Verdict.OK or "LimitNOFILE" in found.cure


def test_a_directory_is_there_or_can_be_made_or_is_in_use(tmp_path: Path) -> None:
    assert "will be made" in host.writable("state", tmp_path / "a" / "b", "a Director").seen
    assert "is there" in host.writable("state", tmp_path, "a Director").seen
    assert holder(tmp_path) is None
    with only_one(tmp_path, "director"):
        assert holder(tmp_path) == os.getpid()
        assert f"process {os.getpid()}" in host.writable("state", tmp_path, "a Director").seen
    assert holder(tmp_path) is None


def test_a_file_in_its_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    found = host.writable("state", tmp_path / "state", "a Director")
    assert (found.verdict, found.cause) == (Verdict.FAIL, "a file has its name")


async def test_a_directory_of_another_user_is_told_and_its_disk_not_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    state, disk = await run_checks(host.directory_checks("state", tmp_path, "a Director"))
    assert "cannot be written to by this user" in state.seen
    assert "mounted read-only" in state.cause
    assert "chown" in state.cure
    assert disk.verdict is Verdict.SKIP


async def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(place: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(place))

    monkeypatch.setattr(host, "take_room", full)
    _, found = await run_checks(host.directory_checks("state", tmp_path, "a Director"))
    assert found.seen.startswith("E307")
    assert "used up" in found.cause
    assert "make room" in found.cure


def test_a_disk_that_is_nearly_full_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert host.room("state disk", tmp_path).verdict is Verdict.OK
    monkeypatch.setattr(host, "crowded", lambda _: True)
    assert host.room("state disk", tmp_path).verdict is Verdict.WARN
