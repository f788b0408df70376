"""What every aggregation rule and server optimizer must do; a registered one that is not tried here fails a test.

All are held to what holds for models in files: the same bits whatever the order of arrival, the threads and the spans;
bounded memory; nothing that is not finite gets through; what is kept goes from round to round by its file alone. Beyond
that each kind of rule is held to what it alone promises.
"""

import shutil
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from openfl_like import registry
from openfl_like.aggregation.adaptive import FedAdagrad, FedAdam, FedYogi
from openfl_like.aggregation.clipping import CenteredClipping, NormBoundedMean
from openfl_like.aggregation.engine import (
    USUAL_SIZES,
    BlockSizes,
    Combined,
    Output,
    Recipe,
    Start,
    UpdateFile,
    aggregate_files,
)
from openfl_like.aggregation.geometric_median import GeometricMedian
from openfl_like.aggregation.gram import Gram
from openfl_like.aggregation.krum import Bulyan, Krum, MultiKrum
from openfl_like.aggregation.rules import (
    AggregationRule,
    GramRule,
    Median,
    TrimmedMean,
    WeightedAverage,
)
from openfl_like.aggregation.server_optimizers import FedAvgM, NoServerOptimizer, ServerOptimizer
from openfl_like.aggregation.spans import Executor, Job, inline
from openfl_like.aggregation.steps import Block, Blockwise, Step, Vector
from openfl_like.aggregation.trust import FLTrust
from openfl_like.errors import UpdateRefusedError
from openfl_like.tensors.container import read_tensors, write_tensors
from openfl_like.tensors.manifest import file_digest, manifest_of
from openfl_like.tensors.named import DTYPES, Array

# ---- one of each kind that is not shipped -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HalfWay:
    """A rule over whole updates that leaves part of the way: each less than half a weight, so that the base counts."""

    def gram_factors(self, gram: Gram, weights: Vector) -> Vector:
        factors: Vector = 0.5 * weights / (1.0 + gram.differences.diagonal() / (1.0 + gram.base))
        return factors


@dataclass(frozen=True, slots=True)
class Lengths:
    """First look of `Wary`: how long each update is."""

    weights: Vector

    def see(self, block: Block) -> Vector:
        lengths: Vector = ((block.updates - block.base) ** 2).sum(axis=1)
        return lengths

    def end(self, total: Vector) -> Step:
        return Agreement(self.weights / np.sqrt(1.0 + total))


@dataclass(frozen=True, slots=True)
class Agreement:
    """Second look of `Wary`: how far each goes the way that was gone before."""

    factors: Vector

    def see(self, block: Block) -> Vector:
        along: Vector = ((block.updates - block.base) * block.state[0]).sum(axis=1)
        return along

    def end(self, total: Vector) -> Step:
        factors = self.factors * (1.0 + np.tanh(total))

        def combine(block: Block) -> Vector:
            block.state[0] *= 0.5
            for update, factor in zip(block.updates, factors, strict=True):
                block.state[0] += factor * (update - block.base)
            made: Vector = block.base + block.state[0]
            return made

        return Blockwise(combine)


@dataclass(frozen=True, slots=True)
class Wary:
    """A rule that looks twice, at the base and at what it keeps, and keeps something."""

    @property
    def slots(self) -> tuple[str, ...]:
        return ("way",)

    def begin(self, weights: Vector, round_number: int) -> Step:
        assert round_number > 0
        return Lengths(weights)


