"""What `fx plan estimate` says, beside a real run through proxies that count."""

from collections import Counter
from pathlib import Path

import pytest
from federations import User

from openfl_like.authoring.estimate import figures, measure
from openfl_like.plan.load import load_plan
from openfl_like.store.files import ExperimentFiles
from openfl_like.testing.faults.faulty_federation import AGGREGATOR, FaultyFederation, toy_workload
from openfl_like.testing.faults.proxy import Direction
from openfl_like.testing.gate import Gate

pytestmark = pytest.mark.process
ROUNDS = 5
LENGTH = "task_runner.settings.length=300000"  # 1.2 MB: several chunks, over the data connection


def _held(directory: Path) -> int:
    """Bytes of the files below a directory, each counted once."""
    infos = [path.lstat() for path in directory.rglob("*")]
    return sum({(info.st_dev, info.st_ino): info.st_size for info in infos}.values())


async def test_an_estimate_is_close_to_a_real_run(tmp_path: Path) -> None:
    async with (
        FaultyFederation(tmp_path / "arena", workload=toy_workload(tmp_path / "arena/workspace", sites=2)) as arena,
        Gate(0, arena.names) as gate,
    ):
        overrides = (LENGTH, f"aggregator.settings.rounds_to_train={ROUNDS}", "model_store.keep.last=2")
        plan = load_plan(arena.plan, overrides)
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        shard = arena.plan.parent / "shards" / "site-1.yaml"
        sizes = await measure(plan, arena.plan.parent, shard, scratch)
        said = {item.name: item.size_bytes for item in figures(plan, sizes, 2)}

        user = User(arena.federation, tmp_path)
        async with user.client:
            gate.open(ROUNDS - 1)
            experiment = await user.submit(arena.plan, *overrides, gate.setting)
            await gate.arrived(ROUNDS)
            record = arena.state / "experiments" / experiment
            running = _held(record)
            sites = [_held(tmp_path / f"arena/federation/envoy-{name}/{experiment}") for name in arena.names]
            gate.open_all()
            ended = await user.ended(experiment)
        assert ended.status == "FINISHED", ended.reason
        passed: Counter[Direction] = sum((line.traffic.passed for line in arena.lines[AGGREGATOR]), Counter())

    models = list(ExperimentFiles(record).models().values())
    assert {path.stat().st_size for path in models} == {said["model"]}
    wanted = ROUNDS * said["to_sites_per_round"] + said["to_site_per_round"]  # the initial model, for all but its maker
    assert passed[Direction.DOWN] == pytest.approx(wanted, rel=0.05)
    wanted = ROUNDS * said["from_sites_per_round"] + said["model"]  # which its maker has sent
    assert passed[Direction.UP] == pytest.approx(wanted, rel=0.05)
    assert 0.25 * said["disk_aggregator"] < running <= said["disk_aggregator"]  # a quarter: between two rounds
    assert 0.4 * said["disk_record"] < _held(record) <= said["disk_record"]
    assert all(0.2 * said["disk_site"] < held <= said["disk_site"] for held in sites)
    assert said["memory_worker"] > 3 * said["model"]
