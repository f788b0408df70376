"""The header of a safetensors file: where each tensor lies; written, and read with distrust.

Format: https://github.com/huggingface/safetensors#format. Eight bytes of little-endian header length, the header as
a JSON object, then the tensors without gaps. A header from a peer is checked completely before anything is allocated
from what it claims.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Any, NoReturn

from openfl_like.errors import TensorError
from openfl_like.peer_json import read_peer_json
from openfl_like.tensors.named import DTYPES, Schema, TensorSpec

MAX_HEADER_BYTES = 16 << 20
MAX_TENSORS = 1 << 14
MAX_RANK = 32
MAX_NAME_LENGTH = 512
MAX_TENSOR_BYTES = 1 << 47
LENGTH_BYTES = 8
REMEMBERED = 4
"""Headers and layouts that are not worked out again: the models and updates of an experiment all have the same."""

_METADATA = "__metadata__"
_BAD_NAME = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_ENTRY_KEYS = {"dtype", "shape", "data_offsets"}


@dataclass(frozen=True, slots=True)
class Place:
    """A tensor and where its bytes begin in the file."""

    spec: TensorSpec
    offset: int


def plan_layout(schema: Iterable[TensorSpec]) -> tuple[bytes, tuple[Place, ...]]:
    """Decide where each tensor lies.

    Wide elements come first, so that every tensor is aligned in memory; within a width the order is by name. The header
    lists the tensors by name.

    Returns:
        The bytes before the first tensor, and the places sorted by name.

    Raises:
        TensorError: If a name, dtype or shape cannot be stored.
    """
    return _plan(tuple(sorted(schema, key=attrgetter("name"))))


@lru_cache(REMEMBERED)
def _plan(specs: Schema) -> tuple[bytes, tuple[Place, ...]]:
    _check_specs(specs)
    offsets, position = {}, 0
    for spec in sorted(specs, key=lambda spec: (-spec.numpy_dtype.itemsize, spec.name)):
        offsets[spec.name] = position
        position += spec.size_bytes
    entries = {spec.name: _entry(spec, offsets[spec.name]) for spec in specs}
    header = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    header += b" " * (-len(header) % LENGTH_BYTES)
    if len(header) > MAX_HEADER_BYTES:
        raise TensorError(f"the header of a model file would have {len(header)} bytes; {MAX_HEADER_BYTES} are allowed")
    start = LENGTH_BYTES + len(header)
    places = tuple(Place(spec, start + offsets[spec.name]) for spec in specs)
    return len(header).to_bytes(LENGTH_BYTES, "little") + header, places


def header_length(prefix: bytes, file_bytes: int) -> int:
    """Read the length of the header from the first eight bytes.

    Raises:
        TensorError: If it is longer than allowed or than the file.
    """
    if len(prefix) < LENGTH_BYTES:
        raise TensorError(f"a model file has at least {LENGTH_BYTES} bytes, this one has {len(prefix)}")
    length = int.from_bytes(prefix, "little")
    if length > MAX_HEADER_BYTES:
        raise TensorError(f"the header claims {length} bytes; {MAX_HEADER_BYTES} are allowed")
    if LENGTH_BYTES + length > file_bytes:
        raise TensorError(f"the header claims {length} bytes, but the file has {file_bytes}")
    return length


@lru_cache(REMEMBERED)
def parse_header(header: bytes, data_bytes: int) -> tuple[Place, ...]:
    """Check a header completely.

    Args:
        header: The JSON text.
        data_bytes: How many bytes follow it in the file.

    Returns:
        The places sorted by name.

    Raises:
        TensorError: If the header is malformed, or the tensors do not fill the data exactly, once, without gaps.
    """
    entries = _load(header)
    metadata = entries.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise TensorError("the header's metadata is not a map of strings")
    start = LENGTH_BYTES + len(header)
    ranges = []
    for name, entry in entries.items():
        begin, end, spec = _parse_entry(name, entry)
        ranges.append((begin, end, spec))
    _check_specs([spec for _, _, spec in ranges])
    position = 0
    for begin, end, spec in sorted(ranges, key=lambda item: item[:2]):
        if begin != position:
            raise TensorError(f"tensor '{spec.name}' begins at {begin}, but the one before it ends at {position}")
        if end - begin != spec.size_bytes:
            raise TensorError(f"tensor {spec} has {spec.size_bytes} bytes, but its offsets span {end - begin}")
        position = end
    if position != data_bytes:
        raise TensorError(f"the tensors have {position} bytes, but the file holds {data_bytes}")
    places = (Place(spec, start + begin) for begin, _, spec in ranges)
    return tuple(sorted(places, key=lambda place: place.spec.name))


def schema_at(places: Iterable[Place]) -> Schema:
    """The schema of tensors that lie at these places; equal ones are mostly the same one, and soon compared."""
    return _known(tuple(place.spec for place in places))


@lru_cache(REMEMBERED)
def _known(schema: Schema) -> Schema:
    return schema


def _entry(spec: TensorSpec, begin: int) -> dict[str, object]:
    return {"dtype": spec.dtype, "shape": list(spec.shape), "data_offsets": [begin, begin + spec.size_bytes]}


def _load(header: bytes) -> dict[str, Any]:
    if not header.startswith(b"{"):
        raise TensorError("the header is not a JSON object")
    # Each bracket may cost a Python object of some hundred bytes: bound them before parsing. A tensor has one and two.
    if header.count(b"{") > MAX_TENSORS + 2 or header.count(b"[") > 2 * MAX_TENSORS + 2:
        raise TensorError(f"the header lists more than {MAX_TENSORS} tensors")
    try:
        loaded = read_peer_json(
            header.decode(), MAX_HEADER_BYTES, object_pairs_hook=_unique, parse_constant=_no_constant
        )
    except ValueError as error:
        raise TensorError("the header is not valid JSON") from error
    if not isinstance(loaded, dict):
        raise TensorError("the header is not a JSON object")
    return loaded


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise TensorError("the header has the same key twice")
    return entries


def _no_constant(word: str) -> NoReturn:
    raise TensorError(f"the header holds {word}, which is not JSON")


def _parse_entry(name: str, entry: object) -> tuple[int, int, TensorSpec]:
    if not isinstance(entry, dict) or entry.keys() != _ENTRY_KEYS:
        raise TensorError(f"the entry of tensor {name[:80]!r} does not have exactly dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str):
        raise TensorError(f"the dtype of tensor {name[:80]!r} is not a string")
    if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2:
        raise TensorError(f"the shape or the offsets of tensor {name[:80]!r} are not lists of sizes")
    return offsets[0], offsets[1], TensorSpec(name, dtype, tuple(shape))


def _are_sizes(value: object) -> bool:
    if not isinstance(value, list) or len(value) > MAX_RANK:
        return False
    return all(type(item) is int and 0 <= item <= MAX_TENSOR_BYTES for item in value)


def _check_specs(specs: Sequence[TensorSpec]) -> None:
    if len(specs) > MAX_TENSORS:
        raise TensorError(f"a model file may hold {MAX_TENSORS} tensors, this one has {len(specs)}")
    names = [spec.name for spec in specs]
    if len(set(names)) != len(names):
        raise TensorError("two tensors have the same name")
    for spec in specs:
        _check_spec(spec)


def _check_spec(spec: TensorSpec) -> None:
    if not 1 <= len(spec.name) <= MAX_NAME_LENGTH or spec.name == _METADATA or _BAD_NAME.search(spec.name):
        raise TensorError(f"{spec.name[:80]!r} cannot be the name of a tensor")
    if spec.dtype not in DTYPES:
        raise TensorError(
            f"tensor '{spec.name}' has the dtype {spec.dtype[:20]!r}", cure=f"use one of {', '.join(DTYPES)}"
        )
    if len(spec.shape) > MAX_RANK:
        raise TensorError(f"tensor '{spec.name}' has {len(spec.shape)} axes; {MAX_RANK} are allowed")
    volume = spec.numpy_dtype.itemsize
    for length in spec.shape:
        volume *= max(1, length)
        # Axes of length 0 do not excuse the others: numpy multiplies them all.
        if volume > MAX_TENSOR_BYTES:
            raise TensorError(f"tensor '{spec.name}' is larger than {MAX_TENSOR_BYTES} bytes")
