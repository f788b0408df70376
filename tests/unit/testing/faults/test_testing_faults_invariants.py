"""A sound run, and every way in which one can be broken by hand: each has to be seen."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from openfl_like.federation.announcements import (
    Announcement,
    ExperimentBegun,
    ExperimentEnded,
    ExperimentResumed,
    ModelMade,
    RoundFinished,
    RoundStarted,
    UpdateLost,
    UpdateReceived,
)
from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.federation.status import Status
from openfl_like.federation.task import Phase
from openfl_like.testing.faults.call_history import RecordedCall, Told
from openfl_like.testing.faults.evidence import ExperimentEvidence, Happened, ModelFile, Process, RunEvidence, Version
from openfl_like.testing.faults.invariants import (
    Breach,
    Expected,
    Reference,
    check,
    comparable,
    contributions,
    lost_and_doubled,
)

NAMES = ["bern", "genf"]


def happened(*rows: Announcement) -> list[Happened]:
    return [Happened(number, row) for number, row in enumerate(rows, 1)]


def received(name: str, round_number: int = 1) -> UpdateReceived:
    return UpdateReceived(round_number, Phase.TRAIN, name)


def aggregated(digest: str = "d1", names: Sequence[str] = NAMES) -> ModelMade:
    return ModelMade(1, digest, digests={name: f"of {name}" for name in names})


def finished(number: int, digest: str, names: Sequence[str]) -> RoundFinished:
    return RoundFinished(number, digest, contributors=tuple(names))


FIRST, LAST = finished(0, "d0", ["bern"]), finished(1, "d1", NAMES)
LOST = UpdateLost(1, Phase.TRAIN, "bern")
STARTED = RoundStarted(1, quorum=2)
ENDED = ExperimentEnded(Status.FINISHED)
RESUMED = ExperimentResumed("ada")
STOPPED = ExperimentEnded(Status.CANCELLED, by="ada")
EVENTS = happened(
    finished(0, "d0", ["bern"]), STARTED, received("bern"), received("genf"), aggregated(),
    finished(1, "d1", NAMES), ENDED,
)  # fmt: skip
SOUND = ExperimentEvidence(
    id="exp-1",
    request_id="r1",
    status="FINISHED",
    reason="all rounds",
    plan_digest="plan",
    bundle="b",
    bundle_found="b",
    events=EVENTS,
    versions=[Version(0, "d0"), Version(1, "d1", "s1")],
    models={0: ModelFile("d0", "s0"), 1: ModelFile("d1", "s1")},
)
CALLS = [
    RecordedCall("submit", 0.0, 1.0, "r1", error="E401 unreachable"),
    RecordedCall("submit", 1.0, 2.0, "r1", Told("exp-1", "QUEUED")),
    RecordedCall("watch", 3.0, 9.0, told=Told("exp-1", "FINISHED")),
]
EVIDENCE = RunEvidence(CALLS, [SOUND], [("r1", "exp-1")])
EXPECTED = Expected({"plan": Reference("s1", {0: ("bern",), 1: ("bern", "genf")})})
Break = Callable[[RunEvidence], RunEvidence]


def one(**changes: object) -> Break:
    """Changes the experiment."""
    return lambda evidence: replace(evidence, experiments=[replace(SOUND, **changes)])  # type: ignore[arg-type] # by name


def whole(**changes: object) -> Break:
    """Changes what is around it."""
    return lambda evidence: replace(evidence, **changes)  # type: ignore[arg-type] # by name


def told(*calls: RecordedCall) -> Break:
    return whole(calls=[*CALLS, *calls])


LEFT = Failure(FailureKind.LEFT)


def with_absence(selected: list[str], absent: dict[str, Failure], unevaluated: dict[str, Failure]) -> list[Happened]:
    row = replace(finished(1, "d1", NAMES), selected=tuple(selected), absent=absent, unevaluated=unevaluated)
    return [*EVENTS[:5], Happened(6, row), EVENTS[6]]


NAMELESS = happened(ExperimentEnded(Status.FAILED))
TOLD_ONLY = happened(ExperimentEnded(Status.FAILED, failure=Failure(FailureKind.TOLD, "it went wrong")))
KILLED = Failure(FailureKind.AGGREGATOR, "killed by SIGKILL", exit_code=-9)
FAILED = happened(ExperimentEnded(Status.FAILED, failure=KILLED))
RUNNING = {"status": "RUNNING", "events": EVENTS[:-1]}
CANCELLED, STILL = Told("exp-1", "CANCELLED"), Told("exp-1", "RUNNING")
BOTH_SENT = STARTED, received("bern"), received("genf")
STARTS = [ExperimentBegun("exp-1", epoch=1), ExperimentBegun("exp-1", epoch=2)]


def committed(*epochs: int, newest: int = 2, versions: tuple[int, int] | None = None) -> Break:
    """The sound experiment with two Aggregators, each event committed by one of them; 0: by the Director."""
    rows = [event.told for event in EVENTS]
    rows = [STARTS[0], *rows[:4], STARTS[1], *rows[4:]]
    events = [replace(event, epoch=epoch) for event, epoch in zip(happened(*rows), epochs, strict=True)]
    first, second = versions or (epochs[1], epochs[7])
    made = [Version(0, "d0", epoch=first), Version(1, "d1", "s1", epoch=second)]
    return one(events=events, versions=made, epoch=newest)


TWO_EPOCHS = (1, 1, 1, 1, 1, 2, 2, 2, 2)
BROKEN = {
    "a former Aggregator that commits": ("A6", "event 7 is of epoch 1", committed(1, 1, 1, 1, 1, 2, 1, 2, 2)),
    "an epoch that nobody has taken": ("A6", "newest that was taken is 1", committed(*TWO_EPOCHS, newest=1)),
    "a start that is not of its epoch": ("A6", "says epoch 2; it is of 1", committed(1, 1, 1, 1, 1, 1, 2, 2, 2)),
    "a version of another Aggregator": ("A6", "1 is of epoch 1, its event", committed(*TWO_EPOCHS, versions=(1, 1))),
    "versions whose epochs fall": ("A6", "the round before it of epoch 2", committed(*TWO_EPOCHS, versions=(2, 1))),
    "two starts of one epoch": (
        "A6",
        "starts epoch 1, after epoch 1",
        one(events=[*happened(STARTS[0], STARTS[0]), *(replace(e, sequence=e.sequence + 2) for e in EVENTS)], epoch=1),
    ),
    "an update taken twice, and lost thrice": (
        "A4",
        "sent no update",
        one(events=happened(FIRST, STARTED, received("bern"), LOST, received("genf"), aggregated(), LAST, ENDED)),
    ),
    "an acknowledged one is not there": ("A1", "acknowledged", whole(experiments=[], requests=[])),
    "the request knows nothing of it": ("A1", "knows nothing", whole(requests=[])),
    "the request knows another": ("A1", "knows exp-2", whole(requests=[("r1", "exp-2")])),
    "two answers": ("A1", "answered twice", told(RecordedCall("submit", 2.0, 3.0, "r1", Told("exp-9", "QUEUED")))),
    "two rows": ("A1", "there twice", whole(experiments=[SOUND, replace(SOUND, id="exp-2")])),
    "a row that nobody asked for": ("A1", "nobody made it", one(request_id="r7")),
    "a bundle that is gone": ("A1", "missing", one(bundle_found="")),
    "another bundle": ("A1", "is x, not b", one(bundle_found="x")),
    "a damaged Director": ("A1", "damaged", whole(damage="malformed")),
    "not ended": ("A2", "still RUNNING", one(**RUNNING)),
    "ended in the row only": ("A2", "ends never", one(events=EVENTS[:-1])),
    "ended twice": (
        "A2",
        "FINISHED', 'FAILED",
        one(events=[*EVENTS, Happened(8, ExperimentEnded(Status.FAILED))]),
    ),
    "an end that was told and changed": ("A2", "told CANCELLED", told(RecordedCall("cancel", 2, 2.5, told=CANCELLED))),
    "an end that was taken back": ("A2", "and later RUNNING", told(RecordedCall("show", 9.5, 9.6, told=STILL))),
    "a damaged record": ("A3", "damaged", one(damage="malformed", events=[], versions=[], models={})),
    "a gap in the history": ("A3", "gaps", one(events=[event for event in EVENTS if event.sequence != 2])),
    "a gap in the rounds": ("A3", "rounds have gaps", one(versions=[Version(1, "d1", "s1")])),
    "a round finished twice": ("A3", "in the order", one(events=[*EVENTS, Happened(8, finished(1, "d1", NAMES))])),
    "a round with another model": (
        "A3",
        "another model",
        one(versions=[Version(0, "d0"), Version(1, "dx", "s1")], models={0: ModelFile("d0", "s0")}),
    ),
    "a round made twice to other bits": ("A3", "made again", one(events=[*EVENTS, Happened(8, aggregated("dx"))])),
    "a model whose bits changed": ("A3", "is dx, not d1", one(models={1: ModelFile("dx", "s1")})),
    "a model with another hash": ("A3", "another SHA-256", one(models={1: ModelFile("d1", "sx")})),
    "a model that nobody published": (
        "A3",
        "belongs to no round",
        one(models={**SOUND.models, 2: ModelFile("d2", "s2")}),
    ),
    "no last model": ("A3", "last round is missing", one(models={0: ModelFile("d0", "s0")})),
    "no hash": ("A3", "no SHA-256", one(versions=[Version(0, "d0"), Version(1, "d1")])),
    "a selected site without a trace": (
        "A4",
        "'lyon' was selected and is absent without a reason",
        one(events=with_absence(["bern", "genf", "lyon"], {}, {})),
    ),
    "an absence that the end is silent about": (
        "A4",
        "'lyon' was missing in a round",
        one(events=with_absence([*NAMES, "lyon"], {"lyon": LEFT}, {})),
    ),
    "an evaluation that the end is silent about": (
        "A4",
        "'bern' was missing in a round",
        one(events=with_absence(NAMES, {}, {"bern": LEFT})),
    ),
    "an update taken twice": ("A4", "taken 2 times", one(events=[*EVENTS, Happened(8, received("genf"))])),
    "fewer than the quorum": (
        "A4",
        "1 contributors, 2 are needed",
        one(events=happened(STARTED, received("bern"), aggregated("d1", ["bern"]), finished(1, "d1", ["bern"]), ENDED)),
    ),
    "a contributor that was not combined": (
        "A4",
        "not those whose updates",
        one(events=happened(*BOTH_SENT, aggregated("d1", ["bern"]), finished(1, "d1", NAMES), ENDED)),
    ),
    "a contributor that sent nothing": (
        "A4",
        "genf contributed and sent no update",
        one(events=happened(STARTED, received("bern"), aggregated(), finished(1, "d1", NAMES), ENDED)),
    ),
    "other bits than the undisturbed run": (
        "A5",
        "the undisturbed run has s1",
        one(versions=[Version(0, "d0"), Version(1, "d1", "sx")], models={1: ModelFile("d1", "sx")}),
    ),
    "a process that is left": ("A7", "fx aggregator", whole(strays=[Process(7, "fx aggregator start")])),
    "a port that is held": ("A7", "listens", whole(held=[50051])),
    "a directory of no experiment": ("A7", "belongs to no experiment", whole(strangers=["experiments/x"])),
    "a bare reason": ("A11", "'failed'", one(status="FAILED", reason="failed", events=NAMELESS)),
    "no component": ("A11", "component", one(status="FAILED", reason="it went wrong", events=TOLD_ONLY)),
    "a fault that ended it": ("T", "a fault ended it", one(status="FAILED", events=FAILED)),
    "an end that nobody asked for": ("T", "nobody cancelled", one(status="CANCELLED")),
}  # fmt: skip


def letters(breaches: list[Breach]) -> set[str]:
    return {breach.letter for breach in breaches}


def test_a_sound_run_breaks_nothing() -> None:
    assert check(EVIDENCE, EXPECTED) == []
    assert comparable(EVIDENCE, EXPECTED) == 1
    assert contributions(SOUND) == EXPECTED.references["plan"].contributors


@pytest.mark.parametrize(("letter", "words", "broken"), BROKEN.values(), ids=BROKEN.keys())
def test_what_is_broken_is_found(letter: str, words: str, broken: Break) -> None:
    found = check(broken(EVIDENCE), EXPECTED)
    assert [str(breach) for breach in found if breach.letter == letter and words in str(breach)], found


def test_every_letter_was_seen_to_fail() -> None:
    assert {letter for letter, _, _ in BROKEN.values()} == {"A1", "A2", "A3", "A4", "A5", "A6", "A7", "A11", "T"}


def test_while_the_run_goes_on_only_one_without_an_aggregator_is_a_breach() -> None:
    running = one(**RUNNING)(EVIDENCE)
    running = replace(running, calls=CALLS[:2])
    going = replace(EXPECTED, over=False)
    assert letters(check(running, going)) == {"A2"}
    assert check(replace(running, live=frozenset({"exp-1"})), going) == []


def test_an_experiment_that_a_client_cancelled_may_be_cancelled_if_it_says_by_whom() -> None:
    events = happened(STOPPED)
    wanted = replace(EXPECTED, cancelled=frozenset({"exp-1"}))
    calls = [*CALLS[:2], RecordedCall("cancel", 2, 3, "", Told("exp-1", "CANCELLED"))]
    ended = replace(SOUND, status="CANCELLED", reason="cancelled by ada", events=events, versions=[], models={})
    assert check(replace(EVIDENCE, calls=calls, experiments=[ended]), wanted) == []
    silent = replace(ended, events=happened(ExperimentEnded(Status.CANCELLED)))
    assert letters(check(replace(EVIDENCE, calls=calls, experiments=[silent]), wanted)) == {"A11"}


OPEN_ROUND = finished(0, "d0", ["bern"]), STARTED, received("bern")
REST = STARTED, received("bern"), received("genf"), aggregated(), finished(1, "d1", NAMES), ENDED


def test_what_was_resumed_may_end_otherwise_than_a_client_was_told_and_repeats_its_open_round() -> None:
    calls = [
        *CALLS[:2],
        RecordedCall("cancel", 2, 3, told=CANCELLED),
        RecordedCall("resume", 4, 5, told=Told("exp-1", "QUEUED")),
        RecordedCall("watch", 6, 9, told=Told("exp-1", "FINISHED")),
    ]
    resumed = one(events=happened(*OPEN_ROUND, STOPPED, RESUMED, *REST))(EVIDENCE)
    assert check(replace(resumed, calls=calls), EXPECTED) == []
    twice = one(events=happened(*OPEN_ROUND, STOPPED, RESUMED, STOPPED, RESUMED, *REST))(EVIDENCE)
    assert check(replace(twice, calls=calls), EXPECTED) == []
    assert letters(check(replace(EVIDENCE, calls=calls), EXPECTED)) == {"A2"}  # it was not resumed
    taken_back = [*calls, RecordedCall("show", 9.5, 9.6, told=STILL)]
    assert letters(check(replace(resumed, calls=taken_back), EXPECTED)) == {"A2"}  # only once


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([*OPEN_ROUND, RESUMED, *REST], "before that it had ended never"),
        ([*OPEN_ROUND, STOPPED, STOPPED, RESUMED, *REST], "before that it had ended ['CANCELLED', 'CANCELLED']"),
        ([ENDED, RESUMED, *OPEN_ROUND, *REST[2:]], "before that it had ended ['FINISHED']"),
        ([*OPEN_ROUND, STOPPED, RESUMED, *REST[:-1]], "its history ends never"),
    ],
)
def test_only_what_has_ended_otherwise_than_wanted_can_be_resumed(events: list[Announcement], words: str) -> None:
    found = check(one(events=happened(*events))(EVIDENCE), EXPECTED)
    assert [breach.letter for breach in found if words in str(breach)] == ["A2"], found


def test_a_run_that_may_lose_experiments_wants_a_reason_for_each() -> None:
    failed = one(status="FAILED", reason="the aggregator ended: killed by SIGKILL", events=FAILED)(EVIDENCE)
    failed = replace(failed, calls=CALLS[:2])
    assert check(failed, replace(EXPECTED, all_finish=False)) == []


def test_other_contributors_are_not_compared() -> None:
    other = replace(EXPECTED, references={"plan": Reference("sx", {0: ("bern",), 1: ("bern",)})})
    assert (check(EVIDENCE, other), comparable(EVIDENCE, other)) == ([], 0)


def test_who_made_the_initial_model_does_not_matter() -> None:
    other = replace(EXPECTED, references={"plan": Reference("s1", {0: ("genf",), 1: ("bern", "genf")})})
    assert comparable(EVIDENCE, other) == 1


def test_lost_and_doubled_are_counted() -> None:
    _, _, lose = BROKEN["an acknowledged one is not there"]
    _, _, double = BROKEN["two rows"]
    assert lost_and_doubled(check(lose(EVIDENCE), EXPECTED)) == (1, 0)
    assert lost_and_doubled(check(double(EVIDENCE), EXPECTED)) == (0, 1)
    assert lost_and_doubled(check(EVIDENCE, EXPECTED)) == (0, 0)


def test_two_aggregators_one_after_the_other_are_as_it_should_be() -> None:
    assert check(committed(*TWO_EPOCHS)(EVIDENCE), EXPECTED) == []


def test_an_update_that_was_lost_on_a_disk_may_be_taken_again() -> None:
    again: list[Announcement] = [received("bern"), LOST, received("bern"), received("genf")]
    events = happened(FIRST, STARTED, *again, aggregated(), LAST, ENDED)
    assert check(one(events=events)(EVIDENCE), EXPECTED) == []
