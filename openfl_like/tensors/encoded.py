"""Updates as compressed files, and how they are read as if they were model files.

An encoded update is a model file whose tensor ``w`` may stand there as parts: ``w#code`` and ``w#scale``, for example.
Which tensors do, and how large the parts are, follows from the global model and the compression alone; the file has no
say in it. If lossless compression was agreed, too, parts and other tensors are packed after that; see `packed`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from operator import attrgetter
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np

from openfl_like.errors import TensorError
from openfl_like.tensors.compression import Compression, Stored, Vector
from openfl_like.tensors.container import Part, TensorFile, TensorWriter
from openfl_like.tensors.draws import stream_key
from openfl_like.tensors.finite import all_finite
from openfl_like.tensors.lossless import Lossless
from openfl_like.tensors.manifest import Manifest
from openfl_like.tensors.memory import TensorMemory
from openfl_like.tensors.named import Array, Elements, Schema, TensorSpec, compare, schema_of
from openfl_like.tensors.packed import PackedFile, PackedWriter
from openfl_like.tensors.tied import first_names

SEPARATOR = "#"
"""Stands between a tensor's name and its part; no tensor of a compressed model may have it in its name."""

_BLOCK_ELEMENTS = 32 * 1024
_LARGEST = {
    "F16": 65504.0,
    "BF16": float.fromhex("0x1.fep127"),
    "F32": float(np.finfo(np.float32).max),
    "F64": float(np.finfo(np.float64).max),
}

Residual: TypeAlias = dict[str, Array]
"""What compression has left out so far: tensor -> vector of float32, or float64 for float64 tensors."""


class ModelReader(Protocol):
    """A model, readable block by block: a `TensorFile`, or an update as if it had not been compressed."""

    @property
    def schema(self) -> Schema:
        """Its tensors."""
        ...

    def tensor(self, name: str) -> Array:
        """Return a whole tensor; of a compressed one it makes a copy, so prefer `flat`."""
        ...

    def flat(self, name: str) -> Elements:
        """Return a tensor's elements; of a compressed one slices are decoded, as float64."""
        ...

    def release(self, parts: Sequence[Part]) -> None:
        """Take the pages of parts that were read off this process's memory."""
        ...

    def close(self) -> None:
        """Let the files go."""
        ...


@dataclass(frozen=True, slots=True)
class Encoding:
    """What the parties agreed on: how updates are compressed.

    Attributes:
        compression: How elements are stored.
        delta: Whether they are differences to the global model.
        lossless: How what is stored is packed, if it is.
    """

    compression: Compression
    delta: bool
    lossless: Lossless | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """How one update is encoded.

    Attributes:
        encoding: As agreed.
        seed: Of its random draws, 63 bits.
        base: File of the global model it started from.
    """

    encoding: Encoding
    seed: int
    base: Path


def encoded_schema(schema: Schema, encoding: Encoding) -> Schema:
    """Describe an encoded update of a model before it is packed, sorted by name.

    Raises:
        TensorError: If a tensor's name holds `SEPARATOR`.
    """
    stored = [item for spec in schema for item in _stored(spec, encoding) or (spec,)]
    return tuple(sorted(stored, key=attrgetter("name")))


def open_update(content: Path | TensorMemory, sent: Sent | None, *, verify: bool = False) -> ModelReader:
    """Open an update's file; one that is not encoded is a model file, or in memory.

    Args:
        content: The file; or the update itself, which is not encoded then.
        sent: How it is encoded.
        verify: Whether every packed block is unpacked once, so that no part that is read later can be damaged.

    Raises:
        TensorError: If a file cannot be read, or is not an update of its global model in the agreed encoding.
    """
    if isinstance(content, TensorMemory):
        return content
    if sent is None:
        return TensorFile(content)
    update = DecodedFile(content, sent)
    try:
        if verify:
            update.verify()
    except TensorError:
        update.close()
        raise
    return update


def write_encoded(
    path: Path,
    tensors: Mapping[str, Array],
    sent: Sent,
    carried: Mapping[str, Array],
    *,
    recyclable: Path | None = None,
) -> Residual:
    """Write an update; its bytes depend on the arguments alone. It is not forced to disk.

    Error feedback (Karimireddy et al. 2019, "Error feedback fixes SignSGD", arXiv:1901.09847, algorithm 2): what former
    updates left out is added before compression, and what this one leaves out is handed back.

    Args:
        path: Where the file will be.
        tensors: The trained model.
        sent: How it is encoded.
        carried: What former updates left out.
        recyclable: As in `TensorWriter`.

    Returns:
        What is to be carried to the next update; empty unless differences are sent.

    Raises:
        TensorError: If the tensors are not those of the global model, or cannot be compressed: their names, or a value
            that is not finite or too large.
    """
    with TensorFile(sent.base) as base:
        difference = compare(base.schema, schema_of(tensors))
        if difference:
            raise TensorError(f"the trained model's tensors are not those of the global model: {difference}")
        left, first = {}, first_names(base)
        with _writer(path, sent, base, recyclable) as write:
            for spec in base.schema:
                if not _stored(spec, sent.encoding):
                    write(spec.name, tensors[spec.name])
                    continue
                start = base.flat(spec.name) if sent.encoding.delta else None
                values = _values(spec, tensors[spec.name], start, carried.get(spec.name))
                key = stream_key(sent.seed, first[spec.name])
                stored = _encode(spec, values, sent, key)
                for part, array in stored.items():
                    write(_part_name(spec, part), array)
                if sent.encoding.delta:
                    left[spec.name] = _left_out(spec, values, stored, sent, key)
        return {name: values for name, values in left.items() if values.any()}


