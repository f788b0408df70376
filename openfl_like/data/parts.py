"""The parts of a data set as the sites of a simulation: each is there when it is asked for, and none before."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from openfl_like.data.part import DataSetSource, DealtSet, PartShard
from openfl_like.data.shard import KINDS, Dataset, ShardDescriptor
from openfl_like.tensors.named import bytes_of


class PartShards(Mapping[str, ShardDescriptor]):
    """Site name -> its part.

    Args:
        dealt: The data set that is dealt out.
        numbers: Site name -> which part, from 0.
    """

    def __init__(self, dealt: DealtSet, numbers: Mapping[str, int]) -> None:
        self._dealt, self._numbers = dealt, numbers

    def __getitem__(self, name: str) -> ShardDescriptor:
        return PartShard(self._dealt, self._numbers[name])

    def __contains__(self, name: object) -> bool:
        return name in self._numbers

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

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

    def text(self, part: int) -> str:
        """Return the file of a part, which is counted from 1 here."""
        lines = [
            "template: part",
            "params:",
            f"  part: {part}",
            f"  whole: {json.dumps(self.source.choice.model_dump(mode='json'))}",
            f"  deal: {json.dumps(self.deal)}",
        ]
        if self.source.folder is not None:
            lines.append(f"  modules: {json.dumps(str(self.source.folder))}")
        if self.reads:
            lines.append(f"reads: {json.dumps([str(path) for path in self.reads])}")
        return "\n".join(lines) + "\n"


class PartFiles(Mapping[str, Path]):
    """Site name -> its shard.yaml, which is written when it is asked for.

    Args:
        file: What is in it.
        numbers: Site name -> which part, from 0.
        folder: Where they go.
    """

    def __init__(self, file: PartFile, numbers: Mapping[str, int], folder: Path) -> None:
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
