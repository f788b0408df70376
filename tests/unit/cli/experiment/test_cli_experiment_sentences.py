"""What people read while an experiment runs."""

import io
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from openfl_like.cli.experiment.progress import Bar, Screen, pace, within
from openfl_like.cli.experiment.sentences import RoundLines, colour, sentence
from openfl_like.cli.experiment.why import folded
from openfl_like.cli.output.colours import BAD, GOOD, ODD
from openfl_like.federation.announcements import (
    Announced,
    Announcement,
    CollaboratorAbsent,
    CollaboratorAway,
    ExperimentBegun,
    ExperimentEnded,
    RoundFinished,
    UpdateReceived,
)
from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.federation.reports.progress import TaskProgressed
from openfl_like.federation.round_control import RoundControlled
from openfl_like.federation.status import Status
from openfl_like.federation.task import Phase
from openfl_like.plan.digest import frozen_values
from openfl_like.plan.schema import Best, ModelStore
from openfl_like.testing.faults.checkpoint_moves import PLAN

BOOM = Failure(FailureKind.TASK, "boom", "ValueError", task="train")
BOTH = ("bern", "zurich")


def lines(*told: Announcement) -> list[str]:
    shown: list[str] = []
    screen = Screen(as_json=False, show=shown.append)
    for number, item in enumerate(told, 1):
        screen.event(Announced(number, float(number), item))
    return shown


def test_the_first_round_has_a_name_figures_are_aligned_and_sites_are_named_once() -> None:
    assert lines(
        ExperimentBegun("e-1", rounds=10),
        RoundFinished(0, "m0", contributors=("bern",), seconds=1.0),
        RoundFinished(1, "m1", {"accuracy": 0.5, "loss": 12.0}, best=True, contributors=BOTH, seconds=12.25),
        RoundFinished(2, "m2", {"accuracy": 0.4375, "loss": 9.5}, contributors=BOTH, seconds=0.5),
        RoundFinished(10, "m3", {"accuracy": 1.0, "loss": 1234.0}, contributors=("bern",), seconds=0.5),
    ) == [
        "experiment e-1 started: 10 rounds",
        "round  0    1.00 s  the model before training, made by bern",
        "sites: bern, zurich",
        "round  1   12.25 s  accuracy 0.5000  loss 12.00  best so far",
        "round  2    0.50 s  accuracy 0.4375  loss 9.500",
        "sites: bern",
        "round 10    0.50 s  accuracy 1.000  loss 1234",
    ]


def best_by(metric: str) -> ExperimentBegun:
    plan = PLAN.model_copy(update={"model_store": ModelStore(best=Best(metric=metric))})
    return ExperimentBegun("e-1", rounds=10, plan=frozen_values(plan))


@pytest.mark.parametrize(
    ("metric", "first", "end"),
    [
        ("loss", "best loss so far", "the best model is that of round 1: loss 12.00"),
        ("train.loss", "best train.loss so far: 9.500", "the best model is that of round 1: train.loss 9.500"),
    ],
)
def test_the_best_round_is_told_with_its_metric_and_again_at_the_end(metric: str, first: str, end: str) -> None:
    figures = {"accuracy": 0.5, "loss": 12.0, "train.loss": 9.5}
    told = lines(
        best_by(metric),
        RoundFinished(1, "m1", figures, best=True, contributors=BOTH, seconds=12.25),
        RoundFinished(2, "m2", figures, contributors=BOTH, seconds=0.5),
        ExperimentEnded(Status.FINISHED, "2 of 2 rounds are done"),
    )
    assert told[2:] == [
        f"round  1   12.25 s  accuracy 0.5000  loss 12.00  {first}",
        "round  2    0.50 s  accuracy 0.5000  loss 12.00",
        end,
        "FINISHED: 2 of 2 rounds are done",
    ]


def test_a_site_that_is_missing_for_the_same_reason_again_is_told_once() -> None:
    def without(number: int, reason: str) -> list[Announcement]:
        absent = {"zurich": BOOM}
        return [
            CollaboratorAbsent(number, Phase.TRAIN, "zurich", reason),
            RoundFinished(number, f"m{number}", contributors=("bern",), absent=absent, unevaluated=absent),
        ]

    assert lines(*without(1, "boom"), *without(2, "boom"), *without(3, "no power")) == [
        "round 1: zurich is absent: boom",
        "sites: bern; without zurich",
        "round  1    0.00 s",
        "round  2    0.00 s",
        "round 3: zurich is absent: no power",
        "round  3    0.00 s",
    ]
    quiet = RoundFinished(4, "m4", contributors=("bern",), unevaluated={"zurich": BOOM})
    assert lines(quiet)[0] == "sites: bern; not evaluated by zurich (failed in task 'train': ValueError: boom)"