def write_decoded(path: Path, sent: Sent, out: Path) -> Manifest:
    """Write the model that an encoded update stands for, block by block; it is not forced to disk.

    Raises:
        TensorError: As `open_update`.
    """
    with closing(DecodedFile(path, sent)) as update:
        with TensorWriter(out, update.schema, sync=False) as writer:
            specs = {spec.name: spec for spec in update.schema}
            for name in writer.order:
                flat, dtype = update.flat(name), specs[name].numpy_dtype
                for start in range(0, specs[name].size, _BLOCK_ELEMENTS):
                    stop = min(start + _BLOCK_ELEMENTS, specs[name].size)
                    writer.write(name, start, flat[start:stop].astype(dtype, copy=False))
                    update.release([(name, start, stop)])
        return writer.manifest()


class ErrorFeedback:
    """What compression has left out of a site's updates; it lives as long as the site's worker.

    The same update may be asked for again, after a broken connection for example; it then begins with the same
    residual.
    """

    def __init__(self) -> None:
        self._update: int | None = None
        self._start: Residual = {}
        self._next: Residual = {}

    def carried(self, update: int) -> Residual:
        """Return what the update with this seed begins with."""
        if update != self._update:
            self._update, self._start = update, self._next
        return self._start

    def keep(self, left: Residual) -> None:
        """Remember what the update left out."""
        self._next = left


