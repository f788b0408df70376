import re
from collections.abc import Mapping

import pytest

pytest.importorskip("matplotlib")

from openfl_like.api.explanation import Explanation
from openfl_like.cli.experiment.report import figures, tables
from openfl_like.cli.experiment.report.course import ExperimentCourse
from openfl_like.cli.experiment.report.page import comparison_of, page_of
from openfl_like.cli.output.page import html_of
from openfl_like.drawing.placed import PageFigure
from openfl_like.federation.announcements import (
    Announced,
    Announcement,
    ModelMade,
    RoundFinished,
    RoundStarted,
    UpdateReceived,
)
from openfl_like.federation.events import ModelVersion
from openfl_like.federation.failure import Failure, FailureKind
from openfl_like.federation.history.cause import Cause, Condition, Why
from openfl_like.federation.parties import ExperimentRecord, ExperimentSummary, PublishedVersion
from openfl_like.federation.status import Status
from openfl_like.federation.task import Phase
from openfl_like.plan.digest import freeze
from openfl_like.plan.schema import Plan

AWAY = Failure(FailureKind.LEFT, "no power <b>at all</b>", round=2, phase=Phase.TRAIN, site="chur")
SITES = ("ada", "bern", "chur")


def plan_with(**parts: object) -> Plan:
    basis = {
        "name": "digits",
        "task_runner": {"template": "src.model:Runner"},
        "data_loader": {"template": "numpy"},
        "tasks": {"train": {"function": "train"}, "validate": {"function": "validate"}},
    }
    return Plan.model_validate(basis | parts)


def events_of(
    number: int, times: tuple[float, float], sites: tuple[str, ...], absent: Mapping[str, Failure]
) -> list[tuple[float, Announcement]]:
    began, took = times
    here = [name for name in sites if name not in absent]
    metrics = {"accuracy": 0.5 + number / 20}
    return [
        (began, RoundStarted(number, sites, 2)),
        *(
            (began + took / 2, UpdateReceived(number, Phase.TRAIN, name, 10, {"train": {"loss": 1.0}}, 1.0))
            for name in here
        ),
        (began + took / 2, ModelMade(number, "m", dict.fromkeys(here, 1 / len(here)), dict.fromkeys(here, "d"))),
        *(
            (began + took, UpdateReceived(number, Phase.EVALUATE, name, 10, {"validate": metrics}, 1.0))
            for name in here
        ),
        (
            began + took,
            RoundFinished(
                number,
                "m",
                metrics,
                best=True,
                selected=sites,
                contributors=tuple(here),
                absent=absent,
                evaluators=tuple(here),
                seconds=took,
            ),
        ),
    ]


def course(
    name: str = "digits-1", rounds: int = 6, *, failed: bool = False, sites: tuple[str, ...] = SITES, **parts: object
) -> ExperimentCourse:
    told: list[tuple[float, Announcement]] = []
    versions = [PublishedVersion(ModelVersion(0, "m"), "", 1.0, kept=False)]
    for number in range(1, rounds + 1):
        absent = {"chur": AWAY} if number > 1 else {}
        told += events_of(number, (100.0 * number, 90.0 if number == 1 else 2.0), sites, absent)
        version = ModelVersion(number, "m", {"accuracy": 0.5 + number / 20}, best=True)
        versions.append(PublishedVersion(version, "ab" * 32 if number == rounds else "", 1.0, kept=True))
    history = [Announced(place, time, each) for place, (time, each) in enumerate(told, 1)]
    summary = ExperimentSummary(
        name, "digits", Status.FAILED if failed else Status.FINISHED, "it is <over>", "ada", 1e9, 1e9 + 1, 1e9 + 4000,
        "f00d", shortfalls={"chur": AWAY},
    )  # fmt: skip
    cause = Cause("no power", site="chur", phase="train", round=2, time=1e9, kind=FailureKind.LEFT)
    explanation = Explanation(summary, Why(Condition.FAILED, "it failed", cause)) if failed else None
    record = ExperimentRecord(summary, tuple(versions), freeze(plan_with(**parts)).decode())
    return ExperimentCourse(record, history, explanation)


