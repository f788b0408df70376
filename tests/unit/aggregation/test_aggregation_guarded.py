"""Rules, server optimizers, algorithms and comparing validators of a workspace in this process, and their mistakes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from openfl_like.aggregation.build import build_recipe, build_validators
from openfl_like.aggregation.engine import Output, Recipe, UpdateFile, aggregate_files
from openfl_like.aggregation.guarded import GuardedPass, guarded_numbers
from openfl_like.aggregation.steps import Block, Blockwise, Contributors, Linear
from openfl_like.aggregation.validation.compared import Compared, Looks
from openfl_like.errors import PlanError, UpdateRefusedError
from openfl_like.federation.failure import FailedPartError, FailureKind
from openfl_like.federation.parts.source import WorkspaceParts
from openfl_like.federation.task import Phase, Update
from openfl_like.federation.validation.verdict import Consequence, Measure, UpdateVerdict
from openfl_like.plan.schema import Plan
from openfl_like.tensors.container import write_tensors

NAME = "the aggregation rule 'mine:Mine'"
WEIGHTS = np.full(3, 1 / 3)
WRONG = [
    (lambda _: None, "answered None instead of float64[{}]"),
    (lambda _: 1.5, "answered 1.5 instead of float64[{}]"),
    (lambda _: [1.0], "answered [1.0] instead of float64[{}]"),
    (lambda shape: np.zeros(shape, np.float32), "answered float32[{0}] instead of float64[{0}]"),
    (lambda shape: np.zeros(shape + 1), "answered float64[{1}] instead of float64[{0}]"),
    (lambda shape: np.full(shape, np.nan), "answered a value that is not finite"),
    (lambda _: 1 / 0, "raised ZeroDivisionError: division by zero"),
]
UPDATES = tuple(Update(1, Phase.TRAIN, name, "d", 5) for name in ("a", "b", "c"))


class Part:
    """Answers as it is told, whatever it is asked."""

    slots = ("way",)
    averages = False
    looks = Looks.REPORTS

    def __init__(self, way: str, answer: Callable[[int], object]) -> None:
        self.way, self.answer = way, answer

    def __getattr__(self, name: str) -> Callable[..., object]:
        if name != self.way:
            raise AttributeError(name)
        return lambda *_: self.answer(3)


def asked(kind: str, way: str, answer: Callable[[int], object], *given: object) -> Any:  # noqa: ANN401 - of any kind
    return getattr(guarded_numbers(kind, NAME, Part(way, answer)), way)(*given)


QUESTIONS: list[tuple[str, str, tuple[object, ...]]] = [
    ("aggregation", "factors", (WEIGHTS,)),
    ("aggregation", "reduce", (np.ones((3, 3)), WEIGHTS)),
    ("server_algorithm", "weigh", (WEIGHTS, {}.get, Contributors(WEIGHTS, 1, ("a", "b", "c")))),
    ("server_algorithm", "own", (np.ones(3), np.ones(3), Contributors(WEIGHTS, 1, ("a", "b", "c")))),
]


@pytest.mark.parametrize(("kind", "way", "given"), QUESTIONS)
@pytest.mark.parametrize(("answer", "told"), WRONG)
def test_what_is_no_answer_is_told_with_who_gave_it(
    kind: str, way: str, given: tuple[object, ...], answer: Callable[[int], object], told: str
) -> None:
    with pytest.raises(FailedPartError) as caught:
        asked(kind, way, answer, *given)
    assert caught.value.failure.message == f"{NAME} {told.format(3, 4)}"
    assert caught.value.failure.kind is FailureKind.PART


def test_what_is_shown_something_endless_may_answer_it() -> None:
    blocks = np.array([[np.inf, 1.0, 1.0]] * 3)
    assert np.isinf(asked("aggregation", "reduce", lambda _: np.array([np.inf, 1.0, 1.0]), blocks, WEIGHTS)[0])


def test_who_may_refuse_updates_may() -> None:
    def refuse(_: int) -> object:
        raise UpdateRefusedError("too few")

    with pytest.raises(UpdateRefusedError, match="too few"):
        asked("aggregation", "reduce", refuse, np.ones((3, 3)), WEIGHTS)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (None, "answered None, which is not a step of a rule"),
        (Linear(cast("Any", None)), "answered None instead of float64[3]"),
        (Linear(np.zeros(3), np.nan), "answered nan as the factor of the base"),
    ],
)
def test_steps_are_looked_at(answer: object, told: str) -> None:
    with pytest.raises(FailedPartError) as caught:
        asked("aggregation", "begin", lambda _: answer, WEIGHTS, 1)
    assert caught.value.failure.message == f"{NAME} {told}"


def test_what_a_step_gives_is_looked_at() -> None:
    block = Block(np.ones((3, 2)), np.ones(2), np.zeros((1, 2)))
    blockwise = asked("aggregation", "begin", lambda _: Blockwise(lambda _: cast("Any", None)), WEIGHTS, 1)
    with pytest.raises(
        FailedPartError, match=r"answered None, float64\[1, 2\] instead of float64\[2\], float64\[1, 2\]"
    ):
        blockwise.combine(block)

    class Look:
        def see(self, _: Block) -> object:
            return 3.0

        def end(self, _: object) -> object:
            return "no step"

    look = asked("aggregation", "begin", lambda _: Look(), WEIGHTS, 1)
    assert isinstance(look, GuardedPass)
    with pytest.raises(FailedPartError, match=r"answered 3\.0 instead of float64 for a block that it saw"):
        look.see(block)
    with pytest.raises(FailedPartError, match="answered 'no step', which is not a step of a rule"):
        look.end(np.zeros(2))


@pytest.mark.parametrize("kind", ["server_optimizer", "server_algorithm"])
def test_what_is_kept_between_rounds_is_looked_at(kind: str) -> None:
    def step(base: np.ndarray, target: np.ndarray, state: np.ndarray, _: object) -> np.ndarray:
        state[:] = np.nan
        return target

    part = Part("", lambda _: None)
    vars(part)["step"] = step
    guarded = cast("Any", guarded_numbers(kind, NAME, part))
    with pytest.raises(FailedPartError, match="answered a value that is not finite"):
        guarded.step(np.ones(2), np.ones(2), np.zeros((1, 2)), 1)


def verdict(name: str = "a", bound: float = 0.5) -> UpdateVerdict:
    return UpdateVerdict(name, "x", Measure.NORM, 1.0, bound, Consequence.CLIP)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (None, "answered None, which are not verdicts"),
        (["a"], "answered 'a', which is not a verdict"),
        ([verdict("z")], "judged an update twice, or one that it was not shown"),
        ([verdict(), verdict()], "judged an update twice, or one that it was not shown"),
        ([verdict(bound=np.inf)], "gave a bound that is not finite, or less than 0"),
        ((1 / number for number in (0,)), "raised ZeroDivisionError: division by zero"),
    ],
)
def test_verdicts_are_looked_at(answer: object, told: str) -> None:
    with pytest.raises(FailedPartError) as caught:
        asked("validator", "judge", lambda _: answer, Compared(UPDATES))
    assert caught.value.failure.message == f"{NAME} {told}"


@pytest.mark.parametrize("slots", [("../x",), ("a", "a"), (3,), tuple(f"s{number}" for number in range(9)), 7])
def test_slots_are_names(slots: object) -> None:
    part = Part("step", lambda _: None)
    vars(part)["slots"] = slots
    with pytest.raises(PlanError, match="is not what one must be"):
        guarded_numbers("server_optimizer", NAME, part)


CODE = """
class Mine:
    def __init__(self, answer):
        self.answer = answer
    def reduce(self, blocks, weights):
        return blocks[0] if self.answer == "first" else blocks.no
