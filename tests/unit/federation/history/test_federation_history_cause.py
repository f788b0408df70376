"""Why an experiment is as it is: every transcript has an answer, and so has what the Director alone can tell."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from openfl_like.federation.announcements import (
    AggregatorLost,
    Announced,
    Announcement,
    CollaboratorAbsent,
    ExperimentEnded,
    ExperimentQueued,
    ExperimentResumed,
    ExperimentWaiting,
    RoundStarted,
    from_fields,
)
from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.federation.history.cause import Cause, Condition, Why, excerpt, explain
from openfl_like.federation.parties import ExperimentSummary, Waiting, WaitKind
from openfl_like.federation.status import Status
from openfl_like.federation.task import Phase

TRANSCRIPTS = Path(__file__).parents[3] / "golden" / "transcripts"
BASE = ExperimentSummary("e-1", "e", Status.RUNNING, "", "ada", 1.0, started_at=2.0)


def history(*events: tuple[str, dict[str, object]]) -> list[Announced]:
    return [
        Announced(number, float(number), from_fields(kind, fields)) for number, (kind, fields) in enumerate(events, 1)
    ]


def transcript(name: str) -> list[Announced]:
    announced = [line.split("announce ", 1)[1] for line in (TRANSCRIPTS / f"{name}.txt").read_text().splitlines()
                 if line.startswith("    announce ")]  # fmt: skip
    return history(*((kind, json.loads(fields)) for kind, _, fields in (line.partition(" ") for line in announced)))


def summary_of(events: Sequence[Announced]) -> ExperimentSummary:
    """What the Director says after these events."""
    told = events[-1].announcement
    if not isinstance(told, ExperimentEnded):
        return BASE
    degraded = told.status is Status.FINISHED and bool(told.shortfalls)
    return replace(
        BASE, status=told.status, reason=told.reason, ended_at=99.0, degraded=degraded, shortfalls=told.shortfalls
    )


def why(events: Sequence[Announced]) -> Why:
    return explain(summary_of(events), events)


FAILED = {
    "deadline_ends_the_experiment": "site 'a', train, round 1: sent no update within 30 s",
    "initialising_falls_over_to_the_next_site": ("site 'a', initialise, round 0: ImportError: no module named 'torch'"),
    "revoked_while_the_last_metrics_come": "site 'b', round 2: its certificate was revoked",
    "too_few_are_here_to_begin_a_round": "site 'b', round 2: left: connection lost",
    "too_few_join": "site 'c', admission: 2 of 3 collaborators joined within 60 s; missing: c",
    "worker_raises_and_another_site_leaves": "site 'b', train, round 1: ValueError: boom",
}
DEGRADED = {
    "deadline_goes_on_with_a_part": "site 'a', train, round 1: sent no update within 30 s",
    "quorum_without_the_site_that_left": (
        "site 'c', train, round 1: left: connection lost, did not come back within 60 s"
    ),
    "revoked_site_is_not_waited_for": "site 'c', train, round 1: its certificate was revoked",
    "revoked_while_no_aggregator_ran": "site 'c', train, round 1: its certificate was revoked",
    "restart_in_the_middle_of_a_round": (
        "site 'b', evaluate, round 1: did not come back within 30 s after a restart of the aggregator"
    ),
    "update_is_refused": "site 'b', train, round 1: was refused: tensor 'w' holds a value that is not finite",
}
FINE: dict[str, tuple[str, ...]] = {
    "cancelled_in_mid_round_and_resumed": (),
    "failed_for_a_lost_site_and_resumed": ("site 'b' left and came back",),
    "happy_path": (),
    "late_joiner_takes_part_in_the_next_round": (),
    "site_comes_back_in_time": ("site 'b' left and came back",),
}
CANCELLED = ("cancelled", "updates_that_cannot_count")
WAITS = {
    "late_and_unknown_sites_are_not_let_in": "round 0, initialise: it waits for the answers of a",
    "repeated_and_late_updates": "round 2, train: it waits for the answers of a, b",
}


@pytest.mark.parametrize(("verdict", "table"), [(Condition.FAILED, FAILED), (Condition.DEGRADED, DEGRADED)])
def test_the_first_cause_of_every_transcript_that_went_wrong(verdict: Condition, table: dict[str, str]) -> None:
    for name, text in table.items():
        found = why(transcript(name))
        assert (name, found.verdict, str(found.cause)) == (name, verdict, text)
        assert text in found.sentence


def test_nothing_went_wrong_in_the_others() -> None:
    for name, mended in FINE.items():
        found = why(transcript(name))
        assert (name, found.verdict, found.cause, found.mended) == (name, Condition.FINE, None, mended)
        assert found.sentence.startswith("nothing went wrong: ")
    for name in CANCELLED:
        found = why(transcript(name))
        assert (found.verdict, found.sentence) == (Condition.CANCELLED, "nothing went wrong: cancelled by alice")
    for name, sentence in WAITS.items():
        found = why(transcript(name))
        assert (name, found.verdict, found.sentence) == (name, Condition.WAITS, sentence)


def test_every_transcript_has_an_answer() -> None:
    answered = {*FAILED, *DEGRADED, *FINE, *CANCELLED, *WAITS}
    assert answered == {path.stem for path in TRANSCRIPTS.glob("*.txt")}


ENDS: list[tuple[Failure | None, Cause]] = [
    (
        Failure(FailureKind.ENVIRONMENT, "E506: the requirements cannot be installed", "RequirementsError", site="b"),
        Cause("E506: the requirements cannot be installed", "RequirementsError", "b", "environment", None, 99.0),
    ),
    (
        Failure(FailureKind.NOT_JOINED, "exit code 4; last line: ImportError: no module named 'x'", site="b"),
        Cause("exit code 4; last line: ImportError: no module named 'x'", "", "b", "admission", None, 99.0),
    ),
    (
        Failure(FailureKind.TOO_FEW, "1 of 2 envoys were there within 60 s; missing: bern, basel", site="bern"),
        Cause("1 of 2 envoys were there within 60 s; missing: bern, basel", "", "bern", "admission", None, 3.0, 3),
    ),
    (
        Failure(FailureKind.AGGREGATOR, "killed by SIGKILL", exit_code=-9),
        Cause("exit code 70; last line: boom", "InternalError", "", "aggregator", 4, 5.0, 5),
    ),
    (Failure(FailureKind.COMBINE, "no", "OSError", round=4), Cause("no", "OSError", "", "aggregate", 4, 99.0)),
    (Failure(FailureKind.DIRECTOR, "'x'", "KeyError"), Cause("'x'", "KeyError", "", "director", None, 99.0)),
    (
        Failure(FailureKind.QUORUM, "2 of 2 updates are needed", round=5),
        Cause("2 of 2 updates are needed", round=5, time=99.0),
    ),
    (None, Cause("round 5: said in 0.1.0", time=99.0)),
]


@pytest.mark.parametrize(("failure", "cause"), ENDS)
def test_an_end_is_explained_by_its_failure_or_by_what_it_followed_from(failure: Failure | None, cause: Cause) -> None:
    first = Failure(FailureKind.AGGREGATOR, "exit code 70; last line: boom", "InternalError", exit_code=70)
    told: list[Announcement] = [
        ExperimentQueued("ada"),
        ExperimentResumed("ada"),
        ExperimentWaiting((), ("bern",), 2, 60.0),
        RoundStarted(4),
        AggregatorLost(str(first), 1, first),
        AggregatorLost("the aggregator ended: killed by SIGKILL", 2),
        ExperimentEnded(Status.FAILED, "round 5: said in 0.1.0", failure=failure),
    ]
    events = [Announced(number, float(number), item) for number, item in enumerate(told, 1)]
    summary = replace(BASE, status=Status.FAILED, reason="round 5: said in 0.1.0", ended_at=99.0)
    kind = None if failure is None else failure.kind
    assert explain(summary, events).cause == replace(cause, kind=kind)


def test_a_record_of_the_first_version_is_explained_with_its_words() -> None:
    absent = CollaboratorAbsent(2, Phase.TRAIN, "a", "failed in task 'train': task 'train' raised ValueError: boom")
    end = ExperimentEnded(Status.FAILED, "round 2: 1 of 1 updates is needed, 0 can come: site 'a' failed …")
    events = [Announced(1, 1.0, RoundStarted(2)), Announced(2, 2.0, absent), Announced(3, 3.0, end)]
    found = explain(replace(BASE, status=Status.FAILED, reason=end.reason), events).cause
    assert found == Cause(absent.reason, "", "a", "train", 2, 2.0, 2)


STARTED = ("experiment_started", {"expected": ["a", "b"], "rounds": 3})
WAITING = ("experiment_waiting", {"online": ["a"], "missing": [], "needed": 3, "timeout_s": 60.0})
ROUND = ("round_started", {"round": 2, "cohort": ["a", "b"], "quorum": 2})
SENT = [("assignment_sent", {"round": 2, "phase": "train", "collaborator": name, "tasks": ["train"]}) for name in "ab"]
LEFT = ("collaborator_left", {"collaborator": "a", "reason": "connection lost", "gone": False})
LOST = ("aggregator_lost", {"reason": "the aggregator ended: killed by SIGKILL", "restart": 1})
AWAITED: list[tuple[Status, list[tuple[str, dict[str, object]]], str, tuple[str, ...], float]] = [
    (Status.QUEUED, [], "it is queued: its turn comes after e-0", ("e-0",), 1.0),
    (Status.STARTING, [], "its Aggregator is being started", ("aggregator",), 2.0),
    (Status.STARTING, [WAITING], "it waits up to 60 s for envoys: 2 more", (), 1.0),
    (Status.RUNNING, [STARTED, ("collaborator_joined", {"collaborator": "a"})],
     "it waits for collaborators to join: b", ("b",), 1.0),
    (Status.RUNNING, [STARTED, ROUND, *SENT, LEFT],
     "round 2, train: it waits for the answers of a, b (not connected: a)", ("a", "b"), 3.0),
    (Status.RUNNING, [STARTED, ROUND, *SENT, LOST],
     "its Aggregator was lost and is started again", ("aggregator",), 5.0),
    (Status.RUNNING, [STARTED, ROUND], "round 2: it runs, and waits for no site", (), 2.0),
]  # fmt: skip


@pytest.mark.parametrize(("status", "told", "sentence", "names", "since"), AWAITED)
def test_what_it_waits_for(
    status: Status, told: list[tuple[str, dict[str, object]]], sentence: str, names: tuple[str, ...], since: float
) -> None:
    found = explain(replace(BASE, status=status), history(*told), ["e-0"])
    assert (found.verdict, found.sentence, found.waits_for, found.since) == (Condition.WAITS, sentence, names, since)
    full = explain(replace(BASE, status=status), history(*told), [], ["there is no room on the disk of /var/fx"])
    assert full.sentence == "it waits for the Director: there is no room on the disk of /var/fx"


@pytest.mark.parametrize(
    ("waiting", "sentence", "names"),
    [
        (Waiting(WaitKind.PLACE, running=2, places=2), "waits for a place: 2 of 2 taken", ("e-0",)),
        (Waiting(WaitKind.SITE, "bern", "e-7"), "waits for site bern, which runs e-7", ("e-7",)),
        (Waiting(WaitKind.SITE, "bern"), "waits for site bern, which runs another experiment", ()),
    ],
)
def test_what_the_queue_says_is_the_answer(waiting: Waiting, sentence: str, names: tuple[str, ...]) -> None:
    found = explain(replace(BASE, status=Status.QUEUED, waiting=waiting), [], ["e-0"])
    assert (found.sentence, found.waits_for) == (f"it {sentence}", names)


def test_envoys_that_have_come_since_are_not_waited_for_any_more() -> None:
    waiting = Waiting(WaitKind.ENVOYS, envoys=("c",), more=1)
    told = ExperimentWaiting(("a",), ("b", "c"), 3, 60.0)
    found = explain(replace(BASE, status=Status.STARTING, waiting=waiting), [Announced(1, 1.0, told)])
    assert (found.sentence, found.waits_for) == ("it waits up to 60 s for envoys: c", ("c",))


def test_what_was_mended_is_told() -> None:
    told = history(STARTED, LOST, STARTED, ROUND)
    assert explain(BASE, told).mended == ("the aggregator was lost and started again once",)


def test_sites_that_came_back_are_one_fact() -> None:
    away: list[tuple[str, dict[str, object]]] = [
        ("collaborator_left", {"collaborator": name, "reason": "connection lost", "gone": False}) for name in "ab"
    ]
    back: list[tuple[str, dict[str, object]]] = [("collaborator_joined", {"collaborator": name}) for name in "ab"]
    assert explain(BASE, history(STARTED, ROUND, *away, *back)).mended == ("sites 'a', 'b' left and came back",)


def test_metrics_that_no_site_reports_are_told_until_one_does() -> None:
    told: dict[str, object] = {"round": 1, "metric": "auc", "wanted_by": ["stop.any[0].metric"], "reported": ["loss"]}
    done: tuple[str, dict[str, object]] = ("round_finished", {"round": 1, "digest": "d", "metrics": {"loss": 1.0}})
    missing: list[tuple[str, dict[str, object]]] = [
        done,
        ("metric_missing", told),
        ("experiment_resumed", {"by": "ada"}),
        done,
    ]
    finished = replace(BASE, status=Status.FINISHED, reason="1 of 1 rounds are done")
    found = explain(finished, history(*missing))
    assert [(item.metric, item.reported) for item in found.missing_metrics] == [("auc", ("loss",))]
    assert found.verdict is Condition.FINE
    assert found.sentence == "1 of 1 rounds are done, but its plan goes by 'auc', which no site reports"
    missing.append(("round_finished", {"round": 2, "digest": "d", "metrics": {"auc": 0.5}}))
    assert explain(finished, history(*missing)).missing_metrics == ()


def test_the_lines_that_quote_the_cause_are_given_and_those_before_them() -> None:
    lines = [f"line {number}" for number in range(30)] + ["ValueError: boom", "round 3", "round 4"]
    assert excerpt(lines, Cause("boom", "ValueError"), most=3) == ["line 28", "line 29", "ValueError: boom"]
    assert excerpt(lines, Cause("left: connection lost"), most=2) == ["round 3", "round 4"]
    assert excerpt([], Cause("boom")) == []