@pytest.mark.parametrize(
    ("told", "style"),
    [
        (ExperimentEnded(Status.FINISHED, "all"), GOOD),
        (ExperimentEnded(Status.FINISHED, "all", shortfalls={"bern": BOOM}), ODD),
        (ExperimentEnded(Status.FAILED, "no"), BAD),
        (ExperimentEnded(Status.CANCELLED, "no"), ODD),
        (CollaboratorAbsent(1, Phase.TRAIN, "bern", "boom"), ODD),
        (RoundFinished(1, "m1"), ""),
    ],
)
def test_ends_are_coloured_by_how_they_are(told: Announcement, style: str) -> None:
    assert colour(told) == style


@pytest.mark.parametrize(("err", "seen"), [("out.txt", True), ("err.txt", False)])
def test_the_error_tells_the_reason_again_only_to_who_has_not_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, err: str, seen: bool
) -> None:
    with (tmp_path / "out.txt").open("a") as stdout, (tmp_path / err).open("a") as stderr:
        monkeypatch.setattr(sys, "stdout", stdout)
        monkeypatch.setattr(sys, "stderr", stderr)
        screen = Screen(as_json=False)
        screen.event(Announced(1, 1.0, ExperimentEnded(Status.FAILED, "boom")))
    assert screen.end_was_seen == seen


def test_what_is_written_nowhere_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    screen = Screen(as_json=False)
    screen.event(Announced(1, 1.0, ExperimentEnded(Status.FAILED, "boom")))
    assert not screen.end_was_seen


def test_what_a_log_repeats_is_told_once() -> None:
    log = [
        "2026-11-29 10:32:57,064 WARNING x: cannot be reached",
        "2026-11-29 10:32:57,185 WARNING x: cannot be reached",
        "2026-11-29 10:32:58,328 WARNING x: boom",
        "boom",
    ]
    assert list(folded(log)) == [f"{log[0]} (2 times)", log[2], "boom"]


@pytest.mark.parametrize(
    ("seconds", "left", "text"),
    [
        ([], 3, ""),
        ([2.0, 4.0], 20, "3 s a round, 1:00 min to go"),
        ([0.125], 8, "0.125 s a round, 1 s to go"),
        ([1800.0], 5, "1800 s a round, 2:30:00 h to go"),
    ],
)
def test_the_bar_says_how_long_a_round_takes_and_how_long_it_will_go_on(
    seconds: list[float], left: int, text: str
) -> None:
    assert pace(seconds, left) == text


def test_what_controllers_decided_is_told_when_it_is_something_new() -> None:
    lines = RoundLines()
    first = RoundControlled(1, {"bern": "tired"}, {"ada": 0.5}, {"train": {"learning_rate": 0.123456, "epochs": 2}})
    assert lines.within(first) == [
        "round 1 as controllers decided: without bern; weights ada x 0.5; train(learning_rate=0.1235, epochs=2)"
    ]
    assert lines.within(replace(first, round=2)) == []
    many = {f"site-{number}": 1.0 + number for number in range(9)}
    assert sentence(RoundControlled(3, {}, many, {}, "enough")) == (
        "round 3 as controllers decided: 9 weights from x 1 to x 9; the end: enough"
    )


def test_a_bar_tells_who_is_furthest_behind_and_what_is_left() -> None:
    bern = TaskProgressed(1, Phase.TRAIN, "bern", "train", 1, 4, 30, 50, 100, 30.0)
    chur = TaskProgressed(1, Phase.TRAIN, "chur", "train", 0, 4, 10, 50, 100, 40.0)
    assert within([bern]) == "bern train 38%, 1 batches/s, 50 s left"
    assert within([bern, chur]) == "last of 2: chur train 12%, 0.25 batches/s, 4:40 min left"
    unknown = TaskProgressed(1, Phase.TRAIN, "zug", "train", 1, None, 30, 50, 100, 0.0)
    assert within([unknown]) == "zug train 30 batches"


def test_what_a_site_calls_its_task_is_neither_markup_nor_steers_the_terminal() -> None:
    told = TaskProgressed(1, Phase.TRAIN, "bern", "[/x]\x1b]0;owned\x07" + "y" * 200, 1, 4, 30, 50, 100, 30.0)
    shown = within([told])
    assert "\x1b" not in shown
    assert len(shown) < 80


@pytest.mark.parametrize(
    "gone",
    [
        UpdateReceived(1, Phase.TRAIN, "chur", 4),
        CollaboratorAbsent(1, Phase.TRAIN, "chur", "its task failed"),
        CollaboratorAway("chur", "its connection broke"),
    ],
)
def test_a_bar_is_not_about_sites_that_have_answered_or_left(gone: Announcement) -> None:
    bar = Bar()
    bern = TaskProgressed(1, Phase.TRAIN, "bern", "train", 1, 4, 30, 50, 100, 30.0)
    for told in (bern, replace(bern, collaborator="chur", epoch=0)):
        bar.event(told)
    assert bar.description.startswith("last of 2: chur")
    bar.event(gone)
    assert bar.description == within([bern])
    bar.event(CollaboratorAway("bern", "its connection broke"))
    assert bar.description == ""
