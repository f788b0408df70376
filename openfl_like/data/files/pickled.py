"""Arrays, lists and texts out of a pickle file, of which nothing is ever called; see docs/design/0034.

A pickle file is a program: it names functions and has them called. Here whatever it names becomes a stand-in that only
notes its arguments, and no name but those of numpy's arrays is taken at all. The arrays are made of these notes.
"""

import pickle  # the reader is confined: see above
import pickletools
from collections.abc import Mapping
from io import BytesIO
from math import prod
from pathlib import Path

import numpy as np

from openfl_like.data.files.reading import FETCH_AGAIN, read_file
from openfl_like.errors import ShardError

_ARRAY = {"numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"}
_TYPE = "numpy.dtype"
_BYTES = "_codecs.encode"
_NAMES = {*_ARRAY, "numpy.ndarray", _TYPE, _BYTES}
_BROKEN = (pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError)


class _Noted:
    """What a file says of an object; nothing is done with it.

    Attributes:
        name: What it would be made by.
        arguments: Of which arguments.
        state: What it would be given then.
    """

    __slots__ = ("arguments", "name", "state")

    def __init__(self, name: str, arguments: tuple[object, ...]) -> None:
        self.name, self.arguments = name, arguments
        self.state: tuple[object, ...] = ()

    def __setstate__(self, state: tuple[object, ...]) -> None:
        self.state = state


class _StandIn:
    """What a name of the file stands for: called, it only notes that."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, *arguments: object) -> _Noted:
        return _Noted(self._name, arguments)

    def __setstate__(self, state: object) -> None:
        raise ValueError("a name is given a state")


class _ConfinedUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> _StandIn:
        name = f"{module_name}.{global_name}"
        if name not in _NAMES:
            raise _RefusedNameError(name)
        return _StandIn(name)


class _RefusedNameError(Exception):
    """A pickle file names something that is no array."""


def read_pickled(path: Path) -> Mapping[str, object]:
    """Read a pickle file that is a mapping: its keys as text; values are plain, or what `array_of` makes arrays of.

    Raises:
        ShardError: If it is no whole pickle file, names anything but numpy's arrays, or is no mapping.
    """
    content = read_file(path)
    try:
        _check_numbers(content)
        found = _ConfinedUnpickler(BytesIO(content), encoding="bytes").load()
    except _RefusedNameError as error:
        told = f"the file would have {error} called: it holds more than arrays, numbers and texts, and is not read"
        raise ShardError(told, place=str(path), cure="use the file of its publisher, or the binary version") from error
    except _BROKEN as error:
        told = f"it is no whole pickle file ({type(error).__name__}: {error})"
        raise ShardError(told, place=str(path), cure=FETCH_AGAIN) from error
    if not isinstance(found, dict):
        raise ShardError(f"the file holds a {type(found).__name__}, not a mapping", place=str(path), cure=FETCH_AGAIN)
    return {_text(key): value for key, value in found.items()}


def _check_numbers(content: bytes) -> None:
    """Check that what the file numbers, and how long it says that something is, is not beyond its own length.

    Python's reader takes as much memory as such a number says, before it looks whether anything is there.
    """
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name.endswith("PUT") and isinstance(argument, int) and argument > len(content):
            raise ValueError(f"it numbers an object {argument}")


def _text(key: object) -> str:
    return key.decode("latin1") if isinstance(key, bytes) else str(key)


def array_of(value: object, path: Path) -> np.ndarray:
    """Make an array of bytes of what a file says of one.

    Args:
        value: A value of `read_pickled`.
        path: The file, for the message.

    Raises:
        ShardError: If it is no array of uint8, or its bytes are not as many as its shape says.
    """
    if not isinstance(value, _Noted) or value.name not in _ARRAY or len(value.state) != 5:
        raise ShardError("'data' is no array of numpy", place=str(path), cure=FETCH_AGAIN)
    _, shape, kind, by_columns, content = value.state
    written = kind.arguments[:1] if isinstance(kind, _Noted) and kind.name == _TYPE else ()
    if written not in {("u1",), (b"u1",)}:
        said = _text(written[0]) if written else "of no known type"
        raise ShardError(f"'data' is {said}, not u1 (uint8)", place=str(path), cure=FETCH_AGAIN)
    raw = _raw(content)
    sizes = shape if isinstance(shape, tuple) and all(isinstance(size, int) and size >= 0 for size in shape) else None
    if raw is None or sizes is None or len(raw) != prod(sizes):
        raise ShardError("'data' has another number of bytes than its shape says", place=str(path), cure=FETCH_AGAIN)
    return np.frombuffer(raw, np.uint8).reshape(sizes, order="F" if by_columns else "C")


def _raw(content: object) -> bytes | None:
    """Return bytes, also as Python 3 writes them for Python 2: as a text of which each letter is one."""
    if isinstance(content, _Noted) and content.name == _BYTES and content.arguments[1:] in {("latin1",), (b"latin1",)}:
        text = content.arguments[0]
        content = text.encode("latin1", "replace") if isinstance(text, str) else text
    return content if isinstance(content, bytes) else None
