"""A report of made results: its figures, its tables, its files."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("scipy")

from openfl_like.cli.study.export import export
from openfl_like.cli.study.figures import figures
from openfl_like.cli.study.report import write_report
from openfl_like.cli.study.tables import tables
from openfl_like.studies.results import RunState, StudyRunResult
from openfl_like.studies.statistics import comparisons
from openfl_like.studies.study import HalvingRule, Level, SweptAxis
from openfl_like.studies.summary import summaries
from tests.unit.studies.made_studies import finished, made_study, results_of

VALUES = {1: [0.5, 0.6, 0.8], 2: [0.4, 0.4, 0.5], 3: [0.7, 0.9, 1.0], 4: [0.5, 0.3, 0.6]}
STUDY = made_study()


def texts(results: dict[str, StudyRunResult]) -> dict[str, list[list[str]]]:
    found = summaries(STUDY, results)
    made = tables(STUDY, found, comparisons(STUDY, found))
    return {table.name: [[cell.text for cell in row] for row in table.rows] for table in made}


def test_the_tables_of_a_study() -> None:
    found = texts(results_of(STUDY, VALUES))
    assert list(found) == ["results", "configurations", "comparisons", "fairness"]
    assert found["results"] == [
        ["A", "0.63 ± 0.15", "0.43 ± 0.06"],
        ["B", "0.87 ± 0.15 *", "0.47 ± 0.15"],
    ]
    assert found["configurations"][2][1:6] == ["B", "0.1", "done", "3", "0.87 ± 0.15"]
    assert found["comparisons"][0] == ["0.1", "B \N{EN DASH} A", "3", "0.23", "0.09 to 0.38", "7.00", "0.020", "0.040"]
    assert found["fairness"][0] == ["A", "0.1", "2", "2 to 2", "1.000"]


def test_the_best_of_each_column_and_what_is_significant_stand_out() -> None:
    found = summaries(STUDY, results_of(STUDY, VALUES))
    results, _, compared, _ = tables(STUDY, found, comparisons(STUDY, found))
    assert [[cell.strong for cell in row] for row in results.rows] == [[False, False, False], [False, True, True]]
    assert "* differs from A at 5 %" in results.caption
    assert [row[-1].strong for row in compared.rows] == [True, False]


def test_one_seed_claims_nothing() -> None:
    study = made_study(repetitions=1)
    found = summaries(study, results_of(study, {1: [0.1], 2: [0.2], 3: [0.9], 4: [0.8]}))
    results, *_ = tables(study, found, comparisons(study, found))
    assert "Nothing is tested: that needs two seeds." in results.caption
    assert "*" not in "".join(cell.text for row in results.rows for cell in row)
    caption = figures(study, found)[0].caption
    assert "one seed, so no interval can be given" in caption


def test_time_and_energy_have_a_table_only_where_rows_have_them() -> None:
    results = results_of(STUDY, VALUES)
    one = results["c1-r1"]
    results["c1-r1"] = replace(one, rows=(replace(one.rows[0], hours=2.5, joules=1200.0),))
    assert texts(results)["devices"] == [["A", "0.1", "2.50", "1,200"]]
    assert [one.name for one in figures(STUDY, summaries(STUDY, results_of(STUDY, VALUES)))] == ["curves"]
    curves, time = figures(STUDY, summaries(STUDY, results))
    assert (curves.name, time.name) == ("curves", "time")
    (line,) = [line for axes in time.figure.axes for line in axes.lines]
    assert np.asarray(line.get_xdata()).tolist() == [2.5]


def test_a_figure_has_a_panel_for_each_combination_and_a_line_for_each_level() -> None:
    (curves,) = figures(STUDY, summaries(STUDY, results_of(STUDY, VALUES)))  # two alphas are no course
    assert [axes.get_title(loc="left") for axes in curves.figure.axes] == ["alpha 0.1", "alpha 10"]
    assert [len(axes.lines) for axes in curves.figure.axes] == [2, 2]
    assert [len(axes.collections) for axes in curves.figure.axes] == [2, 2]  # the bands


@pytest.mark.parametrize("count", [3, 25])
def test_a_numeric_axis_has_a_figure_of_its_own_and_many_levels_stay_readable(count: int) -> None:
    study = made_study([f"m{number}" for number in range(count)], [0.1, 1.0, 10.0], repetitions=2)
    found = summaries(study, results_of(study, {one.number: [0.5, 0.6] for one in study.configurations}))
    curves, along = figures(study, found)
    assert (along.name, along.figure.axes[0].get_xscale()) == ("along-alpha", "log")
    (legend,) = curves.figure.legends
    assert len(legend.get_texts()) == min(count, 10)
    assert ("all others in grey" in curves.caption) is (count > 10)


def test_what_was_drawn_is_points_and_lines_and_no_panels() -> None:
    study = made_study([f"m{number}" for number in range(12)], [0.5], repetitions=2)
    rates = SweptAxis("lr", tuple(Level(f"{number / 8}", number / 8) for number in range(1, 13)), drawn=True)
    drawn = tuple(
        replace(one, levels={"lr": rates.levels[one.number - 1].name, "alpha": "0.5"}) for one in study.configurations
    )
    study = replace(study, axes=(rates, study.axes[1]), configurations=drawn, compare="lr", baseline="0.125")
    found = summaries(study, results_of(study, {one.number: [0.5, 0.6] for one in drawn}))
    assert comparisons(study, found) == []
    curves, along = figures(study, found)
    assert [axes.get_title(loc="left") for axes in curves.figure.axes] == ["alpha 0.5"]
    assert len(curves.figure.axes[0].lines) == 12
    assert along.name == "along-lr"
    assert "results" not in {table.name for table in tables(study, found, [])}


def test_stopped_configurations_are_drawn_and_not_compared() -> None:
    study = replace(made_study(), halving=HalvingRule(2, 2))
    results = results_of(study, VALUES)
    for name in ("c3-r1", "c3-r2", "c3-r3"):
        results[name] = results[name].until(2)
    found = summaries(study, results)
    assert [one.level for one in comparisons(study, found)] == ["B"]
    assert "stopped early after round 2" in texts(results)["configurations"][2][3]


def test_a_report_is_files_that_are_the_same_again(tmp_path: Path) -> None:
    results = results_of(STUDY, VALUES)
    results["c4-r3"] = finished(STUDY.runs[-1], [0.1], state=RunState.FAILED, code="E501", cause="=cmd <b>no</b>")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        files = write_report(STUDY, results, tmp_path / name)
        assert sorted(files) == sorted(path.name for path in (tmp_path / name).iterdir())
    assert {"report.html", "report.md", "curves.png", "curves.svg", "rows.csv", "comparisons.csv"} <= {*files}
    for file in files:
        if not file.endswith(".parquet"):
            assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    page = (tmp_path / "one" / "report.html").read_text()
    assert "=cmd &lt;b&gt;no&lt;/b&gt;" in page
    rows = list(csv.DictReader((tmp_path / "one" / "comparisons.csv").read_text().splitlines()))
    assert float(rows[0]["difference"]) == pytest.approx(0.7 / 3)


def test_rows_are_one_for_each_run_and_round(tmp_path: Path) -> None:
    results = results_of(STUDY, VALUES)
    del results["c2-r2"]
    paths = export(STUDY, results, tmp_path)
    rows = list(csv.DictReader(paths[0].read_text().splitlines()))
    assert len(rows) == 11 * 4
    assert rows[0] | {"metric.accuracy": "0.125"} == rows[0]
    assert (rows[0]["axis.method"], rows[0]["selected"], rows[0]["seed"]) == ("A", "b", "7")


def test_rows_are_parquet_too(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    results = results_of(STUDY, VALUES)
    csv_file, parquet_file = export(STUDY, results, tmp_path)
    table = parquet.read_table(parquet_file)
    assert table.num_rows == 48
    assert table.column_names == csv_file.read_text().splitlines()[0].split(",")
    assert json.loads(json.dumps(table.to_pylist()[0]["metric.accuracy"])) == 0.125
