"""The parts of a data set as the sites of a simulation: each is there when it is asked for, and none before."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from blake3 import blake3

from openfl_like.data.part import DataSetSource, DealtSet, PartShard
from openfl_like.data.shard import KINDS, Dataset, ShardDescriptor
from openfl_like.numbered_names import NumberedNames, SortedNames, sorted_names
from openfl_like.tensors.named import bytes_of


class PlaceOfName(Mapping[str, int]):
    """Site name -> its number, from 0, of names that differ in their number alone.

    Args:
        names: The names.
    """

    def __init__(self, names: NumberedNames) -> None:
        self._names = names

    def __getitem__(self, name: str) -> int:
        place = self._names.place(name)
        if place is None:
            raise KeyError(name)
        return place

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    @property
    def names(self) -> NumberedNames:
        """The names."""
        return self._names


class MadeShards(Mapping[str, ShardDescriptor], ABC):
    """Site name -> its data, which comes into being when it is asked for.

    Args:
        numbers: Site name -> its number, from 0.
    """

    def __init__(self, numbers: Mapping[str, int]) -> None:
        self._numbers = numbers

    @abstractmethod
    def made(self, number: int) -> ShardDescriptor:
        """Make the data of a site, which is counted from 0."""

    @abstractmethod
    def digest(self) -> str:
        """BLAKE3, hex, that is another one if the data of a site is."""

    @property
    def names(self) -> SortedNames:
        """The names of the sites."""
        return self._numbers.names if isinstance(self._numbers, PlaceOfName) else sorted_names(self._numbers)

    def __getitem__(self, name: str) -> ShardDescriptor:
        return self.made(self._numbers[name])

    def __contains__(self, name: object) -> bool:
        return name in self._numbers

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)


class PartShards(MadeShards):
    """Site name -> its part.

    Args:
        dealt: The data set that is dealt out.
        numbers: Site name -> which part, from 0.
    """

    def __init__(self, dealt: DealtSet, numbers: Mapping[str, int]) -> None:
        super().__init__(numbers)
        self._dealt = dealt

    def made(self, number: int) -> ShardDescriptor:
        """Return the part of a site."""
        return PartShard(self._dealt, number)

    def digest(self) -> str:
        """BLAKE3 of the whole data set and of whose its rows are, hex: of all sites at once."""
        data, deal = self._dealt.loaded.data, self._dealt.deal
        hashed = blake3(json.dumps(self._dealt.settings.label_noise.model_dump(mode="json")).encode())
        for dataset in (data.train, data.validate):
            update_with(hashed, dataset)
        for array in (deal.train.order, deal.train.bounds, deal.validate.order, deal.validate.bounds):
            hashed.update(bytes_of(array))
        return str(hashed.hexdigest())


def update_with(hashed: blake3, dataset: Dataset) -> None:
    """Hash dtypes, shapes and values of a data set."""
    for array in (dataset.samples, dataset.targets):
        hashed.update(f"{array.dtype.str}{array.shape}".encode())
        hashed.update(bytes_of(array))


def digest_of(shard: ShardDescriptor) -> str:
    """BLAKE3 of a shard's samples and targets, hex."""
    hashed = blake3()
    for kind in KINDS:
        update_with(hashed, shard.get_dataset(kind))
    return str(hashed.hexdigest())


@dataclass(frozen=True, slots=True)
class PartFile:
    """What the shard.yaml of a part says.

    Attributes:
        source: The data set.
        deal: How it is dealt out, as JSON values.
        reads: What workers may read besides what the params name.
    """

    source: DataSetSource
    deal: Mapping[str, object]
    reads: tuple[Path, ...] = ()

    def text(self, number: int) -> str:
        """Return the file of a part, which is counted from 1 here."""
        whole = self.source.choice.model_dump(mode="json")
        return shard_text("part", {"part": number, "whole": whole, "deal": self.deal}, self.source.folder, self.reads)


def shard_text(template: str, params: Mapping[str, object], modules: Path | None, reads: Sequence[Path]) -> str:
    """Write a shard.yaml.

    Args:
        template: Of which kind the shard is.
        params: Its params, as JSON values.
        modules: Folder with the code that they name; None: they name none.
        reads: What workers may read besides what the params name.
    """
    given = params if modules is None else {**params, "modules": str(modules)}
    lines = [f"template: {template}", *(["params:"] if given else [])]
    lines += [f"  {key}: {json.dumps(value)}" for key, value in given.items()]
    if reads:
        lines.append(f"reads: {json.dumps([str(path) for path in reads])}")
    return "\n".join(lines) + "\n"


class ShardText(Protocol):
    """What the shard files of sites say that are made."""

    def text(self, number: int) -> str:
        """Return the file of a site, which is counted from 1 here."""
        ...


class MadeFiles(Mapping[str, Path]):
    """Site name -> its shard.yaml, which is written when it is asked for.

    Args:
        file: What is in it.
        numbers: Site name -> its number, from 0.
        folder: Where they go.
    """

    def __init__(self, file: ShardText, numbers: Mapping[str, int], folder: Path) -> None:
        self._file, self._numbers, self._folder = file, numbers, folder

    def __getitem__(self, name: str) -> Path:
        text, path = self._file.text(self._numbers[name] + 1), self._folder / f"{name}.yaml"
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            self._folder.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return path

    def __contains__(self, name: object) -> bool:
        return name in self._numbers

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)
