"""Why an experiment FAILED or waits, asked of a Director whose sites are real processes."""

import asyncio
from pathlib import Path

import pytest
from federations import PLAN, federation_of, shards

from openfl_like.api.explanation import Explanation, explanation
from openfl_like.api.federation import Federation
from openfl_like.federation.history.cause import Condition
from openfl_like.services.local_federation import LocalFederation

pytestmark = pytest.mark.process


async def _why(federation: LocalFederation, experiment: str) -> Explanation:
    def ask() -> Explanation:
        with Federation(federation.director, federation.user_certificates) as client:
            return explanation(client, experiment)

    return await asyncio.to_thread(ask)


@pytest.mark.long
async def test_the_site_whose_task_raised_is_named_with_its_log_and_who_waits_says_for_whom(tmp_path: Path) -> None:
    async with federation_of(shards(site_1="site-1", site_2="raising", site_3="hanging"), tmp_path) as (local, user):
        alone = "admission.collaborators=[site-1, site-2]"
        failed = await user.ended(await user.submit(PLAN, alone))
        found = await _why(local, failed.id)
        assert (found.why.verdict, found.summary.status) == (Condition.FAILED, "FAILED")
        cause = found.why.cause
        assert cause is not None
        assert (cause.site, cause.phase, cause.round, cause.error) == ("site-2", "train", 1, "ValueError")
        assert "the scanner is on fire" in cause.message
        assert "the scanner is on fire" in "".join(found.evidence.lines)
        assert found.evidence.machine is not None
        assert {"memory_percent", "disk_percent"} <= set(found.evidence.machine.values)

        hanging = await user.submit(PLAN, "admission.collaborators=[site-1, site-3]")
        queued = await user.submit(PLAN, alone)
        await user.until(hanging, "update_received", round=1, phase="train")
        waiting = (await _why(local, hanging)).why
        assert (waiting.verdict, waiting.waits_for) == (Condition.WAITS, ("site-3",))
        assert waiting.sentence == "round 1, train: it waits for the answers of site-3"
        assert (await _why(local, queued)).why.waits_for == (hanging,)
        await user.client.cancel(queued)
        await user.client.cancel(hanging)
        assert (await _why(local, hanging)).why.sentence == "nothing went wrong: cancelled by user"
