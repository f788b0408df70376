"""A site whose data is a part of a data set: an ordinary shard, so that every runtime and a real Envoy can have it."""

import json
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, TypeVar
from weakref import WeakValueDictionary

import numpy as np
from pydantic import BeforeValidator, JsonValue, TypeAdapter, ValidationError

from openfl_like.data.deal import DataSet, Deal, DealSettings, deal_out
from openfl_like.data.partition import NOBODY
from openfl_like.data.shard import KINDS, DataSchema, Dataset, ShardDescriptor, build_shard
from openfl_like.data.shard_file import ShardConfig
from openfl_like.errors import ShardError
from openfl_like.federation.seeds import derive_seed
from openfl_like.module_scope import ModuleScope, innermost_directory
from openfl_like.plan.mistakes import dotted, explain
from openfl_like.plan.section import named_only
from openfl_like.plan.simulation import ShardChoice


@dataclass(frozen=True, slots=True)
class DataSetSource:
    """Where a data set comes from.

    Attributes:
        choice: Which kind of shard, and its params.
        folder: Where modules are looked for that it or the partitioner names; None: nowhere but among packages.
    """

    choice: ShardChoice
    folder: Path | None = None

    @property
    def key(self) -> str:
        """The same text for the same source."""
        return json.dumps([self.choice.model_dump(mode="json"), str(self.folder)], sort_keys=True)


@dataclass(frozen=True, slots=True, weakref_slot=True)
class LoadedSet:
    """A data set in memory."""

    data: DataSet


@dataclass(frozen=True, slots=True, weakref_slot=True)
class DealtSet:
    """A data set with how it was dealt out, in memory once for all its parts.

    Attributes:
        loaded: The data set.
        deal: Which rows are whose.
        settings: How it was dealt out.
    """

    loaded: LoadedSet
    deal: Deal
    settings: DealSettings


# They are there for as long as a part of them is: no file is believed to be what it was when nobody holds its data.
_LOADED: WeakValueDictionary[str, LoadedSet] = WeakValueDictionary()
_DEALT: WeakValueDictionary[str, DealtSet] = WeakValueDictionary()
"""Without a lock: two threads at once may load a data set twice, and none waits for one that waits for modules."""


def load_data_set(source: DataSetSource) -> LoadedSet:
    """Load a data set, or give the one that is in memory.

    Raises:
        ShardError: If it cannot be used.
    """
    found = _LOADED.get(source.key)
    if found is None:
        config = ShardConfig(template=source.choice.template, params=source.choice.params)
        found = _LOADED[source.key] = LoadedSet(DataSet.of(build_shard(config, source.folder)))
    return found


def dealt_set(source: DataSetSource, settings: DealSettings) -> DealtSet:
    """Load a data set and deal it out, each once for all its parts.

    Raises:
        ShardError: If it cannot be used, or not be dealt out like that.
    """
    key = f"{source.key} {json.dumps(settings.model_dump(mode='json'), sort_keys=True)}"
    found = _DEALT.get(key)
    if found is None:
        loaded = load_data_set(source)
        with ModuleScope(source.folder).active() if source.folder is not None else nullcontext():
            found = _DEALT[key] = DealtSet(loaded, deal_out(loaded.data, settings), settings)
    return found


