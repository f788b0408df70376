import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openfl_like.aggregation.engine import USUAL_SIZES, BlockSizes, Output, Recipe, UpdateFile, aggregate_files
from openfl_like.aggregation.rules import AggregationRule, Median, TrimmedMean, WeightedAverage
from openfl_like.aggregation.spans import Executor, Job, inline
from openfl_like.aggregation.validators import Finite, SameSchema, Validator, validate_update
from openfl_like.errors import TensorError, UpdateRefusedError
from openfl_like.federation.metrics import weights_of
from openfl_like.federation.task import Phase, Update, check_facts
from openfl_like.tensors.container import Part, TensorFile, read_tensors, write_tensors
from openfl_like.tensors.manifest import Manifest, file_digest, manifest_of
from openfl_like.tensors.named import DTYPES, Array

REUSE_TMP = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None, derandomize=True
)


def contribute(folder: Path, models: dict[str, dict[str, Array]], weights: dict[str, float]) -> list[UpdateFile]:
    for name, tensors in models.items():
        write_tensors(folder / name, tensors, sync=False)
    return [UpdateFile(name, folder / name, weights[name]) for name in models]


def combined(
    rule: AggregationRule,
    items: list[UpdateFile],
    out: Path,
    *,
    sync: bool = True,
    executor: Executor = inline,
    sizes: BlockSizes = USUAL_SIZES,
) -> Manifest:
    return aggregate_files(Recipe(rule), items, Output(out, sync=sync), executor=executor, sizes=sizes).model


def random_model(seed: int) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    model: dict[str, Array] = {
        name: rng.normal(size=(3, 5)).astype(DTYPES[name]) for name in ("F16", "BF16", "F32", "F64")
    }
    for name in ("I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64"):
        model[name] = rng.integers(0, 100, 7).astype(DTYPES[name])
    return model | {"BOOL": rng.integers(0, 2, 4).astype(bool), "none": np.zeros((0, 2)), "one": np.array(rng.normal())}


@REUSE_TMP
@given(st.lists(st.integers(1, 10**6), min_size=2, max_size=5), st.randoms(use_true_random=False))
def test_average_is_the_naive_float64_sum_in_any_order(tmp_path: Path, samples: list[int], order: object) -> None:
    names = [f"site-{index}" for index in range(len(samples))]
    models = {name: random_model(index) for index, name in enumerate(names)}
    items = contribute(tmp_path, models, dict(zip(names, map(float, samples), strict=True)))
    digest = combined(WeightedAverage(), items, tmp_path / "out", sync=False).digest
    result = read_tensors(tmp_path / "out")
    order.shuffle(items)  # type: ignore[attr-defined]  # a random.Random
    assert combined(WeightedAverage(), items, tmp_path / "again", sync=False).digest == digest
    shares = np.array(samples, dtype=np.float64) / sum(samples)
    for tensor, array in result.items():
        naive = sum(models[name][tensor].astype(np.float64) * share for name, share in zip(names, shares, strict=True))
        if array.dtype == np.bool_:
            assert ((np.abs(naive - 0.5) < 1e-12) | (array == (naive >= 0.5))).all()
        elif array.dtype.kind in "iu":
            assert (np.abs(array - naive) <= 0.5 + 1e-9).all()
        else:
            close = {2: 1e-2, 4: 1e-6, 8: 1e-14}[array.dtype.itemsize]
            assert np.allclose(array.astype(np.float64), naive, rtol=close, atol=close)


class Reduced:
    """An average that may be had block by block only."""

    def reduce(self, blocks: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return WeightedAverage().reduce(blocks, weights)


RULES: list[AggregationRule] = [WeightedAverage(), Reduced(), Median(), TrimmedMean(fraction=0.34)]


def three_threads(work: Job, most: int) -> None:
    assert most > 3
    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(work) for _ in range(3)]:
            done.result()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_neither_block_size_nor_threads_change_a_bit(tmp_path: Path, rule: AggregationRule) -> None:
    models = {name: random_model(place) | wide_model(place) for place, name in enumerate("abc")}
    items = contribute(tmp_path, models, {"a": 1.0, "b": 2.0, "c": 4.0})
    manifest = combined(rule, items, tmp_path / "out", sync=False)
    assert manifest == manifest_of(tmp_path / "out")
    assert combined(rule, items, tmp_path / "out", sync=False, sizes=BlockSizes(1000)) == manifest
    for block in (4 * 1024, 64 * 1024):
        sizes = BlockSizes(block)
        assert combined(rule, items, tmp_path / "out", sync=False, executor=three_threads, sizes=sizes) == manifest


