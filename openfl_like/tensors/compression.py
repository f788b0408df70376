"""Compressions of an update's tensors: how the elements of one tensor are stored, and read again in any part.

Only floating-point tensors are compressed. `encoded` makes files of it.
"""

import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Annotated, ClassVar, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from openfl_like.tensors.draws import draws, fractions
from openfl_like.tensors.finite import all_finite
from openfl_like.tensors.halves import from_half, to_half
from openfl_like.tensors.named import DTYPES, Array, Elements, TensorSpec

BLOCK = 1024
"""Elements that share a scale."""

_CHUNK = 32 * BLOCK  # elements that are worked on at a time
_ONE = 2**16  # fixed point: what stands for 1
_STRICT = ConfigDict(extra="forbid")

Vector: TypeAlias = npt.NDArray[np.float64]
Stored: TypeAlias = Mapping[str, Elements]
"""What stands for one tensor in a file: part -> vector, which may have to be unpacked as it is read."""
Patterns: TypeAlias = tuple[str, ...]
Fraction: TypeAlias = Annotated[float, Field(gt=0, le=1)]


class Compression(Protocol):
    """How the elements of one floating-point tensor are stored.

    Attributes:
        needs_delta: Whether only the difference to the global model may be compressed like this.
        exclude: Patterns (``*.bias``) of names of tensors that travel as they are.
    """

    needs_delta: ClassVar[bool]

    @property
    def exclude(self) -> Patterns:
        """Patterns of the names that are left alone."""
        ...

    def parts(self, spec: TensorSpec) -> tuple[TensorSpec, ...]:
        """Describe what is stored; the names are the parts' own, and sizes depend on the tensor's alone."""
        ...

    def encode(self, spec: TensorSpec, values: Array, key: int) -> dict[str, Array]:
        """Compress all elements.

        Args:
            spec: The tensor.
            values: Its elements in a row, finite, float32 or (if the tensor is) float64.
            key: Of the tensor's random stream; sender and receiver have the same.
        """
        ...

    def check(self, spec: TensorSpec, stored: Stored) -> str:
        """Say what is wrong with stored parts of the right dtypes and sizes; empty if nothing is."""
        ...

    def decode(self, spec: TensorSpec, stored: Stored, key: int, start: int, stop: int) -> Vector:
        """Return the elements ``start`` to ``stop``, whatever part of the tensor that is, with the same bits."""
        ...