class DecodedFile:
    """An encoded update, open for reading as the model that it stands for; memory is that of the blocks asked for.

    Args:
        path: The update.
        sent: How it was encoded.

    Raises:
        TensorError: If a file cannot be read, or the update is not one of this global model in this encoding.
    """

    def __init__(self, path: Path, sent: Sent) -> None:
        self._path, self._sent = path, sent
        self._base = TensorFile(sent.base)
        self.schema: Schema = self._base.schema
        self._specs = {spec.name: spec for spec in self.schema}
        self._first = first_names(self._base)
        agreed, lossless = encoded_schema(self.schema, sent.encoding), sent.encoding.lossless
        self._file = TensorFile(path) if lossless is None else PackedFile(path, agreed, lossless, self._base)
        try:
            self._check(agreed)
        except TensorError:
            self.close()
            raise

    def verify(self) -> None:
        """Read what was packed once, so that nothing can be wrong with it later.

        Raises:
            TensorError: If something is.
        """
        if isinstance(self._file, PackedFile):
            self._file.verify()

    def _check(self, agreed: Schema) -> None:
        difference = compare(agreed, self._file.schema)
        if difference:
            raise TensorError(f"it is not encoded as agreed: {difference}", place=str(self._path))
        for spec in self.schema:
            stored = self._parts(spec)
            fault = self._sent.encoding.compression.check(spec, stored) if stored else ""
            if fault:
                raise TensorError(f"tensor '{spec.name}' is not encoded as agreed: {fault}", place=str(self._path))

    def close(self) -> None:
        """Let both files go."""
        self._file.close()
        self._base.close()

    def flat(self, name: str) -> Elements:
        """Return a tensor's elements; slices of a compressed one are decoded, as float64.

        Raises:
            TensorError: If there is no such tensor or the file is closed.
        """
        spec = self._specs.get(name)
        stored = self._parts(spec) if spec is not None else {}
        if spec is None or not stored:
            return self._file.flat(name)
        base = self._base.flat(name) if self._sent.encoding.delta else None
        return DecodedTensor(spec, stored, base, self._sent, stream_key(self._sent.seed, self._first[name]))

    def tensor(self, name: str) -> Array:
        """Make a whole tensor, in its own dtype.

        Raises:
            TensorError: As `flat`.
        """
        flat = self.flat(name)
        spec = self._specs[name]
        whole: Array = flat[: spec.size]
        return whole.astype(spec.numpy_dtype, copy=False).reshape(spec.shape)

    def release(self, parts: Sequence[Part]) -> None:
        """Take the pages of parts that were read off this process's memory; of both files."""
        self._base.release(parts)
        self._file.release([stored for part in parts for stored in self._stored_parts(part)])

    def _stored_parts(self, part: Part) -> list[Part]:
        """About where a part's elements are stored; a page too many costs a look into the cache, nothing else."""
        name, start, stop = part
        spec = self._specs[name]
        items = _stored(spec, self._sent.encoding) or (spec,)
        return [(item.name, start * item.size // spec.size, -(-stop * item.size // spec.size)) for item in items]

    def _parts(self, spec: TensorSpec) -> Stored:
        prefix = len(spec.name) + len(SEPARATOR)
        names = (item.name for item in _stored(spec, self._sent.encoding))
        return {name[prefix:]: self._file.flat(name) for name in names}


@dataclass(frozen=True, slots=True)
class DecodedTensor:
    """The elements of a compressed tensor: slices are decoded when they are asked for."""

    spec: TensorSpec
    stored: Stored
    base: Array | None
    sent: Sent
    key: int

    @property
    def size(self) -> int:
        """How many there are."""
        return self.spec.size

    def __getitem__(self, part: slice, /) -> Vector:
        """Decode a part; elements that the tensor's dtype cannot hold are infinite.

        Raises:
            TensorError: If the slice has a step.
        """
        start, stop, step = part.indices(self.spec.size)
        if step != 1:
            raise TensorError(f"tensor '{self.spec.name}' is compressed and can be read in steps of 1 only")
        stop = max(start, stop)
        with np.errstate(over="ignore"):
            values = self.sent.encoding.compression.decode(self.spec, self.stored, self.key, start, stop)
            if self.base is not None:
                values += self.base[start:stop]
        largest = _LARGEST[self.spec.dtype]
        # Or finite updates would add up to a model that is not.
        if values.max(initial=0.0) > largest or values.min(initial=0.0) < -largest:
            values[np.abs(values) > largest] = np.inf
        return values


def _stored(spec: TensorSpec, encoding: Encoding) -> tuple[TensorSpec, ...]:
    """The parts of a tensor as they are named in the file; empty if it travels as it is."""
    if SEPARATOR in spec.name:
        raise TensorError(f"tensor '{spec.name}' has '{SEPARATOR}' in its name, which compression uses itself")
    excluded = any(fnmatchcase(spec.name, pattern) for pattern in encoding.compression.exclude)
    if excluded or not spec.is_float or not spec.size:
        return ()
    parts = encoding.compression.parts(spec)
    unchanged = not encoding.delta and parts == (TensorSpec("value", spec.dtype, (spec.size,)),)
    if unchanged or sum(part.size_bytes for part in parts) > spec.size_bytes:
        return ()
    return tuple(TensorSpec(_part_name(spec, part.name), part.dtype, part.shape) for part in parts)


def _part_name(spec: TensorSpec, part: str) -> str:
    return f"{spec.name}{SEPARATOR}{part}"


@contextmanager
def _writer(
    path: Path, sent: Sent, base: TensorFile, recyclable: Path | None
) -> Iterator[Callable[[str, Array], None]]:
    """Yield what writes a whole tensor; the file is there when the block ends."""
    schema, lossless = encoded_schema(base.schema, sent.encoding), sent.encoding.lossless
    if lossless is None:
        with TensorWriter(path, schema, sync=False, recyclable=recyclable) as plain:
            yield lambda name, tensor: plain.write(name, 0, tensor)
    else:
        with PackedWriter(path, lossless, base, recyclable=recyclable) as packed:
            yield packed.write


def _values(spec: TensorSpec, tensor: Array, base: Array | None, carried: Array | None) -> Array:
    """The elements to be compressed, as a copy in the precision that they are worked on in."""
    dtype = np.float64 if spec.dtype == "F64" else np.float32
    trained = np.ascontiguousarray(tensor).reshape(-1)
    values: Array = np.empty(spec.size, dtype)
    for start in range(0, spec.size, _BLOCK_ELEMENTS):  # everything is done to a block while it is in the cache
        part = slice(start, start + _BLOCK_ELEMENTS)
        block = values[part]
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused after this
            if base is None:
                block[:] = trained[part]
            else:
                np.subtract(trained[part].astype(dtype, copy=False), base[part].astype(dtype, copy=False), out=block)
            if carried is not None:
                block += carried[part]
        if not all_finite(block):
            raise TensorError(f"tensor '{spec.name}' holds a value that is not finite; it cannot be compressed")
    return values


def _encode(spec: TensorSpec, values: Array, sent: Sent, key: int) -> dict[str, Array]:
    stored = sent.encoding.compression.encode(spec, values, key)
    if not all(_is_finite(array) for array in stored.values()):
        cure = "use bfloat16, or exclude the tensor from the compression"
        raise TensorError(f"tensor '{spec.name}' holds a value that is too large for its compression", cure=cure)
    return stored


def _is_finite(array: Array) -> bool:
    if array.dtype.kind in "iub":
        return True
    return all(all_finite(array[start : start + _BLOCK_ELEMENTS]) for start in range(0, array.size, _BLOCK_ELEMENTS))


def _left_out(spec: TensorSpec, values: Array, stored: Stored, sent: Sent, key: int) -> Array:
    for start in range(0, spec.size, _BLOCK_ELEMENTS):
        block = values[start : start + _BLOCK_ELEMENTS]
        decoded = sent.encoding.compression.decode(spec, stored, key, start, start + block.size)
        block -= decoded.astype(block.dtype, copy=False)
    return values
