"""Room on disks: what is told of it, and who waits."""

import asyncio
import errno
import logging
import os
from pathlib import Path
from typing import cast

import pytest

from openfl_like.errors import CredentialError, StorageError, TaskError, no_room
from openfl_like.pki.authority import Authority
from openfl_like.pki.roles import Role
from openfl_like.runtimes.recorder import patiently
from openfl_like.services.director import disk_space as room
from openfl_like.services.director.disk_space import DiskSpace
from openfl_like.services.director.service import Director
from openfl_like.services.director.settings import DirectorFile
from openfl_like.tasks import background
from openfl_like.testing.certificates import ThrowAwayFederation
from openfl_like.testing.stores import MemoryDirectorStore, memory_stores


class Disk:
    """Says that it is full."""

    full = True

    def __call__(self, place: Path) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(place))


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    found = Disk()
    monkeypatch.setattr(room, "take_room", found)
    return found


async def test_a_full_disk_is_told_once_and_so_is_its_end(
    disk: Disk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    watched = DiskSpace(lambda: [tmp_path, tmp_path])
    with caplog.at_level(logging.WARNING):
        await watched.look()
        await watched.look()
        with pytest.raises(StorageError, match=f"no room on the disk of {tmp_path}") as caught:
            watched.check()
        assert caught.value.code == "E307"
        disk.full = False
        await watched.look()
    watched.check()
    degraded, better = (record.getMessage() for record in caplog.records)
    assert degraded.startswith(f"degraded: there is no room on the disk of {tmp_path}")
    assert better == "there is room again"


async def test_the_status_names_no_experiment_and_the_log_does(
    disk: Disk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = DirectorFile(sample_shape=(1,), target_shape=(), state=tmp_path)
    pki = ThrowAwayFederation(tmp_path / "pki")
    authority, store = cast("Authority", None), MemoryDirectorStore()
    credentials = pki.credentials(Role.DIRECTOR, "director")
    director = Director(settings, credentials, authority, store, memory_stores())
    director.disk_space.places = lambda: [tmp_path, settings.files.experiment("of-ada").directory]
    with caplog.at_level(logging.WARNING):
        problems = (await director.status()).problems
    assert disk.full
    assert problems == (
        f"there is no room on the disk of {tmp_path}", "there is no room on the disk of an experiment",
    )  # fmt: skip
    assert "of-ada" in caplog.text


async def test_a_real_directory_has_room(tmp_path: Path) -> None:
    watched = DiskSpace(lambda: [tmp_path])
    await watched.look()
    assert watched.problems == ()
    assert list(tmp_path.iterdir()) == []


def test_what_was_caused_by_a_full_disk_is_known() -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "/var/x")
    wrapped = CredentialError("the key cannot be written")
    wrapped.__cause__ = full
    for error in (full, wrapped):
        found = no_room(error)
        assert found is not None
        assert found.place == "/var/x"
    known = StorageError("here")
    assert no_room(known) is known
    assert no_room(TaskError("something else")) is None
    assert no_room(OSError(errno.EACCES, "no")) is None


async def test_a_step_without_room_is_done_again_and_another_failure_is_not() -> None:
    failures: list[Exception] = [StorageError("full"), OSError(errno.EDQUOT, "quota")]

    async def step() -> str:
        await asyncio.sleep(0)
        if failures:
            raise failures.pop(0)
        return "done"

    assert await patiently(step, pause_s=0.0) == "done"
    failures.append(OSError(errno.EIO, "broken"))
    with pytest.raises(OSError, match="broken"):
        await patiently(step, pause_s=0.0)


async def test_a_guardian_that_fails_takes_what_it_guards_with_it() -> None:
    async def failing() -> None:
        await asyncio.sleep(0)
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        async with background(failing()):
            await asyncio.Event().wait()


async def test_what_is_cancelled_or_fails_within_does_so_as_itself() -> None:
    guarding = asyncio.Event()

    async def guard() -> None:
        guarding.set()
        await asyncio.Event().wait()

    async def guarded() -> None:
        async with background(guard()):
            await asyncio.Event().wait()

    task = asyncio.create_task(guarded())
    await guarding.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(TaskError, match="its own"):
        async with background(guard()):
            raise TaskError("its own")
