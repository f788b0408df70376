"""What every validator that compares updates must do; a registered one that is not tried here fails a test.

All are held to the same verdicts whatever the order of arrival, the threads and the encoding, to bounded memory, and to
typed reasons: who, what, how much, and what it may be.
"""

import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from openfl_like import registry
from openfl_like.aggregation.engine import UpdateFile
from openfl_like.aggregation.spans import Executor, Job, inline
from openfl_like.aggregation.validation.compared import ComparingValidator, judge_updates
from openfl_like.aggregation.validation.cosine import CosineLimit
from openfl_like.aggregation.validation.norm import NormLimit
from openfl_like.aggregation.validation.z_score import ZScore
from openfl_like.errors import UpdateRefusedError
from openfl_like.federation.task import Phase, Update
from openfl_like.federation.validation.verdict import Consequence, UpdateVerdict
from openfl_like.tensors.compression import Float16
from openfl_like.tensors.container import TensorFile, write_tensors
from openfl_like.tensors.encoded import Encoding, Sent, write_encoded
from openfl_like.tensors.named import Array

VALIDATORS: dict[str, ComparingValidator] = {
    "norm": NormLimit(),
    "norm bound": NormLimit(bound=4.0),
    "norm clip": NormLimit(multiple=2, above="clip"),
    "z_score": ZScore(),
    "z_score plain": ZScore(robust=False, bound=2.0),
    "z_score metric": ZScore(of="metric"),
    "cosine": CosineLimit(),
    "cosine mean": CosineLimit(to="mean", bound=-0.1),
}
COUNT, ATTACKER = 9, "site-3"
ELEMENTS = 20_000
SINGLE = {"finite", "schema"}


def test_every_registered_one_is_tried() -> None:
    assert {name.split()[0] for name in VALIDATORS} | SINGLE == {*registry.names("validator")}


