"""A dry run for the sites that are there: it goes by what they publish, asks none of them and leaves nothing behind."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from federations import federation_of, run_fx

from openfl_like.services.local_federation import LocalFederation

pytestmark = pytest.mark.process
NUMPY = Path(__file__).parents[1] / "assets" / "dry_run" / "numpy"
WATCHED = '''
"""A shard that notes whenever it is asked for its data."""

from pathlib import Path

import numpy as np

from openfl_like.data.shard import DataSchema, Dataset


class WatchedShard:
    """Numbers near 3; whoever asks for them is noted, or refused.

    Args:
        features: How many measurements a sample has.
        asked: The file in which it is noted; empty: asking is refused.
        train: How many samples there are.
    """

    target_shape = ()
    dataset_description = "a shard that is watched"

    def __init__(self, features: int, asked: str = "", train: int = 90) -> None:
        self.sample_shape = (features,)
        self._asked = asked
        self.schema = DataSchema("float32", "int64", (2.5, 3.5), (0.0, 2.0), 3, {"train": train, "validate": 30})

    def get_dataset(self, kind: str) -> Dataset:
        """The numbers."""
        if not self._asked:
            raise AssertionError("the data was touched")
        with Path(self._asked).open("a") as file:
            file.write("asked\\n")
        count = self.schema.counts[kind]
        samples = np.full((count, *self.sample_shape), 3.0, np.float32)
        return Dataset(samples, np.arange(count, dtype=np.int64) % 3)
'''


def site(directory: Path, params: str, lines: str = "") -> Path:
    """Makes the folder of a site; its shard may write its notes."""
    directory.mkdir()
    (directory / "watched.py").write_text(WATCHED)
    shard = directory / "shard.yaml"
    shard.write_text(f"template: watched:WatchedShard\nparams: {{{params}}}\nsandbox: off\n{lines}")
    return shard


async def dry_run(federation: LocalFederation, plan: Path, *options: str) -> tuple[int, dict[str, Any]]:
    code, out, err = await run_fx(
        "experiment", "submit", str(plan), "--dry-run", "--json", *options, federation=federation
    )
    document = json.loads(out)
    assert document["ok"], err
    return code, document["data"]


async def test_no_sample_of_a_simulated_site_is_touched(tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    shutil.copytree(NUMPY, workspace)
    shutil.rmtree(workspace / "shards")
    files = {name: site(tmp_path / name, "features: 4") for name in ("bern", "ulm", "wien")}
    named = [word for name, file in files.items() for word in ("--shard", f"{name}={file}")]
    code, out, err = await run_fx("simulate", str(workspace / "plan.yaml"), "--dry-run", "--json", *named)
    assert code == 0, out + err
    data = json.loads(out)["data"]
    assert (data["sites"], data["rounds"]) == (3, 2)
    assert data["tried"][0]["samples"] == "float32[4] from 2.5 to 3.5"
    code, _, err = await run_fx("simulate", str(workspace / "plan.yaml"), *named)
    assert code == 4
    assert "the data was touched" in err, "the shards do tell when they are"


@pytest.mark.parametrize("made", ["shard", "each"])
async def test_no_sample_of_a_site_that_is_made_is_touched(made: str, tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    shutil.copytree(NUMPY, workspace)
    (workspace / "lab.py").write_text(WATCHED.replace("features: int", "features: int, site: int = 1"))
    text = (workspace / "plan.yaml").read_text().replace("admission:", "#")
    choice = f"{made}: {{template: 'lab:WatchedShard', params: {{features: 4}}}}"
    (workspace / "plan.yaml").write_text(f"{text}simulation: {{sites: {{count: 3, {choice}}}}}\n")
    code, out, err = await run_fx("simulate", str(workspace / "plan.yaml"), "--dry-run", "--json")
    assert code == 0, out + err
    data = json.loads(out)["data"]
    assert (data["sites"], data["rounds"], data["evened"]) == (3, 2, made == "shard")
    assert data["tried"][0]["most"]["train"] == (30 if made == "shard" else 90)


async def test_a_shard_that_hangs_or_dies_does_not_take_the_command_with_it(tmp_path: Path) -> None:
    for name, line, code, told in (
        ("hanging", "time.sleep(600)", 4, "did not say within 2 s"),
        ("dying", "os._exit(9)", 1, "its worker was ended"),
    ):
        shard = site(tmp_path / name, "features: 4")
        module = shard.parent / "watched.py"
        module.write_text(module.read_text().replace("import numpy", f"import os\nimport time\n\n{line}\nimport numpy"))
        words = ("simulate", str(NUMPY / "plan.yaml"), "--dry-run", "--limit", "2", "--shard", f"bern={shard}")
        found, _, err = await run_fx(*words, limit_s=60)
        assert (found, told in err) == (code, True), err


async def test_a_submission_is_tried_without_asking_a_site(tmp_path: Path) -> None:
    notes = {name: tmp_path / f"{name}.txt" for name in ("bern", "ulm")}
    sites = {
        "bern": site(tmp_path / "bern", f"features: 4, asked: '{notes['bern']}'"),
        "ulm": site(tmp_path / "ulm", f"features: 4, asked: '{notes['ulm']}', train: 40", "publish: {counts: false}\n"),
    }
    async with federation_of(sites, tmp_path, (4,)) as (federation, user):
        asked = {name: note.read_text() for name, note in notes.items()}
        records = {record.name: record.shard for record in await user.envoys.envoys()}
        assert all("sample_range" not in facts.schema for facts in records.values()), "it may be of the data itself"
        assert "counts" not in records["ulm"].schema
        two = ("-s", "admission.collaborators=[bern, ulm]", "-s", "admission.min_collaborators=2")
        code, data = await dry_run(federation, NUMPY / "plan.yaml", *two)
        assert (code, data["passed"], data["sites"], data["rounds"]) == (0, True, 2, 2), data["findings"]
        code, data = await dry_run(federation, NUMPY / "plan.yaml")
        assert code == 1
        assert {one["kind"] for one in data["findings"]} == {"site_absent", "too_few_sites"}
        assert {name: note.read_text() for name, note in notes.items()} == asked
        assert await user.client.experiments() == []
        assert not list((tmp_path / "federation").rglob("bundle.tar"))


async def test_a_site_says_which_range_and_which_terms_it_has(tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    params = f"features: 4, asked: '{note}'"
    told = "publish: {sample_range: [0, 10]}\nlimits: {model_gb: 0.00000001}\n"
    sites = {
        "bern": site(tmp_path / "bern", params, told),
        "ulm": site(tmp_path / "ulm", params, "publish: {terms: false}\n"),
    }
    async with federation_of(sites, tmp_path, (4,)) as (federation, user):
        records = {record.name: record.shard for record in await user.envoys.envoys()}
        assert records["bern"].schema["sample_range"] == [0.0, 10.0]
        assert records["bern"].terms.model_bytes == 10
        assert records["ulm"].terms.model_bytes is None
        two = ("-s", "admission.collaborators=[bern, ulm]", "-s", "admission.min_collaborators=2")
        code, data = await dry_run(federation, NUMPY / "plan.yaml", *two)
        assert code == 1
        (refused,) = (one for one in data["findings"] if one["kind"] == "model_too_large")
        assert refused["sites"] == ["bern"]
        assert "10 bytes" in refused["message"]
        assert len(data["tried"]) == 2, "data of two forms is tried twice"
