"""A study is refused before its first run, with every mistake, its line and its cure; or it is all its runs."""

import re
from pathlib import Path

import pytest

from openfl_like.errors import SettingsError
from openfl_like.plan.digest import plan_digest, thaw
from openfl_like.plan.load import load_plan
from openfl_like.plan.workspace import create_workspace, find_study, installed_studies, plan_path
from openfl_like.studies.load import load_study
from openfl_like.studies.schema import KINDS, StudyFile
from openfl_like.studies.study import study_from, study_json

STUDY = """\
name: skew
plan: digits_dirichlet
set:
  aggregator.settings.rounds_to_train: 6
repetitions: 3
sweep:
  method:
    variants:
      FedAvg: {}
      FedProx: {algorithm: {template: fedprox, settings: {mu: 0.1}}}
      FedAvgM: {server_optimizer: {template: fedavgm, settings: {momentum: 0.9}}}
  alpha:
    key: simulation.sites.partitioner.settings.alpha
    values: [0.1, 1, 100]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "study.yaml"
    path.write_text(text)
    return path


def problems(folder: Path, text: str) -> list[str]:
    path = written(folder, text)
    with pytest.raises(SettingsError) as caught:
        load_study(path)
    assert caught.value.place == str(path)
    return [problem.replace(str(path), "study.yaml") for problem in caught.value.problems]


def test_a_study_is_all_combinations_with_a_seed_for_each_repetition(tmp_path: Path) -> None:
    runnable = load_study(written(tmp_path, STUDY))
    study = runnable.study
    assert [one.title for one in study.configurations][:4] == [
        "method FedAvg, alpha 0.1", "method FedAvg, alpha 1", "method FedAvg, alpha 100", "method FedProx, alpha 0.1",
    ]  # fmt: skip
    assert [(run.id, run.seed) for run in study.runs][2:4] == [("c1-r3", 9), ("c2-r1", 7)]
    assert (len(study.runs), study.metric, study.mode) == (27, "accuracy", "max")
    assert (study.compare, study.baseline) == ("method", "FedAvg")
    assert study_from(study_json(study), "here") == study


def test_its_plans_are_those_of_fx_simulate_with_the_same_overrides(tmp_path: Path) -> None:
    runnable = load_study(written(tmp_path, STUDY))
    overrides = (
        "aggregator.settings.rounds_to_train=6",
        "algorithm={template: fedprox, settings: {mu: 0.1}}",
        "simulation.sites.partitioner.settings.alpha=1",
        "seed=8",
    )
    (run,) = [run for run in runnable.study.runs if run.id == "c5-r2"]
    wanted = plan_digest(load_plan(plan_path("digits_dirichlet"), overrides))
    assert run.plan_digest == wanted == plan_digest(thaw(runnable.plans[run.id]))


def test_every_mistake_is_told_with_its_line_and_its_cure(tmp_path: Path) -> None:
    text = STUDY.replace("mu: 0.1", "muu: 0.1").replace("0.1, 1, 100", "0.1, -1, big")
    text = text.replace("rounds_to_train", "rounds_to_tran").replace("fedavgm,", "fedavgmm,")
    found = problems(tmp_path, text)
    assert [line.split(": ")[:2] for line in found] == [
        ["study.yaml:4", "set.aggregator.settings.rounds_to_tran"],
        ["study.yaml:10", "sweep.method.variants.FedProx.algorithm"],
        ["study.yaml:10", "sweep.method.variants.FedProx.algorithm"],
        ["study.yaml:11", "sweep.method.variants.FedAvgM.server_optimizer"],
        ["study.yaml:14", "sweep.alpha.values[1]"],
        ["study.yaml:14", "sweep.alpha.values[2]"],
    ]
    assert "did you mean 'rounds_to_train'?" in found[0]
    assert any("there is no server_optimizer named 'fedavgmm'; did you mean 'fedavgm'?" in line for line in found)
    assert "in the plan, simulation.sites.partitioner.settings.alpha: must be more than 0, not -1" in found[4]


def test_a_mistake_that_only_comes_with_certain_levels_names_them(tmp_path: Path) -> None:
    text = STUDY.replace("values: [0.1, 1, 100]", "values: [1]").replace(
        "FedAvg: {}", "FedAvg: {selector.settings: {count: 3, fraction: 0.5}}"
    )
    (line,) = problems(tmp_path, text)
    assert line.startswith("study.yaml:9: sweep.method.variants.FedAvg.selector.settings: in the plan, selector")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("plan: digits_dirichlet", "plan: digits_dirichlt"), "study.yaml:2: plan: there is no ready-made plan named"),
        (("plan: digits_dirichlet", "plan: no/plan.yaml"), "there is no such file"),
        (("name: skew", "nme: skew"), "unknown key; did you mean 'name'?"),
        (("repetitions: 3", "repetitions: 0"), "study.yaml:5: repetitions: must be at least 1, not 0"),
        (
            ("values: [0.1, 1, 100]", "uniform: {low: 0.1, high: 1}"),
            "its values are drawn, and it is not said how many",
        ),
        (("values: [0.1, 1, 100]", "values: [1]\n    choice: [1]"), "exactly one of variants"),
        (
            ("values: [0.1, 1, 100]", "values: [1, 1]"),
            "study.yaml:14: sweep.alpha.values: the value 1 stands there twice",
        ),
        (
            ("    key: simulation.sites.partitioner.settings.alpha", "    key: seed"),
            "repetitions have seeds of their own",
        ),
        (
            ("    key: simulation.sites.partitioner.settings.alpha", "    key: algorithm"),
            "swept over by 'method' already",
        ),
        (("repetitions: 3", "draws: {count: 3}"), "there is no axis whose values are drawn"),
        (("repetitions: 3", "early_stop: {first: 6}"), "no round comes after it: the plans have 6"),
        (("repetitions: 3", "metric: quality"), "it is not said whether more or less of 'quality' is better"),
        (("repetitions: 3", "compare: {axis: alfa}"), "there is no axis 'alfa'; did you mean 'alpha'?"),
        (("repetitions: 3", "compare: {baseline: FedAvgg}"), "'FedAvgg' is no level of 'method'; did you mean"),
        (("repetitions: 3", "repetitions: 1000\nearly_stop: {first: 0}"), "must be at least 1, not 0"),
        (("values: [0.1, 1, 100]", "geometric: {low: 1, high: 1, steps: 3}"), "low must be less than high"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, change: tuple[str, str], told: str) -> None:
    assert change[0] in STUDY
    found = problems(tmp_path, STUDY.replace(*change))
    assert any(told in line for line in found), found


def test_too_many_runs_are_refused_before_their_plans_are_made(tmp_path: Path) -> None:
    text = STUDY.replace("values: [0.1, 1, 100]", "geometric: {low: 1, high: 2, steps: 1000}").replace(
        "repetitions: 3", "repetitions: 1000"
    )
    assert problems(tmp_path, text) == ["study.yaml:6: sweep: it makes 3,000,000 runs; at most 10,000 are one study"]


def test_a_plan_beside_the_study_is_found_there_and_its_own_mistakes_are_told(tmp_path: Path) -> None:
    text = plan_path("digits_dirichlet").read_text().replace("count: 100", "cout: 100")
    (tmp_path / "plan.yaml").write_text(text)
    found = problems(tmp_path, "name: mine\nplan: ./plan.yaml\n")
    assert found
    assert all(line.startswith(str(tmp_path / "plan.yaml:")) for line in found)


def test_draws_are_the_same_again_and_stay_when_another_axis_comes(tmp_path: Path) -> None:
    text = """\