def model(*, seed: int = 0, scale: float = 1.0) -> dict[str, Array]:
    draw = np.random.default_rng(seed)
    return {
        "bias": (scale * draw.normal(size=7)).astype(np.float32),
        "count": np.array([seed], np.int64),
        "weight": (scale * draw.normal(size=(100, ELEMENTS // 100))).astype(np.float32),
    }


class Round:
    """Nine updates that go much the same way, one of which goes the other way, ten times as far."""

    def __init__(self, folder: Path, *, encoding: Encoding | None = None, bad: float = -10.0) -> None:
        base, way = model(), model(seed=1, scale=0.02)
        self.base = TensorFile(folder / "base") if (folder / "base").exists() else self._written(folder, base)
        self.updates, self.files = [], []
        for number in range(COUNT):
            name = f"site-{number}"
            factor = bad if name == ATTACKER else 1.0
            own = model(seed=10 + number, scale=0.01)
            tensors = {key: base[key] + np.asarray(factor * (way[key] + own[key]), base[key].dtype) for key in base}
            sent = None if encoding is None else Sent(encoding, number, folder / "base")
            path = folder / f"{name}-{encoding is not None}"
            if sent is None:
                write_tensors(path, tensors, sync=False)
            else:
                write_encoded(path, tensors, sent, {})
            loss = 100.0 if name == ATTACKER else 1.0 + number / 100
            metrics = {"train": {"loss": loss}}
            self.updates.append(Update(1, Phase.TRAIN, name, "d", 10, metrics))
            self.files.append(UpdateFile(name, path, 10.0, sent))

    @staticmethod
    def _written(folder: Path, base: dict[str, Array]) -> TensorFile:
        write_tensors(folder / "base", base, sync=False)
        return TensorFile(folder / "base")

    def judged(
        self, *validators: ComparingValidator, order: Callable[[int], int] = int, executor: Executor = inline
    ) -> tuple[UpdateVerdict, ...]:
        places = sorted(range(COUNT), key=order)
        updates, files = [self.updates[place] for place in places], [self.files[place] for place in places]
        return judge_updates(validators, updates, files, self.base, executor)


def four_threads(work: Job, most: int) -> None:
    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(work) for _ in range(min(4, most))]:
            future.result()


@pytest.fixture(params=VALIDATORS)
def validator(request: pytest.FixtureRequest) -> ComparingValidator:
    return VALIDATORS[request.param]


def test_the_attacker_alone_is_found_with_what_was_seen_and_what_may_be(
    validator: ComparingValidator, tmp_path: Path
) -> None:
    (verdict,) = Round(tmp_path).judged(validator)
    assert verdict.collaborator == ATTACKER
    assert verdict.observed is not None
    below = verdict.measure == "cosine"
    assert verdict.observed < verdict.bound if below else verdict.observed > verdict.bound
    assert f"{verdict.bound:g}" in str(verdict)
    wanted = Consequence.CLIP if validator == VALIDATORS["norm clip"] else Consequence.DROP
    assert verdict.action is wanted


def test_nobody_is_found_where_all_are_honest(validator: ComparingValidator, tmp_path: Path) -> None:
    if isinstance(validator, ZScore) and validator.of == "metric":
        pytest.skip("the loss is what the site says, whatever it sends")
    assert Round(tmp_path, bad=1.0).judged(validator) == ()


def test_neither_order_nor_threads_change_a_bit(validator: ComparingValidator, tmp_path: Path) -> None:
    found = Round(tmp_path)
    usual = found.judged(validator)
    assert found.judged(validator, order=lambda place: -place) == usual
    assert found.judged(validator, order=lambda place: place * 7 % COUNT, executor=four_threads) == usual


def test_compressed_updates_are_judged_as_what_they_stand_for(validator: ComparingValidator, tmp_path: Path) -> None:
    (plain,) = Round(tmp_path).judged(validator)
    (decoded,) = Round(tmp_path, encoding=Encoding(Float16(), delta=True)).judged(validator)
    assert decoded.collaborator == plain.collaborator
    assert decoded.observed == pytest.approx(plain.observed, rel=0.01)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_dropped_and_hides_nobody(
    validator: ComparingValidator, tmp_path: Path, value: float
) -> None:
    if isinstance(validator, ZScore) and validator.of == "metric":
        pytest.skip("it reads no update")
    found = Round(tmp_path)
    tensors = model()
    tensors["weight"][3, 5] = value
    write_tensors(tmp_path / "bad", tensors, sync=False)
    found.files[7] = UpdateFile("site-7", tmp_path / "bad", 10.0)
    with np.errstate(invalid="ignore"):
        verdicts = {one.collaborator: one for one in found.judged(validator)}
    assert {ATTACKER, "site-7"} <= verdicts.keys()
    assert verdicts["site-7"].observed is None
    assert verdicts["site-7"].action is Consequence.DROP
    assert "finite" in str(verdicts["site-7"]) or "no direction" in str(verdicts["site-7"])


def test_no_whole_update_is_in_memory(tmp_path: Path) -> None:
    big = {"weight": np.zeros(4 << 20, np.float32)}
    write_tensors(tmp_path / "base", big, sync=False)
    updates, files = [], []
    for number in range(4):
        path = tmp_path / f"{number}"
        write_tensors(path, {"weight": np.full(4 << 20, 1.0 + number, np.float32)}, sync=False)
        updates.append(Update(1, Phase.TRAIN, str(number), "d", 1, {"train": {"loss": 1.0}}))
        files.append(UpdateFile(str(number), path, 1.0))
    with TensorFile(tmp_path / "base") as base:
        tracemalloc.start()
        judge_updates([NormLimit(), CosineLimit(), ZScore()], updates, files, base)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 8 << 20, "an update has 16 MiB"


def test_few_updates_are_refused(tmp_path: Path) -> None:
    found = Round(tmp_path)
    for validator in VALIDATORS.values():
        if isinstance(validator, NormLimit) and validator.bound is not None:
            continue
        with pytest.raises(UpdateRefusedError):
            judge_updates([validator], found.updates[:2], found.files[:2], found.base)


def test_each_sees_what_those_before_it_have_left(tmp_path: Path) -> None:
    found = Round(tmp_path)
    clip, then = NormLimit(multiple=2, above="clip"), NormLimit(multiple=2)
    assert [one.action for one in found.judged(clip, then)] == [Consequence.CLIP], "after clipping none is longer"
    assert [one.validator for one in found.judged(CosineLimit(), then)] == ["cosine"]
    first, second = found.judged(clip, CosineLimit())
    assert (first.action, second.action) == (Consequence.CLIP, Consequence.DROP)


def test_an_update_with_other_tensors_is_refused_by_name(tmp_path: Path) -> None:
    found = Round(tmp_path)
    write_tensors(tmp_path / "other", {"w": np.zeros(3, np.float32)}, sync=False)
    found.files[2] = UpdateFile("site-2", tmp_path / "other", 1.0)
    with pytest.raises(UpdateRefusedError, match="update of 'site-2' does not fit the global model"):
        found.judged(NormLimit())
