"""A federation with two kinds of data: each experiment goes to the sites that have its kind, with the right shard."""

import shutil
from pathlib import Path

import pytest
from federations import OBEDIENT, PLAN, User, federation_of, fx_fine, run_fx

from openfl_like.errors import PlanError
from openfl_like.federation.announcements import fields_of
from openfl_like.tensors.container import read_tensors

pytestmark = pytest.mark.process
SETTINGS = {
    "parallel": 2,
    "interfaces": {
        "numbers": {"sample_shape": [1], "target_shape": []},
        "pairs": {"sample_shape": [2], "target_shape": []},
    },
}
PAIRS = '''
from dataclasses import replace

import numpy as np
from one_number import NumberShard

from openfl_like.data.shard import Dataset


class PairShard(NumberShard):
    """The number, twice."""

    sample_shape = (2,)

    def get_dataset(self, kind: str) -> Dataset:
        """Pairs of the number."""
        found = super().get_dataset(kind)
        return replace(found, samples=np.repeat(found.samples, 2, axis=1))
'''


def shard(directory: Path, interface: str, template: str, value: float) -> Path:
    directory.mkdir(exist_ok=True)
    shutil.copyfile(OBEDIENT / "shards" / "one_number.py", directory / "one_number.py")
    (directory / "pair.py").write_text(PAIRS)
    path = directory / f"{interface or 'none'}.yaml"
    named = f"interface: {interface}\n" if interface else ""
    path.write_text(f"{named}template: {template}\nparams: {{value: {value}}}\nexperiments_at_once: 2\n")
    return path


async def mean(user: User, experiment: str, path: Path) -> float:
    """The mean of the last model of an experiment that has finished."""
    assert (await user.ended(experiment)).status == "FINISHED"
    await user.client.model(experiment, "last", path)
    return float(read_tensors(path)["vector"].mean())


async def test_an_experiment_goes_to_the_sites_that_have_its_kind_of_data(tmp_path: Path) -> None:
    numbers = [shard(tmp_path / f"site-{number}", "numbers", "one_number:NumberShard", 64.0) for number in (1, 2)]
    pairs = [shard(tmp_path / f"site-{number}", "pairs", "pair:PairShard", -64.0) for number in (2, 3)]
    sites = {"site-1": numbers[0], "site-2": numbers[1], "site-3": pairs[1]}
    more = {"site-2": [pairs[0]]}
    async with federation_of(sites, tmp_path, settings=SETTINGS, more_shards=more) as (federation, user):
        with pytest.raises(PlanError, match="name one of its interfaces: numbers, pairs"):
            await user.submit()
        with pytest.raises(PlanError, match="did you mean 'pairs'"):
            await user.submit(PLAN, "interface=pair")
        two = "admission.min_collaborators=2"
        one, other = await user.submit(PLAN, two, "interface=numbers"), await user.submit(PLAN, two, "interface=pairs")
        assert await mean(user, one, tmp_path / "one.safetensors") > 0
        assert await mean(user, other, tmp_path / "other.safetensors") < 0
        cohorts = [
            fields_of(event.announcement)["expected"]
            for experiment in (one, other)
            for event in await user.events(experiment)
            if event.kind == "experiment_started"
        ]
        assert cohorts == [("site-1", "site-2"), ("site-2", "site-3")]
        roster = {record.name: [facts.interface for facts in record.shards] for record in await user.envoys.envoys()}
        assert roster == {"site-1": ["numbers"], "site-2": ["numbers", "pairs"], "site-3": ["pairs"]}
        listed = await fx_fine("envoy", "list", federation=federation)
        assert "numbers: train 10, validate 5; pairs: train 10, validate 5" in listed
        named = await user.submit(
            PLAN, "admission.collaborators=[site-1, site-2]", "admission.timeout_s=1", "interface=pairs"
        )
        failed = await user.ended(named)
        assert failed.status == "FAILED"
        assert "missing: site-1; there, but without its data or at work for others: site-1" in failed.reason


async def test_a_shard_without_an_interface_of_the_federation_is_not_let_in(tmp_path: Path) -> None:
    fine = shard(tmp_path / "fine", "numbers", "one_number:NumberShard", 1.0)
    odd = shard(tmp_path / "odd", "", "one_number:NumberShard", 1.0)
    async with federation_of({"site-1": fine}, tmp_path, settings=SETTINGS) as (federation, _):
        words = ("envoy", "start", "-n", "site-1", "-d", federation.director, "--directory", str(tmp_path / "again"))
        certificates = ("--certificates", str(federation.directory / "certs" / "envoy" / "site-1"))
        code, _, err = await run_fx(*words, *certificates, "-sc", str(odd), cwd=tmp_path)
        assert code == 4
        assert "has no interface, this federation has 'numbers', 'pairs'" in err
        code, _, err = await run_fx(*words, *certificates, "-sc", str(fine), "-sc", str(fine), cwd=tmp_path)
        assert code == 2
        assert "has the interface 'numbers', too (give each file an interface of its own" in err
