"""The sign of life of a daemon, and the command that looks at it."""

import asyncio
import json
import os
import time
from contextlib import suppress
from pathlib import Path

from click.testing import CliRunner

from openfl_like.cli.main import fx
from openfl_like.errors import UnreachableError
from openfl_like.services.daemon import liveness as pulse
from openfl_like.services.daemon.liveness import PULSE_FILE, STALE_S, LivenessFile, beats


def write(directory: Path, *, at: float, ready: bool = True) -> None:
    directory.mkdir(exist_ok=True)
    pulse._write(directory / PULSE_FILE, {"role": "envoy", "pid": 7, "ready": ready})
    facts = json.loads((directory / PULSE_FILE).read_text())
    (directory / PULSE_FILE).write_text(json.dumps({**facts, "at": at}))


async def turns() -> None:
    """Lets the other task have its turn, some times."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_daemon_says_that_it_is_alive_until_it_ends(tmp_path: Path) -> None:
    ready = [False]
    task = asyncio.create_task(LivenessFile(tmp_path, "director", lambda: ready[0], beat_s=0.0).beat())
    await turns()
    (first,) = beats(tmp_path)
    assert (first.role, first.pid, first.ready, first.alive) == ("director", os.getpid(), False, True)
    inode = (tmp_path / PULSE_FILE).stat().st_ino
    ready[0] = True
    await turns()
    assert beats(tmp_path)[0].ready
    assert (tmp_path / PULSE_FILE).stat().st_ino == inode, "written in place"
    assert (tmp_path / PULSE_FILE).stat().st_size == 256
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert beats(tmp_path) == []


async def test_a_full_disk_does_not_end_it(tmp_path: Path) -> None:
    task = asyncio.create_task(LivenessFile(tmp_path / "nowhere", "director", beat_s=0.0).beat())
    await turns()
    assert not task.done()
    (tmp_path / "nowhere").mkdir()
    await turns()
    assert beats(tmp_path)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def test_whoever_is_silent_or_from_before_the_last_boot_is_not_alive(tmp_path: Path) -> None:
    now = time.monotonic()
    write(tmp_path / "a", at=now)
    write(tmp_path / "b", at=now - STALE_S - 1)
    write(tmp_path / "c", at=now + 1000)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / PULSE_FILE).write_text('{"role": "en')
    assert [(one.directory.name, one.alive) for one in beats(tmp_path)] == [("a", True), ("b", False), ("c", False)]


def look(folder: Path, *words: str) -> str:
    """Empty if all is well; otherwise what is told."""
    result = CliRunner().invoke(fx, ["health", *words, str(folder)])
    if result.exception is None:
        return ""
    assert isinstance(result.exception, UnreachableError)
    return str(result.exception)


def test_the_command_fails_unless_all_are_alive_and_ready_if_that_is_asked(tmp_path: Path) -> None:
    assert "no daemon works here" in look(tmp_path)
    write(tmp_path / "envoy-a", at=time.monotonic(), ready=False)
    assert look(tmp_path) == look(tmp_path / "envoy-a") == ""
    assert "is not connected" in look(tmp_path, "--ready")
    write(tmp_path / "envoy-a", at=time.monotonic())
    assert look(tmp_path, "--ready") == ""
    write(tmp_path / "envoy-b", at=time.monotonic() - 60)
    assert "envoy-b: the envoy has not said for 30 s" in look(tmp_path)


def test_for_programs_there_is_one_document_and_it_is_the_rows_only_if_all_is_well(tmp_path: Path) -> None:
    write(tmp_path / "envoy-a", at=time.monotonic() - 60)
    result = CliRunner().invoke(fx, ["health", "--json", str(tmp_path)])
    assert (result.stdout, type(result.exception)) == ("", UnreachableError)
    write(tmp_path / "envoy-a", at=time.monotonic())
    said = json.loads(CliRunner().invoke(fx, ["health", "--json", str(tmp_path)]).stdout)
    assert said["data"] == [{"directory": str(tmp_path / "envoy-a"), "role": "envoy", "alive": True, "ready": True}]
