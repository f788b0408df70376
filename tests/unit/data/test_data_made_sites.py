import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openfl_like.data.made_sites import MadeSites, make_sites
from openfl_like.data.shard import build_shard
from openfl_like.data.shard_file import load_shard_config
from openfl_like.errors import FederationError, SettingsError, ShardError, UsageError
from openfl_like.plan.schema import Plan
from openfl_like.runtimes.models import ModelRepository
from openfl_like.runtimes.process import process_runtime
from openfl_like.runtimes.sites import SimulatedSites
from openfl_like.services.simulation_inputs import SimulationInputs
from openfl_like.store.files import ExperimentFiles

CLINIC = """\
import numpy as np
from openfl_like.data.shard import ArrayShard, Dataset

class Clinic(ArrayShard):
    def __init__(self, rows=200, file=None):
        numbers = np.arange(rows) if file is None else np.loadtxt(file)
        samples = numbers.astype(np.float32)[:, None]
        targets = np.arange(len(samples)) % 4
        cut = len(samples) * 3 // 4
        super().__init__(
            {"train": Dataset(samples[:cut], targets[:cut]), "validate": Dataset(samples[cut:], targets[cut:])},
            "A clinic.", (0.0, 1000.0), classes=4,
        )

class Halves:
    needs_labels = False
    def owners(self, targets, sites, seed):
        return np.arange(len(targets)) * sites // len(targets)
"""
BASE = {
    "name": "study",
    "seed": 7,
    "task_runner": {"template": "src.net:Runner"},
    "data_loader": {"template": "numpy"},
    "tasks": {"train": {"function": "train"}},
}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "clinic.py").write_text(CLINIC)
    return tmp_path


def plan(admission: Mapping[str, object] | None = None, **sites: object) -> Plan:
    section = {"count": 12, "shard": "clinic:Clinic", **sites}
    return Plan.model_validate(
        {**BASE, "admission": admission or {}, "simulation": {"sites": {k: v for k, v in section.items() if v != ""}}}
    )


def made(workspace: Path, admission: Mapping[str, object] | None = None, **sites: object) -> MadeSites:
    found = make_sites(plan(admission, **sites), workspace)
    assert found is not None
    return found


def test_a_plan_without_the_section_makes_none(workspace: Path) -> None:
    assert make_sites(Plan.model_validate(BASE), workspace) is None


def test_sites_are_called_so_that_they_sort_as_they_are_counted(workspace: Path) -> None:
    assert list(made(workspace).shards) == [f"site-{number:02}" for number in range(1, 13)]
    assert list(made(workspace, count=3).shards) == ["site-1", "site-2", "site-3"]


def test_sites_are_called_as_the_plan_names_them(workspace: Path) -> None:
    found = made(workspace, {"collaborators": ["zurich", "bern"]}, count="")
    assert dict(found.numbers) == {"bern": 1, "zurich": 0}


def test_a_part_of_the_sites_may_take_part(workspace: Path) -> None:
    found = made(workspace, {"collaborators": ["site-12", "site-03"]})
    assert dict(found.numbers) == {"site-03": 2, "site-12": 11}


