"""The contract of a site's data, and how what ``shard.yaml`` names becomes a checked shard."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from inspect import ismethod
from pathlib import Path
from traceback import walk_tb
from typing import Protocol, TypeAlias, cast

import numpy as np

from openfl_like import registry
from openfl_like.data.arrays import check_is_array, check_values
from openfl_like.data.shard_file import ShardConfig
from openfl_like.errors import NotFoundError, ShardError
from openfl_like.federation.failure import FailedShardError, Failure, FailureKind, one_line
from openfl_like.module_scope import ModuleScope
from openfl_like.plan.mistakes import check_keywords, check_required

KINDS = ("train", "validate")
_NOT_NAMED = "a worker may read what params name; name anything else under reads: in shard.yaml"
_OURS = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Dataset:
    """Samples with their targets.

    Attributes:
        samples: Array ``[n, *sample_shape]``.
        targets: Array ``[n, *target_shape]``.
    """

    samples: np.ndarray
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.samples)


@dataclass(frozen=True, slots=True)
class DataSchema:
    """What a site promises about its data besides the shapes; it holds no values of single samples.

    Attributes:
        sample_dtype: Name of the samples' numpy dtype, such as ``float32``.
        target_dtype: Name of the targets' numpy dtype.
        sample_range: Smallest and largest value that a sample may hold.
        target_range: Smallest and largest value that a target may hold.
        classes: How many classes the targets name; 0 when they are not class numbers.
        counts: How many samples there are of each kind (``train``, ``validate``).
    """

    sample_dtype: str
    target_dtype: str
    sample_range: tuple[float, float]
    target_range: tuple[float, float]
    classes: int
    counts: Mapping[str, int]


class ShardDescriptor(Protocol):
    """The data of one site. An implementation takes the ``params`` of ``shard.yaml`` as keyword arguments."""

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        ...

    @property
    def target_shape(self) -> tuple[int, ...]:
        """Shape of one target; ``()`` for a single number."""
        ...

    @property
    def dataset_description(self) -> str:
        """One paragraph for people: what the data is, where it comes from, whom to credit."""
        ...

    @property
    def schema(self) -> DataSchema:
        """Dtypes, value ranges, classes and counts."""
        ...

    def get_dataset(self, kind: str) -> Dataset:
        """Return the samples of a kind: ``train`` or ``validate``."""
        ...


class GroupedShard(Protocol):
    """A data set whose samples are from somebody: writers, hospitals, machines. It is a `ShardDescriptor` as well.

    The partitioner ``natural`` makes sites of the groups.
    """

    def groups(self, kind: str) -> np.ndarray | None:
        """Return the group of each sample of a kind, whole numbers ``[n]``; None if it is not known."""
        ...


class ArrayShard:
    """A shard whose data is in memory; shapes, dtypes and counts of its schema are those of the arrays.

    Args:
        datasets: Kind (``train``, ``validate``) -> data.
        description: One paragraph for people.
        sample_range: Smallest and largest value that a sample may hold.
        classes: How many classes the targets name; 0 for targets of any value.
        groups: Kind -> the number of the group that each sample is from, see `GroupedShard`; None: there are none.

    Raises:
        ShardError: If samples or targets are not NumPy arrays.
    """

    def __init__(
        self,
        datasets: Mapping[str, Dataset],
        description: str,
        sample_range: tuple[float, float],
        classes: int = 0,
        groups: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        for kind, dataset in datasets.items():
            _check_parts(kind, dataset)
        self._datasets = dict(datasets)
        self._groups = groups
        self._description = description
        self._sample_range = sample_range
        self._classes = classes

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self._datasets["train"].samples.shape[1:])

    @property
    def target_shape(self) -> tuple[int, ...]:
        """Shape of one target; ``()`` for a single number."""
        return tuple(self._datasets["train"].targets.shape[1:])

    @property
    def dataset_description(self) -> str:
        """What the data is, where it comes from, whom to credit."""
        return self._description

    @property
    def schema(self) -> DataSchema:
        """Dtypes, value ranges, classes and counts."""
        train = self._datasets["train"]
        return DataSchema(
            sample_dtype=train.samples.dtype.name,
            target_dtype=train.targets.dtype.name,
            sample_range=self._sample_range,
            target_range=(0.0, self._classes - 1.0) if self._classes else (-math.inf, math.inf),
            classes=self._classes,
            counts={kind: len(dataset) for kind, dataset in self._datasets.items()},
        )

    def get_dataset(self, kind: str) -> Dataset:
        """Return the samples of a kind: ``train`` or ``validate``."""
        if kind not in self._datasets:
            raise ShardError(f"there is no '{kind}' data", cure=f"ask for {' or '.join(self._datasets)}")
        return self._datasets[kind]

    def groups(self, kind: str) -> np.ndarray | None:
        """Return the group of each sample of a kind, ``[n]``; None if it is not known."""
        return None if self._groups is None else self._groups[kind]


@dataclass(frozen=True, slots=True)
class ScopedShard:
    """A shard whose code is a site's own: whatever it imports, and whenever, is looked for beside its ``shard.yaml``.

    Attributes:
        shard: What the site's class made.
        scope: The site's modules.
    """

    shard: ShardDescriptor
    scope: ModuleScope

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        with self.scope.active():
            return self.shard.sample_shape

    @property
    def target_shape(self) -> tuple[int, ...]:
        """Shape of one target."""
        with self.scope.active():
            return self.shard.target_shape

    @property
    def dataset_description(self) -> str:
        """What the data is."""
        with self.scope.active():
            return self.shard.dataset_description

    @property
    def schema(self) -> DataSchema:
        """Dtypes, value ranges, classes and counts."""
        with self.scope.active():
            return self.shard.schema

    def get_dataset(self, kind: str) -> Dataset:
        """Return the samples of a kind."""
        with self.scope.active():
            return self.shard.get_dataset(kind)

    def __getattr__(self, name: str) -> object:
        """Give what the site's class has besides: its data loader may know of it."""
        with self.scope.active():
            found: object = getattr(self.shard, name)
        return self.scope.within(found) if ismethod(found) else found