def drawn(one: ExperimentCourse) -> list[PageFigure]:
    return [figure.on_page() for figure in figures.figures_of(one)]


def test_where_nothing_can_be_drawn_the_page_says_so() -> None:
    page = page_of(course(), None)
    assert "matplotlib is not installed" in page.remarks[0]
    assert len(page.tables) == 3


def test_a_page_tells_all_and_needs_nothing_besides_itself() -> None:
    text = html_of(page_of(course(), drawn(course())))
    assert text.count("<figure") == 6
    assert "http:" not in re.sub(r'src="data:[^"]*"', "", text)
    assert "no power &lt;b&gt;at all&lt;/b&gt;" in text
    assert "<b>at all" not in text
    for word in ("6 rounds were made by 3 sites", "ab" * 32, "rounds_to_train: 10", "Missing: chur: round 2"):
        assert word in text


def test_a_page_of_an_experiment_that_failed_begins_with_the_first_cause() -> None:
    page = page_of(course(failed=True), ())
    assert page.warnings[0].startswith("First cause at 2001-09-09 01:46:40Z: no power (site 'chur', train, round 2).")


def test_an_experiment_without_a_round_has_a_page_all_the_same() -> None:
    page = page_of(course(rounds=0), drawn(course(rounds=0)))
    assert page.figures == ()
    assert "No round was made." in page.summary
    assert "<h2>The plan</h2>" in html_of(page)


def test_sites_that_were_missing_come_first_with_their_first_reason() -> None:
    sites = {str(row["site"]): row for row in tables.tables_of(course())[0].data}
    assert list(sites) == ["chur", "ada", "bern"]
    assert sites["chur"] == {
        "site": "chur", "asked": 6, "contributed": 1, "mean weight": pytest.approx(1 / 3), "evaluated": 1,
        "missing": 5, "first reason": "round 2: left: no power <b>at all</b>",
    }  # fmt: skip


def test_a_round_that_hides_the_others_is_cut_off_and_told() -> None:
    captions = {figure.name: figure.caption for figure in figures.figures_of(course())}
    assert captions["time"].endswith("Round 1, which took 90 s, is cut off.")
    assert "cut off" not in {one.name: one.caption for one in figures.figures_of(course(rounds=1))}["time"]


def test_more_sites_than_colours_are_grey_and_the_worst_sixty_are_shown() -> None:
    names = ("chur", *(f"site-{number:03}" for number in range(79)))
    found = {figure.name: figure for figure in figures.figures_of(course(sites=names))}
    assert found["participation"].caption.endswith("The 60 of 80 sites that were missing most often.")
    assert len(found["metrics"].figure.legends[0].get_texts()) == 2


def test_experiments_are_compared_by_their_ends_and_by_the_keys_in_which_their_plans_differ() -> None:
    one, other = course("digits-1"), course("digits-2", rounds=3, seed=9, server_optimizer={"template": "fedavgm"})
    ends, plans = tables.compared([one, other])
    assert [(row["experiment"], row["rounds"], row["best round"]) for row in ends.data] == [
        ("digits-1", 6, 6),
        ("digits-2", 3, 3),
    ]
    assert {str(row["key"]): (row["digits-1"], row["digits-2"]) for row in plans.data} == {
        "seed": ("0", "9"),
        "server_optimizer.template": ("none", "fedavgm"),
    }
    page = comparison_of([one, other], [figure.on_page() for figure in figures.compared([one, other])])
    assert (page.title, len(page.figures), len(page.tables)) == ("digits-1 and digits-2", 1, 2)


def test_experiments_of_the_same_plan_do_not_differ() -> None:
    assert [table.name for table in tables.compared([course("digits-1"), course("digits-2")])] == ["experiments"]