@pytest.mark.parametrize(
    ("admission", "said"),
    [
        ({"collaborators": ["bern"]}, "the plan asks for bern, and the 12 sites that are made are site-01 to site-12"),
        ({"min_collaborators": 13}, "the plan begins with 13 sites, and 12 are made"),
    ],
)
def test_sites_that_are_not_made_cannot_be_asked(workspace: Path, admission: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        made(workspace, admission)
    assert "simulation.sites" in caught.value.place
    assert "admission." in caught.value.cure


def test_a_named_site_that_is_left_without_samples_is_told(workspace: Path) -> None:
    rows = {"template": "manual", "settings": {"rows": [["0-99"], []]}}
    with pytest.raises(UsageError, match="the plan asks for bern"):
        made(workspace, {"collaborators": ["zurich", "bern"]}, count="", partitioner=rows, without_samples="drop")


def test_the_data_set_may_be_a_file_with_code_beside_it(workspace: Path, tmp_path: Path) -> None:
    folder = workspace / "data"
    folder.mkdir()
    (workspace / "clinic.py").rename(folder / "clinic.py")
    np.savetxt(folder / "patients.csv", np.arange(80))
    (folder / "whole.yaml").write_text("template: clinic:Clinic\nparams: {file: patients.csv}\nreads: [patients.csv]\n")
    halves = {"template": "clinic:Halves"}
    found = made(workspace, count=2, shard="data/whole.yaml", partitioner=halves)
    assert found.shards["site-2"].get_dataset("train").samples[:, 0].tolist() == list(range(30, 60))
    text = found.files(tmp_path / "shards")["site-2"].read_text()
    assert f'"file": "{folder / "patients.csv"}"' in text
    assert f'modules: "{folder}"' in text
    assert f'reads: ["{folder / "patients.csv"}", "{folder}"]' in text


def test_params_are_relative_to_the_workspace(workspace: Path) -> None:
    np.savetxt(workspace / "patients.csv", np.arange(100, 140))
    found = made(workspace, count=1, shard={"template": "clinic:Clinic", "params": {"file": "patients.csv"}})
    assert found.shards["site-1"].get_dataset("train").samples.min() == 100


@pytest.mark.parametrize(
    ("sites", "kind", "said"),
    [
        ({"shard": "clinic:Clinc"}, ShardError, "has no 'Clinc'"),
        ({"shard": "whole.yaml"}, SettingsError, "whole.yaml"),
        ({"count": 200}, ShardError, "150 samples to train on, too few for 200 sites"),
        ({"partitioner": {"template": "clinic:Thirds"}}, ShardError, "has no 'Thirds'"),
        ({"partitioner": {"template": "dirichlet", "settings": {"alpha": 0.001}}}, ShardError, "of 12 sites have no"),
        ({"shard": {"template": "clinic:Clinic", "params": {"row": 3}}}, ShardError, "did you mean 'rows'"),
    ],
)
def test_what_cannot_be_made_is_refused(
    workspace: Path, sites: Mapping[str, Any], kind: type[FederationError], said: str
) -> None:
    with pytest.raises(kind, match=said) as caught:
        make_sites(plan(None, **sites), workspace)
    assert kind is SettingsError or "simulation.sites" in caught.value.place


def test_the_seed_is_the_plans_unless_it_is_given(workspace: Path) -> None:
    own, given, other = made(workspace), made(workspace, seed=7), made(workspace, seed=8)
    assert own.shards.digest() == given.shards.digest() != other.shards.digest()


def test_one_line_tells_what_was_made(workspace: Path) -> None:
    skewed = {"template": "labels", "settings": {"labels": 2}}
    noise = {"fraction": 0.25, "sites": 0.5}
    assert made(workspace, count=8, partitioner=skewed, label_noise=noise).summary == (
        "8 sites of clinic:Clinic by labels(labels 2), 25 % of the labels wrong at 50 % of the sites: "
        "samples 24 least, 24 median, 27 most; iid-ness 0.44"
    )


def test_a_record_remembers_one_digest_for_all_sites(workspace: Path) -> None:
    inputs = SimulationInputs.of(workspace, made(workspace).shards, workspace / "record")
    assert (inputs.data, len(inputs.data_set)) == ({}, 64)
    now = SimulationInputs.of(workspace, made(workspace, seed=1).shards, workspace / "record")
    assert inputs.changed(now) == ["the data set of the sites, or how it is dealt out,"]
    assert inputs.changed(inputs) == []


LARGE = """\
import numpy as np
from openfl_like.data.shard import ArrayShard, Dataset

class Large(ArrayShard):
    def __init__(self):
        samples, targets = np.zeros((40_000, 64), np.float32), np.arange(40_000) % 10
        data = [Dataset(samples[rows], targets[rows]) for rows in (slice(30_000), slice(30_000, 40_000))]
        super().__init__(dict(zip(("train", "validate"), data)), "Large.", (0.0, 1.0), classes=10)
"""


def test_a_thousand_sites_are_no_thousand_copies_and_no_files(tmp_path: Path) -> None:
    (tmp_path / "large.py").write_text(LARGE)
    first = made(tmp_path, count=1, shard="large:Large")  # the data set stays in memory with it
    whole = first.shards["site-1"].get_dataset("train").samples.nbytes
    tracemalloc.start()
    try:
        skewed = {"template": "dirichlet", "settings": {"alpha": 0.3}}
        found = made(tmp_path, count=1000, shard="large:Large", partitioner=skewed, without_samples="merge")
        files = found.files(tmp_path / "shards")
        simulated = SimulatedSites(plan(), tmp_path, tmp_path / "record", found.shards, files)
        runtime = process_runtime(simulated, ModelRepository(plan(), ExperimentFiles(tmp_path / "record")))
        parts = list(found.shards.values())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(parts) > 900
    assert runtime is not None
    assert peak < whole
    assert not (tmp_path / "shards").exists()


class Each:
    """Sites with a shard of their own each."""

    SECTION: Mapping[str, object] = {"shard": "", "each": {"template": "synthetic", "params": {"samples": 5}}}

    @classmethod
    def made(cls, workspace: Path, admission: Mapping[str, object] | None = None, **sites: object) -> MadeSites:
        return made(workspace, admission, **{**cls.SECTION, **sites})


def test_a_million_sites_take_no_room_until_they_are_asked_for(workspace: Path) -> None:
    tracemalloc.start()
    try:
        found = Each.made(workspace, count=1_000_000)
        samples = found.shards["site-0999999"].get_dataset("train").samples
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert samples.shape == (5, 60)
    assert len(found.shards) == len(found.numbers) == 1_000_000
    assert "site-1000001" not in found.shards
    assert found.summary == "1,000,000 sites, each with synthetic(samples 5) of its own"
    assert found.facts == {}


def test_a_site_of_its_own_is_the_same_by_its_file(workspace: Path, tmp_path: Path) -> None:
    found = Each.made(workspace, count=12)
    path = found.files(tmp_path / "shards")["site-07"]
    there = build_shard(load_shard_config(path), path.parent).get_dataset("train")
    here = found.shards["site-07"].get_dataset("train")
    assert np.array_equal(there.samples, here.samples)
    assert np.array_equal(there.targets, here.targets)
    other = found.shards["site-08"].get_dataset("train")
    assert not np.array_equal(other.samples, here.samples)


def test_code_of_the_workspace_makes_a_shard_for_each(workspace: Path, tmp_path: Path) -> None:
    (workspace / "clinic.py").write_text(CLINIC.replace("def __init__(self, rows", "def __init__(self, site, rows"))
    found = Each.made(workspace, count=3, each="clinic:Clinic")
    path = found.files(tmp_path / "elsewhere")["site-2"]
    assert build_shard(load_shard_config(path), path.parent).get_dataset("train").samples.shape == (150, 1)
    assert found.distribution.sizes == {"least": 200, "median": 200, "most": 200}


def test_a_shard_that_takes_no_number_is_told_where(workspace: Path) -> None:
    with pytest.raises(ShardError, match="'site'") as caught:
        Each.made(workspace, each="clinic:Clinic")
    assert caught.value.place is not None
    assert caught.value.place.startswith("simulation.sites.each")


def test_sites_of_their_own_are_called_as_admission_says(workspace: Path) -> None:
    found = Each.made(workspace, {"collaborators": ["zurich", "bern"]}, count=None)
    assert list(found.shards) == ["bern", "zurich"]
    assert found.numbers == {"zurich": 0, "bern": 1}
    with pytest.raises(UsageError, match="oslo"):
        Each.made(workspace, {"collaborators": ["oslo"]}, count=4)


def test_what_says_how_they_are_made_is_what_a_record_remembers(workspace: Path) -> None:
    same, other = Each.made(workspace, count=4), Each.made(workspace, count=5)
    params = Each.made(workspace, count=4, each={"template": "synthetic", "params": {"samples": 6}})
    assert same.shards.digest() == Each.made(workspace, count=4).shards.digest()
    assert len({one.shards.digest() for one in (same, other, params)}) == 3


def test_of_more_than_anybody_reads_nothing_is_counted(workspace: Path) -> None:
    assert Each.made(workspace, count=40).distribution.counts.sum() == 200
    with pytest.raises(UsageError, match="would have to be made"):
        _ = Each.made(workspace, count=1001).distribution
