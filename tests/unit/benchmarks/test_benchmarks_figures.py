"""What a figure is made of: ratios pair by pair, accounts that lose no process, and the times between the gates."""

import importlib
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType

import pytest

from openfl_like.failpoints import SWITCH, Action, parse

ROOT = Path(__file__).parents[3]
WORK = "sum(range(20_000_000))"
PARENT = """
import subprocess, sys
subprocess.run([sys.executable, "-c", sys.argv[1]], check=True)
print(flush=True)
input()
"""


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return ROOT / "benchmarks"


def module(name: str) -> ModuleType:
    return importlib.import_module(name)


@pytest.mark.usefixtures("benchmarks")
def test_a_ratio_is_that_of_a_round_and_the_floor_beside_it() -> None:
    fields = module("figures").beside([2.0, 4.0, 9.0], [1.0, 2.0, 3.0], "tls_")
    assert fields == {"tls_floor": 2.0, "tls_ratio": 2.0, "tls_ratio_spread": [2.0, 3.0]}


@pytest.mark.usefixtures("benchmarks")
def test_every_figure_tells_what_the_disk_took_and_what_was_used() -> None:
    use = module("processes").Use(1.5, {"aggregator": 60.0}, {"server": 100.0}, {"server": 80.0})
    figure = module("figures").figure("w0", "a case", "s", [1.0, 3.0, 2.0], use)
    assert figure["value"] == 2.0
    assert (figure["cpu_s"], figure["rss_mb"], figure["pss_mb"]) == (1.5, {"server": 100.0}, {"server": 80.0})
    assert figure["fsync_ms"] > 0


@pytest.mark.usefixtures("benchmarks")
@pytest.mark.children
def test_the_seconds_of_a_child_that_has_ended_stay_in_the_account() -> None:
    command = [sys.executable, "-c", PARENT, WORK]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"\n"  # its child has worked and was waited for
        processes = module("processes")
        own = os.times()
        assert set(processes.family((parent.pid,))) == {parent.pid}
        assert processes.cpu_s((parent.pid,)) > 0.1
        assert os.times().children_user == own.children_user  # it is not we who have waited for it
        parent.communicate(b"\n")


@pytest.mark.usefixtures("benchmarks")
def test_a_round_is_what_is_left_when_the_wait_at_the_gate_is_taken_out(tmp_path: Path) -> None:
    gate = module("gate")
    with gate.Gate(tmp_path / "gate", 1) as closed:
        turns = gate.Turns(closed, {}, None)
        turns.arrived, turns.opened = [11.0, 22.5, 41.0], [15.0, 30.0, 50.0]
        assert turns.rounds_s([10.0, 20.0, 31.0, 54.0]) == [2.5 + 1.0, 10.0 + 4.0]  # the first trained one is left out


@pytest.mark.usefixtures("benchmarks")
def test_whoever_waits_for_sites_that_never_come_is_told_when_the_gate_is_closed(tmp_path: Path) -> None:
    gate = module("gate")
    closed = gate.Gate(tmp_path / "gate", 1)
    said: list[BaseException] = []

    def wait() -> None:
        try:
            closed.arrived()
        except gate.GateClosedError as error:
            said.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    closed.close()
    waiting.join(10)
    assert len(said) == 1


def test_conditions_say_what_they_are_and_arm_every_sync(benchmarks: Path) -> None:
    conditions = module("conditions")
    assert str(conditions.USUAL) == ""
    assert conditions.USUAL.usual
    assert conditions.USUAL.environment == {}
    slow = conditions.Conditions(trip_ms=50, sync_ms=4)
    assert str(slow) == ", 50 ms there and back, a sync 4 ms"
    assert not slow.usual
    clauses = parse(slow.environment[SWITCH])
    assert set(clauses) == set(conditions.SYNCS)
    assert {(clause.action, clause.argument, clause.always) for clause in clauses.values()} == {
        (Action.DELAY, "4", True)
    }
