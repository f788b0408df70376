"""The workspace template for a CSV file of one's own: as it comes, and with another file in its place."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from openfl_like.cli.simulate import simulate
from openfl_like.cli.workspace import workspace
from openfl_like.plan.workspace import EXAMPLE

pytestmark = pytest.mark.torch
FLOWERS = "petal;width;kind\n" + "".join(f"{row % 7}.5;{row % 3};{('a', 'b', 'c')[row % 3]}\n" for row in range(60))
HOUSES = "area,rooms,age,price\n" + "".join(f"{50 + row},{row % 5},{row % 9},{1000 * row}\n" for row in range(60))


def simulated(folder: Path) -> Result:
    words = [str(folder / "plan.yaml"), "-s", "aggregator.settings.rounds_to_train=2"]
    return CliRunner().invoke(simulate, words, standalone_mode=False)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "study"
    assert CliRunner().invoke(workspace, ["create", str(folder), "--template", "csv"]).exit_code == 0
    return folder


def use(study: Path, table: str, params: str) -> None:
    (study / "shards/data.csv").write_text(table)
    for number, path in enumerate(sorted((study / "shards").glob("*.yaml")), 1):
        path.write_text(f"template: csv\nparams: {{file: data.csv, site: {number}, sites: 3, {params}}}\n")


def test_it_is_simulated_as_it_comes_and_shows_what_a_site_writes(study: Path) -> None:
    done = simulated(study)
    assert done.exception is None, done.output
    assert "FINISHED: 2 of 2 rounds are done" in done.output
    assert "sites:" not in (study / EXAMPLE).read_text()


@pytest.mark.parametrize(
    ("table", "params", "metric"),
    [
        (FLOWERS, 'target: kind, classes: [a, b, c], delimiter: ";"', "accuracy"),
        (HOUSES, "target: price, scale: {area: [80, 20], price: [30000, 20000]}", "loss"),
    ],
    ids=["three classes", "a number"],
)
def test_another_file_with_other_columns_takes_its_place(study: Path, table: str, params: str, metric: str) -> None:
    use(study, table, params)
    done = simulated(study)
    assert done.exception is None, done.output
    assert "FINISHED: 2 of 2 rounds are done" in done.output
    assert f"{metric} " in done.output


def test_what_does_not_fit_is_told_with_its_line_in_the_file(study: Path) -> None:
    use(study, HOUSES, "target: price")
    told = str(simulated(study).exception)
    assert "data.csv: line 53: the column 'area' is further than 100 from 0" in told
    assert "(write scale: {area: [CENTRE, WIDTH], price: [CENTRE, WIDTH]} into params of shard.yaml" in told
