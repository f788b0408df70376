"""Whatever a referee runs has the bits, and the decisions, that it has in the process of who asks.

The registered parts are given to one as if a workspace had brought them: by module and attribute.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from openfl_like import registry
from openfl_like.aggregation.algorithms import STEPS, ServerAlgorithm
from openfl_like.aggregation.engine import Recipe
from openfl_like.aggregation.rules import AggregationRule, WeightedAverage
from openfl_like.aggregation.server_optimizers import ServerOptimizer
from openfl_like.aggregation.steps import Contributors
from openfl_like.aggregation.validation.compared import ComparingValidator
from openfl_like.aggregation.validators import Validator, validate_update
from openfl_like.errors import UpdateRefusedError
from openfl_like.federation.control.decision import Controller, ControlView
from openfl_like.federation.events import ModelVersion
from openfl_like.federation.participation.assignment import Assigner
from openfl_like.federation.participation.selection import Selector
from openfl_like.federation.participation.training_history import PastTraining, TrainingHistory
from openfl_like.federation.participation.work import WorkPolicy, WorkView
from openfl_like.plan.schema import Plan
from openfl_like.plan.section import Component
from openfl_like.processes.referee.parts import RefereeParts
from openfl_like.processes.sandbox.confinement import available
from openfl_like.runtimes.models import ModelRepository
from openfl_like.store.files import ExperimentFiles
from openfl_like.tensors.container import write_tensors
from tests.contract.test_contract_aggregations import OPTIMIZERS, RULES, Folder, furnished, three_threads
from tests.contract.test_contract_selectors import SETTINGS as SELECTORS
from tests.contract.test_contract_selectors import view
from tests.contract.test_contract_validators import VALIDATORS, Round

pytestmark = [
    pytest.mark.children,
    pytest.mark.skipif(not available().sufficient, reason="this kernel cannot confine a referee"),
]
NAMES = ("ada", "bern", "chur", "davos", "elm")
PAST = TrainingHistory(3, (PastTraining(1, 4.0, 2.5, 0.7, 40, 10), PastTraining(2, 5.0, 1 / 3, 0.1 + 0.2, 40, 9)), 1)
HISTORIES = {"ada": PAST, "chur": dataclasses.replace(PAST, asked=9, missed=0)}
WORKS: dict[str, dict[str, Any]] = {
    "none": {},
    "static": {"epochs": 3, "samples": 7, "which": "fixed"},
    "uniform": {"least": 2, "most": 9},
    "equal_time": {"seconds": 1.5},
    "best_round_time": {"batches": 12},
}
CONTROLLERS: dict[str, dict[str, Any]] = {
    "schedule": {"argument": "lr", "shape": "linear", "first": 0.3, "last": 0.1, "over": 7},
    "end_if_diverged": {"metric": "loss"},
    "skip_unreliable": {},
    "fair_weights": {},
}
ASSIGNERS: dict[str, dict[str, Any]] = {
    "all": {},
    "random": {
        "groups": [{"name": "a", "fraction": 0.4, "tasks": ["t"]}, {"name": "b", "fraction": 0.6, "tasks": ["u"]}]
    },
    "static": {"groups": [{"name": "a", "collaborators": ["ada", "elm"], "tasks": ["t", "u"]}]},
}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RefereeParts]:
    found = RefereeParts(tmp_path_factory.mktemp("workspace"))
    yield found
    found.close()


def both(parts: RefereeParts, kind: str, name: str, settings: dict[str, Any]) -> list[Any]:
    """A registered part in this process, and in the referee."""
    made = cast("Any", registry.resolve(kind, name))
    component = Component(template=f"{made.__module__}:{made.__name__}", settings=settings)
    return [made(**settings), parts.build(kind, component, kind)]


def refereed(parts: RefereeParts, kind: str, part: object) -> object:
    """A part like a given one, in the referee."""
    given = type(part)
    fields = dataclasses.asdict(cast("Any", part))
    return parts.build(kind, Component(template=f"{given.__module__}:{given.__name__}", settings=fields), kind)


def same_rounds(folder: Folder, usual: Recipe, other: Recipe) -> None:
    assert other.slots == usual.slots
    assert other.needs_base is usual.needs_base
    for number in (1, 2):
        wanted = folder.round(usual, number)
        assert folder.round(other, number, three_threads) == wanted


@pytest.mark.parametrize("name", RULES)
def test_rules(parts: RefereeParts, name: str, tmp_path: Path) -> None:
    rule = cast("AggregationRule", refereed(parts, "aggregation", RULES[name]))
    same_rounds(furnished(tmp_path, 70_000), Recipe(RULES[name]), Recipe(rule))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_server_optimizers(parts: RefereeParts, name: str, tmp_path: Path) -> None:
    optimizer = cast("ServerOptimizer", refereed(parts, "server_optimizer", OPTIMIZERS[name]))
    usual, other = Recipe(WeightedAverage(), OPTIMIZERS[name]), Recipe(WeightedAverage(), optimizer)
    same_rounds(furnished(tmp_path, 70_000), usual, other)


@pytest.mark.parametrize("name", registry.names("server_algorithm"))
def test_server_halves_of_algorithms(parts: RefereeParts, name: str) -> None:
    settings: dict[str, dict[str, Any]] = {"feddyn": {"alpha": 0.3}, "fedcurv": {"pull": 0.1}}
    usual, other = both(parts, "server_algorithm", name, settings.get(name, {}))
    assert [(half.averages, half.sums, half.slots) for half in (other,)] == [(usual.averages, usual.sums, usual.slots)]
    rng = np.random.default_rng(3)
    given = Contributors(np.array([0.2, 0.3, 0.5]), 4, NAMES[:3], 7)
    base, target = rng.normal(size=(2, 4000))
    for step in ("step", "own"):
        made = []
        for half in cast("list[ServerAlgorithm]", [usual, other]):
            state = np.ones((len(half.slots), base.size))
            more = [state] if step == "step" else []
            made.append([getattr(half, step)(base.copy(), target.copy(), *more, given).tobytes(), state.tobytes()])
        assert made[0] == made[1]
    told = {STEPS: np.array([3.0, 5.0, 1.0])}
    weighed = [half.weigh(given.weights, told.__getitem__, given).tobytes() for half in (usual, other)]
    assert weighed[0] == weighed[1]


def test_what_an_algorithm_is_not_told_it_refuses_as_it_does_here(parts: RefereeParts) -> None:
    given = Contributors(np.ones(1), 1, ("ada",))

    def told(name: str) -> np.ndarray:
        raise UpdateRefusedError(f"nobody has sent {name}", cure="send it")

    for half in both(parts, "server_algorithm", "fednova", {}):
        with pytest.raises(UpdateRefusedError, match="nobody has sent steps") as caught:
            half.weigh(np.ones(1), told, given)
        assert caught.value.cure == "send it"
        with pytest.raises(UpdateRefusedError, match="says that it has taken 0 steps"):
            half.weigh(np.ones(1), lambda _: np.zeros(1), given)


@pytest.mark.parametrize("name", VALIDATORS)
def test_validators_that_compare(parts: RefereeParts, name: str, tmp_path: Path) -> None:
    found = Round(tmp_path)
    other = cast("ComparingValidator", refereed(parts, "validator", VALIDATORS[name]))
    wanted = found.judged(VALIDATORS[name])
    assert [dataclasses.replace(one, validator="x") for one in found.judged(other)] == [
        dataclasses.replace(one, validator="x") for one in wanted
    ]
    assert wanted


@pytest.mark.parametrize("name", ["schema", "finite"])
def test_validators_of_one_update(parts: RefereeParts, name: str, tmp_path: Path) -> None:
    found, validators = Round(tmp_path), cast("list[Validator]", both(parts, "validator", name, {}))
    wrong = tmp_path / "wrong"
    write_tensors(wrong, {"bias": np.array([1.0, np.inf], np.float32)}, sync=False)
    for content, facts in ((found.files[0].content, found.updates[0]), (wrong, found.updates[1])):
        usual, other = (validate_update([one], content, found.base, facts) for one in validators)
        assert usual == other
        assert bool(usual) is (content == wrong)


@pytest.mark.parametrize("name", registry.names("selector"))
def test_selectors(parts: RefereeParts, name: str) -> None:
    usual, other = cast("list[Selector]", both(parts, "selector", name, dict(SELECTORS[name])))
    assert getattr(other, "remembers", False) is getattr(usual, "remembers", False)
    assert frozenset(getattr(other, "needs", ())) == frozenset(getattr(usual, "needs", ()))
    for number in range(1, 6):
        seen = view(number)
        assert [*other.eligible(seen.eligible)] == [*usual.eligible(seen.eligible)]
        seen = dataclasses.replace(seen, count=usual.wanted(seen))
        assert (other.wanted(seen), other.select(seen)) == (usual.wanted(seen), usual.select(seen))


@pytest.mark.parametrize("name", registry.names("work"))
def test_policies_for_work(parts: RefereeParts, name: str) -> None:
    usual, other = cast("list[WorkPolicy]", both(parts, "work", name, WORKS[name]))
    view = WorkView(NAMES, 2**63 + 1, 5, 3, 9, HISTORIES)
    assert other.assign(view) == usual.assign(view)


@pytest.mark.parametrize("name", registry.names("assigner"))
def test_assigners(parts: RefereeParts, name: str) -> None:
    usual, other = cast("list[Assigner]", both(parts, "assigner", name, ASSIGNERS[name]))
    assert dict(other.deal(NAMES, ("t", "u"), 7)) == dict(usual.deal(NAMES, ("t", "u"), 7))


@pytest.mark.parametrize("name", registry.names("controller"))
def test_controllers(parts: RefereeParts, name: str) -> None:
    usual, other = cast("list[Controller]", both(parts, "controller", name, CONTROLLERS[name]))
    versions = tuple(ModelVersion(number, "d", {"loss": 0.1 * number}) for number in range(6))
    state: object = None
    for number in range(1, 6):
        view = ControlView(number, None, versions[:number], NAMES, HISTORIES, 0.1 + 0.2, cast("Any", state))
        answer = usual.decide(view)
        assert other.decide(view) == answer
        state = answer.state


def test_whoever_computes_in_a_referee_is_asked_on_a_thread(parts: RefereeParts, tmp_path: Path) -> None:
    base = {
        "name": "x",
        "task_runner": {"template": "a:b"},
        "data_loader": {"template": "a:b"},
        "tasks": {"train": {"function": "train"}},
    }
    changes: list[tuple[dict[str, object], bool]] = [
        ({}, False),
        ({"aggregation": {"template": "openfl_like.aggregation.rules:Median"}}, True),
        ({"validator": [{"template": "openfl_like.aggregation.validators:Finite"}]}, True),
        ({"selector": {"template": "openfl_like.federation.participation.selection:AllSelector"}}, False),
    ]
    for change, late in changes:
        plan = Plan.model_validate(base | change)
        assert ModelRepository(plan, ExperimentFiles(tmp_path), parts).answers_late is late
