"""Cross-site validation as users do it: each site trains alone, then every site evaluates every model."""

import json
from pathlib import Path

import pytest
from federations import PLAN, federation_of, fx_fine, shards

from openfl_like.federation.announcements import AssignmentSent, ModelsEvaluated, only
from openfl_like.federation.task import Phase

pytestmark = pytest.mark.process
SITES = ("site-1", "site-2")


@pytest.mark.long
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
        output = await fx_fine(
            "experiment", "evaluate", str(PLAN), *models, "-s", asked, federation=federation, cwd=tmp_path
        )
        ended = await user.ended(output.strip())
        assert ended.status == "FINISHED", ended.reason
        shown = json.loads(
            await fx_fine("experiment", "show", ended.id, "--json", federation=federation, cwd=tmp_path)
        )["data"]
        told = only(await user.events(ended.id), ModelsEvaluated)
        assert [item.matrix for item in told] == [shown["matrix"]]
        losses = {site: {model: cell["loss"] for model, cell in row.items()} for site, row in shown["matrix"].items()}
        assert losses.keys() == set(SITES)
        for site in SITES:  # each model is the best where it was trained
            assert min(losses[site], key=losses[site].__getitem__) == site
        sent = only(await user.events(ended.id), AssignmentSent)
        assert {one.phase for one in sent} == {Phase.EVALUATE}
        text = await fx_fine("experiment", "show", ended.id, federation=federation, cwd=tmp_path)
        assert "given models" in text
