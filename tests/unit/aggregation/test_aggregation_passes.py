"""A rule's looks at all updates: what it is shown, in which order that is added up, and what it may not give."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from openfl_like.aggregation.engine import USUAL_SIZES, BlockSizes, Output, Recipe, Start, UpdateFile, aggregate_files
from openfl_like.aggregation.passes import MOST_PASSES
from openfl_like.aggregation.spans import Executor, Job, inline
from openfl_like.aggregation.steps import Block, Linear, Step, Vector
from openfl_like.errors import UpdateRefusedError
from openfl_like.tensors.container import write_tensors


class Looking:
    """A rule whose one look is a function of the test's; the total is kept for it."""

    slots = ("kept",)

    def __init__(self, see: Callable[[Block], Vector]) -> None:
        self._see = see
        self.total: Vector | None = None
        self.rounds: list[int] = []

    def begin(self, weights: Vector, round_number: int) -> Step:
        self.rounds.append(round_number)
        self._count = len(weights)
        return self

    def see(self, block: Block) -> Vector:
        return self._see(block)

    def end(self, total: Vector) -> Step:
        self.total = total
        return Linear(np.full(self._count, 1.0 / self._count))


def sums(block: Block) -> Vector:
    found: Vector = (block.updates / 3.0).sum(axis=1)  # thirds have all bits: sums of float32 would often be exact
    return found


SMALL = BlockSizes(pass_elements=1 << 16)


def look(
    folder: Path, rule: Looking, executor: Executor = inline, size: int = 2_500_000, sizes: BlockSizes = USUAL_SIZES
) -> Vector:
    if not (folder / "base").exists():
        for place, name in enumerate(("base", "a", "b")):
            values = np.random.default_rng(place).normal(size=size).astype(np.float32)
            write_tensors(folder / name, {"w": values, "x": values[:10], "n": np.arange(5)}, sync=False)
    items = [UpdateFile(name, folder / name, 1.0) for name in ("a", "b")]
    out, start = Output(folder / "out", folder / "state", sync=False), Start(7, folder / "base")
    aggregate_files(Recipe(rule), items, out, start=start, executor=executor, sizes=sizes)
    assert rule.total is not None
    return rule.total


def test_every_element_of_every_float_is_seen_once_with_its_base(tmp_path: Path) -> None:
    def see(block: Block) -> Vector:
        assert block.updates.shape == (2, block.base.size)
        assert block.state.tolist() == np.zeros((1, block.base.size)).tolist()
        return np.array([block.base.size, block.base.sum(), *block.updates.sum(axis=1)])

    rule = Looking(see)
    size, base, one, other = look(tmp_path, rule)
    assert size == 2_500_010
    wanted = [np.random.default_rng(place).normal(size=2_500_000).astype(np.float32) for place in range(3)]
    for total, values in zip((base, one, other), wanted, strict=True):
        assert total == pytest.approx(values.sum(dtype=np.float64) + values[:10].sum(dtype=np.float64), rel=1e-9)
    assert rule.rounds == [7]


def test_what_is_seen_too_early_waits(tmp_path: Path) -> None:
    """The first stretch is held until others are done; the total has the same bits."""
    wanted = look(tmp_path, Looking(sums), sizes=SMALL)
    lock, done, others = threading.Lock(), threading.Event(), [0]
    first = np.random.default_rng(0).normal(size=2_500_000).astype(np.float32)[0]

    def see(block: Block) -> Vector:
        if block.base[0] == first and block.base.size > 10:
            assert done.wait(20)
        with lock:
            others[0] += block.base.size
            if others[0] > 400_000:
                done.set()
        return sums(block)

    def two_threads(job: Job, most: int) -> None:
        assert most > 1
        with ThreadPoolExecutor(2) as pool:
            for finished in [pool.submit(job) for _ in range(2)]:
                finished.result()

    held = look(tmp_path, Looking(see), two_threads, sizes=SMALL)
    assert held.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("wrong", ["shape", "dtype"])
def test_what_cannot_be_added_up_is_refused(tmp_path: Path, wrong: str) -> None:
    def see(block: Block) -> Vector:
        if wrong == "dtype":
            return np.zeros(2, np.float32)
        return block.base

    with pytest.raises(UpdateRefusedError, match="the rule's pass gave"):
        look(tmp_path, Looking(see))
    assert not (tmp_path / "out").exists()


def test_without_a_global_model_no_rule_looks(tmp_path: Path) -> None:
    write_tensors(tmp_path / "a", {"w": np.zeros(3)}, sync=False)
    recipe = Recipe(Looking(lambda block: block.base))
    with pytest.raises(UpdateRefusedError, match=r"global model .* is missing"):
        aggregate_files(recipe, [UpdateFile("a", tmp_path / "a", 1.0)], Output(tmp_path / "out"))


class Insatiable(Looking):
    """Looks so many times, and only then says how the updates are combined."""

    def __init__(self, passes: int) -> None:
        super().__init__(lambda _: np.ones(1))
        self._left = passes

    def end(self, total: Vector) -> Step:
        self._left -= 1
        return self if self._left else super().end(total)


def test_a_rule_that_never_has_seen_enough_is_refused(tmp_path: Path) -> None:
    assert look(tmp_path, Insatiable(MOST_PASSES), size=10).tolist() == [2.0]
    with pytest.raises(UpdateRefusedError, match="more than 64 times"):
        look(tmp_path, Insatiable(MOST_PASSES + 1), size=10)
