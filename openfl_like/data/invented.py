"""Data that is invented: it has the form that a site publishes of its own, and nothing of what is in that."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import JsonValue

from openfl_like.data.published import ANY, ArrayForm, PublishedData, Range, published_of
from openfl_like.data.shard import KINDS, DataSchema, Dataset
from openfl_like.errors import ShardError
from openfl_like.federation.parties import ShardFacts
from openfl_like.federation.seeds import derive_seed

_WHOLE_DTYPE_BITS = 16
"""Integers of so many bits are drawn from all that their dtype can hold, without a range; wider ones are 0 or 1."""


class InventedShard:
    """Samples that are drawn from nothing but what they look like; for trying a plan where there is no data.

    Numbers with a range that has zero in its middle are normal, others uniform within their range; without a range they
    are standard normal. Integers go from the smallest to the largest value of their range, and both are there. Every
    class is there if there are as many samples.

    Args:
        sample_shape: Shape of one sample.
        target_shape: Shape of one target; ``[]`` for a single number.
        sample_dtype: Name of the samples' numpy dtype.
        target_dtype: Name of the targets' numpy dtype; default: int64 for classes, else float32.
        sample_range: Smallest and largest value of a sample; none, or null for one end: any.
        target_range: Smallest and largest value of a target.
        classes: How many classes the targets name; 0 when they are not class numbers.
        train: How many samples there are to train on.
        validate: How many are held out.
        seed: Of the draws.

    Raises:
        ShardError: If there can be no such data.
    """

    def __init__(  # noqa: PLR0913 (the params of shard.yaml, by name)
        self,
        sample_shape: Sequence[int],
        target_shape: Sequence[int] = (),
        *,
        sample_dtype: str = "float32",
        target_dtype: str | None = None,
        sample_range: Sequence[float | None] | None = None,
        target_range: Sequence[float | None] | None = None,
        classes: int = 0,
        train: int = 96,
        validate: int = 96,
        seed: int = 0,
    ) -> None:
        schema: dict[str, object] = {
            "sample_dtype": sample_dtype,
            "sample_range": sample_range,
            "target_range": target_range,
            "classes": classes,
            "counts": {"train": train, "validate": validate},
        }
        schema |= {} if target_dtype is None else {"target_dtype": target_dtype}
        try:
            self._data = published_of(ShardFacts(tuple(sample_shape), tuple(target_shape), schema=schema))
        except (ValueError, TypeError) as error:
            raise ShardError(str(error), place="params") from error
        self._seed = seed

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self._data.samples.shape

    @property
    def target_shape(self) -> tuple[int, ...]:
        """Shape of one target."""
        return self._data.targets.shape

    @property
    def dataset_description(self) -> str:
        """That it is invented."""
        return f"Invented: samples {self._data.samples}, targets {self._data.targets}."

    @property
    def schema(self) -> DataSchema:
        """Dtypes, value ranges, classes and counts."""
        samples, targets = self._data.samples, self._data.targets
        return DataSchema(
            samples.dtype, targets.dtype, samples.range, targets.range, self._data.classes, dict(self._data.counts)
        )

    def get_dataset(self, kind: str) -> Dataset:
        """Return the samples of a kind: ``train`` or ``validate``; the same whenever it is asked."""
        if kind not in KINDS:
            raise ShardError(f"there is no '{kind}' data", cure=f"ask for {' or '.join(KINDS)}")
        random = np.random.default_rng(derive_seed(self._seed, "invented", kind))
        count = self._data.counts[kind]
        return Dataset(_drawn(self._data.samples, count, random), self._targets(count, random))

    def _targets(self, count: int, random: np.random.Generator) -> np.ndarray:
        form, classes = self._data.targets, self._data.classes
        if not classes:
            return _drawn(form, count, random)
        elements = count * math.prod(form.shape)
        every = np.arange(elements) % classes
        if elements < classes:  # the largest is what a model with too few outputs stumbles over
            every[-1:] = classes - 1
        return random.permutation(every).reshape(count, *form.shape).astype(form.dtype)


def _drawn(form: ArrayForm, count: int, random: np.random.Generator) -> np.ndarray:
    size, dtype = (count, *form.shape), np.dtype(form.dtype)
    if dtype.kind == "b":
        return random.integers(0, 2, size).astype(bool)
    if dtype.kind in "iu":
        return _integers(form, dtype, size, random)
    low, high = (_within(end, dtype, inwards) for end, inwards in zip(form.range, (np.inf, -np.inf), strict=True))
    if math.isfinite(form.range[0]) and math.isfinite(form.range[1]) and not low < 0 < high:
        values = low + random.random(size) * (high - low)
    else:
        spread = min(1.0, high / 4 - low / 4)
        values = random.normal(0.0, spread, size) + min(max(0.0, low), high)
    return np.clip(values, low, high).astype(dtype)


def _within(end: float, dtype: "np.dtype[Any]", inwards: float) -> float:
    """Return the end of a range as the dtype has it: not beyond it by rounding."""
    most = float(np.finfo(dtype).max)
    value = np.asarray(min(max(end, -most), most)).astype(dtype)
    beyond = float(value) < end if inwards > 0 else float(value) > end
    return float(np.nextafter(value, dtype.type(inwards))) if beyond and math.isfinite(end) else float(value)


def _integers(
    form: ArrayForm, dtype: "np.dtype[Any]", size: tuple[int, ...], random: np.random.Generator
) -> np.ndarray:
    limits = np.iinfo(dtype)
    low, high = form.range
    narrow = limits.bits <= _WHOLE_DTYPE_BITS
    first = math.ceil(max(low, limits.min)) if math.isfinite(low) else limits.min if narrow else min(0, _floor(high))
    last = math.floor(min(high, limits.max)) if math.isfinite(high) else limits.max if narrow else max(1, first + 1)
    last = min(last, int(limits.max))
    if first > last:
        raise ShardError(f"no {dtype.name} is between {low:g} and {high:g}", place="params")
    values = random.integers(first, last, size, dtype=dtype, endpoint=True)
    flat = values.reshape(-1)
    flat[:1], flat[-1:] = first, last  # what a model with too few rows in a table stumbles over
    return values


def _floor(value: float) -> int:
    return math.floor(value) if math.isfinite(value) else 0


def invented_params(data: PublishedData, counts: Mapping[str, int], seed: int) -> dict[str, JsonValue]:
    """Return the params of an `InventedShard` with data of this form.

    Args:
        data: What a site publishes.
        counts: How many samples are invented of each kind.
        seed: Of the draws.
    """
    samples, targets = data.samples, data.targets
    params: dict[str, JsonValue] = {
        "sample_shape": list(samples.shape),
        "target_shape": list(targets.shape),
        "sample_dtype": samples.dtype,
        "target_dtype": targets.dtype,
        "classes": data.classes,
        "seed": seed,
        **{kind: counts[kind] for kind in KINDS},
    }
    ranges = {"sample_range": samples.range, "target_range": targets.range}
    return params | {name: _ends(value) for name, value in ranges.items() if value != ANY}


def _ends(value: Range) -> JsonValue:
    return [end if math.isfinite(end) else None for end in value]
