"""How often something is started again, where, and what is left behind by what was killed."""

from pathlib import Path

import pytest

from openfl_like.errors import ConflictError
from openfl_like.federation.supervision.restarts import PAUSES_S, Restarts
from openfl_like.processes.ownership import MARK, owner_tag
from openfl_like.services.director import aggregator_process
from openfl_like.services.director.aggregator_process import Address


def test_pauses_grow_until_there_is_no_use_in_it() -> None:
    restarts = Restarts()
    assert [restarts.next_pause_s() for _ in range(3)] == list(PAUSES_S) == sorted(PAUSES_S)
    assert restarts.exhausted
    restarts.progressed()
    assert not restarts.exhausted
    assert restarts.next_pause_s() == PAUSES_S[0]


class Ports:
    """A host on which some ports are taken; any is 40000."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.taken: set[int] = set()
        monkeypatch.setattr(aggregator_process, "free_port", self.first_free)

    def first_free(self, _: str, ports: list[int]) -> int:
        return next((port or 40000 for port in ports if port not in self.taken), 0)


@pytest.fixture
def ports(monkeypatch: pytest.MonkeyPatch) -> Ports:
    return Ports(monkeypatch)


def test_the_next_aggregator_listens_where_the_former_one_did(tmp_path: Path, ports: Ports) -> None:
    ports.taken = {50051}
    address = Address(tmp_path / "port", "localhost", range(50051, 50054))
    assert address.claim()
    ports.taken = set()
    assert not address.claim()
    assert address.text == "localhost:50052"
    later = Address(tmp_path / "port", "localhost", range(50051, 50054))
    assert not later.claim()
    assert later.port == 50052


@pytest.mark.parametrize(("taken", "allowed"), [({50052}, range(50051, 50054)), (set(), range(50053, 50054))])
def test_a_port_that_is_taken_or_not_allowed_any_more_is_given_up(
    tmp_path: Path, ports: Ports, taken: set[int], allowed: range
) -> None:
    (tmp_path / "port").write_text("50052")
    ports.taken = taken
    address = Address(tmp_path / "port", "localhost", allowed)
    assert address.claim()
    assert address.port == allowed.start
    assert (tmp_path / "port").read_text() == str(allowed.start)


def test_aggregators_at_once_have_two_ports_each(tmp_path: Path, ports: Ports) -> None:
    taken: set[int] = set()
    (tmp_path / "second").write_text("50053")
    all_ports = range(50051, 50055)
    first = Address(tmp_path / "first", "localhost", all_ports, taken)
    second = Address(tmp_path / "second", "localhost", all_ports, taken)  # had one before, and will have it again
    assert first.claim()
    assert not second.claim()
    assert [(each.port, each.data_port) for each in (first, second)] == [(50051, 50052), (50053, 50054)]
    third = Address(tmp_path / "third", "localhost", all_ports, taken)
    with pytest.raises(ConflictError, match="50051-50054 are taken"):
        third.claim()
    first.release()
    assert third.claim()
    assert third.port == 50051
    assert ports.taken == set()  # nobody listened on any


def test_without_a_free_port_it_is_said_what_to_widen(tmp_path: Path, ports: Ports) -> None:
    ports.taken = {50051, 50052}
    with pytest.raises(ConflictError, match="50051-50052 are taken") as caught:
        Address(tmp_path / "port", "localhost", range(50051, 50053)).claim()
    assert "aggregator_ports" in caught.value.cure


def test_a_note_that_cannot_be_read_is_none(tmp_path: Path, ports: Ports) -> None:
    (tmp_path / "port").write_text("x")
    address = Address(tmp_path / "port", "localhost", range(1))
    assert ports.taken == set()
    assert address.claim()
    assert address.text == "localhost:40000"


def test_a_mark_is_an_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert owner_tag(Path("run")) == {MARK: str(tmp_path.resolve() / "run")}
