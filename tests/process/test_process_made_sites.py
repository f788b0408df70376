"""Sites that a plan makes of one data set give the same bytes wherever they are."""

import asyncio
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from federations import federation_of, fx_fine, run_fx

from openfl_like.plan.workspace import template_path
from openfl_like.tensors.manifest import sha256_file

pytestmark = [pytest.mark.process, pytest.mark.sklearn]
SECTION = """
simulation:
  sites:
    shard: breast_cancer
    partitioner: {template: dirichlet, settings: {alpha: 0.3}}
    label_noise: {fraction: 0.2, sites: 0.4}
"""
SITES = ("site-1", "site-2", "site-3")


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    """Two rounds of the numpy template at sites that the plan makes, and no shard files."""
    ignored = shutil.ignore_patterns("shards", "__pycache__")
    workspace = shutil.copytree(template_path("numpy_breast_cancer"), tmp_path / "study", ignore=ignored)
    path: Path = workspace / "plan.yaml"
    path.write_text(path.read_text().replace("rounds_to_train: 10", "rounds_to_train: 2") + SECTION)
    return path


async def test_made_sites_have_the_same_bytes_in_every_mode(plan: Path, tmp_path: Path) -> None:
    async def simulated(name: str, *words: str) -> str:
        output = f"{name}.safetensors"
        await fx_fine("simulate", str(plan), "-o", output, *words, cwd=tmp_path)
        return sha256_file(tmp_path / output)

    await fx_fine("plan", "sites", str(plan), "--shards", "by-hand", cwd=tmp_path)
    files = {name: tmp_path / "by-hand" / f"{name}.yaml" for name in SITES}
    assert {path.stem: path for path in (tmp_path / "by-hand").iterdir()} == files
    named = [word for name, path in files.items() for word in ("--shard", f"{name}={path}")]
    found = await asyncio.gather(
        simulated("local"),
        simulated("process", "--runtime", "process"),
        simulated("confined", "--runtime", "process", "--sandbox"),
        simulated("named", *named),
        simulated("named-process", "--runtime", "process", *named),
    )
    async with federation_of(files, tmp_path, (30,)) as (_, user):
        experiment = await user.submit(plan)
        assert (await user.ended(experiment)).status == "FINISHED"
        record = await user.client.experiment(experiment)
    assert {*found, record.versions[-1].sha256} == {found[0]}
    other = await simulated("other-deal", "-s", "simulation.sites.seed=1")
    assert other != found[0]


CLINIC = """\
import numpy as np
from openfl_like.data.shard import ArrayShard, Dataset

class Clinic(ArrayShard):
    def __init__(self, file):
        table = np.loadtxt(file).astype(np.float32)
        data = [Dataset(rows[:, :-1], rows[:, -1].astype(np.int64)) for rows in (table[:150], table[150:])]
        super().__init__(dict(zip(("train", "validate"), data)), "A clinic.", (-10.0, 10.0), classes=2)

class Thirds:
    needs_labels = False
    def owners(self, targets, sites, seed):
        return np.arange(len(targets)) * sites // len(targets)
"""


async def test_code_and_data_of_the_workspace_are_found_by_confined_workers_too(plan: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    samples = random.normal(size=(200, 30))
    np.savetxt(plan.parent / "patients.csv", np.c_[samples, samples[:, 0] > 0])
    (plan.parent / "clinic.py").write_text(CLINIC)
    shard = '{template: "clinic:Clinic", params: {file: patients.csv}}'
    sites = f"simulation.sites={{shard: {shard}, partitioner: {{template: 'clinic:Thirds'}}}}"
    words = ("simulate", str(plan), "-s", sites, "--json")
    confined = "--runtime", "process", "--sandbox", "--directory", str(plan.parent / "record")
    ends = await asyncio.gather(fx_fine(*words, cwd=tmp_path), fx_fine(*words, *confined, cwd=tmp_path))
    assert len({json.loads(text.splitlines()[-1])["sha256"] for text in ends}) == 1


async def test_a_kept_record_goes_on_with_the_same_deal_only(plan: Path, tmp_path: Path) -> None:
    words = ("simulate", str(plan), "--directory", "record", "--json")
    first = await fx_fine(*words, cwd=tmp_path)
    again = await fx_fine(*words, cwd=tmp_path)
    line = json.loads(first.splitlines()[0])
    assert (line["kind"], line["count"], line["samples"].keys()) == ("sites", 3, {"least", "median", "most"})
    ends = [json.loads(text.splitlines()[-1]) for text in (first, again)]
    assert [end["had_ended"] for end in ends] == [False, True]
    assert ends[0]["sha256"] == ends[1]["sha256"]
    code, _, told = await run_fx(*words, "-s", "simulation.sites.seed=1", cwd=tmp_path)
    assert code != 0
    assert "another plan" in told


async def test_a_simulation_that_cannot_make_its_sites_says_why_and_trains_nothing(plan: Path, tmp_path: Path) -> None:
    code, out, told = await run_fx(
        "simulate", str(plan), "-s", "simulation.sites.count=1000", "-s", "admission={}", cwd=tmp_path
    )
    assert (code, out) == (4, "")
    assert "E504" in told
    assert "simulation.sites: the data set has" in told
    assert "too few for 1000 sites" in told
