from pathlib import Path

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openfl_like.errors import TensorError, UpdateRefusedError
from openfl_like.federation import aggregation
from openfl_like.federation.aggregation import Contribution, aggregate_files, weights_of
from openfl_like.federation.rules import WeightedAverage
from openfl_like.federation.task import Phase, Update
from openfl_like.federation.validation import Finite, SameSchema, Validator, check_facts, validate_update
from openfl_like.tensors.container import read_tensors, write_tensors
from openfl_like.tensors.manifest import file_digest
from openfl_like.tensors.named import DTYPES, Array

REUSE_TMP = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None, derandomize=True
)


def contribute(folder: Path, models: dict[str, dict[str, Array]], weights: dict[str, float]) -> list[Contribution]:
    for name, tensors in models.items():
        write_tensors(folder / name, tensors, sync=False)
    return [Contribution(name, folder / name, weights[name]) for name in models]


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
    digest = aggregate_files(WeightedAverage(), items, tmp_path / "out", sync=False).digest
    result = read_tensors(tmp_path / "out")
    order.shuffle(items)  # type: ignore[attr-defined]  # a random.Random
    assert aggregate_files(WeightedAverage(), items, tmp_path / "again", sync=False).digest == digest
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


def test_block_size_changes_no_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = contribute(tmp_path, {"a": random_model(1), "b": random_model(2)}, {"a": 1.0, "b": 2.0})
    digest = aggregate_files(WeightedAverage(), items, tmp_path / "out", sync=False).digest
    monkeypatch.setattr(aggregation, "BLOCK_ELEMENTS", 4)
    assert aggregate_files(WeightedAverage(), items, tmp_path / "out", sync=False).digest == digest


def test_a_single_update_keeps_its_bits(tmp_path: Path) -> None:
    model = random_model(3) | {"big": np.array([2**63 - 1, -(2**63), 2**53 + 1])}
    items = contribute(tmp_path, {"a": model}, {"a": 0.0})
    digest = aggregate_files(WeightedAverage(), items, tmp_path / "out").digest
    assert digest == file_digest(tmp_path / "a")


def test_casts_at_the_end(tmp_path: Path) -> None:
    models: dict[str, dict[str, Array]] = {
        "a": {"i": np.array([0, 1, 2, 2**63 - 1]), "b": np.array([True, False]), "u": np.array([255], np.uint8)},
        "b": {"i": np.array([1, 2, 3, 2**63 - 1]), "b": np.array([False, False]), "u": np.array([255], np.uint8)},
    }
    aggregate_files(WeightedAverage(), contribute(tmp_path, models, {"a": 1, "b": 1}), tmp_path / "out", sync=False)
    result = read_tensors(tmp_path / "out")
    assert result["i"].tolist() == [0, 2, 2, 2**63 - 1024]
    assert result["b"].tolist() == [True, False]
    assert result["u"].tolist() == [255]


def test_unweighted_sites_count_alike(tmp_path: Path) -> None:
    items = contribute(tmp_path, {"a": {"w": np.zeros(2)}, "b": {"w": np.ones(2)}}, {"a": 1, "b": 99})
    aggregate_files(WeightedAverage(weighted=False), items, tmp_path / "out", sync=False)
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
        aggregate_files(Blowup(), items, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("names", ["a", "ab"])
def test_non_finite_updates_are_refused(tmp_path: Path, names: str) -> None:
    items = contribute(tmp_path, {name: {"w": np.array([1.0, np.nan])} for name in names}, {"a": 1, "b": 1})
    with pytest.raises(UpdateRefusedError):
        aggregate_files(WeightedAverage(), items, tmp_path / "out")


def test_what_cannot_be_combined(tmp_path: Path) -> None:
    items = contribute(tmp_path, {"a": {"w": np.zeros(2)}, "b": {"w": np.zeros(3)}}, {"a": 1, "b": 1})
    with pytest.raises(UpdateRefusedError, match="'b' does not fit that of 'a'"):
        aggregate_files(WeightedAverage(), items, tmp_path / "out")
    for wrong in ([], [items[0], items[0]], [items[0], Contribution("c", tmp_path / "a", 0.0)]):
        with pytest.raises(UpdateRefusedError):
            aggregate_files(WeightedAverage(), wrong, tmp_path / "out")
    pair = [items[0], Contribution("c", tmp_path / "a", 1.0)]
    with pytest.raises(UpdateRefusedError, match="the rule gave"):
        aggregate_files(WrongShape(), pair, tmp_path / "out")
    with pytest.raises(TensorError):
        aggregate_files(WeightedAverage(), [Contribution("a", tmp_path / "none", 1.0)], tmp_path / "out")


def facts(phase: Phase = Phase.TRAIN, samples: int = 5, **change: object) -> Update:
    values: dict[str, object] = {"digest": "" if phase is Phase.EVALUATE else "d", "metrics": {}, "duration_s": 1.0}
    values |= change
    return Update(1, phase, "a", num_samples=samples, **values)  # type: ignore[arg-type]  # also wrong ones


@pytest.mark.parametrize(
    ("update", "complaint"),
    [
        (facts(), ""),
        (facts(samples=0), "0 is not a possible number of samples"),
        (facts(samples=-1), "-1 is not"),
        (facts(samples=2**60), "is not a possible number"),
        (facts(Phase.EVALUATE, 0), ""),
        (facts(Phase.INITIALISE, 0), ""),
        (facts(digest=""), "it names no model file"),
        (facts(Phase.EVALUATE, digest="d"), "it names a model file"),
        (facts(metrics={"train": {"loss": float("nan")}}), "metric 'loss' of task 'train' is nan"),
        (facts(metrics={"train": {f"m{index}": 0.0 for index in range(1001)}}), "more than 1000 metrics"),
        (facts(metrics={"train": {"x" * 201: 0.0}}), "longer than 200 characters"),
        (facts(duration_s=float("inf")), "its duration is not a time"),
    ],
)
def test_facts_are_checked(update: Update, complaint: str) -> None:
    found = check_facts(update)
    assert complaint in found
    assert bool(found) is bool(complaint)


def test_weights_are_shares_of_samples() -> None:
    updates = [Update(1, Phase.TRAIN, name, "d", count) for name, count in {"b": 3, "a": 1}.items()]
    assert weights_of(updates) == {"a": 0.25, "b": 0.75}
    assert weights_of([Update(0, Phase.INITIALISE, "a", "d", 0)]) == {"a": 1.0}


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
        return validate_update(checks, tmp_path / name, tmp_path / base, facts(samples=samples))

    assert run("good") == ""
    assert "F64[3] instead of F64[2]" in run("other")
    assert run("damaged").startswith("its model file is damaged")
    assert run("none").startswith("its model file is damaged")
    assert "number of samples" in run("good", samples=0)
    assert validate_update(checks, tmp_path / "other", None, facts()) == ""
    with pytest.raises(TensorError):
        run("good", base="damaged")