RULES: dict[str, AggregationRule] = {
    "fedavg": WeightedAverage(),
    "fedavg alike": WeightedAverage(weighted=False),
    "median": Median(),
    "trimmed_mean": TrimmedMean(fraction=0.34),
    "geometric_median": GeometricMedian(),
    "geometric_median weighted": GeometricMedian(weighted=True, iterations=3),
    "krum": Krum(fraction=0.2),
    "multi_krum": MultiKrum(fraction=0.2),
    "multi_krum two": MultiKrum(fraction=0.2, keep=2),
    "bulyan": Bulyan(fraction=0.15),
    "norm_bounded_mean": NormBoundedMean(),
    "norm_bounded_mean weighted": NormBoundedMean(bound=1e4, weighted=True),
    "centered_clipping": CenteredClipping(radius=1e4),
    "centered_clipping iterated": CenteredClipping(radius=700.0, iterations=4),
    "fltrust": FLTrust(trusted="ada"),
}
OPTIMIZERS: dict[str, ServerOptimizer] = {
    "none": NoServerOptimizer(),
    "fedavgm": FedAvgM(learning_rate=0.7, momentum=0.8),
    "fedadagrad": FedAdagrad(beta1=0.5),
    "fedadam": FedAdam(),
    "fedadam corrected": FedAdam(bias_correction=True),
    "fedyogi": FedYogi(tau=1e-2),
}
RECIPES: dict[str, Recipe] = {
    **{name: Recipe(rule) for name, rule in RULES.items()},
    **{name: Recipe(WeightedAverage(), optimizer) for name, optimizer in OPTIMIZERS.items()},
    "part of the way": Recipe(HalfWay()),
    "two looks and a state": Recipe(Wary()),
    "two looks and two states": Recipe(Wary(), FedAvgM()),
    "geometric_median, fedavgm": Recipe(GeometricMedian(), FedAvgM()),
}
GRAM_RULES = {"part of the way": HalfWay()} | {n: rule for n, rule in RULES.items() if isinstance(rule, GramRule)}
each_recipe = pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
each_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=list(OPTIMIZERS))
each_gram_rule = pytest.mark.parametrize("rule", GRAM_RULES.values(), ids=list(GRAM_RULES))


def test_every_registered_rule_and_server_optimizer_is_tried() -> None:
    for kind, tried in (("aggregation", RULES), ("server_optimizer", OPTIMIZERS)):
        registered = {registry.resolve(kind, name) for name in registry.names(kind)}
        assert registered == {type(part) for part in tried.values()}


def shares(count: int) -> Vector:
    numbers: Vector = np.arange(1.0, count + 1)
    shared: Vector = numbers / numbers.sum()
    return shared


def same_bits(left: Vector, right: Vector) -> bool:
    return left.tobytes() == right.tobytes()


# ---- models in files: what holds for all --------------------------------------------------------------------------

NAMES = ("ada", "bern", "chur", "davos", "elm", "flims", "genf")


def model_of(seed: int, wide: int = 700_000) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    floats: dict[str, Array] = {
        name: rng.normal(size=(3, 5)).astype(DTYPES[name]) for name in ("F16", "BF16", "F32", "F64")
    }
    whole: dict[str, Array] = {
        "I64": rng.integers(-9, 9, 7),
        "U8": rng.integers(0, 9, 7).astype(np.uint8),
        "flags": rng.integers(0, 2, 4).astype(bool),
    }
    large = rng.normal(size=wide).astype(np.float32)
    large[::1000] = -0.0 if seed % 2 else 0.0
    return floats | whole | {"large": large, "none": np.zeros((0, 2)), "one": np.array(rng.normal())}


@dataclass(frozen=True, slots=True)
class Folder:
    """Where rounds leave their files."""

    path: Path

    def model(self, number: int) -> Path:
        return self.path / f"v{number}"

    def state(self, number: int) -> Path:
        return self.path / f"s{number}"

    def updates(self, names: tuple[str, ...] = NAMES) -> list[UpdateFile]:
        return [UpdateFile(name, self.path / name, 1.0 + NAMES.index(name)) for name in names]

    def round(
        self, recipe: Recipe, number: int = 1, executor: Executor = inline, sizes: BlockSizes = USUAL_SIZES
    ) -> Combined:
        """Makes the model of a round of this folder's updates."""
        before = self.state(number - 1)
        start = Start(number, self.model(number - 1), before if before.exists() else None)
        out = Output(self.model(number), self.state(number), sync=False)
        return aggregate_files(recipe, self.updates(), out, start=start, executor=executor, sizes=sizes)


def furnished(path: Path, wide: int = 700_000) -> Folder:
    """A global model, and an update of it by every site."""
    path.mkdir(exist_ok=True)
    base = model_of(99, wide)
    write_tensors(path / "v0", base, sync=False)
    for place, name in enumerate(NAMES):
        update = {tensor: array.copy() for tensor, array in base.items()}
        for tensor, change in model_of(place, wide).items():
            if change.dtype.kind != "b":
                update[tensor] = (base[tensor] + change).astype(change.dtype)
        write_tensors(path / name, update, sync=False)
    return Folder(path)


