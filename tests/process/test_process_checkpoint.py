"""An experiment moves to another federation, with its own authority, and ends with the same bytes there."""

import json
import secrets
import shutil
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from federations import OBEDIENT, PLAN, THREE, User, federation_of, fx_fine, gate_of, run_fx

from openfl_like.errors import ConflictError
from openfl_like.federation.announcements import ExperimentImported, RoundStarted, only
from openfl_like.pki.files import load_credentials
from openfl_like.services.local_federation import LocalFederation
from openfl_like.testing.faults.evidence import gather
from openfl_like.testing.faults.invariants import Expected
from openfl_like.testing.faults.invariants import check as judge
from openfl_like.testing.gate import Gate
from openfl_like.wire.client import director_peer
from openfl_like.wire.experiments import ExperimentsClient

pytestmark = pytest.mark.process
ROUNDS, CANCELLED_AFTER = 12, 4
ALL = (
    "include=[atlas.bin]",
    "admission.collaborators=[site-1, site-2, site-3]",
    f"aggregator.settings.rounds_to_train={ROUNDS}",
)


async def leave(federation: LocalFederation, user: User, gate: Gate, archive: Path) -> tuple[str, str]:
    """Cancels an experiment half-way, exports it, and gives its id and the undisturbed one."""
    study = archive.parent / "study"
    shutil.copytree(OBEDIENT, study)
    (study / "atlas.bin").write_bytes(secrets.token_bytes(1 << 20))  # so that the checkpoint has several chunks
    undisturbed = await user.submit(study / PLAN.name, *ALL)
    gate.open(CANCELLED_AFTER)
    moving = await user.submit(study / PLAN.name, *ALL, gate.setting)
    await gate.arrived(CANCELLED_AFTER + 1)
    async with ExperimentsClient(
        director_peer(federation.director, load_credentials(federation.user_certificates))
    ) as client:
        with pytest.raises(ConflictError, match=f"is RUNNING; .*'fx experiment cancel {moving}'"):
            await client.fetch_checkpoint(moving, archive)
    await user.client.cancel(moving)
    told = json.loads(
        await fx_fine("experiment", "export", moving, "-o", str(archive), "--json", federation=federation)
    )["data"]
    assert told["bytes"] == archive.stat().st_size > 1 << 20
    again = archive.with_name("again.tar")
    await fx_fine("experiment", "export", moving, "-o", str(again), federation=federation)
    assert again.read_bytes() == archive.read_bytes()
    assert list((federation.state / "outgoing").iterdir()) == []
    assert (await user.client.experiment(moving)).versions[-1].version.round == CANCELLED_AFTER
    return moving, undisturbed


@pytest.mark.long
async def test_an_experiment_goes_on_in_another_federation_to_the_same_bytes(tmp_path: Path) -> None:
    archive = tmp_path / "checkpoint.tar"
    async with AsyncExitStack() as stack:
        gate = await stack.enter_async_context(gate_of())
        async with federation_of(THREE, tmp_path / "here") as (here, user):
            moving, undisturbed = await leave(here, user, gate, archive)
            before = await user.client.experiment(moving)
            events = await user.events(moving)
            await user.ended(undisturbed)
            wanted = await user.client.experiment(undisturbed)

        gate.open_all()
        there, user = await stack.enter_async_context(federation_of(THREE, tmp_path / "there"))
        damaged = tmp_path / "damaged.tar"
        data = bytearray(archive.read_bytes())
        data[data.index(b".safetensors\0") // 512 * 512 + 512] ^= 1  # the first byte of the first model
        damaged.write_bytes(data)
        code, _, refusal = await run_fx("experiment", "import", str(damaged), federation=there)
        assert (code, "the entry 'models/v" in refusal) == (2, True)

        assert await fx_fine("experiment", "import", str(archive), federation=there) == f"{moving}\n"
        code, _, refusal = await run_fx("experiment", "import", str(archive), federation=there)
        assert (code, f"there is an experiment '{moving}' here already" in refusal) == (4, True)
        (listed,) = json.loads(await fx_fine("experiment", "list", "--json", federation=there))["data"]
        assert (listed["id"], listed["status"], listed["owner"]) == (moving, "CANCELLED", "user")
        found = await user.client.experiment(moving)
        assert (found.versions, found.plan) == (before.versions, before.plan)
        history = await user.events(moving)
        assert history[:-1] == events
        assert [told.federation for told in only(history[-1:], ExperimentImported)] == ["local"]
        model = tmp_path / "model.safetensors"
        told = json.loads(
            await fx_fine(
                "experiment", "model", moving, "--which", "last", "-o", str(model), "--json", federation=there
            )
        )["data"]
        assert told["sha256"] == before.versions[-1].sha256

        assert "FINISHED" in await fx_fine("experiment", "resume", moving, "--watch", federation=there)
        found = await user.client.experiment(moving)
        assert [item.version for item in found.versions] == [item.version for item in wanted.versions]
        assert found.versions[-1].sha256 == wanted.versions[-1].sha256 != ""
        after = await user.events(moving)
        rounds = [told.round for told in only(after[len(history) :], RoundStarted)]
        assert rounds == list(range(CANCELLED_AFTER + 1, ROUNDS + 1))
        evidence = gather(there.directory / "director-state", there.directory / "no-history")
        assert [str(breach) for breach in judge(evidence, Expected()) if breach.letter != "A1"] == []
        assert list((there.state / "incoming").iterdir()) == []