def build_shard(config: ShardConfig, directory: Path | None = None, *, unread: bool = False) -> ShardDescriptor:
    """Make the shard that the config names and check that its data fits its own schema.

    Args:
        config: Which class, and with which arguments.
        directory: Where the site's own modules are: that of ``shard.yaml``. Sites in one process may have modules of
            the same name.
        unread: Whether it is not asked for its data, so that nothing is compared.

    Raises:
        ShardError: If there is no such class, it refuses its params, it raises, or its data does not fit its schema.
    """
    place = f"shard '{config.template}'"
    scope = ModuleScope(directory) if directory is not None else None
    with scope.active() if scope is not None else nullcontext():
        try:
            factory = cast("Callable[..., ShardDescriptor]", registry.resolve("shard", config.template))
            check_keywords(factory, config.params, "param")
            check_required(factory, config.params, "param")
            shard = factory(**config.params)
            (check_members if unread else check_shard)(shard)
        except ShardError as error:
            raise ShardError(error.message, place=error.place or place, cure=error.cure) from error
        except NotFoundError as error:
            raise ShardError(error.message, place=place, cure=error.cure) from error
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # the code of a shard is the site's own and may raise anything
            own = _own_lines(error, directory)
            kind, said, step = type(error).__name__, one_line(error), f"the {place}"
            file, line = (own[-1][0].name, own[-1][1]) if own else ("", 0)
            failure = Failure(FailureKind.TASK, said, kind, file=file, line=line, step=step)
            text = f"{kind}: {said}{_line_of(error, own)}"
            raise FailedShardError(text, failure, place=place, cure=_cure_of(error, directory)) from error
    return ScopedShard(shard, scope) if scope is not None and scope.owns(type(shard)) else shard


