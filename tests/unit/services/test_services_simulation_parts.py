"""Parts of a round from the workspace in simulations: the template's six, and some that fail."""

import asyncio
import shutil
from pathlib import Path

import pytest

from openfl_like.data.shard import build_shard
from openfl_like.data.shard_file import load_shard_config
from openfl_like.errors import PlanError
from openfl_like.federation.announcements import Announced, ExperimentEnded, RoundFinished, only
from openfl_like.federation.callback_end import CallbackEnded
from openfl_like.federation.failure import FailedPartError, FailureKind
from openfl_like.federation.parties import Outcome
from openfl_like.plan.load import load_plan
from openfl_like.plan.workspace import template_path
from openfl_like.services.simulation import Simulation, SimulationSettings
from openfl_like.testing.stores import memory_stores

FAILING = """
from collections.abc import Mapping
from src.decisions import LeastAsked
from src.numbers import CarriedDriftServer, LargestStep


class Late(LeastAsked):
    def select(self, view):
        if view.round == 2:
            raise KeyError("site")
        return super().select(view)


class ByMachine(LeastAsked):
    needs = frozenset({"machine"})


class Stranger(LeastAsked):
    def select(self, view):
        return ("nobody",)


class Wordless(LargestStep):
    def check(self, update, base, facts):
        return None


class Idle:
    def assign(self, view):
        return {name: 3 for name in view.names}


class Dealer:
    def deal(self, collaborators, tasks, seed):
        return {name: ("sleep",) for name in collaborators}


class Greedy(CarriedDriftServer):
    slots = ("a",)


class Averaging(CarriedDriftServer):
    averages = True


class Unfinite(CarriedDriftServer):
    def own(self, base, combined, given):
        return base * float("nan")


class Mute:
    def decide(self, view):
        return None


class Raising:
    def reduce(self, blocks, weights):
        if blocks.shape[1] > 1:
            raise ValueError("no")
        return blocks[0]


class Half:
    def reduce(self, blocks, weights):
        return blocks[0][:1]
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """The template, with parts that fail beside the others."""
    place = tmp_path / "workspace"
    shutil.copytree(template_path("numpy_parts"), place, ignore=shutil.ignore_patterns("__pycache__"))
    (place / "src" / "failing.py").write_text(FAILING)
    return place


def simulate(workspace: Path, *overrides: str, results: Path | None = None) -> tuple[Outcome, list[Announced]]:
    plan = load_plan(workspace / "plan.yaml", overrides)
    files = {path.stem: path for path in sorted((workspace / "shards").glob("*.yaml"))}
    shards = {name: build_shard(load_shard_config(path), path.parent) for name, path in files.items()}
    settings = SimulationSettings(plan, workspace, shards, workspace.parent / "record", results=results)

    async def run(simulation: Simulation) -> tuple[Outcome, list[Announced]]:
        result = await simulation.run()
        return result.outcome, [event async for event in simulation.bus.tail()]

    with Simulation(settings, memory_stores()) as simulation:
        return asyncio.run(run(simulation))


@pytest.mark.parametrize("key", ["selector", "evaluation_selector"])
def test_a_selector_that_goes_by_what_nobody_tells_is_refused(workspace: Path, key: str) -> None:
    with pytest.raises(PlanError, match="ByMachine' goes by what sites tell of their machines") as caught:
        simulate(workspace, f"{key}={{template: 'src.failing:ByMachine', settings: {{count: 1}}}}")
    assert caught.value.place == f"{key}.template"
    assert not (workspace.parent / "record").exists()


@pytest.mark.children
def test_all_six_take_part(workspace: Path, tmp_path: Path) -> None:
    outcome, history = simulate(workspace, results=tmp_path / "results")
    assert (outcome.status, outcome.reason) == ("FINISHED", "5 of 5 rounds are done")
    cohorts = [told.selected for told in only(history, RoundFinished)][1:]
    assert cohorts[:3] == [("site-1", "site-2"), ("site-1", "site-3"), ("site-2", "site-3")]
    assert only(history, CallbackEnded) == []
    lines = (tmp_path / "results" / "Progress" / "progress.txt").read_text().splitlines()
    assert [line.partition(":")[0] for line in lines] == [f"round {number}" for number in range(1, 6)]


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        (
            "selector.template=src.failing:Late",
            "round 2: the selector 'src.failing:Late' raised KeyError: 'site' (src/failing.py:10)",
        ),
        (
            "selector.template=src.failing:Stranger",
            "named 'nobody', which is none of those that it was shown",
        ),
        (
            "validator=[{template: 'src.failing:Wordless', settings: {limit: 1}}]",
            "the validator 'src.failing:Wordless' answered None, which is not a text",
        ),
        ("work.template=src.failing:Idle", "gave 'site-1' 3, which is not an amount of work"),
        ("assigner.template=src.failing:Dealer", "gave 'site-1' ('sleep',), which are not the plan's tasks"),
        (
            "aggregation.template=src.failing:Half",
            "the aggregation rule 'src.failing:Half' answered float64[1] instead of",
        ),
        ("aggregation.template=src.failing:Raising", "raised ValueError: no (src/failing.py:"),
        ("controllers=[{template: 'src.failing:Mute'}]", "the controller 'src.failing:Mute' decided None"),
        (
            "algorithm.server=src.failing:Unfinite",
            "the algorithm's half at the Aggregator 'src.failing:Unfinite' answered",
        ),
        (
            "validator=[{template: 'src.numbers:LargestStep', settings: {limit: 0.0}}]",
            "has moved by",
        ),
    ],
)
def test_what_one_did_is_the_reason(workspace: Path, override: str, reason: str) -> None:
    try:
        outcome, history = simulate(workspace, override)
    except FailedPartError as error:  # the one question that a plan's parts are asked before anything begins
        told, kind = str(error), error.failure.kind
    else:
        (end,) = only(history, ExperimentEnded)
        assert outcome.status == "FAILED"
        assert end.failure is not None
        told, kind = outcome.reason, end.failure.kind
        told += "".join(str(failure) for failure in outcome.shortfalls.values())
    assert reason in told
    assert kind is FailureKind.PART or "has moved by" in reason


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (("algorithm.server=src.failing:Greedy", "server_optimizer.template=fedavgm"), "steps the global model itself"),
        (("algorithm.server=src.failing:Averaging",), "is a weighted average of updates"),
        (
            (
                "algorithm.server=src.failing:Averaging",
                "aggregation={template: fedavg, rules: [{match: bias, rule: median}]}",
            ),
            "is a weighted average of updates",
        ),
        (
            ("selector={template: 'src.failing:Late', settings: {cout: 2}}",),
            "the selector 'src.failing:Late' cannot be built: .*'cout'",
        ),
        (("selector={template: 'src.failing:Half'}",), "does not have what one must have: wanted, eligible, select"),
    ],
)
def test_what_does_not_go_together_is_refused_before_it_begins(
    workspace: Path, overrides: tuple[str, ...], told: str
) -> None:
    with pytest.raises(PlanError, match=told):
        simulate(workspace, *overrides)
