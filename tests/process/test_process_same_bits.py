"""The three ways to run a plan end in the same bytes."""

import asyncio
import json
import re
from pathlib import Path

import pytest
from federations import PLAN, THREE, federation_of, fx_fine
from simulations import KINDS

from openfl_like.pki.roles import Role
from openfl_like.plan.workspace import plan_path, template_path
from openfl_like.processes.child import fx_command, spawn
from openfl_like.services.local_federation import LocalFederation
from openfl_like.store.files import ExperimentFiles
from openfl_like.tensors.manifest import sha256_file

pytestmark = pytest.mark.process
THREE_SITES = "admission.collaborators=[site-1, site-2, site-3]"


async def _simulated(directory: Path, plan: Path, overrides: list[str]) -> str:
    output = await fx_fine("simulate", str(plan), *overrides, "-o", "simulated.safetensors", cwd=directory)
    sha256 = sha256_file(directory / "simulated.safetensors")
    assert re.search(r"^sha256 +(\w+)$", output, re.MULTILINE).group(1) == sha256  # type: ignore[union-attr] # None fails
    return sha256


async def _by_hand(directory: Path, plan: Path, overrides: list[str], experiment: str) -> str:
    keys = LocalFederation(directory, {}, (), ())
    keys.make_certificates()
    keys.issue(Role.AGGREGATOR, experiment, experiment)
    sites = ("site-1", "site-2", "site-3")
    for site in sites:
        keys.issue(Role.COLLABORATOR, site, experiment)
    start = fx_command("aggregator", "start", "-p", str(plan), "-l", "localhost:0", "--json", *overrides)
    aggregator = await spawn(start, cwd=directory)
    try:
        address = str(json.loads(await aggregator.line())["address"])
        take_part = ("collaborator", "start", "-p", str(plan), "-a", address, *overrides)
        await asyncio.gather(*(fx_fine(*take_part, "-n", site, cwd=directory) for site in sites))
        assert await aggregator.wait() == 0
    finally:
        await aggregator.stop()
    models = ExperimentFiles(directory / "experiments" / experiment).models()
    return sha256_file(models[max(models)])


@pytest.mark.long
async def test_numbers_give_the_same_sha256_in_all_three_modes(tmp_path: Path) -> None:
    overrides = ["-s", THREE_SITES, "-s", "selector.template=random", "-s", "selector.settings.fraction=0.6"]
    plain = [text for text in overrides if text != "-s"]
    simulated = await _simulated(tmp_path, PLAN, overrides)
    by_hand = await _by_hand(tmp_path / "by-hand", PLAN, overrides, "obedient")
    async with federation_of(THREE, tmp_path) as (_, user):
        experiment = await user.submit(PLAN, *plain)
        assert (await user.ended(experiment)).status == "FINISHED"
        record = await user.client.experiment(experiment)
        await user.client.model(experiment, "last", tmp_path / "director.safetensors")
    assert simulated == by_hand == record.versions[-1].sha256 == sha256_file(tmp_path / "director.safetensors")


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.torch
@pytest.mark.parametrize("kind", KINDS)
async def test_digits_give_the_same_sha256_in_all_three_modes(tmp_path: Path, kind: str) -> None:
    plan = plan_path("digits_fedavg")
    overrides = ["-s", "aggregator.settings.rounds_to_train=2", *KINDS[kind]]
    plain = [text for text in overrides if text != "-s"]
    simulated = await _simulated(tmp_path, plan, overrides)
    for workers in ("1", "2"):
        apart = [*overrides, "--runtime", "process", "--workers", workers]
        assert await _simulated(tmp_path, plan, apart) == simulated
    by_hand = await _by_hand(tmp_path / "by-hand", plan, overrides, "digits_fedavg")
    sites = {name: template_path("torch_digits") / "shards" / f"{name}.yaml" for name in ("site-1", "site-2", "site-3")}
    async with federation_of(sites, tmp_path, (8, 8)) as (_, user):
        experiment = await user.submit(plan, *plain)
        assert (await user.ended(experiment)).status == "FINISHED"
        record = await user.client.experiment(experiment)
    assert simulated == by_hand == record.versions[-1].sha256


@pytest.mark.long
async def test_parts_of_the_workspace_give_the_same_sha256_by_hand(tmp_path: Path) -> None:
    """At a Director they need a referee: `test_process_referee`."""
    plan = template_path("numpy_parts") / "plan.yaml"
    assert await _by_hand(tmp_path, plan, [], "own_parts") == await _simulated(tmp_path, plan, [])
