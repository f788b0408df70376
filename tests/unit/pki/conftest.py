"""A federation founded once for all tests, at a fixed time."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from openfl_like.pki.administration import issue_credentials
from openfl_like.pki.authority import create_authorities, load_trust
from openfl_like.pki.files import Credentials, Trust
from openfl_like.pki.roles import EXPERIMENT_ROLES, Identity, Role

MOMENT = datetime(2030, 1, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="session")
def now() -> datetime:
    return MOMENT


@pytest.fixture(scope="session")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("certs")
    create_authorities(directory, "hospitals", MOMENT)
    return directory


@pytest.fixture(scope="session")
def trust(certs: Path) -> Trust:
    return load_trust(certs)


@pytest.fixture(scope="session")
def issued(certs: Path) -> Callable[..., Credentials]:
    def issue(role: Role, *, days: float = 1, hosts: Sequence[str] = (), at: datetime = MOMENT) -> Credentials:
        experiment = "digits" if role in EXPERIMENT_ROLES else ""
        name = experiment if role is Role.AGGREGATOR else "one"
        identity = Identity("hospitals", role, name, experiment)
        return issue_credentials(certs, identity, lifetime=timedelta(days=days), hosts=hosts, now=at)

    return issue
