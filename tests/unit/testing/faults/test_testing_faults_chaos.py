"""What a seed means, and how a run is judged; the runs themselves are in tests/process."""

import json
from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from openfl_like.failpoints import POINTS, Action, parse
from openfl_like.federation.announcements import ExperimentEnded, RoundFinished
from openfl_like.federation.status import Status
from openfl_like.federation.task import Phase
from openfl_like.testing.faults.call_history import RecordedCall, Told
from openfl_like.testing.faults.chaos import RunResult, judge, references_of, report
from openfl_like.testing.faults.determinism import ROUNDS, kills
from openfl_like.testing.faults.evidence import ExperimentEvidence, Happened, ModelFile, RunEvidence, Version
from openfl_like.testing.faults.failpoint_suite import ARGUMENTS, AT_CANCEL, AT_RETURN, AT_START, WITH_FILE, points_of
from openfl_like.testing.faults.injector import Tally
from openfl_like.testing.faults.invariants import Breach, Expected
from openfl_like.testing.faults.schedule import FREEZE_S, LINES, MIXES, ROLES, Fault, FaultKind, schedule

LINE_NAMES = ["site-1", "site-2", "user"]


def faults(seed: int, mix: str = "mixed", count: int = 300) -> list[Fault]:
    return list(islice(schedule(seed, mix, LINE_NAMES), count))


def test_a_seed_means_the_same_faults_every_time_and_another_seed_means_others() -> None:
    assert faults(1) == faults(1)
    assert faults(1) != faults(2)


@pytest.mark.parametrize("mix", MIXES)
def test_every_fault_is_of_its_mix_and_can_be_done(mix: str) -> None:
    drawn = faults(7, mix)
    assert {fault.kind for fault in drawn} == set(MIXES[mix].kinds)
    for fault in drawn:
        targets = (
            LINE_NAMES if fault.kind in LINES else POINTS if fault.kind is FaultKind.FAILPOINT else MIXES[mix].roles
        )
        assert fault.target in targets
        assert MIXES[mix].pause_s[0] <= fault.pause_s <= MIXES[mix].pause_s[1]
        assert FREEZE_S[0] <= fault.seconds <= FREEZE_S[1]
        assert 0 <= fault.pick < 1
    assert [fault.number for fault in drawn] == list(range(1, 301))


def test_the_mix_hits_every_role_and_leaves_time_for_fifteen_a_minute() -> None:
    drawn = faults(3)
    assert {fault.target for fault in drawn if fault.kind is FaultKind.KILL} == set(ROLES)
    assert sum(fault.pause_s for fault in drawn) / len(drawn) < 60 / 15


@pytest.mark.parametrize("action", Action)
def test_an_action_has_points_at_which_it_can_be_armed(action: Action) -> None:
    points = points_of(action)
    assert points
    text = "\n".join(f"{point}={action}{ARGUMENTS.get(action, '')}#n1" for point in points)
    assert list(parse(text)) == points


def test_every_point_can_be_killed_at_and_those_with_a_way_of_their_own_exist() -> None:
    assert points_of(Action.KILL) == list(POINTS)
    assert {*AT_START, *AT_RETURN, *AT_CANCEL, *WITH_FILE} <= set(POINTS)


ITEM = ExperimentEvidence(
    id="exp-1",
    request_id="r1",
    status="FINISHED",
    plan_digest="plan",
    events=[
        Happened(1, RoundFinished(0, "d0", contributors=("bern",))),
        Happened(2, ExperimentEnded(Status.FINISHED)),
    ],
    versions=[Version(0, "d0", "s0")],
    models={0: ModelFile("d0", "s0")},
)
CALLS = [RecordedCall("submit", 0.0, 1.0, "r1", Told("exp-1", "QUEUED"))] * 5
EVIDENCE = RunEvidence(CALLS, [ITEM], [("r1", "exp-1")])
TALLY = Tally(Counter({"kill": 3, "cut": 2}), 1)


def verdict(evidence: RunEvidence = EVIDENCE, wanted: int = 5) -> RunResult:
    return judge(evidence, Expected(references_of(evidence, {"plan": "exp-1"})), TALLY, wanted)


def test_a_sound_run_with_all_its_faults_is_told_in_one_line() -> None:
    found = verdict()
    assert (found.code, found.breaches, found.invalid) == (0, [], "")
    assert found.line == {
        "faults_landed": 5, "experiments": 1, "finished": 1, "invariant_breaks": 0, "digests_equal": True,
        "acknowledged": 1, "lost": 0, "doubled": 0, "operations": 5, "faults": {"cut": 2, "kill": 3}, "missed": 1,
    }  # fmt: skip


def test_a_run_whose_faults_have_not_landed_proves_nothing() -> None:
    assert (verdict(wanted=6).code, verdict(wanted=6).invalid) == (2, "only 5 of 6 faults have landed")


def test_a_run_in_which_hardly_anything_was_done_proves_nothing() -> None:
    assert verdict(replace(EVIDENCE, calls=CALLS[:4])).code == 2
    assert judge(EVIDENCE, Expected(), TALLY, 5).code == 2  # no undisturbed run to compare with


def test_a_breach_counts_more_than_an_invalid_run() -> None:
    found = verdict(replace(EVIDENCE, held=[50051]), wanted=6)
    assert (found.code, found.line["invariant_breaks"]) == (1, 1)


def test_what_was_lost_and_other_bits_are_in_the_line() -> None:
    lost = verdict(replace(EVIDENCE, calls=[*CALLS, RecordedCall("submit", 1.0, 2.0, "r2", Told("exp-2", "QUEUED"))]))
    assert (lost.code, lost.line["lost"]) == (1, 1)
    other = replace(
        ITEM, id="exp-2", request_id="r2", versions=[Version(0, "dx", "sx")], models={0: ModelFile("dx", "sx")}
    )
    differs = verdict(replace(EVIDENCE, experiments=[ITEM, other]))
    assert differs.line["digests_equal"] is False


def test_a_failed_run_says_how_to_repeat_it_and_keeps_what_it_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "run"
    place.mkdir()
    report(RunResult({"seed": 1}, [Breach("A7", "port 1", "held")], ""), place, "the command", keep=False)
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"seed": 1}
    assert "A7 port 1: held" in printed.err
    assert printed.err.rstrip().endswith("repeat it with: the command")
    assert place.exists()
    report(RunResult({"seed": 1}, [], ""), place, "the command", keep=False)
    assert "the command" not in capsys.readouterr().err
    assert not place.exists()


def test_every_role_is_killed_equally_often_while_rounds_are_made() -> None:
    drawn = list(kills(5, 50, ROUNDS))
    assert drawn == list(kills(5, 50, ROUNDS)) != list(kills(6, 50, ROUNDS))
    assert Counter(kill.role for kill in drawn) == dict.fromkeys(ROLES, 10)
    assert {kill.round for kill in drawn} == set(range(1, ROUNDS))
    assert {(kill.phase, int(kill.ahead * 3)) for kill in drawn} == {
        (phase, ahead) for phase in (Phase.TRAIN, Phase.EVALUATE) for ahead in range(3)
    }
