"""Checkpoints that are broken off, or have no room."""

import asyncio
import errno
import os
import shutil
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from openfl_like.errors import (
    PlanError,
    StorageError,
)
from openfl_like.federation.ports import CheckpointOffer
from openfl_like.pki.signing import sign_bundle
from openfl_like.services.director import checkpoints as service
from openfl_like.store.checkpoint import read_checkpoint
from openfl_like.store.director_files import DirectorFiles
from openfl_like.store.sqlite.stores import SQLITE
from openfl_like.tensors.manifest import manifest_of
from openfl_like.testing.faults.checkpoint_moves import EXPERIMENT, REQUEST, OfflineDirector

Head = dict[str, Any]


async def test_an_export_that_is_broken_off_leaves_nothing_behind(
    origin: OfflineDirector, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(*arguments: object) -> None:
        begun.set()
        assert go_on.wait(60)
        cast("Path", arguments[-1]).write_bytes(b"a checkpoint")

    monkeypatch.setattr(service, "write_checkpoint", slow)
    with closing(SQLITE.director(DirectorFiles(origin.state))) as store:
        gate = origin.gate(store)

        async def export() -> None:
            async with gate.exported(EXPERIMENT):
                raise AssertionError

        exporting = asyncio.create_task(export())
        assert await asyncio.to_thread(begun.wait, 60)
        (writing,) = (task for task in asyncio.all_tasks() if task.get_name() == f"export {EXPERIMENT}")
        exporting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await exporting
        go_on.set()
        await writing
        await asyncio.sleep(0)
    assert list(DirectorFiles(origin.state).outgoing.iterdir()) == []


async def test_one_experiment_is_exported_once_at_a_time(origin: OfflineDirector) -> None:
    with closing(SQLITE.director(DirectorFiles(origin.state))) as store:
        gate = origin.gate(store)
        entered = asyncio.Event()

        async def second() -> None:
            async with gate.exported(EXPERIMENT):
                entered.set()

        async with gate.exported(EXPERIMENT):
            waiting = asyncio.create_task(second())
            await asyncio.to_thread(lambda: None)
            assert not entered.is_set()
            assert len(list(DirectorFiles(origin.state).outgoing.iterdir())) == 1
        await waiting


async def test_an_import_without_room_keeps_what_has_arrived(
    director: Callable[[str], OfflineDirector], checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = director("there")
    bundle = read_checkpoint(checkpoint).bundle
    offer = CheckpointOffer(REQUEST, manifest_of(checkpoint), bundle, sign_bundle(bundle, there.user), there.user.chain)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with closing(SQLITE.director(DirectorFiles(there.state))) as store:
        gate = there.gate(store)
        landing = await gate.expect_checkpoint(there.user.identity.uri, offer)
        shutil.copyfile(checkpoint, landing.path)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(StorageError):
                await gate.take_checkpoint("ada", offer)
        assert landing.path.exists()
        assert (await gate.take_checkpoint("ada", offer)).id == EXPERIMENT
        assert not landing.path.exists()


async def test_a_plan_that_outlasts_the_certificates_of_its_new_director_is_refused(
    director: Callable[[str], OfflineDirector], checkpoint: Path
) -> None:
    there = director("there")
    bundle = read_checkpoint(checkpoint).bundle
    offer = CheckpointOffer(REQUEST, manifest_of(checkpoint), bundle, sign_bundle(bundle, there.user), there.user.chain)
    with closing(SQLITE.director(DirectorFiles(there.state))) as store:
        gate = there.gate(store)
        strict = replace(gate, settings=gate.settings.model_copy(update={"certificate_hours": 1e-3}))
        shutil.copyfile(checkpoint, (await strict.expect_checkpoint(there.user.identity.uri, offer)).path)
        with pytest.raises(PlanError, match="longer than the certificates"):
            await strict.take_checkpoint("ada", offer)
        assert store.experiments() == []