def three_threads(job: Job, most: int) -> None:
    assert most >= 1
    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(job) for _ in range(3)]:
            done.result()


@each_recipe
def test_neither_arrival_nor_threads_nor_spans_nor_blocks_change_a_bit(tmp_path: Path, recipe: Recipe) -> None:
    folder = furnished(tmp_path)
    folder.round(recipe, 1)
    wanted = folder.round(recipe, 2)
    assert wanted.model == manifest_of(folder.model(2))
    assert wanted.state == (manifest_of(folder.state(2)) if recipe.slots else None)
    start = Start(2, folder.model(1), folder.state(1) if recipe.slots else None)
    for names in (NAMES[::-1], (*NAMES[3:], *NAMES[2::-1])):
        out = Output(tmp_path / "out", tmp_path / "state", sync=False)
        assert aggregate_files(recipe, folder.updates(names), out, start=start) == wanted
    for block, mapped, executor in ((1000, 1 << 18, inline), (4096, 1 << 20, three_threads), (65536, 1, three_threads)):
        for _ in range(3):
            assert folder.round(recipe, 2, executor, BlockSizes(block, mapped)) == wanted


@each_recipe
def test_what_is_kept_goes_on_by_its_file_alone(tmp_path: Path, recipe: Recipe) -> None:
    """Three rounds in one go, and the same with everything read, written and built anew before each of them."""
    whole, parts = furnished(tmp_path / "whole", 2000), furnished(tmp_path / "parts", 2000)
    rounds = [whole.round(recipe, number) for number in (1, 2, 3)]
    for number in (1, 2, 3):
        fresh = RECIPES[next(name for name, other in RECIPES.items() if other is recipe)]
        assert parts.round(Recipe(fresh.rule, fresh.optimizer), number) == rounds[number - 1]
        assert parts.state(number).exists() is bool(recipe.slots)
        if recipe.slots:
            kept = read_tensors(parts.state(number))
            assert {array.dtype for array in kept.values()} == {np.dtype(np.float64)}
            parts.state(number).unlink()
            write_tensors(parts.state(number), kept)
    if recipe.slots:
        assert rounds[0].state != rounds[1].state, "nothing was kept"
        write_tensors(parts.state(2), {name: 0 * array for name, array in read_tensors(parts.state(2)).items()})
        assert parts.round(recipe, 3).model != rounds[2].model, "nobody has asked for what was kept"


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@each_recipe
def test_memory_grows_neither_with_updates_nor_with_models(tmp_path: Path, recipe: Recipe, traced: None) -> None:
    peaks = []
    for count, size in [(32, 200_000), (96, 200_000), (32, 900_000)]:
        write_tensors(tmp_path / "update", {"w": np.ones(size, np.float32)}, sync=False)
        write_tensors(tmp_path / "base", {"w": np.zeros(size, np.float32)}, sync=False)
        names = [*NAMES, *(f"site-{place}" for place in range(count))][:count]
        items = [UpdateFile(name, tmp_path / "update", 1.0) for name in names]
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        out = Output(tmp_path / "out", tmp_path / "state", sync=False)
        aggregate_files(recipe, items, out, start=Start(1, tmp_path / "base"))
        peaks.append((tracemalloc.get_traced_memory()[1] - before) / 2**20)
    assert max(peaks) < 9
    assert max(peaks) < peaks[0] + 1


