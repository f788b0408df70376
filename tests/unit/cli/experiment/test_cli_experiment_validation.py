"""What people read of verdicts on updates, and of models that were rejected."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from answers import Answers, Run, connected, data, fine

from openfl_like.cli.experiment.show import MOST_JUDGED
from openfl_like.federation.announcements import Announced
from openfl_like.federation.history.rounds import RoundRecord
from openfl_like.federation.task import Phase
from openfl_like.federation.validation.scoring import Unscored, UpdatesScored
from openfl_like.federation.validation.verdict import (
    Consequence,
    Measure,
    ModelRejected,
    UpdatesJudged,
    UpdateVerdict,
)

CLIPPED = UpdateVerdict("bern", "norm", Measure.NORM, 12.5, 4.0, Consequence.CLIP)
CAPPED = UpdateVerdict("zug", "sample_limit", Measure.SAMPLES, 1e6, 120.0, Consequence.COUNT_LESS)
DROPPED = UpdateVerdict("chur", "z_score", Measure.NORM_SCORE, 7.25, 3.5, Consequence.DROP)
REJECTED = ModelRejected(2, "bb", "aa", "accuracy", 0.5, 0.75, 0.125, {"accuracy": 0.5})
WORDS = (
    "the model is rejected, and the one before goes on: its accuracy is 0.5, the best one 0.75 "
    "(model_store.accepted_margin is 0.125)"
)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    return connected(monkeypatch, tmp_path)


def has(monkeypatch: pytest.MonkeyPatch, *records: RoundRecord) -> None:
    def rounds(*_: object) -> Iterator[RoundRecord]:
        yield from records

    monkeypatch.setattr(Answers, "rounds", rounds)


def test_show_tells_every_reason(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    has(
        monkeypatch,
        RoundRecord(1, "aa", verdicts=(CLIPPED, CAPPED, DROPPED)),
        RoundRecord(2, "aa", rejected=REJECTED),
    )
    lines = [line for line in fine(run("experiment", "show", "digits-1")).splitlines() if "validation:" in line]
    assert lines == [
        "validation: round 1: bern: norm: the difference from the global model has the length 12.5, and may have 4; it "
        "is clipped to that",
        "validation: round 1: zug: sample_limit: it claims 1000000 samples, and may claim 120; it counts with 120",
        "validation: round 1: chur: z_score: the length of its difference from the global model is 7.25 standard "
        "deviations above the others', and may be 3.5",
        f"validation: round 2: {WORDS}",
    ]
    found = data(run("experiment", "show", "digits-1", "--json"))
    assert [(one["round"], one["collaborator"], one["action"], one["bound"]) for one in found["verdicts"]] == [
        (1, "bern", "clip", 4.0),
        (1, "zug", "count_less", 120.0),
        (1, "chur", "drop", 3.5),
    ]
    assert found["rejected"][0]["value"] == 0.5


def test_of_many_the_last_ones_are_shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, *(RoundRecord(number, "aa", verdicts=(DROPPED,)) for number in range(1, MOST_JUDGED + 4)))
    lines = [line for line in fine(run("experiment", "show", "digits-1")).splitlines() if "validation:" in line]
    assert lines[0] == "validation: 3 more before these (fx experiment rounds lists all)"
    assert lines[1].startswith("validation: round 4: chur")
    assert len(lines) == MOST_JUDGED + 1


def test_rounds_have_them_in_their_rows(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, RoundRecord(1, "aa", verdicts=(CLIPPED, DROPPED)), RoundRecord(2, "aa", rejected=REJECTED))
    first, second = data(run("experiment", "rounds", "digits-1", "--json"))
    assert [one["validator"] for one in first["verdicts"]] == ["norm", "z_score"]
    assert (first["rejected"], second["rejected"]["kept"]) == (None, "aa")
    shown = " ".join(fine(run("experiment", "rounds", "digits-1")).split())
    assert "bern: norm: the difference" in shown
    assert "the model is rejected" in shown


def test_who_watches_is_told_what_is_not_told_as_an_absence(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    told: tuple[UpdatesJudged | ModelRejected, ...] = (
        UpdatesJudged(1, Phase.TRAIN, (CLIPPED, DROPPED)),
        UpdatesJudged(1, Phase.EVALUATE, (CAPPED,)),
        UpdatesJudged(2, Phase.TRAIN, (DROPPED,)),
        REJECTED,
        replace(REJECTED, round=3, value=None),
    )
    events = [Announced(number, 1.0, one) for number, one in enumerate(told, 1)]
    monkeypatch.setattr(Answers, "watch", lambda *_, **__: iter([*events, Answers.end]))
    assert fine(run("experiment", "watch", "digits-1")).splitlines() == [
        "round 1: bern: norm: the difference from the global model has the length 12.5, and may have 4; it is clipped "
        "to that",
        "round 1: of the evaluation, zug: sample_limit: it claims 1000000 samples, and may claim 120; it counts with "
        "120",
        f"round 2: {WORDS}",
        "round 3: the model is rejected, and the one before goes on: nobody could measure its accuracy "
        "(model_store.accepted_margin is 0.125)",
    ]


def test_who_watches_is_told_which_updates_have_no_score_and_the_rounds_have_the_others(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored = UpdatesScored(2, "accuracy", 0.5, {"bern": 0.75}, {"bern": "zug", "zug": "bern"}, {"zug": Unscored.ABSENT})
    events = [Announced(1, 1.0, scored), Announced(2, 1.0, replace(scored, round=3, limit=None, unscored={}))]
    monkeypatch.setattr(Answers, "watch", lambda *_, **__: iter([*events, Answers.end]))
    assert fine(run("experiment", "watch", "digits-1")).splitlines() == [
        "round 2: updates without a score: zug: bern has sent no score",
        "round 3: of so few scores no median can be told, and every update counts",
    ]
    has(monkeypatch, RoundRecord(2, "aa", scored=scored))
    assert "bern: 0.75 by zug" in " ".join(fine(run("experiment", "rounds", "digits-1")).split())
