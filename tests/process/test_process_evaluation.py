"""Cross-site validation as users do it: each site trains alone, then every site evaluates every model."""

import asyncio
import json
import sys
from pathlib import Path

import pytest
from federations import PLAN, federation_of, shards

from openfl_like.services.local_federation import LocalFederation
from openfl_like.services.spawn import clean_environment

pytestmark = pytest.mark.process
SITES = ("site-1", "site-2")


async def _fx(federation: LocalFederation, directory: Path, *words: str) -> str:
    where = {"FX_DIRECTOR": federation.director, "FX_CERTIFICATES": str(federation.user_certificates)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "openfl_like.cli", "experiment", *words,
        cwd=directory, env=clean_environment(where), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(90):
        output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode()


async def test_every_site_evaluates_the_models_of_all(tmp_path: Path) -> None:
    async with federation_of(shards(site_1="site-1", site_2="site-2"), tmp_path) as (federation, user):
        models: list[str] = []
        for site in SITES:
            alone = f"admission.collaborators=[{site}]"
            experiment = await user.submit(PLAN, alone, "aggregator.settings.rounds_to_train=2")
            assert (await user.ended(experiment)).status == "FINISHED"
            path = tmp_path / f"{site}.safetensors"
            await user.client.model(experiment, "last", path)
            models += ["-m", f"{site}={path}"]
        asked = f"admission.collaborators=[{', '.join(SITES)}]"
        output = await _fx(federation, tmp_path, "evaluate", str(PLAN), *models, "-s", asked)
        ended = await user.ended(output.strip())
        assert ended.status == "FINISHED", ended.reason
        shown = json.loads(await _fx(federation, tmp_path, "show", ended.id, "--json"))["data"]
        told = [event.fields for event in await user.events(ended.id) if event.kind == "models_evaluated"]
        assert [item["matrix"] for item in told] == [shown["matrix"]]
        losses = {site: {model: cell["loss"] for model, cell in row.items()} for site, row in shown["matrix"].items()}
        assert losses.keys() == set(SITES)
        for site in SITES:  # each model is the best where it was trained
            assert min(losses[site], key=losses[site].__getitem__) == site
        sent = [event for event in await user.events(ended.id) if event.kind == "assignment_sent"]
        assert {event.fields["phase"] for event in sent} == {"evaluate"}
        text = await _fx(federation, tmp_path, "show", ended.id)
        assert "given models" in text
