"""An experiment of one Director, and another Director that it moves to."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from openfl_like.pki.files import Credentials
from openfl_like.pki.roles import Role
from openfl_like.testing.certificates import ThrowAwayFederation
from openfl_like.testing.faults.checkpoint_moves import OfflineDirector

Head = dict[str, Any]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Credentials, Credentials]]:
    made = {}
    for name in ("here", "there"):
        pki = ThrowAwayFederation(tmp_path_factory.mktemp(name), name)
        made[name] = pki.credentials(Role.DIRECTOR, "director"), pki.credentials(Role.USER, "ada")
    return made


@pytest.fixture
def director(tmp_path: Path, keys: dict[str, tuple[Credentials, Credentials]]) -> Callable[[str], OfflineDirector]:
    def make(name: str) -> OfflineDirector:
        state = tmp_path / name
        (state / "incoming").mkdir(parents=True)
        return OfflineDirector(state, *keys[name])

    return make


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, keys: dict[str, tuple[Credentials, Credentials]]) -> Path:
    """An experiment that was cancelled after its second round."""
    directory = tmp_path_factory.mktemp("exported")
    (directory / "incoming").mkdir()
    here = OfflineDirector(directory, *keys["here"])
    asyncio.run(here.run(cancel_after=2))
    return asyncio.run(here.export(directory / "checkpoint.tar"))


@pytest.fixture
def origin(checkpoint: Path, keys: dict[str, tuple[Credentials, Credentials]]) -> OfflineDirector:
    return OfflineDirector(checkpoint.parent, *keys["here"])
