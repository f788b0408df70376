"""``fx plan sites``: what each made site has, as a table of 80 columns, as JSON, as a picture, as shard files."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from openfl_like.cli.plan import plan
from openfl_like.data.shard_file import load_shard_config
from openfl_like.errors import UsageError

SHARD = """\
import numpy as np
from openfl_like.data.shard import ArrayShard, Dataset

class Numbers(ArrayShard):
    def __init__(self, classes=10):
        samples = np.arange(400, dtype=np.float32)[:, None]
        targets = np.arange(400) % classes if classes else samples[:, 0]
        data = [Dataset(samples[rows], targets[rows]) for rows in (slice(300), slice(300, 400))]
        super().__init__(dict(zip(("train", "validate"), data)), "Numbers.", (0.0, 400.0), classes)
"""
PLAN = """\
name: numbers
task_runner: {template: src.net:Runner}
data_loader: {template: numpy}
tasks: {train: {function: train}}
"""
SECTION = """\
simulation:
  sites:
    count: 12
    shard: {template: numbers_shard:Numbers, params: {classes: 10}}
    partitioner: {template: dirichlet, settings: {alpha: 0.2}}
    without_samples: drop
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "numbers_shard.py").write_text(SHARD)
    (tmp_path / "plan.yaml").write_text(PLAN + SECTION)
    return tmp_path / "plan.yaml"


def run(*words: str) -> Result:
    return CliRunner().invoke(plan, ["sites", *words], standalone_mode=False)


def test_the_table_has_a_row_for_each_site_within_80_columns(path: Path) -> None:
    result = run(str(path))
    assert result.exception is None
    summary, heading, *rows = result.stdout.splitlines()
    assert summary.startswith("12 sites of numbers_shard:Numbers by dirichlet(alpha 0.2): samples ")
    assert heading.split() == ["site", "trains", "on", "held", "out", "labels", "most"]
    assert [row.split()[0] for row in rows] == [f"site-{number:02}" for number in range(1, 13)]
    assert sum(int(row.split()[1]) for row in rows) == 300
    assert max(map(len, [heading, *rows])) <= 80
    assert all("%" in row for row in rows)


def test_json_has_all_counts(path: Path) -> None:
    found = json.loads(run(str(path), "--json").stdout)["data"]
    assert (found["count"], len(found["sites"]), 0 < found["iidness"] < 1) == (12, 12, True)
    first = found["sites"][0]
    assert (first["site"], first["part"], sum(first["labels"].values())) == ("site-01", 1, first["train"])
    assert sum(site["held_out"] for site in found["sites"]) == 100


def test_targets_without_labels_have_sizes_only(path: Path) -> None:
    changes = "-s", "simulation.sites.shard.params.classes=0", "-s", "simulation.sites.partitioner={template: iid}"
    lines = run(str(path), *changes).stdout.splitlines()
    assert lines[0].endswith("samples 33 least, 33 median, 34 most")
    assert lines[1].split() == ["site", "trains", "on", "held", "out"]
    assert json.loads(run(str(path), *changes, "--json").stdout)["data"]["iidness"] is None


def test_the_shard_files_are_written(path: Path, tmp_path: Path) -> None:
    result = run(str(path), "--shards", str(tmp_path / "shards"))
    assert "12 shard files are in" in result.stderr
    files = sorted((tmp_path / "shards").iterdir())
    assert [file.name for file in files] == [f"site-{number:02}.yaml" for number in range(1, 13)]
    assert {load_shard_config(file).template for file in files} == {"part"}


def test_shard_files_of_other_sites_are_not_mixed_with_these(path: Path, tmp_path: Path) -> None:
    words = "--shards", str(tmp_path / "shards")
    assert run(str(path), *words).exception is None
    assert run(str(path), *words).exception is None
    error = run(str(path), *words, "-s", "simulation.sites.count=5").exception
    assert isinstance(error, UsageError)
    assert "shard files of other sites, such as site-01.yaml" in error.message
    assert len(list((tmp_path / "shards").iterdir())) == 12


def test_a_plan_that_makes_no_sites_says_so(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(PLAN)
    error = run(str(tmp_path / "plan.yaml")).exception
    assert isinstance(error, UsageError)
    assert "the plan makes no sites" in error.message
    assert "simulation.sites" in error.cure


@pytest.mark.children  # matplotlib asks a program for the fonts of the machine when it does not know them yet
@pytest.mark.parametrize(
    ("form", "begins", "change"),
    [
        ("png", b"\x89PNG", ""),
        ("svg", b"<?xml", ""),
        ("svg", b"<?xml", "simulation.sites.shard.params.classes=25"),
        ("svg", b"<?xml", "simulation.sites.count=60"),
        ("svg", b"<?xml", "simulation.sites={count: 160, shard: numbers_shard:Numbers, without_samples: drop}"),
    ],
)
def test_the_picture_is_drawn_and_is_the_same_again(
    path: Path, tmp_path: Path, form: str, begins: bytes, change: str
) -> None:
    pytest.importorskip("matplotlib")
    files = [tmp_path / f"{name}.{form}" for name in ("one", "two")]
    for file in files:
        assert run(str(path), "--picture", str(file), *(("-s", change) if change else ())).exception is None
    assert files[0].read_bytes().startswith(begins)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_picture_of_another_kind_is_refused(path: Path, tmp_path: Path) -> None:
    error = run(str(path), "--picture", str(tmp_path / "sites.bmp")).exception
    assert isinstance(error, UsageError)
    assert ".png, .svg or .pdf, not '.bmp'" in error.message
    assert not (tmp_path / "sites.bmp").exists()


def test_without_matplotlib_a_picture_is_refused_with_what_to_do(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    error = run(str(path), "--picture", str(tmp_path / "sites.png")).exception
    assert isinstance(error, UsageError)
    assert "pip install matplotlib" in error.cure
