"""The three ways to run a plan end in the same bytes."""

import asyncio
import json
import re
import sys
from pathlib import Path

import pytest
from federations import PLAN, THREE, federation_of

from openfl_like.pki.roles import Role
from openfl_like.plan.workspace import plan_path, template_path
from openfl_like.services.local_federation import LocalFederation
from openfl_like.services.spawn import fx_command, spawn
from openfl_like.tensors.manifest import sha256_file

pytestmark = pytest.mark.process
THREE_SITES = "admission.collaborators=[site-1, site-2, site-3]"


async def _fx(directory: Path, *arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "openfl_like.cli", *arguments,
        cwd=directory, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(100):
        output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode()


async def _simulated(directory: Path, plan: Path, overrides: list[str]) -> str:
    output = await _fx(directory, "simulate", str(plan), *overrides, "-o", "simulated.safetensors")
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
        await asyncio.gather(*(_fx(directory, *take_part, "-n", site) for site in sites))
        assert await aggregator.wait() == 0
    finally:
        await aggregator.stop()
    models = sorted((directory / "experiments" / experiment / "models").glob("*.safetensors"))
    return sha256_file(models[-1])


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


@pytest.mark.torch
async def test_digits_give_the_same_sha256_in_all_three_modes(tmp_path: Path) -> None:
    plan = plan_path("digits_fedavg")
    overrides = ["-s", "aggregator.settings.rounds_to_train=3"]
    simulated = await _simulated(tmp_path, plan, overrides)
    by_hand = await _by_hand(tmp_path / "by-hand", plan, overrides, "digits_fedavg")
    sites = {name: template_path("torch_digits") / "shards" / f"{name}.yaml" for name in ("site-1", "site-2", "site-3")}
    async with federation_of(sites, tmp_path, (8, 8)) as (_, user):
        experiment = await user.submit(plan, "aggregator.settings.rounds_to_train=3")
        assert (await user.ended(experiment)).status == "FINISHED"
        record = await user.client.experiment(experiment)
    assert simulated == by_hand == record.versions[-1].sha256