name: search
plan: breast_cancer
draws: {count: 5, seed: 3}
sweep:
  lr: {key: task_runner.settings.lr, log_uniform: {low: 0.0001, high: 1}}
"""
    first = load_study(written(tmp_path, text)).study
    more = load_study(
        written(tmp_path, f"{text}  batch: {{key: data_loader.settings.batch_size, integers: {{low: 8, high: 64}}}}\n")
    ).study
    values = [one.changes["task_runner.settings.lr"] for one in first.configurations]
    assert values == [one.changes["task_runner.settings.lr"] for one in more.configurations]
    assert len(set(values)) == 5
    assert all(isinstance(value, float) and 0.0001 <= value <= 1 for value in values)
    assert all(8 <= int(one.levels["batch"]) <= 64 for one in more.configurations)
    assert load_study(written(tmp_path, text.replace("seed: 3", "seed: 4"))).study.digest != first.digest


def test_the_digest_knows_plans_and_code_and_not_how_the_report_compares(tmp_path: Path) -> None:
    workspace = create_workspace(tmp_path / "mine", "numpy_breast_cancer")
    text = "name: mine\nplan: mine/plan.yaml\nrepetitions: 2\n"
    first = load_study(written(tmp_path, text)).study.digest
    assert load_study(written(tmp_path, text + "compare: {}\n")).study.digest == first
    assert load_study(written(tmp_path, text + "set: {tasks.train.kwargs.epochs: 1}\n")).study.digest != first
    code = workspace / "src" / "breast_cancer.py"
    code.write_text(code.read_text() + "\n")
    assert load_study(written(tmp_path, text)).study.digest != first


@pytest.mark.parametrize("name", installed_studies())
def test_ready_made_studies_are_whole(name: str) -> None:
    study = load_study(find_study(name)).study
    assert study.name == name
    assert len(study.runs) > 10


def test_every_key_is_on_the_page() -> None:
    page = (Path(__file__).parents[3] / "docs" / "studies.md").read_text()
    table = r"^\| (key|axis) \|.*\n\|[-| ]+\|\n((?:\|.*\n)+)"
    tables = {match[1]: match[2] for match in re.finditer(table, page, re.MULTILINE)}
    first_cells = {name: re.findall(r"^\| (.*?) \|", rows, re.MULTILINE) for name, rows in tables.items()}
    named = {
        name: {word for cell in cells for word in re.findall(r"`(\w+)`", cell)} for name, cells in first_cells.items()
    }
    assert named["key"] == set(StudyFile.model_fields)
    assert named["axis"] == set(KINDS)
