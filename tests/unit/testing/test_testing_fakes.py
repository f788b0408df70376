"""The public fakes keep what they promise."""

import asyncio
import doctest
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

import openfl_like.testing
from openfl_like.errors import CredentialError, TaskError, UnreachableError
from openfl_like.federation.task import Assignment, Phase
from openfl_like.pki.files import load_credentials
from openfl_like.pki.peer import verify_peer
from openfl_like.pki.roles import Role
from openfl_like.tensors.manifest import file_digest
from openfl_like.testing.certificates import ThrowAwayFederation
from openfl_like.testing.clock import FakeClock
from openfl_like.testing.performers import FakePerformer, read_vector
from openfl_like.testing.sessions import FakeSession


def test_the_example_of_the_package_is_true() -> None:
    assert doctest.testmod(openfl_like.testing).failed == 0


def test_timers_fire_in_their_order_at_their_time() -> None:
    clock = FakeClock(100.0)
    fired: list[tuple[str, float]] = []

    def fire(name: str) -> None:
        fired.append((name, clock.now()))

    for name, delay in (("late", 5.0), ("soon", 1.0), ("never", 2.0), ("soon too", 1.0)):
        cancel = clock.call_later(delay, partial(fire, name))
        if name == "never":
            cancel()
    assert list(clock.pending) == [1.0, 1.0, 5.0]
    assert clock.advance(3.0) == 2
    assert fired == [("soon", 101.0), ("soon too", 101.0)]
    assert clock.now() == 103.0
    assert list(clock.pending) == [2.0]
    assert clock.advance(100.0) == 1
    assert fired[-1] == ("late", 105.0)


def test_a_timer_may_set_another() -> None:
    clock, fired = FakeClock(), []

    def again() -> None:
        fired.append(clock.now())
        if len(fired) < 3:
            clock.call_later(1.0, again)

    clock.call_later(1.0, again)
    assert clock.advance(10.0) == 3


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> ThrowAwayFederation:
    return ThrowAwayFederation(tmp_path_factory.mktemp("pki"), "hospitals", datetime.now(UTC) - timedelta(days=9))


@pytest.mark.parametrize("role", Role)
def test_every_role_can_be_certified(federation: ThrowAwayFederation, role: Role) -> None:
    experiment = "digits" if role is Role.COLLABORATOR else ""
    credentials = federation.credentials(role, "one", experiment)
    assert verify_peer(credentials.chain, federation.trust, datetime.now(UTC)) == credentials.identity
    assert credentials.identity.role is role
    assert load_credentials(federation.folder(credentials)) == credentials


def test_an_expired_certificate_can_be_had(federation: ThrowAwayFederation) -> None:
    old = federation.credentials(Role.USER, "old", now=datetime.now(UTC) - timedelta(days=2))
    with pytest.raises(CredentialError, match="expired"):
        load_credentials(federation.folder(old))


def test_a_performer_counts_in_the_head(tmp_path: Path) -> None:
    performer = FakePerformer(step=2.5, mistakes={(2, Phase.TRAIN): "no data"})
    first = performer.perform(Assignment(0, Phase.INITIALISE, "bern", (), "", 0), None, tmp_path / "0")
    assert read_vector(tmp_path / "0").tolist() == [0.0] * 4
    assert first.digest == file_digest(tmp_path / "0")
    performer.perform(Assignment(1, Phase.TRAIN, "bern", (), "", 0), tmp_path / "0", tmp_path / "1")
    evaluated = performer.perform(Assignment(1, Phase.EVALUATE, "bern", (), "", 0), tmp_path / "1", tmp_path / "2")
    assert evaluated.metrics == {"validate": {"accuracy": 2.5}}
    assert (evaluated.digest, (tmp_path / "2").exists()) == ("", False)
    with pytest.raises(TaskError, match="no data"):
        performer.perform(Assignment(2, Phase.TRAIN, "bern", (), "", 0), tmp_path / "1", tmp_path / "2")
    assert [job.round for job in performer.performed] == [0, 1, 1, 2]


async def test_a_session_has_two_ends() -> None:
    session = FakeSession[str, int]("hello")
    session.report("bye")
    session.hang_up()
    assert [report async for report in session.reports] == ["hello", "bye"]
    await session.send(7)
    assert session.unread == 1
    async with asyncio.timeout(5):
        assert await session.instruction() == 7
    session.refuse(UnreachableError("gone"))
    with pytest.raises(UnreachableError):
        await session.send(8)