class PartShard:
    """One site's part of a data set that is dealt out; its arrays are made when they are asked for, and not kept.

    Args:
        dealt: The data set.
        site: Which site, from 0.

    Raises:
        ShardError: If there is no such site, or it was left out.
    """

    def __init__(self, dealt: DealtSet, site: int) -> None:
        sites = dealt.settings.sites
        if not 0 <= site < sites:
            raise ShardError(f"there is no part {site + 1} among {sites}", cure="parts are counted from 1")
        other = int(dealt.deal.joined[site])
        if other != site:
            became = "left out" if other == NOBODY else f"merged into part {other + 1}"
            told = f"part {site + 1} of {sites} has no samples to train on, or none held out, and was {became}"
            raise ShardError(told, cure="have no such site")
        self._dealt, self._site = dealt, site

    @property
    def _whole(self) -> ShardDescriptor:
        return self._dealt.loaded.data.shard

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self._whole.sample_shape)

    @property
    def target_shape(self) -> tuple[int, ...]:
        """Shape of one target."""
        return tuple(self._whole.target_shape)

    @property
    def dataset_description(self) -> str:
        """What the data set is, and which part this is."""
        settings = self._dealt.settings
        of = f"Part {self._site + 1} of {settings.sites} ({settings.partitioner.template})"
        return f"{of} of: {self._whole.dataset_description}"

    @property
    def schema(self) -> DataSchema:
        """Dtypes, ranges and classes of the data set, and the counts of this part."""
        counts = {kind: len(self._rows(kind)) for kind in KINDS}
        return replace(self._whole.schema, counts=counts)

    def get_dataset(self, kind: str) -> Dataset:
        """Return a copy of this part's samples of a kind: ``train`` or ``validate``."""
        if kind not in KINDS:
            raise ShardError(f"there is no '{kind}' data", cure=f"ask for {' or '.join(KINDS)}")
        data, rows = self._dealt.loaded.data, self._rows(kind)
        whole = data.train if kind == "train" else data.validate
        targets = whole.targets[rows]
        if kind == "train" and self._dealt.deal.mislabelled[self._site]:
            targets = self._mislabelled(targets)
        return Dataset(whole.samples[rows], targets)

    def _rows(self, kind: str) -> np.ndarray:
        deal = self._dealt.deal
        return (deal.train if kind == "train" else deal.validate).rows(self._site)

    def _mislabelled(self, targets: np.ndarray) -> np.ndarray:
        """Replace a part of the labels by any other one, all others alike: symmetric noise (Patrini et al. 2017)."""
        settings, classes = self._dealt.settings, self._whole.schema.classes
        random = np.random.default_rng(derive_seed(settings.seed, "label noise", self._site))
        chosen = random.permutation(len(targets))[: round(settings.label_noise.fraction * len(targets))]
        wrong = (targets[chosen] + random.integers(1, classes, len(chosen))) % classes
        targets[chosen] = wrong.astype(targets.dtype)
        return targets


def part_shard(part: int, whole: JsonValue, deal: JsonValue, modules: str | None = None) -> PartShard:
    """One site's part of a data set that is dealt out to several, so that a simulation needs data for one site only.

    The partitioner deals what the data set trains on; held-out samples follow, of each label in the same parts.

    Args:
        part: Which part, from 1 to ``deal.sites``.
        whole: The data set: ``template`` and ``params`` as in a shard.yaml, or the template alone.
        deal: How it is dealt out, the same for all parts: ``sites`` (how many), ``partitioner`` (``template`` and
            ``settings``, default `iid`), ``seed`` (0), ``without_samples`` (``refuse``, ``merge`` or ``drop``) and
            ``label_noise`` (``fraction`` and ``sites``), as in the plan's ``simulation.sites``.
        modules: Folder with modules that ``whole`` or the partitioner names; default: that of shard.yaml.

    Raises:
        ShardError: If there is no such part, or the data set cannot be dealt out like that.
    """
    folder = Path(modules) if modules is not None else innermost_directory()
    source = DataSetSource(read_choice(whole, "whole"), folder)
    settings = _read(_DEAL, deal, "deal")
    return PartShard(dealt_set(source, settings), part - 1)


_CHOICE = TypeAdapter(Annotated[ShardChoice, BeforeValidator(named_only)])
_DEAL = TypeAdapter(DealSettings)
Read = TypeVar("Read")


def read_choice(value: JsonValue, name: str) -> ShardChoice:
    """Read which shard a param names; raises ShardError."""
    return _read(_CHOICE, value, name)


def _read(reader: TypeAdapter[Read], value: JsonValue, name: str) -> Read:
    try:
        return reader.validate_python(value)
    except ValidationError as error:
        found = explain(error, DealSettings if name == "deal" else ShardChoice, (name,))
        told = "; ".join(f"{dotted(one.path)}: {one.problem}" for one in found)
        raise ShardError(told, place="params", cure=found[0].cure or "correct it") from error
