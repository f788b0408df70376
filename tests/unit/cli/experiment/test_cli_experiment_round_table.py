"""The rounds as rows: what is alike is said once, what is empty is not said."""

from dataclasses import replace

from openfl_like.cli.experiment.round_table import round_rows
from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.federation.history.rounds import ContributorShare, RoundRecord
from openfl_like.federation.status import Status

SHARES = {"bern": ContributorShare(0.25, "aa"), "zurich": ContributorShare(0.75, "bb")}
ROUND = RoundRecord(1, "cc", {}, ("bern", "zurich"), SHARES, evaluators=("bern", "zurich"))
FIRST = RoundRecord(0, "dd", selected=("bern",), contributors={"bern": ContributorShare(1.0, "dd")})


def test_rounds_that_went_alike_share_a_row() -> None:
    rounds = [FIRST, *(replace(ROUND, round=number, digest=str(number)) for number in range(1, 31))]
    weights = {"bern": 0.25, "zurich": 0.75}
    assert round_rows(rounds) == [
        {"round": "0", "status": "FINISHED", "contributors": {"bern": 1.0}, "evaluated by": ()},
        {"round": "1 to 30", "status": "FINISHED", "contributors": weights, "evaluated by": "contributors"},
    ]


def test_a_round_without_a_site_has_a_row_of_its_own_that_says_why() -> None:
    away = Failure(FailureKind.LEFT, "no power", site="zurich", round=2)
    shares = {"bern": ContributorShare(1.0, "aa")}
    short = replace(ROUND, round=2, contributors=shares, absent={"zurich": away}, evaluators=("bern",))
    rows = round_rows([ROUND, short, replace(ROUND, round=3), replace(ROUND, round=4)])
    assert [row["round"] for row in rows] == ["1", "2", "3 to 4"]
    assert rows[1]["absent"] == {"zurich:": str(away)}


def test_who_was_asked_and_neither_contributed_nor_was_missing_is_told() -> None:
    (row,) = round_rows([replace(ROUND, selected=("bern", "geneva", "zurich"))])
    assert row["also selected"] == ["geneva"]


def test_rounds_that_do_not_follow_each_other_stay_apart() -> None:
    assert [row["round"] for row in round_rows([ROUND, replace(ROUND, round=3)])] == ["1", "3"]


def test_the_round_in_which_an_experiment_failed_is_no_other() -> None:
    rows = round_rows([ROUND, replace(ROUND, round=2, status=Status.FAILED)])
    assert [(row["round"], row["status"]) for row in rows] == [("1", "FINISHED"), ("2", "FAILED")]


def test_there_may_be_no_round() -> None:
    assert round_rows([]) == []


def test_who_had_no_time_to_train_all_is_told_with_its_samples() -> None:
    rows = round_rows([ROUND, replace(ROUND, round=2, partial={"bern": 12})])
    assert "partial" in rows[0]
    assert (rows[0]["partial"], rows[1]["partial"]) == ({}, {"bern:": "12 samples"})