class Judge:
    looks = 0
    def judge(self, compared):
        raise KeyError("loss")
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[[str], Recipe]:
    (tmp_path / "mine.py").write_text(CODE)

    def made(answer: str) -> Recipe:
        return build_recipe(plan(aggregation={"template": "mine:Mine", "settings": {"answer": answer}}), parts)

    parts = WorkspaceParts(tmp_path)
    return made


def plan(**changes: object) -> Plan:
    base = {
        "name": "x",
        "task_runner": {"template": "a:b"},
        "data_loader": {"template": "a:b"},
        "tasks": {"train": {"function": "train"}},
    }
    return Plan.model_validate(base | changes)


def test_a_round_ends_with_the_line_of_the_workspace(recipe: Callable[[str], Recipe], tmp_path: Path) -> None:
    files = []
    for number in (1, 2):
        path = tmp_path / f"u{number}"
        write_tensors(path, {"w": np.full(4, number, np.float32)}, sync=False)
        files.append(UpdateFile(f"site-{number}", path, 1.0))
    aggregate_files(recipe("first"), files, Output(tmp_path / "out", sync=False))
    with pytest.raises(FailedPartError) as caught:
        aggregate_files(recipe("wrong"), files, Output(tmp_path / "out", sync=False))
    assert caught.value.failure.message.startswith(f"{NAME} raised AttributeError: ")
    assert caught.value.failure.file.endswith("mine.py")
    assert caught.value.failure.line == 6


def test_a_validator_that_compares_is_guarded_too(recipe: Callable[[str], Recipe], tmp_path: Path) -> None:
    _, (judge,) = build_validators(plan(validator=[{"template": "mine:Judge"}]), WorkspaceParts(tmp_path))
    with pytest.raises(FailedPartError, match="the validator 'mine:Judge' raised KeyError: 'loss'") as caught:
        judge.judge(Compared(UPDATES))
    assert caught.value.failure.line == 10
