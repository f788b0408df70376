"""Callbacks of a federation: fetched over the network, lost with their processes, and made again after a restart."""

import csv
import json
from pathlib import Path

import psutil
import pytest
from federations import PLAN, THREE, another, federation_of, fx_fine, gate_of

from openfl_like.federation.announcements import RoundFinished, only
from openfl_like.federation.history.metrics import metric_records
from openfl_like.services.local_federation import LocalFederation

pytestmark = pytest.mark.process
ROUNDS = "aggregator.settings.rounds_to_train=3"
SAVE = "callbacks=[{template: save, settings: {formats: [csv, jsonl]}}, {template: selection_counts}]"


def children_of(federation: LocalFederation, word: str) -> list[psutil.Process]:
    """The processes of the Director that have this word in their command."""
    director = psutil.Process(federation.children["director"].process.pid)
    return [child for child in director.children(recursive=True) if word in " ".join(child.cmdline())]


def callback_processes(federation: LocalFederation) -> list[psutil.Process]:
    """Those of callbacks, in the order in which they began."""
    return sorted(children_of(federation, "callbacks.child"), key=lambda process: process.pid)


async def test_the_same_files_are_made_when_the_aggregator_was_lost(tmp_path: Path) -> None:
    async with federation_of(THREE, tmp_path) as (federation, user), gate_of() as gate:
        gate.open(1)
        experiment = await user.submit(PLAN, ROUNDS, SAVE, gate.setting)
        await gate.arrived(2)
        former = await another(lambda: callback_processes(federation), None)
        aggregator = former.parent()
        assert aggregator is not None
        aggregator.kill()
        await user.until(experiment, "aggregator_lost")
        gate.open(3)
        assert (await user.ended(experiment)).status == "FINISHED"
        history = await user.events(experiment)
        folder = tmp_path / "fetched"
        told = await fx_fine("experiment", "results", experiment, "-o", str(folder), "--json", federation=federation)
        shown = await fx_fine("experiment", "show", experiment, "--json", federation=federation)
    assert {*json.loads(told)["data"]["files"]} == {
        "save/metrics.csv", "save/metrics.jsonl", "selection_counts/counts.csv",
    }  # fmt: skip
    assert json.loads(shown)["data"]["callbacks_ended"] == []
    with (folder / "save/metrics.csv").open(newline="") as file:
        rows = [(int(row["round"]), row["site"], row["task"], row["metric"]) for row in csv.DictReader(file)]
    wanted = [*metric_records(history), *metric_records(history, per_site=True)]
    finished = {told.round for told in only(history, RoundFinished)}
    assert len(rows) == len({*rows})
    assert {*rows} == {(one.round, one.site, one.task, one.metric) for one in wanted if one.round in finished}
    assert not former.is_running()


async def test_one_whose_process_is_killed_is_told_of(tmp_path: Path) -> None:
    async with federation_of(THREE, tmp_path) as (federation, user), gate_of() as gate:
        experiment = await user.submit(PLAN, ROUNDS, SAVE, gate.setting)
        await gate.arrived(1)
        (await another(lambda: callback_processes(federation), None)).kill()
        event = await user.until(experiment, "callback_ended", end="died")
        gate.open(3)
        assert (await user.ended(experiment)).status == "FINISHED"
        shown = await fx_fine("experiment", "show", experiment, federation=federation)
    assert "killed by SIGKILL" in event.fields_json
    assert "was ended, and the experiment goes on without it" in " ".join(shown.split())
