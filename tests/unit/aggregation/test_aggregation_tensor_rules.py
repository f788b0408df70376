"""Rules for some tensors: combined in another way, or left as they are whatever updates say."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from openfl_like.aggregation.adaptive import FedAdam
from openfl_like.aggregation.algorithms import FedNovaServer, ScaffoldServer
from openfl_like.aggregation.build import build_recipe
from openfl_like.aggregation.engine import BlockSizes, Output, Recipe, Start, UpdateFile, aggregate_files
from openfl_like.aggregation.krum import Krum
from openfl_like.aggregation.rules import Median, TrimmedMean, WeightedAverage
from openfl_like.aggregation.server_optimizers import FedAvgM
from openfl_like.aggregation.tensor_rules import TensorChoice
from openfl_like.errors import PlanError, UpdateRefusedError
from openfl_like.plan.schema import AggregationSection, Plan, Task, TensorRule
from openfl_like.plan.section import Component
from openfl_like.tensors.container import read_tensors, write_tensors
from openfl_like.tensors.memory import TensorMemory
from openfl_like.tensors.named import ALGORITHM, Array

ODD: dict[str, Array] = {
    "own.zero": np.array([-0.0, 0.0, 1e-45], np.float32),
    "own.large": np.array([2**63 - 1, -(2**63), 2**53 + 1], np.int64),
    "own.exact": np.array([0.1, -0.0, 1e308]),
    "own.flags": np.array([True, False, True]),
    "own.half": np.array([1.5, -0.0, 6e-8], np.float16),
}
"""Elements that any arithmetic would change."""
STAY = TensorChoice("own.*", None)


def combined(folder: Path, recipe: Recipe, base: dict[str, Array], updates: list[dict[str, Array]]) -> dict[str, Array]:
    write_tensors(folder / "base", base, sync=False)
    items = [UpdateFile(f"site-{place}", TensorMemory.of(update), 1.0) for place, update in enumerate(updates)]
    out = Output(folder / "out", folder / "state", sync=False)
    aggregate_files(recipe, items, out, start=Start(1, folder / "base", None, len(updates)))
    return read_tensors(folder / "out")


def shared(value: float) -> dict[str, Array]:
    return {"w": np.full(3, value), f"{ALGORITHM}control/w": np.full(3, value), f"{ALGORITHM}steps": np.full(1, 3.0)}


@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize("dishonest", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        lambda: Recipe(WeightedAverage(), choices=(STAY,)),
        lambda: Recipe(WeightedAverage(), FedAvgM(learning_rate=0.5), choices=(STAY,)),
        lambda: Recipe(WeightedAverage(), FedAdam(), choices=(STAY,)),
        lambda: Recipe(WeightedAverage(), None, ScaffoldServer(), (STAY,)),
        lambda: Recipe(WeightedAverage(), None, FedNovaServer(), (STAY,)),
        lambda: Recipe(Median(), choices=(STAY,)),
    ],
)
def test_what_stays_keeps_its_bits_whatever_updates_say(
    tmp_path: Path, make: Callable[[], Recipe], count: int, *, dishonest: bool
) -> None:
    own = {name: np.ones_like(array) for name, array in ODD.items()} if dishonest else ODD
    updates = [{**own, **shared(2.0 + place)} for place in range(count)]
    made = combined(tmp_path, make(), {**ODD, **shared(1.0)}, updates)
    assert {name: made[name].tobytes() for name in ODD} == {name: array.tobytes() for name, array in ODD.items()}
    assert made["w"][0] != 1.0


def test_each_tensor_goes_by_the_first_rule_that_is_for_it(tmp_path: Path) -> None:
    values = [1.0, 2.0, 3.0, 4.0, 90.0]
    names = ["a.median", "a.rest", "trimmed", "mean"]
    updates = [{name: np.full(70_000, value, np.float32) for name in names} for value in values]
    base = {name: np.full(70_000, 0.5, np.float32) for name in names}
    choices = (
        TensorChoice("a.median", Median()),
        TensorChoice("a.*", None),
        TensorChoice("trim*", TrimmedMean(fraction=0.2)),
    )
    made = combined(tmp_path, Recipe(WeightedAverage(), choices=choices), base, updates)
    assert {name: set(array.tolist()) for name, array in made.items()} == {
        "a.median": {3.0},
        "a.rest": {0.5},
        "trimmed": {3.0},
        "mean": {20.0},
    }


def test_a_server_optimizer_steps_what_another_rule_combined(tmp_path: Path) -> None:
    recipe = Recipe(WeightedAverage(), FedAvgM(learning_rate=0.5), choices=(TensorChoice("b", Median()),))
    updates = [{"a": np.full(1, value), "b": np.full(1, value)} for value in (1.0, 2.0, 9.0)]
    made = combined(tmp_path, recipe, {"a": np.zeros(1), "b": np.zeros(1)}, updates)
    assert (made["a"].tolist(), made["b"].tolist()) == ([2.0], [1.0])


def test_a_rule_over_whole_updates_does_not_judge_by_them(tmp_path: Path) -> None:
    """The update that is closest to all others is far from them in what stays."""
    updates = [
        {"w": np.full(3, value), "own.w": np.full(3, 1e6 * (place == 1))}
        for place, value in enumerate((1.0, 1.1, 1.2, 1.3, 9.0))
    ]
    base = {"w": np.zeros(3), "own.w": np.full(3, 0.25)}
    made = combined(tmp_path, Recipe(Krum(fraction=0.2), choices=(STAY,)), base, updates)
    assert made["w"][0] in {1.1, 1.2}
    plain = combined(tmp_path, Recipe(Krum(fraction=0.2)), base, updates)
    assert made["own.w"].tolist() == [0.25] * 3
    assert plain["w"][0] != made["w"][0]


def test_neither_threads_nor_sizes_change_a_bit(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    updates = [{name: random.normal(size=300_001).astype(np.float32) for name in ("a", "b", "own.c")} for _ in range(5)]
    write_tensors(tmp_path / "base", updates[0], sync=False)
    recipe = Recipe(WeightedAverage(), choices=(TensorChoice("b", Median()), STAY))
    items = [UpdateFile(f"site-{place}", TensorMemory.of(update), 1.0 + place) for place, update in enumerate(updates)]

    def threads(work: Callable[[], None], _: int) -> None:
        several = [threading.Thread(target=work) for _ in range(3)]
        for thread in several:
            thread.start()
        for thread in several:
            thread.join()

    start, digests = Start(1, tmp_path / "base"), set()
    for sizes in (BlockSizes(), BlockSizes(1000, 1 << 20)):
        out = Output(tmp_path / "out", sync=False)
        digests.add(aggregate_files(recipe, items, out, start=start, sizes=sizes, executor=threads).model.digest)
        digests.add(aggregate_files(recipe, items, out, start=start, sizes=sizes).model.digest)
    assert len(digests) == 1


def test_a_pattern_for_nothing_ends_the_round_with_its_place(tmp_path: Path) -> None:
    recipe = Recipe(WeightedAverage(), choices=(TensorChoice("none.*", None),))
    with pytest.raises(UpdateRefusedError, match=r"aggregation.rules\[0\].match: 'none.\*' matches no tensor"):
        combined(tmp_path, recipe, {"w": np.zeros(1)}, [{"w": np.ones(1)}])


def test_too_few_updates_for_one_of_the_rules_are_refused(tmp_path: Path) -> None:
    recipe = Recipe(WeightedAverage(), choices=(TensorChoice("w", TrimmedMean(fraction=0.2)),))
    with pytest.raises(UpdateRefusedError, match="nothing would be trimmed"):
        combined(tmp_path, recipe, {"w": np.zeros(1)}, [{"w": np.ones(1)}] * 2)
    assert not (tmp_path / "out").exists()


def test_a_plan_s_rules_are_built_and_one_over_whole_updates_is_refused() -> None:
    plan = Plan(
        name="rules",
        task_runner=Component(template="a:B"),
        data_loader=Component(template="numpy"),
        tasks={"train": Task(function="train")},
        aggregation=AggregationSection.model_validate(
            {"rules": [{"match": "a", "rule": "local"}, {"match": "b", "rule": {"template": "median"}}]}
        ),
    )
    assert build_recipe(plan).choices == (TensorChoice("a", None), TensorChoice("b", Median()))
    rule = TensorRule(match="a", rule=Component(template="krum", settings={"fraction": 0.2}))
    wrong = plan.model_copy(update={"aggregation": AggregationSection(rules=(rule,))})
    with pytest.raises(PlanError, match="krum looks at whole updates") as raised:
        build_recipe(wrong)
    assert raised.value.place == "aggregation.rules[0].rule.template"
