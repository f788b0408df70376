"""Wrong wall clocks: an hour off, and steps of ten minutes; nothing is lost, nothing fires, and it is said by name."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from federations import PLAN, THREE, User, gate_of

from openfl_like.errors import UnreachableError
from openfl_like.federation.announcements import RoundFinished, only
from openfl_like.pki.administration import issue_credentials
from openfl_like.pki.authority import create_authorities
from openfl_like.pki.files import credentials_dir, save_credentials
from openfl_like.pki.roles import SERVER_ROLES, Identity, Role
from openfl_like.services.local_federation import LocalFederation
from openfl_like.testing.faults.wall_clock import WallClocks

pytestmark = pytest.mark.process
ROUNDS = 12
ALL = (
    "admission.collaborators=[site-1, site-2, site-3]",
    f"aggregator.settings.rounds_to_train={ROUNDS}",
    "deadline.round_s=60",
    "deadline.rejoin_s=30",
)
HOUR, STEP = 3600.0, 600.0
FOUNDED = timedelta(days=30)


class Founded(LocalFederation):
    """A federation whose keys are a month old, as those of sites are."""

    def make_certificates(self) -> None:
        """Founds the federation and issues what its processes and one user need."""
        certs, then = self.directory / "certs", datetime.now(UTC) - FOUNDED
        create_authorities(certs, self.name, then)
        names = [(Role.DIRECTOR, "director"), (Role.USER, "user"), *((Role.ENVOY, site) for site in self.sites)]
        for role, name in names:
            identity = Identity(self.name, role, name)
            hosts = ("localhost",) if role in SERVER_ROLES else ()
            found = issue_credentials(certs, identity, lifetime=2 * FOUNDED, hosts=hosts, now=then)
            save_credentials(credentials_dir(certs, identity), found)


async def finished(user: User, experiment: str) -> str:
    """Waits for the end by all sites in every round, without a restart; gives the SHA-256 of the last model."""
    ended = await user.ended(experiment, 120)
    assert ended.standing == "FINISHED", ended.reason
    events = await user.events(experiment)
    kinds = {event.kind for event in events}
    assert not kinds & {"aggregator_lost", "collaborator_left", "collaborator_absent", "update_lost"}
    rounds = only(events, RoundFinished)
    assert [told.round for told in rounds] == list(range(ROUNDS + 1))
    assert all(0 <= told.seconds < 60 for told in rounds)
    return (await user.client.experiment(experiment)).versions[-1].sha256


@pytest.mark.long
async def test_clocks_that_are_wrong_or_step_change_nothing(tmp_path: Path) -> None:
    clocks = WallClocks(tmp_path / "clocks")
    clocks.set({})
    federation = Founded(tmp_path / "federation", THREE, (1,), (), environment=clocks.environment)
    async with federation:
        user = User(federation, tmp_path)
        async with user.client:
            wanted = await finished(user, await user.submit(PLAN, *ALL))

            clocks.set({"director start": HOUR, "aggregator": -HOUR, "envoy site-1": HOUR})
            experiment = await user.submit(PLAN, *ALL)
            submitted = (await user.client.experiment(experiment)).summary.submitted_at
            assert submitted - datetime.now(UTC).timestamp() > HOUR / 2, "the shift has not landed"
            assert await finished(user, experiment) == wanted
            clocks.set({"director start": -HOUR, "aggregator": HOUR, "collaborator": -HOUR})
            assert await finished(user, await user.submit(PLAN, *ALL)) == wanted

            clocks.set({})
            async with gate_of() as gate:
                experiment, later = await user.submit(PLAN, *ALL, gate.setting), await user.submit(PLAN, *ALL)
                for number, shift in ((3, STEP), (6, -STEP), (9, 0.0)):
                    gate.open(number - 1)
                    gate.open(number, "site-1")
                    await gate.arrived(number, "site-2", "site-3")
                    clocks.set({"director start": shift, "aggregator": -shift, "envoy": shift, "collaborator": shift})
                gate.open_all()
                assert await finished(user, experiment) == wanted
            assert await finished(user, later) == wanted
        assert all(child.process.returncode is None for child in federation.children.values())


async def test_a_certificate_that_is_not_valid_yet_is_told_by_name(tmp_path: Path) -> None:
    clocks = WallClocks(tmp_path / "clocks")
    clocks.set({})
    site = dict(list(THREE.items())[:1])
    federation = LocalFederation(tmp_path / "federation", site, (1,), (), environment=clocks.environment)
    async with federation:
        await federation.kill("site-1")
        clocks.set({"envoy": -HOUR})
        with pytest.raises(UnreachableError, match=r"E201.*is not valid before .*set this machine's clock"):
            await federation.start_envoy("site-1")
        clocks.set({"director": -HOUR})
        starting = asyncio.create_task(federation.start_envoy("site-1"))
        with pytest.raises(UnreachableError, match=r"E204.*is not valid before .*compare the clocks of both machines"):
            await starting