def wide_model(seed: int, size: int = 1_200_000) -> dict[str, Array]:
    wide = np.random.default_rng(seed).normal(size=size).astype(np.float32)
    wide[::1000] = -0.0 if seed % 2 else 0.0
    return {"wide": wide}


def test_the_short_way_of_an_average_gives_the_bits_of_the_long_one(tmp_path: Path) -> None:
    items = contribute(tmp_path, {"a": random_model(1), "b": random_model(2)}, {"a": 1.0, "b": 2.0})
    digests = {combined(rule, items, tmp_path / "out", sync=False).digest for rule in RULES[:2]}
    assert len(digests) == 1


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_memory_grows_neither_with_updates_nor_with_models(tmp_path: Path, rule: AggregationRule, traced: None) -> None:
    peaks = []
    for count, size in [(4, 300_000), (48, 300_000), (4, 2_000_000)]:
        write_tensors(tmp_path / "update", {"w": np.ones(size, np.float32)}, sync=False)
        items = [UpdateFile(f"site-{place}", tmp_path / "update", 1.0) for place in range(count)]
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        combined(rule, items, tmp_path / "out", sync=False)
        peaks.append((tracemalloc.get_traced_memory()[1] - before) / 2**20)
    assert max(peaks) < 5
    assert max(peaks) < peaks[0] + 0.5


