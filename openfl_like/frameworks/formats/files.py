"""Model files of other programs, on the user's machine: read into named arrays, and written from them.

No daemon reads any of these but safetensors.
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, cast

import ml_dtypes
import numpy as np

from openfl_like import registry
from openfl_like.errors import FederationError, TensorError, UsageError
from openfl_like.frameworks.runner import TaskRunner
from openfl_like.tensors.container import read_tensors, write_tensors

NEEDS_RUNNER = frozenset({"keras"})
"""Formats that hold a whole model and not only its tensors: they are read and written with the plan's own model."""

_HEAD_BYTES = 200
_ZIP = b"PK\x03\x04"  # .pt, .npz and .keras are archives
_PAGE = ("a web page", "download the file itself, as its page offers it")
_MISTAKEN = {
    b"version https://git-lfs": ("a pointer of Git LFS", "fetch what it points to with 'git lfs pull'"),
    b"<!doctype": _PAGE,
    b"<html": _PAGE,
}


class ModelFormat(Protocol):
    """One kind of file; built without arguments."""

    def read(self, path: Path, runner: TaskRunner | None) -> dict[str, np.ndarray]:
        """Return the tensors of a file, dtypes as they are.

        Args:
            path: The file.
            runner: The plan's; None without a plan.

        Raises:
            TensorError: If the file is not of this kind or holds what is no tensor.
        """
        ...

    def write(self, path: Path, tensors: Mapping[str, np.ndarray], runner: TaskRunner | None) -> None:
        """Write a file.

        Raises:
            TensorError: If the format cannot hold a tensor as it is.
        """
        ...


class SafetensorsFile:
    """The platform's own model files."""

    def read(self, path: Path, runner: TaskRunner | None) -> dict[str, np.ndarray]:  # noqa: ARG002 - the file says it all
        """Read all tensors into memory."""
        return read_tensors(path)

    def write(self, path: Path, tensors: Mapping[str, np.ndarray], runner: TaskRunner | None) -> None:  # noqa: ARG002 - as above
        """Write the file at once or not at all."""
        write_tensors(path, tensors)


class NpzFile:
    """An archive of numpy arrays; no objects, and no bfloat16, for which numpy files have no name."""

    def read(self, path: Path, runner: TaskRunner | None) -> dict[str, np.ndarray]:  # noqa: ARG002 - the file says it all
        """Read all arrays, none of them pickled."""
        try:
            with np.load(path, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        except (OSError, ValueError, AttributeError) as error:  # a single .npy array has no files
            raise TensorError(f"this is not an archive of plain arrays: {error}", place=str(path)) from error

    def write(self, path: Path, tensors: Mapping[str, np.ndarray], runner: TaskRunner | None) -> None:  # noqa: ARG002 - as above
        """Write one array for each tensor."""
        unnamed = sorted(name for name, array in tensors.items() if array.dtype == ml_dtypes.bfloat16)
        if unnamed:
            cure = "write .pt or .safetensors"
            raise TensorError(f"'{unnamed[0]}' is bfloat16, which .npz cannot hold", place=str(path), cure=cure)
        with path.open("wb") as file:
            np.savez(file, **tensors)  # type: ignore[arg-type] # its stub takes a name for allow_pickle


def read_model(path: Path, runner: TaskRunner | None = None) -> dict[str, np.ndarray]:
    """Read a model file of the user's own, by its suffix.

    Args:
        path: ``.safetensors``, ``.npz``, ``.pt`` or ``.keras``.
        runner: The plan's; only ``.keras`` needs it.

    Raises:
        UsageError: If the suffix is unknown, or a runner is needed.
        TensorError: If the file is missing or holds what is no tensor.
        NotFoundError: If the format's package is not installed.
    """
    if not path.is_file():
        raise TensorError("there is no such model file", place=str(path), cure="check the path")
    made = _format_of(path, runner)
    _look_at(path)
    return made.read(path, runner)


def write_model(path: Path, tensors: Mapping[str, np.ndarray], runner: TaskRunner | None = None) -> None:
    """Write a model file for another program, by its suffix, at once or not at all.

    Raises:
        UsageError: If the suffix is unknown, or a runner is needed.
        TensorError: If the format cannot hold the model, or the file cannot be written.
        NotFoundError: If the format's package is not installed.
    """
    made = _format_of(path, runner)
    partial = path.with_name(f".partial-{path.name}")
    try:
        made.write(partial, tensors, runner)
        partial.replace(path)
    except FederationError as error:
        raise type(error)(error.message, place=str(path), cure=error.cure) from error
    except Exception as error:  # whatever the other program's library raises
        raise TensorError(f"the file cannot be written: {first_line(error)}", place=str(path)) from error
    finally:
        partial.unlink(missing_ok=True)


def _look_at(path: Path) -> None:
    """Refuse what no kind of model file begins with, before a library says something of its own about it."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        raise TensorError("the file is empty", place=str(path), cure="save or download it again")
    for start, (what, cure) in _MISTAKEN.items():
        if head.lstrip().lower().startswith(start):
            raise TensorError(f"the file is {what}, not a model", place=str(path), cure=cure)
    if head.startswith(_ZIP) and not zipfile.is_zipfile(path):
        raise TensorError("the file is cut off: its end is missing", place=str(path), cure="save or download it again")


def first_line(error: Exception) -> str:
    """The first line of what a library of others says, cut to a readable length."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _format_of(path: Path, runner: TaskRunner | None) -> ModelFormat:
    name = path.suffix.removeprefix(".")
    known = registry.names("model_format")
    if name not in known:
        endings = ", ".join(f".{ending}" for ending in known)
        raise UsageError(f"'{path.name}' is not a known kind of model file", cure=f"name it {endings}")
    if name in NEEDS_RUNNER and runner is None:
        raise UsageError(f"'{path.name}' holds a whole model, which only its plan can build", cure="add --plan FILE")
    made = registry.resolve("model_format", name)
    return cast("type[ModelFormat]", made)()
