"""What a site publishes of its data, read within bounds: the form of samples and targets, and none of their values."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np

from openfl_like.data.shard import KINDS
from openfl_like.federation.parties import ShardFacts

MOST_CLASSES = 1_000_000
MOST_SAMPLES = 2**53
LARGEST_SAMPLE = 1 << 28
"""Elements of one sample, or of one target: a larger one is a mistake, or meant to fill a memory."""
LARGEST_END = 1e300
"""Of a range, besides infinity: a JSON number of any length may come."""
DTYPES = frozenset(
    {"bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64"}
)

Range: TypeAlias = tuple[float, float]
ANY: Range = (-math.inf, math.inf)


@dataclass(frozen=True, slots=True)
class ArrayForm:
    """What samples, or targets, look like.

    Attributes:
        shape: Of one of them.
        dtype: Name of the numpy dtype, one of `DTYPES`.
        range: Smallest and largest value; infinite where none is published.
    """

    shape: tuple[int, ...]
    dtype: str
    range: Range = ANY

    @property
    def size_bytes(self) -> int:
        """Bytes of one of them."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def __str__(self) -> str:
        return f"{self.dtype}{list(self.shape)}"

    @property
    def with_range(self) -> str:
        """The same as text, with the range if one is published."""
        return str(self) if self.range == ANY else f"{self} from {self.range[0]:g} to {self.range[1]:g}"


@dataclass(frozen=True, slots=True)
class PublishedData:
    """What is known of a site's data without looking at it.

    Attributes:
        samples: What its samples look like.
        targets: What its targets look like.
        classes: How many classes the targets name; 0: they are no class numbers, or the site does not tell.
        counts: How many there are of each kind; a kind that is not told is left out.
    """

    samples: ArrayForm
    targets: ArrayForm
    classes: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def form(self) -> "PublishedData":
        """The same without the counts: sites whose data has one form can do the same work."""
        return replace(self, counts={})


def published_of(facts: ShardFacts) -> PublishedData:
    """Read what a site told of its shard.

    Dtypes that it does not tell are float32 for samples, int64 for classes and float32 for other targets.

    Args:
        facts: As the site sent them.

    Raises:
        ValueError: If they describe no data that there can be, or such as nobody can invent.
    """
    schema = facts.schema
    classes = _whole("classes", schema.get("classes", 0), MOST_CLASSES)
    number = "int64" if classes else "float32"
    targets = _form("target", facts.target_shape, schema, number)
    if classes and targets.range == ANY:
        targets = replace(targets, range=(0.0, classes - 1.0))
    return PublishedData(_form("sample", facts.sample_shape, schema, "float32"), targets, classes, _counts(schema))


def _form(what: str, shape: tuple[int, ...], schema: Mapping[str, object], usual: str) -> ArrayForm:
    if any(axis < 1 for axis in shape) or math.prod(shape) > LARGEST_SAMPLE:
        raise ValueError(f"the {what} shape {list(shape)[:8]} is not one that can be")
    dtype = schema.get(f"{what}_dtype", usual)
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ValueError(f"the {what} dtype {str(dtype)[:40]!r} is not a number's")
    return ArrayForm(tuple(shape), dtype, _range(what, schema.get(f"{what}_range")))


def _range(what: str, value: object) -> Range:
    if value is None:
        return ANY
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError(f"the {what} range is not a pair")
    ends = [_end(end, usual) for end, usual in zip(value, ANY, strict=True)]
    if any(math.isnan(end) for end in ends) or ends[0] > ends[1]:
        raise ValueError(f"the {what} range from {ends[0]:g} to {ends[1]:g} holds nothing")
    return ends[0], ends[1]


def _end(value: object, usual: float) -> float:
    if value is None:
        return usual
    if isinstance(value, bool) or not isinstance(value, int | float) or LARGEST_END < abs(value) < math.inf:
        raise ValueError(f"{str(value)[:40]!r} is not the end of a range")
    return float(value)


def _counts(schema: Mapping[str, object]) -> dict[str, int]:
    counts = schema.get("counts", {})
    if not isinstance(counts, Mapping):
        raise ValueError("the counts of samples are not a mapping")  # noqa: TRY004 (what a peer sent, no caller's type)
    return {kind: _whole(f"count of '{kind}'", counts[kind], MOST_SAMPLES) for kind in KINDS if kind in counts}


def _whole(what: str, value: object, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise ValueError(f"the {what} {str(value)[:40]!r} is not a whole number up to {most}")
    return value
