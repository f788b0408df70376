"""A worker that waits at a site is given to one experiment and to no other."""

import asyncio
from pathlib import Path

import psutil
import pytest
from federations import PLAN, another, federation_of, shards, spare_workers, workers

pytestmark = pytest.mark.process
ALONE = ("admission.collaborators=[site-1]", "admission.min_collaborators=1")


@pytest.mark.slow
async def test_an_experiment_gets_the_worker_that_waited_and_the_next_one_another(tmp_path: Path) -> None:
    async with federation_of(shards(site_1="site-1"), tmp_path) as (federation, user):
        waiting = await another(lambda: spare_workers(federation, "site-1"), None)
        experiment = await user.submit(PLAN, *ALONE, "aggregator.settings.rounds_to_train=100000")
        await user.until(experiment, "round_finished", round=1)
        assert workers(federation, "site-1") == [waiting]
        assert spare_workers(federation, "site-1") == []
        await user.client.cancel(experiment)
        _, alive = await asyncio.to_thread(psutil.wait_procs, [waiting], 10)
        assert alive == []
        second = await another(lambda: spare_workers(federation, "site-1"), waiting)
        second.kill()  # whoever has lost it starts a new one when it is needed
        experiment = await user.submit(PLAN, *ALONE, "aggregator.settings.rounds_to_train=1")
        assert (await user.ended(experiment)).status == "FINISHED"
