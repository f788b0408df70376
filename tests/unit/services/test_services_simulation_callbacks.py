"""Callbacks of a simulation: their files, also of a record that is complete, and what becomes of one that fails."""

import asyncio
from pathlib import Path

import pytest

from openfl_like.data.shard import build_shard
from openfl_like.data.shard_file import load_shard_config
from openfl_like.federation.announcements import Announced
from openfl_like.federation.callback_end import CallbackEnd, CallbackEnded
from openfl_like.plan.load import load_plan
from openfl_like.services.simulation import Simulation, SimulationSettings
from openfl_like.store.ports import Stores
from openfl_like.testing.stores import memory_stores

pytestmark = pytest.mark.children
OBEDIENT = Path(__file__).parents[2] / "assets" / "obedient"
CALLBACKS = "callbacks=[{template: save}, {template: selection_counts}]"


def simulate(
    directory: Path, *overrides: str, results: Path | None, stores: Stores | None = None
) -> tuple[list[Announced], str]:
    """Run the plan of the obedient workspace; return its history, and the digest of its last model."""
    plan = load_plan(OBEDIENT / "plan.yaml", ("aggregator.settings.rounds_to_train=3", *overrides))
    names = ("site-1", "site-2", "site-3")
    folder = OBEDIENT / "shards"
    shards = {name: build_shard(load_shard_config(folder / f"{name}.yaml"), folder) for name in names}
    settings = SimulationSettings(plan, OBEDIENT, shards, directory, results=results)

    async def run(simulation: Simulation) -> tuple[list[Announced], str]:
        result = await simulation.run()
        assert result.outcome.status.value == "FINISHED"
        return [event async for event in simulation.bus.tail()], result.versions[-1].version.digest

    with Simulation(settings, stores or memory_stores()) as simulation:
        return asyncio.run(run(simulation))


def test_they_write_beside_the_experiment_and_again_of_its_record(tmp_path: Path) -> None:
    stores, results = memory_stores(), tmp_path / "results"
    _, digest = simulate(tmp_path / "record", CALLBACKS, results=results, stores=stores)
    made = {path.name: path.read_bytes() for path in results.rglob("*.csv")}
    assert {*made} == {"metrics.csv", "counts.csv"}
    again = tmp_path / "again"
    assert simulate(tmp_path / "record", CALLBACKS, results=again, stores=stores)[1] == digest
    assert {path.name: path.read_bytes() for path in again.rglob("*.csv")} == made
    assert simulate(tmp_path / "without", results=None)[1] == digest


def test_without_a_place_they_are_left_out(tmp_path: Path) -> None:
    simulate(tmp_path / "record", CALLBACKS, results=None)
    assert not (tmp_path / "record/results").exists()


def test_one_that_fails_is_told_once_and_the_experiment_goes_on(tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    (results / "save").write_text("in the way")
    history, _ = simulate(tmp_path / "record", CALLBACKS, results=results)
    ended = [event.announcement for event in history if isinstance(event.announcement, CallbackEnded)]
    assert [(one.callback, one.end) for one in ended] == [("save", CallbackEnd.RAISED)]
    assert ended[0].message.startswith("FileExistsError")
    assert str(results) not in ended[0].message
    assert (results / "selection_counts/counts.csv").exists()