def _cure_of(error: BaseException, directory: Path | None) -> str:
    """Say what to do about what the code of a shard raised."""
    if isinstance(error, PermissionError):
        return _NOT_NAMED
    if isinstance(error, FileNotFoundError) and directory is not None:
        looked_in = f"paths in params are relative to shard.yaml, so they were looked for in {directory.resolve()}"
        return f"{looked_in}; write a name without a suffix as ./NAME, or an absolute path"
    return "check the shard's params"


_Line: TypeAlias = tuple[Path, int]


def _own_lines(error: BaseException, directory: Path | None) -> list[_Line]:
    """Return the lines of the site's own files that an exception came through."""
    if directory is None:
        return []
    folder = directory.resolve()
    return [line for line in _lines(error) if line[0].is_relative_to(folder)]


def _lines(error: BaseException) -> list[_Line]:
    return [(Path(frame.f_code.co_filename), number) for frame, number in walk_tb(error.__traceback__)]


def _line_of(error: BaseException, own: Sequence[_Line]) -> str:
    """Name the innermost line of the site's own files; without one, that of a package it uses."""
    packages = [line for line in _lines(error) if line[0].is_absolute() and not line[0].is_relative_to(_OURS)]
    found = [f" ({file}:{number})" for file, number in own or packages]
    return found[-1] if found else ""


_MEMBERS: Mapping[str, tuple[type, ...]] = {
    "schema": (DataSchema,),
    "sample_shape": (tuple, list),
    "target_shape": (tuple, list),
    "dataset_description": (str,),
}


def _check_parts(kind: str, given: object) -> None:
    if not isinstance(given, Dataset):
        raise ShardError(f"the '{kind}' data is {type(given).__name__}, not a Dataset of two NumPy arrays")
    check_is_array(f"{kind} samples", given.samples)
    check_is_array(f"{kind} targets", given.targets)


def check_members(shard: ShardDescriptor) -> None:
    """Check that a shard says what every shard has to say of its data, which is not looked at.

    Raises:
        ShardError: Naming the first member that is missing or of another type.
    """
    for name, types in _MEMBERS.items():
        value = getattr(shard, name) if hasattr(type(shard), name) else getattr(shard, name, None)
        if not isinstance(value, types):
            raise ShardError(f"the shard's '{name}' is {type(value).__name__}, not {types[0].__name__}")


def check_shard(shard: ShardDescriptor) -> None:
    """Check that a shard's data has the shapes, dtypes, ranges and counts that it promises.

    Raises:
        ShardError: Naming the first promise that is not kept.
    """
    check_members(shard)
    for kind in KINDS:
        dataset, schema = shard.get_dataset(kind), shard.schema
        _check_parts(kind, dataset)
        count = schema.counts.get(kind)
        if not len(dataset.samples) == len(dataset.targets) == count:
            told = f"{len(dataset.samples)} samples and {len(dataset.targets)} targets, the schema counts {count}"
            raise ShardError(f"the '{kind}' data has {told}")
        if count == 0:
            raise ShardError(f"the '{kind}' data is empty", cure="give the site more data or change 'holdout'")
        _check_array(f"{kind} samples", dataset.samples, shard.sample_shape, schema.sample_dtype, schema.sample_range)
        _check_array(f"{kind} targets", dataset.targets, shard.target_shape, schema.target_dtype, schema.target_range)


def _check_array(what: str, array: np.ndarray, shape: tuple[int, ...], dtype: str, limits: tuple[float, float]) -> None:
    if array.shape[1:] != tuple(shape):
        raise ShardError(f"the {what} have the shape {array.shape[1:]}, the shard promises {tuple(shape)}")
    if array.dtype.name != dtype:
        raise ShardError(f"the {what} are {array.dtype.name}, the schema promises {dtype}")
    check_values(what, array, limits)
