"""Files that a disk has damaged under real daemons: refused with file and cure, or mended to the same bytes."""

import asyncio
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest
from federations import PLAN, THREE, User, federation_of, gate_of
from pace import limit

from openfl_like.errors import DamagedError, UnreachableError
from openfl_like.federation.parties import ExperimentSummary
from openfl_like.services.local_federation import LocalFederation
from openfl_like.store.files import ExperimentFiles
from openfl_like.testing.faults.damage import Damage, damage
from openfl_like.testing.gate import Gate
from openfl_like.wire.channel import backoff

pytestmark = pytest.mark.process
ROUNDS = 10
ALL = ("admission.collaborators=[site-1, site-2, site-3]", f"aggregator.settings.rounds_to_train={ROUNDS}")


def files_of(federation: LocalFederation, experiment: str) -> ExperimentFiles:
    """The directory of an experiment at its Director."""
    return ExperimentFiles(federation.state / "experiments" / experiment)


async def sha256_of(user: User, experiment: str) -> str:
    """What the last model of an experiment is that must have finished."""
    ended = await user.ended(experiment)
    assert ended.status == "FINISHED", ended.reason
    return (await user.client.experiment(experiment)).versions[-1].sha256


async def stopped_in_mid_round(
    federation: LocalFederation, user: User, gate: Gate, experiment: str, number: int
) -> None:
    """Kills the Director, and with it the Aggregator, when two of three sites have trained in a round."""
    gate.open(number - 1)
    gate.open(number, "site-1", "site-2")
    for site in ("site-1", "site-2"):
        await user.until(experiment, "update_received", collaborator=site, round=number, phase="train")
    await gate.arrived(number, "site-3")
    aggregators = federation.processes("aggregator")
    await federation.kill("director")
    await asyncio.to_thread(psutil.wait_procs, aggregators, limit(10))  # the kernel takes them with it


async def refused(federation: LocalFederation) -> str:
    """Starts a Director that must not start, and gives its last words."""
    with pytest.raises(UnreachableError) as caught:
        await federation.start_director()
    words = federation.log("director").read_text(encoding="utf-8")
    assert await federation.children["director"].wait() == 4
    assert "Traceback" not in words
    return str(caught.value)


async def listed(user: User, experiment: str) -> ExperimentSummary:
    """Where it stands; its record need not be readable for that."""
    async for _ in backoff():
        with suppress(UnreachableError):
            return next(one for one in await user.client.experiments() if one.id == experiment)
    raise AssertionError("no director came")


async def failed_over(user: User, experiment: str, *words: str) -> None:
    """Waits until it has FAILED with these words in its reason."""
    async with asyncio.timeout(limit(60)):
        async for _ in backoff():
            ended = await listed(user, experiment)
            if ended.status.ended:
                break
    assert ended.status == "FAILED"
    for word in words:
        assert word in ended.reason


def forget_contents(files: ExperimentFiles) -> None:
    """Has a record know nothing of the bytes of models."""
    with closing(sqlite3.connect(files.directory / "experiment.db")) as record, record:
        assert record.execute("DELETE FROM contents").rowcount > 0


async def put_back_at_the_next_start(federation: LocalFederation, files: ExperimentFiles) -> None:
    """Damages the newest model, and starts a Director that finds it whole in the record."""
    newest = max(files.models().items())[1]
    whole = newest.read_bytes()
    damage(newest, Damage.FLIP, 2)
    await federation.start_director()
    assert newest.read_bytes() == whole


@pytest.mark.long
async def test_damage_is_found_at_the_next_start_and_what_is_put_back_ends_with_the_same_bytes(tmp_path: Path) -> None:
    async with federation_of(THREE, tmp_path) as (federation, user), gate_of() as gate:
        wanted = await sha256_of(user, await user.submit(PLAN, *ALL))

        # a spooled update: asked for again
        experiment = await user.submit(PLAN, *ALL, gate.setting)
        files = files_of(federation, experiment)
        await stopped_in_mid_round(federation, user, gate, experiment, 3)
        spooled = sorted((files.directory / "spool").glob("*-train-site-1.safetensors"))
        assert spooled
        damage(spooled[-1], Damage.FLIP, 1)
        await federation.start_director()
        await user.until(experiment, "update_lost", collaborator="site-1")

        # the newest model: its record has it besides
        await stopped_in_mid_round(federation, user, gate, experiment, 4)
        await put_back_at_the_next_start(federation, files)

        # nothing has it any more: the committed round is not taken back, and not run again to something else
        await stopped_in_mid_round(federation, user, gate, experiment, 5)
        newest = max(files.models().items())[1]
        shutil.copytree(files.directory, tmp_path / "backup")
        damage(newest, Damage.FLIP, 2)
        forget_contents(files)
        await federation.start_director()
        await failed_over(user, experiment, "exit code 4", "E306", newest.name, "fx experiment resume")
        with pytest.raises(DamagedError, match=newest.name):
            await user.client.model(experiment, "last", tmp_path / "model")
        shutil.copy(tmp_path / "backup" / "models" / newest.name, newest)
        await user.client.resume(experiment)

        # the write-ahead log of its record
        await stopped_in_mid_round(federation, user, gate, experiment, 7)
        shutil.rmtree(tmp_path / "backup")
        shutil.copytree(files.directory, tmp_path / "backup")
        damage(files.directory / "experiment.db-wal", Damage.EMPTY, 3)
        await federation.start_director()
        await failed_over(user, experiment, "the director cannot read its record", "experiment.db", "acknowledged")
        with pytest.raises(DamagedError):
            await user.client.resume(experiment)
        other = await user.submit(PLAN, *ALL)
        assert await sha256_of(user, other) == wanted, "the queue goes on"
        shutil.rmtree(files.directory)
        shutil.copytree(tmp_path / "backup", files.directory)
        gate.open_all()
        await user.client.resume(experiment)
        assert await sha256_of(user, experiment) == wanted


@pytest.mark.long
async def test_a_damaged_queue_or_submission_is_refused_by_name(tmp_path: Path) -> None:
    async with federation_of(THREE, tmp_path) as (federation, user), gate_of() as gate:
        gate.open(3)
        running, queued = await user.submit(PLAN, *ALL, gate.setting), await user.submit(PLAN, *ALL)
        await gate.arrived(4)
        await federation.kill("director")
        backup = tmp_path / "backup"
        shutil.copytree(federation.state, backup)

        for name, kind in (("director.db-wal", Damage.CUT), ("director.db-wal", Damage.EMPTY)):
            damage(federation.state / name, kind, 4)
            assert "director.db" in (words := await refused(federation))
            assert "E306" in words
            shutil.copy(backup / name, federation.state / name)
            shutil.copy(backup / "director.db", federation.state / "director.db")
            (federation.state / "director.db-shm").unlink(missing_ok=True)

        bundle = files_of(federation, queued).bundle
        damage(bundle, Damage.ZEROS, 5)
        gate.open_all()
        await federation.start_director()
        assert (await user.ended(running)).status == "FINISHED"
        await failed_over(user, queued, "bundle.tar", "damaged", "fx experiment resume")
        shutil.copy(backup / "experiments" / queued / "bundle.tar", bundle)
        await user.client.resume(queued)
        assert await sha256_of(user, queued) == await sha256_of(user, running)