def test_pages_that_were_read_are_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each file, every part is handed back once."""
    found: dict[Path, list[Part]] = {}
    monkeypatch.setattr(TensorFile, "release", lambda file, parts: found.setdefault(file.path, []).extend(parts))
    items = contribute(tmp_path, {name: wide_model(1) | {"v": np.ones(7)} for name in "ab"}, {"a": 1, "b": 1})
    combined(WeightedAverage(), items, tmp_path / "out", sync=False)
    assert found.keys() == {tmp_path / "a", tmp_path / "b"}
    for parts in found.values():
        assert sum(stop - start for name, start, stop in parts if name == "wide") == 1_200_000
        assert len(parts) == len(set(parts)) > 4
    found.clear()
    assert validate_update([Finite()], tmp_path / "a", None, facts()) == ""
    assert sum(stop - start for name, start, stop in found[tmp_path / "a"] if name == "wide") > 1_000_000


@pytest.mark.parametrize("count", [1, 2])
def test_a_rule_may_refuse_too_few_updates(tmp_path: Path, count: int) -> None:
    items = contribute(tmp_path, {name: random_model(1) for name in "ab"[:count]}, {"a": 1, "b": 1})
    with pytest.raises(UpdateRefusedError, match="nothing would be trimmed"):
        combined(TrimmedMean(fraction=0.3), items, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_one_thread_that_fails_stops_the_others(tmp_path: Path) -> None:
    models = {name: wide_model(1) for name in "ab"}
    models["b"]["wide"][0] = np.nan
    rounds = []

    class Counting:
        def reduce(self, blocks: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
            rounds.append(1)
            return Median().reduce(blocks, weights)

    def one_after_the_other(work: Job, most: int) -> None:
        with pytest.raises(UpdateRefusedError):
            work()
        before = len(rounds)
        work()
        assert len(rounds) == before < most * 4
        raise UpdateRefusedError("as the first one said")

    items = contribute(tmp_path, models, {"a": 1, "b": 1})
    with pytest.raises(UpdateRefusedError):
        combined(Counting(), items, tmp_path / "out", executor=one_after_the_other)
    assert not (tmp_path / "out").exists()


def test_a_single_update_keeps_its_bits(tmp_path: Path) -> None:
    model = random_model(3) | {"big": np.array([2**63 - 1, -(2**63), 2**53 + 1])}
    items = contribute(tmp_path, {"a": model}, {"a": 0.0})
    digest = combined(WeightedAverage(), items, tmp_path / "out").digest
    assert digest == file_digest(tmp_path / "a")


def test_casts_at_the_end(tmp_path: Path) -> None:
    models: dict[str, dict[str, Array]] = {
        "a": {"i": np.array([0, 1, 2, 2**63 - 1]), "b": np.array([True, False]), "u": np.array([255], np.uint8)},
        "b": {"i": np.array([1, 2, 3, 2**63 - 1]), "b": np.array([False, False]), "u": np.array([255], np.uint8)},
    }
    combined(WeightedAverage(), contribute(tmp_path, models, {"a": 1, "b": 1}), tmp_path / "out", sync=False)
    result = read_tensors(tmp_path / "out")
    assert result["i"].tolist() == [0, 2, 2, 2**63 - 1]
    assert result["b"].tolist() == [True, False]
    assert result["u"].tolist() == [255]


class Noisy:
    """Gives no element back as it was."""

    def reduce(self, blocks: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        changed: npt.NDArray[np.float64] = (weights @ blocks) * (1 + 2.0**-20)
        return changed


@pytest.mark.parametrize("rule", [WeightedAverage(), Median()], ids=["mean", "median"])
def test_what_all_have_alike_keeps_its_bits(tmp_path: Path, rule: AggregationRule) -> None:
    alike = {
        "ids": np.array([2**62 + 1, -(2**63), 2**63 - 1, 0]),
        "large": np.array([2**64 - 1, 2**53 + 1], np.uint64),
        "constants": np.random.default_rng(4).normal(size=1001),
        "halves": np.random.default_rng(5).normal(size=99).astype(np.float16),
    }
    models: dict[str, dict[str, Array]] = {name: {**alike, "own": np.array([float(n)])} for n, name in enumerate("abc")}
    combined(rule, contribute(tmp_path, models, {"a": 3, "b": 7, "c": 11}), tmp_path / "out", sync=False)
    result = read_tensors(tmp_path / "out")
    assert {name: result[name].tobytes() for name in alike} == {name: array.tobytes() for name, array in alike.items()}


def test_a_rule_that_means_another_value_is_not_overruled(tmp_path: Path) -> None:
    models: dict[str, dict[str, Array]] = {name: {"w": np.array([3.0]), "n": np.array([2**40])} for name in "ab"}
    combined(Noisy(), contribute(tmp_path, models, {"a": 1, "b": 1}), tmp_path / "out", sync=False)
    result = read_tensors(tmp_path / "out")
    assert (result["w"].tolist(), result["n"].tolist()) == ([3.0 * (1 + 2.0**-20)], [2**40 + 2**20])


def test_unweighted_sites_count_alike(tmp_path: Path) -> None:
    items = contribute(tmp_path, {"a": {"w": np.zeros(2)}, "b": {"w": np.ones(2)}}, {"a": 1, "b": 99})
    combined(WeightedAverage(weighted=False), items, tmp_path / "out", sync=False)
    assert read_tensors(tmp_path / "out")["w"].tolist() == [0.5, 0.5]


class Blowup:
    def reduce(self, blocks: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        del weights
        return np.full(blocks.shape[1], 1e300)


class WrongShape:
    def reduce(self, blocks: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        del weights
        return blocks


@pytest.mark.parametrize("dtype", [np.float16, np.float32, ml_dtypes.bfloat16])
def test_a_result_that_overflows_is_refused(tmp_path: Path, dtype: npt.DTypeLike) -> None:
    items = contribute(tmp_path, {name: {"w": np.zeros(2, dtype)} for name in "ab"}, {"a": 1, "b": 1})
    with pytest.raises(UpdateRefusedError, match="'w' holds a value that is not finite"):
        combined(Blowup(), items, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("names", ["a", "ab"])
def test_non_finite_updates_are_refused(tmp_path: Path, names: str) -> None:
    items = contribute(tmp_path, {name: {"w": np.array([1.0, np.nan])} for name in names}, {"a": 1, "b": 1})
    with pytest.raises(UpdateRefusedError):
        combined(WeightedAverage(), items, tmp_path / "out")


def test_what_cannot_be_combined(tmp_path: Path) -> None:
    items = contribute(tmp_path, {"a": {"w": np.zeros(2)}, "b": {"w": np.zeros(3)}}, {"a": 1, "b": 1})
    with pytest.raises(UpdateRefusedError, match="'b' does not fit that of 'a'"):
        combined(WeightedAverage(), items, tmp_path / "out")
    for wrong in ([], [items[0], items[0]], [items[0], UpdateFile("c", tmp_path / "a", 0.0)]):
        with pytest.raises(UpdateRefusedError):
            combined(WeightedAverage(), wrong, tmp_path / "out")
    pair = [items[0], UpdateFile("c", tmp_path / "a", 1.0)]
    with pytest.raises(UpdateRefusedError, match="the rule gave"):
        combined(WrongShape(), pair, tmp_path / "out")
    with pytest.raises(TensorError):
        combined(WeightedAverage(), [UpdateFile("a", tmp_path / "none", 1.0)], tmp_path / "out")


def facts(phase: Phase = Phase.TRAIN, samples: int = 5, **change: object) -> Update:
    values: dict[str, object] = {"digest": "" if phase is Phase.EVALUATE else "d", "metrics": {}, "duration_s": 1.0}
    values |= change
    return Update(1, phase, "a", num_samples=samples, **values)  # type: ignore[arg-type]  # also wrong ones


@pytest.mark.parametrize(
    ("update", "complaint"),
    [
        (facts(), ""),
        (facts(samples=0), ""),
        (facts(samples=-1), "-1 is not"),
        (facts(samples=2**60), "is not a possible number"),
        (facts(Phase.EVALUATE, 0), ""),
        (facts(Phase.INITIALISE, 0), ""),
        (facts(digest=""), "it names no model file"),
        (facts(Phase.EVALUATE, digest="d"), "it names a model file"),
        (facts(metrics={"train": {"loss": float("nan")}}), "metric 'loss' of task 'train' is nan"),
        (facts(metrics={"train": {f"m{index}": 0.0 for index in range(1001)}}), "more than 1000 metrics"),
        (facts(metrics={"train": {"x" * 201: 0.0}}), "longer than 200 characters"),
        (facts(metrics={"train": {f"{index:065}": 0.0 for index in range(1000)}}), ""),
        (
            facts(metrics={"train": {f"{index:0200}": 0.0 for index in range(400)}}),
            "have 80,005 bytes, more than 65,536",
        ),
        (facts(metrics={"train": {"\u4e00" * 195 + f"{index:05}": 0.0 for index in range(700)}}), "more than 65,536"),
        (facts(duration_s=float("inf")), "its duration is not a time"),
    ],
)
def test_facts_are_checked(update: Update, complaint: str) -> None:
    found = check_facts(update)
    assert complaint in found
    assert bool(found) is bool(complaint)


def test_weights_are_shares_of_samples() -> None:
    updates = [Update(1, Phase.TRAIN, name, "d", count) for name, count in {"b": 3, "a": 1}.items()]
    assert weights_of(updates, {}) == {"a": 0.25, "b": 0.75}
    assert weights_of([Update(0, Phase.INITIALISE, "a", "d", 0)], {}) == {"a": 1.0}


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F32", "F64"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_finite_finds_one_bad_value_anywhere(tmp_path: Path, dtype: str, value: float) -> None:
    array = np.zeros(300_000, DTYPES[dtype])
    write_tensors(tmp_path / "u", {"w": array, "n": np.array([1])}, sync=False)
    assert validate_update([Finite()], tmp_path / "u", None, facts()) == ""
    array[299_999] = value
    write_tensors(tmp_path / "u", {"w": array}, sync=False)
    assert validate_update([Finite()], tmp_path / "u", None, facts()) == "tensor 'w' holds a value that is not finite"


def test_validation_of_an_update(tmp_path: Path) -> None:
    checks: list[Validator] = [SameSchema(), Finite()]
    write_tensors(tmp_path / "base", {"w": np.zeros(2)}, sync=False)
    write_tensors(tmp_path / "good", {"w": np.ones(2)}, sync=False)
    write_tensors(tmp_path / "other", {"w": np.ones(3)}, sync=False)
    (tmp_path / "damaged").write_bytes(b"\x80\x04pickle")

    def run(name: str, base: str = "base", samples: int = 5) -> str:
        with TensorFile(tmp_path / base) as file:
            return validate_update(checks, tmp_path / name, file, facts(samples=samples))

    assert run("good") == ""
    assert "F64[3] instead of F64[2]" in run("other")
    assert run("damaged").startswith("its model file is damaged")
    assert run("none").startswith("its model file is damaged")
    assert "number of samples" in run("good", samples=-1)
    assert validate_update(checks, tmp_path / "other", None, facts()) == ""
    with pytest.raises(TensorError):
        run("good", base="damaged")