@each_recipe
@pytest.mark.parametrize("tensor", ["large", "F16", "F64"])
@pytest.mark.parametrize("place", range(len(NAMES)))
def test_a_nan_is_not_hidden(tmp_path: Path, recipe: Recipe, tensor: str, place: int) -> None:
    folder = furnished(tmp_path, 5000)
    update = read_tensors(tmp_path / NAMES[place])
    update[tensor].reshape(-1)[-1] = np.nan
    write_tensors(tmp_path / NAMES[place], update, sync=False)
    with pytest.raises(UpdateRefusedError):
        folder.round(recipe)
    assert not folder.model(1).exists()
    assert not folder.state(1).exists()


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_equal_updates_are_the_result(tmp_path: Path, rule: AggregationRule) -> None:
    folder = furnished(tmp_path, 3000)
    for name in NAMES[1:]:
        shutil.copyfile(tmp_path / NAMES[0], tmp_path / name)
    folder.round(Recipe(rule))
    made, wanted = read_tensors(folder.model(1)), read_tensors(tmp_path / NAMES[0])
    for tensor, array in wanted.items():
        exact = array.dtype.kind in "iub"
        left, right = made[tensor].astype(np.float64), array.astype(np.float64)
        assert np.allclose(left, right, rtol=0 if exact else 1e-15, atol=0 if exact else 1e-7), tensor


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_a_single_update_keeps_its_bits_or_is_refused(tmp_path: Path, rule: AggregationRule) -> None:
    folder = furnished(tmp_path, 3000)
    try:
        out = Output(tmp_path / "out", sync=False)
        aggregate_files(Recipe(rule), folder.updates(NAMES[:1]), out, start=Start(1, folder.model(0)))
    except UpdateRefusedError as error:
        assert "min_updates" in error.cure  # noqa: PT017 - of two right answers one is an error
    else:
        assert file_digest(tmp_path / "out") == file_digest(tmp_path / NAMES[0])


# ---- server optimizers --------------------------------------------------------------------------------------------


@each_optimizer
def test_a_part_has_the_bits_of_the_whole_also_in_what_is_kept(optimizer: ServerOptimizer) -> None:
    rng = np.random.default_rng(1)
    base, target = rng.normal(size=(2, 1003))
    kept = np.abs(rng.normal(size=(len(optimizer.slots), 1003)))
    whole_state = kept.copy()
    whole = optimizer.step(base, target, whole_state, 3)
    for start in range(0, 1003, 37):
        part = slice(start, start + 37)
        state = kept[:, part].copy()
        assert same_bits(optimizer.step(base[part], target[part], state, 3), whole[part])
        assert same_bits(state, np.ascontiguousarray(whole_state[:, part]))


@each_optimizer
def test_where_nothing_is_to_be_done_nothing_is(optimizer: ServerOptimizer) -> None:
    base = np.random.default_rng(2).normal(size=500)
    state = np.zeros((len(optimizer.slots), 500))
    assert same_bits(optimizer.step(base.copy(), base.copy(), state, 1), base)


@each_optimizer
def test_a_step_goes_the_way_that_the_rule_points(optimizer: ServerOptimizer) -> None:
    base, target = np.random.default_rng(2).normal(size=(2, 500))
    made = optimizer.step(base.copy(), target.copy(), np.zeros((len(optimizer.slots), 500)), 1)
    assert (np.sign(made - base) == np.sign(target - base)).all()


def test_without_a_server_optimizer_the_bits_are_those_of_the_rule(tmp_path: Path) -> None:
    folder = furnished(tmp_path, 3000)
    assert folder.round(RECIPES["none"]) == folder.round(RECIPES["fedavg"])


# ---- rules over whole updates -------------------------------------------------------------------------------------


def gram_of(updates: Vector, base: Vector, names: tuple[str, ...]) -> Gram:
    differences = updates - base
    return Gram(differences @ differences.T, differences @ base, float(base @ base), names)


@each_gram_rule
def test_who_is_who_does_not_matter_to_a_rule_over_whole_updates(rule: GramRule) -> None:
    rng = np.random.default_rng(4)
    updates, base = rng.normal(size=(7, 40)), rng.normal(size=40)
    order = rng.permutation(7)
    factors = rule.gram_factors(gram_of(updates, base, NAMES), shares(7))
    names = tuple(NAMES[place] for place in order)
    turned = rule.gram_factors(gram_of(updates[order], base, names), shares(7)[order])
    assert factors.shape == (7,)
    assert np.allclose(factors[order], turned, rtol=1e-9, atol=0)


@each_gram_rule
def test_factors_of_a_rule_over_whole_updates_leave_no_more_than_there_is(rule: GramRule) -> None:
    rng = np.random.default_rng(5)
    factors = rule.gram_factors(gram_of(rng.normal(size=(7, 40)), rng.normal(size=40), NAMES), shares(7))
    assert (factors >= 0).all()
    assert isinstance(rule, FLTrust) or factors.sum() <= 1 + 1e-12  # that one makes short updates longer
