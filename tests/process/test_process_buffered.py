"""The buffered mode in a federation: the order of arrival decides, and nothing else, whatever dies meanwhile."""

from pathlib import Path

import pytest
from federations import PLAN, THREE, User, federation_of, gate_of
from test_process_recovery import aggregator_of, sha256_of

from openfl_like.federation.announcements import RoundFinished, UpdateReceived, only
from openfl_like.federation.task import BufferTaken
from openfl_like.services.local_federation import LocalFederation
from openfl_like.testing.gate import Gate

pytestmark = pytest.mark.process
ORDER = ("site-1", "site-2", "site-1", "site-3")
"""Who answers when: one update makes a version."""
STALENESS = (0, 1, 1, 3)
SETTINGS = (
    "admission.collaborators=[site-1, site-2, site-3]",
    f"aggregator.settings.rounds_to_train={len(ORDER)}",
    "mode={template: buffered, settings: {buffer: 1, concurrency: 3}}",
)


async def answered(user: User, gate: Gate, experiment: str, *, kills: LocalFederation | None) -> str:
    """Lets sites answer in this order; in between, the Aggregator dies; gives what came of it."""
    for number, name in enumerate(ORDER, 1):
        gate.open(number, name)  # it trains, and evaluates what comes of it
        finished = await user.until(experiment, "round_finished", round=number)
        if kills is not None and number == 2:
            await gate.arrived(2, "site-1")
            aggregator_of(kills).kill()
            await user.until(experiment, "experiment_started", after=finished.sequence)
    ended = await user.ended(experiment)
    assert ended.status == "FINISHED", ended.reason
    return await sha256_of(user, experiment)


async def test_the_order_of_arrival_makes_the_model_also_if_the_aggregator_dies(tmp_path: Path) -> None:
    found: list[str] = []
    async with federation_of(THREE, tmp_path) as (federation, user):
        for kills in (None, federation):
            async with gate_of() as gate:
                experiment = await user.submit(PLAN, *SETTINGS, gate.setting)
                found.append(await answered(user, gate, experiment, kills=kills))
                events = await user.events(experiment)
            taken = only(events, BufferTaken)
            assert [(told.sites, told.staleness) for told in taken] == [
                ((name,), (late,)) for name, late in zip(ORDER, STALENESS, strict=True)
            ]
            assert [told.contributors for told in only(events, RoundFinished)][1:] == [(name,) for name in ORDER]
            slots = [(told.round, told.phase, told.collaborator) for told in only(events, UpdateReceived)]
            assert len(slots) == len({*slots})
    assert found[0] == found[1]