class _Cast:
    """Every element in one dtype; the tensor's own where that is not wider."""

    needs_delta: ClassVar[bool] = False
    target: ClassVar[str] = ""

    def parts(self, spec: TensorSpec) -> tuple[TensorSpec, ...]:
        """One part, ``value``."""
        narrower = self.target and DTYPES[self.target].itemsize < spec.numpy_dtype.itemsize
        return (TensorSpec("value", self.target if narrower else spec.dtype, (spec.size,)),)

    def encode(self, spec: TensorSpec, values: Array, key: int) -> dict[str, Array]:  # noqa: ARG002 - nothing is drawn
        """Round to the nearest, ties to even."""
        (part,) = self.parts(spec)
        stored: Array = np.empty(spec.size, part.numpy_dtype)
        quick = part.dtype == "F16" and values.dtype == np.float32
        with np.errstate(over="ignore"):  # whoever writes the file refuses infinities
            for start, stop in _chunks(spec.size):
                stored[start:stop] = to_half(values[start:stop]) if quick else values[start:stop]
        return {part.name: stored}

    def check(self, spec: TensorSpec, stored: Stored) -> str:  # noqa: ARG002 - any value may be
        """Find nothing."""
        return ""

    def decode(self, spec: TensorSpec, stored: Stored, key: int, start: int, stop: int) -> Vector:  # noqa: ARG002 - elementwise
        """Widen."""
        values: Array = stored["value"][start:stop]
        return from_half(values) if values.dtype == np.float16 else values.astype(np.float64)


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Uncompressed(_Cast):
    """The elements as they are."""

    exclude: Patterns = ()


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Float16(_Cast):
    """IEEE 754 half precision: 11 significant bits, numbers up to 65504."""

    target: ClassVar[str] = "F16"
    exclude: Patterns = ()


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class BFloat16(_Cast):
    """The upper half of a float32: its range, 8 significant bits."""

    target: ClassVar[str] = "BF16"
    exclude: Patterns = ()


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class Quantise:
    """Whole multiples of a scale that each block has of its own, rounded at random so that the mean stays.

    Alistarh et al. 2017, "QSGD", arXiv:1610.02132, section 3.1, with buckets (section 4) of `BLOCK` elements that are
    scaled by their largest element.

    Attributes:
        bits: Bits of an element: 8 for whole numbers from -127 to 127, 4 from -7 to 7.
        exclude: Names that are left alone.
    """

    needs_delta: ClassVar[bool] = True
    bits: Literal[4, 8] = 8
    exclude: Patterns = ()

    def parts(self, spec: TensorSpec) -> tuple[TensorSpec, ...]:
        """``code``: the whole numbers, two to a byte if they have 4 bits; ``scale``: one per block."""
        code = ("I8", spec.size) if self.bits == 8 else ("U8", (spec.size + 1) // 2)
        scale = "F64" if spec.dtype == "F64" else "F32"
        return (
            TensorSpec("code", code[0], (code[1],)),
            TensorSpec("scale", scale, (math.ceil(spec.size / BLOCK),)),
        )

    def encode(self, spec: TensorSpec, values: Array, key: int) -> dict[str, Array]:
        """Divide by the block's scale and rounds up with the probability of the fraction, to 16 bits."""
        largest = 2 ** (self.bits - 1) - 1
        scales = np.empty(math.ceil(values.size / BLOCK), self.parts(spec)[1].numpy_dtype)
        codes = np.empty(values.size, np.int8)
        for start, stop in _chunks(values.size):
            blocks = slice(start // BLOCK, math.ceil(stop / BLOCK))
            scales[blocks] = _scales(values[start:stop], largest)
            steps = np.repeat(np.where(scales[blocks] == 0, np.inf, scales[blocks]), BLOCK)[: stop - start]
            codes[start:stop] = _round(values[start:stop] / steps, fractions(key, start, stop))
        return {"code": codes if self.bits == 8 else _pack(codes), "scale": scales}

    def check(self, spec: TensorSpec, stored: Stored) -> str:  # noqa: ARG002 - the scales say it all
        """Look at the scales."""
        for start, stop in _chunks(stored["scale"].size):
            scales = stored["scale"][start:stop]
            if not all_finite(scales) or (scales < 0).any():
                return "a scale is negative or not finite"
        return ""

    def decode(self, spec: TensorSpec, stored: Stored, key: int, start: int, stop: int) -> Vector:  # noqa: ARG002 - nothing is drawn
        """Multiply by the block's scale."""
        codes = stored["code"][start:stop] if self.bits == 8 else _unpack(stored["code"], start, stop)
        decoded: Vector = codes * _spread(stored["scale"], start, stop)
        return decoded


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class TopK:
    """The elements of the largest magnitude, with their places; the others count as zero.

    Stich, Cordonnier and Jaggi 2018, "Sparsified SGD with memory", arXiv:1809.07599, definition 2.2.

    Attributes:
        fraction: Part of each tensor's elements that is sent, rounded up.
        exclude: Names that are left alone.
    """

    fraction: Fraction
    needs_delta: ClassVar[bool] = True
    exclude: Patterns = ()

    def parts(self, spec: TensorSpec) -> tuple[TensorSpec, ...]:
        """``index``: places, rising; ``value``: the elements there."""
        count = _count(self.fraction, spec.size)
        places = "U32" if spec.size < 2**32 else "U64"
        return TensorSpec("index", places, (count,)), TensorSpec("value", spec.dtype, (count,))

    def encode(self, spec: TensorSpec, values: Array, key: int) -> dict[str, Array]:  # noqa: ARG002 - nothing is drawn
        """Take the largest; of equal ones those that come first, so that the choice is the same on every machine."""
        index, value = self.parts(spec)
        sizes = np.abs(values)
        least = np.partition(sizes, spec.size - index.size)[spec.size - index.size]
        chosen = sizes > least
        ties = np.flatnonzero(sizes == least)
        chosen[ties[: index.size - np.count_nonzero(chosen)]] = True
        places = np.flatnonzero(chosen)
        with np.errstate(over="ignore"):  # whoever writes the file refuses infinities
            return {"index": places.astype(index.numpy_dtype), "value": values[places].astype(value.numpy_dtype)}

    def check(self, spec: TensorSpec, stored: Stored) -> str:
        """Look at the places."""
        places = stored["index"]
        last = -1
        for start, stop in _chunks(places.size):
            block = places[start:stop]
            if int(block[0]) <= last or not (block[:-1] < block[1:]).all():
                return "its places do not rise"
            last = int(block[-1])
        return f"place {last} is outside of it" if last >= spec.size else ""

    def decode(self, spec: TensorSpec, stored: Stored, key: int, start: int, stop: int) -> Vector:  # noqa: ARG002 - nothing is drawn
        """Put the elements into zeros."""
        places = stored["index"]
        first, last = _rank(places, start), _rank(places, stop)
        decoded = np.zeros(stop - start)
        decoded[places[first:last].astype(np.int64) - start] = stored["value"][first:last]
        return decoded


@dataclass(frozen=True, slots=True, kw_only=True, config=_STRICT)
class RandomK:
    """Elements at places that sender and receiver draw alike, so that no place is sent; the others count as zero.

    Stich, Cordonnier and Jaggi 2018, arXiv:1809.07599, definition 2.2; here with one element from each of k strips of
    the tensor, so that the places of any part of it are known without the rest. The elements are not scaled up: what is
    left out comes later by error feedback.

    Attributes:
        fraction: Part of each tensor's elements that is sent, rounded up.
        exclude: Names that are left alone.
    """

    fraction: Fraction
    needs_delta: ClassVar[bool] = True
    exclude: Patterns = ()

    def parts(self, spec: TensorSpec) -> tuple[TensorSpec, ...]:
        """One part, ``value``."""
        return (TensorSpec("value", spec.dtype, (_count(self.fraction, spec.size),)),)

    def encode(self, spec: TensorSpec, values: Array, key: int) -> dict[str, Array]:
        """Take one element from each strip."""
        (part,) = self.parts(spec)
        with np.errstate(over="ignore"):  # whoever writes the file refuses infinities
            return {part.name: values[_places(key, spec.size, part.size, 0, part.size)].astype(part.numpy_dtype)}

    def check(self, spec: TensorSpec, stored: Stored) -> str:  # noqa: ARG002 - any value may be
        """Find nothing."""
        return ""

    def decode(self, spec: TensorSpec, stored: Stored, key: int, start: int, stop: int) -> Vector:
        """Draw the places again and put the elements into zeros."""
        values = stored["value"]
        decoded = np.zeros(stop - start)
        if start == stop:
            return decoded
        first, last = _strip(start, spec.size, values.size), _strip(stop - 1, spec.size, values.size) + 1
        places = _places(key, spec.size, values.size, first, last) - start
        within = (places >= 0) & (places < stop - start)
        decoded[places[within]] = values[first:last][within]
        return decoded


def _count(fraction: float, size: int) -> int:
    # As it is written: 0.07 of 100 are 7, although the float64 product is a little more.
    return min(size, math.ceil(Decimal(repr(fraction)) * size))


def _chunks(size: int) -> Iterator[tuple[int, int]]:
    for start in range(0, size, _CHUNK):
        yield start, min(size, start + _CHUNK)


def _rank(places: Elements, place: int) -> int:
    """How many of rising places are below one; few are looked at, and always the same ones first."""
    low, high = 0, places.size
    while high - low > _CHUNK:
        middle = low + max(1, (high - low) // 2 // _CHUNK) * _CHUNK
        if int(places[middle : middle + 1][0]) < place:
            low = middle
        else:
            high = middle
    nearest = places[low:high]
    # Of the same dtype, or numpy converts all places first.
    return low + int(np.searchsorted(nearest, nearest.dtype.type(place)))


def _round(exact: Array, chances: npt.NDArray[np.uint16]) -> npt.NDArray[np.int8]:
    """Round numbers between -127 and 127 up if their fraction and the chance make one or more."""
    exact *= exact.dtype.type(_ONE)
    exact += exact.dtype.type(128 * _ONE)  # nothing is negative now, so that the next line rounds down
    fixed = exact.astype(np.int32)
    fixed += chances
    fixed >>= 16
    fixed -= 128
    return fixed.astype(np.int8)


def _scales(values: Array, largest: int) -> Array:
    """The least scale of each block, in the values' own precision, at which no code is larger than ``largest``."""
    peaks: Array = np.maximum.reduceat(np.abs(values), np.arange(0, values.size, BLOCK))
    scales: Array = peaks / peaks.dtype.type(largest)
    short = scales.astype(np.float64) * largest < peaks
    scales[short] = np.nextafter(scales[short], peaks.dtype.type(np.inf))
    return scales


def _spread(scales: Elements, start: int, stop: int) -> Vector:
    """The scale of each of the elements ``start`` to ``stop``."""
    first = start // BLOCK
    blocks = scales[first : -(-stop // BLOCK)].astype(np.float64)
    return np.repeat(blocks, BLOCK)[start - first * BLOCK : stop - first * BLOCK]


def _pack(codes: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
    """Two codes in a byte, the first in the lower half; each is stored as itself + 8."""
    shifted = np.zeros(codes.size + codes.size % 2, np.uint8)
    shifted[: codes.size] = codes + np.int8(8)
    return shifted[::2] | shifted[1::2] << np.uint8(4)


def _unpack(packed: Elements, start: int, stop: int) -> npt.NDArray[np.int8]:
    pairs = packed[start // 2 : (stop + 1) // 2]
    codes = np.empty(2 * pairs.size, np.int8)
    codes[::2] = pairs & np.uint8(15)
    codes[1::2] = pairs >> np.uint8(4)
    codes -= np.int8(8)
    return codes[start % 2 : start % 2 + stop - start]


def _places(key: int, size: int, count: int, first: int, last: int) -> npt.NDArray[np.int64]:
    """The places drawn in the strips ``first`` to ``last`` of the ``count`` that a tensor is cut into."""
    width, wider = divmod(size, count)  # so many strips at the beginning have one element more
    strips = np.arange(first, last, dtype=np.int64)
    begins = strips * width + np.minimum(strips, wider)
    widths = width + (strips < wider)
    return begins + (draws(key, first, last) % widths.astype(np.uint64)).astype(np.int64)


def _strip(place: int, size: int, count: int) -> int:
    """The strip that a place lies in."""
    width, wider = divmod(size, count)
    edge = wider * (width + 1)
    return place // (width + 1) if place < edge else wider + (place - edge) // width
