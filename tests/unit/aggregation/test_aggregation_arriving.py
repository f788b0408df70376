"""A model that is made while its updates arrive: the same bits in any order of arrival, or nothing."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from openfl_like.aggregation.arriving import MOST_SITES, ArrivingModel
from openfl_like.aggregation.engine import Output, Recipe, UpdateFile, aggregate_files
from openfl_like.aggregation.rules import AggregationRule, Median, WeightedAverage
from openfl_like.aggregation.server_optimizers import FedAvgM
from openfl_like.aggregation.spans import inline
from openfl_like.aggregation.steps import Vector
from openfl_like.federation.task import Phase, Update
from openfl_like.tensors.container import TensorFile, write_tensors
from openfl_like.tensors.manifest import Manifest, manifest_of
from openfl_like.tensors.named import Array
from openfl_like.wire.transfer.chunks import part_of

ODD = 200_003
"""Elements: stretches end within tensors, and tensors within stretches."""
SAMPLES = {"bern": 3, "chur": 5, "zug": 11}


def model_of(seed: int) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {
        "a": rng.normal(size=ODD).astype(np.float32),
        "b": rng.normal(size=ODD),
        "c": rng.integers(-1000, 1000, ODD).astype(np.int16),
        "d": rng.normal(size=(3, ODD // 5)).astype(np.float16),
        "e": rng.integers(0, 2, 9).astype(bool),
        "f": np.array(rng.normal()),
    }


@dataclass
class Site:
    """One that delivers its update chunk by chunk."""

    name: str
    folder: Path
    tensors: dict[str, Array]
    samples: int = 1
    update: Update = field(init=False)
    manifest: Manifest = field(init=False)
    content: bytes = field(init=False)

    def __post_init__(self) -> None:
        made = self.folder / f"{self.name}-made"
        self.manifest = write_tensors(made, self.tensors, sync=False)
        self.content = made.read_bytes()
        self.update = Update(1, Phase.TRAIN, self.name, self.manifest.digest, self.samples)

    @property
    def path(self) -> Path:
        """Where the update will be."""
        return self.folder / self.name

    @property
    def every(self) -> list[int]:
        """All chunks."""
        return list(range(len(self.manifest.chunks)))

    def announce(self, model: ArrivingModel) -> None:
        """Begin to arrive, with nothing here yet."""
        part_of(self.path).write_bytes(bytes(len(self.content)))
        model.announce(self.update, self.manifest, self.path)
        model.begin(self.name, part_of(self.path), self.every)

    def place(self, model: ArrivingModel, index: int) -> None:
        """Have one chunk arrive."""
        offset, length = self.manifest.chunk_range(index)
        with part_of(self.path).open("r+b") as file:
            file.seek(offset)
            file.write(self.content[offset : offset + length])
        model.placed(self.name, index)

    def end(self) -> None:
        """Have arrived."""
        part_of(self.path).rename(self.path)


def sites_in(folder: Path, count: int = 3) -> list[Site]:
    return [
        Site(name, folder, model_of(number), samples)
        for number, (name, samples) in enumerate(list(SAMPLES.items())[:count], 1)
    ]


def arriving(folder: Path, sites: list[Site], rule: AggregationRule | None = None) -> ArrivingModel:
    with TensorFile(folder / f"{sites[0].name}-made") as file:
        schema = file.schema
    names = [site.name for site in sites]
    return ArrivingModel(Recipe(rule or WeightedAverage()), 1, schema, names, Output(folder / "model", sync=False))


def usual(folder: Path, sites: list[Site]) -> Manifest:
    items = [UpdateFile(site.name, folder / f"{site.name}-made", float(site.samples)) for site in sites]
    return aggregate_files(Recipe(WeightedAverage()), items, Output(folder / "usual", sync=False)).model


def named(model: ArrivingModel) -> Manifest:
    combined = model.finish()
    assert combined is not None
    return combined.model


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.endswith(".tmp") or path.name == "model")


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_any_order_of_arrival_gives_the_bits_of_combining_at_the_end(tmp_path: Path, count: int, seed: int) -> None:
    sites = sites_in(tmp_path, count)
    model = arriving(tmp_path, sites)
    for site in sites:
        site.announce(model)
    chunks = [(site, index) for site in sites for index in site.every]
    for place in np.random.default_rng(seed).permutation(len(chunks)):
        site, index = chunks[place]
        site.place(model, index)
    assert model.is_of([site.update for site in sites])
    assert model.complete(inline)
    assert leftovers(tmp_path) != ["model"], "it has its name only when it is asked for"
    assert named(model) == usual(tmp_path, sites)
    assert (tmp_path / "model").read_bytes() == (tmp_path / "usual").read_bytes()
    assert leftovers(tmp_path) == ["model"]


def test_one_after_the_other_the_first_has_its_name_before_the_last_begins(tmp_path: Path) -> None:
    sites = sites_in(tmp_path)
    model = arriving(tmp_path, sites)
    for site in sites:
        site.announce(model)
        for index in site.every:
            site.place(model, index)
        site.end()
    assert model.complete(inline)
    assert named(model) == usual(tmp_path, sites)


def test_sites_deliver_from_threads_of_their_own(tmp_path: Path) -> None:
    sites = sites_in(tmp_path)
    model, start = arriving(tmp_path, sites), threading.Barrier(len(sites))
    for site in sites:
        site.announce(model)

    def deliver(site: Site) -> None:
        start.wait()
        for index in site.every:
            site.place(model, index)

    with ThreadPoolExecutor(len(sites)) as pool:
        list(pool.map(deliver, sites))
    assert model.complete(inline)
    assert named(model) == usual(tmp_path, sites)


def test_a_transfer_that_breaks_is_gone_on_with(tmp_path: Path) -> None:
    sites = sites_in(tmp_path, 2)
    model = arriving(tmp_path, sites)
    for site in sites:
        site.announce(model)
    first, second = sites
    for index in first.every:
        first.place(model, index)
    for index in second.every[:5]:
        second.place(model, index)
    model.announce(second.update, second.manifest, second.path)
    model.begin(second.name, part_of(second.path), second.every[5:])
    for index in second.every[5:]:
        second.place(model, index)
    assert model.complete(inline)
    assert named(model) == usual(tmp_path, sites)


def test_chunks_that_the_former_file_had_need_not_come(tmp_path: Path) -> None:
    sites = sites_in(tmp_path, 2)
    model = arriving(tmp_path, sites)
    first, second = sites
    first.announce(model)
    for index in first.every:
        first.place(model, index)
    part_of(second.path).write_bytes(second.content)
    model.announce(second.update, second.manifest, second.path)
    model.begin(second.name, part_of(second.path), ())
    assert model.complete(inline)
    assert named(model) == usual(tmp_path, sites)


def deliver_all(sites: list[Site], model: ArrivingModel) -> None:
    for site in sites:
        site.announce(model)
    for site in sites:
        for index in site.every:
            site.place(model, index)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("tensor", ["a", "b", "d"])
def test_a_number_that_is_not_finite_leaves_no_model(tmp_path: Path, tensor: str, value: float) -> None:
    sites = sites_in(tmp_path, 2)
    bad = model_of(9)
    bad[tensor].reshape(-1)[-1] = value
    sites[0] = Site("bern", tmp_path, bad, 3)
    model = arriving(tmp_path, sites)
    deliver_all(sites, model)
    assert not model.complete(inline)
    assert model.dropped
    assert leftovers(tmp_path) == []


def other_digest(model: ArrivingModel, sites: list[Site], folder: Path) -> None:
    Site(sites[1].name, folder, model_of(77), sites[1].samples).announce(model)


def other_layout(model: ArrivingModel, sites: list[Site], folder: Path) -> None:
    renamed = {("aa" if name == "a" else name): value for name, value in model_of(2).items()}
    other = Site(sites[1].name, folder, renamed, sites[1].samples)
    model.announce(other.update, other.manifest, other.path)


def stranger(model: ArrivingModel, sites: list[Site], folder: Path) -> None:
    Site("stranger", folder, model_of(5)).announce(model)


def other_chunks(model: ArrivingModel, sites: list[Site], folder: Path) -> None:
    """The same bytes in chunks of another size: its stretches are not those of the model."""
    manifest = manifest_of(folder / f"{sites[1].name}-made", 1 << 20)
    update = Update(1, Phase.TRAIN, sites[1].name, manifest.digest, sites[1].samples)
    model.announce(update, manifest, sites[1].path)


@pytest.mark.parametrize("surprise", [other_digest, other_layout, other_chunks, stranger])
def test_a_surprise_in_the_middle_ends_the_guess(
    tmp_path: Path, surprise: Callable[[ArrivingModel, list[Site], Path], None]
) -> None:
    sites = sites_in(tmp_path, 2)
    model = arriving(tmp_path, sites)
    for site in sites:
        site.announce(model)
        for index in site.every[:6]:
            site.place(model, index)
    assert leftovers(tmp_path), "stretches were made by now"
    surprise(model, sites, tmp_path)
    assert model.dropped
    assert not model.is_of([site.update for site in sites])
    assert leftovers(tmp_path) == []
    sites[0].place(model, 6)  # what is still on its way does no harm


def test_tensors_of_the_same_size_in_another_order_end_the_guess(tmp_path: Path) -> None:
    whole = {"a": np.ones(ODD, np.float32), "b": np.ones(ODD, np.int32)}
    swapped = {"a": np.ones(ODD, np.int32), "b": np.ones(ODD, np.float32)}
    sites = [Site("bern", tmp_path, whole), Site("chur", tmp_path, swapped)]
    assert sites[0].manifest.total_bytes == sites[1].manifest.total_bytes
    model = arriving(tmp_path, sites)
    deliver_all(sites, model)
    assert model.dropped
    assert leftovers(tmp_path) == []


def test_who_does_not_deliver_everything_is_not_in_the_model(tmp_path: Path) -> None:
    sites = sites_in(tmp_path, 2)
    model = arriving(tmp_path, sites)
    for site in sites:
        site.announce(model)
        for index in site.every[:-1]:
            site.place(model, index)
    assert not model.complete(inline)
    assert leftovers(tmp_path) == []


def test_it_is_of_all_who_were_expected_and_of_nobody_else(tmp_path: Path) -> None:
    sites = sites_in(tmp_path)
    model = arriving(tmp_path, sites)
    deliver_all(sites, model)
    updates = [site.update for site in sites]
    assert model.is_of(updates)
    assert not model.is_of(updates[:2])
    assert not model.is_of([*updates[:2], Update(1, Phase.TRAIN, "zug", updates[2].digest, 12)])
    assert not model.is_of([*updates[:2], Update(1, Phase.TRAIN, "zug", "f" * 64, 11)])


def test_a_site_without_samples_ends_the_guess(tmp_path: Path) -> None:
    sites = [Site("bern", tmp_path, model_of(1), 0), Site("chur", tmp_path, model_of(2))]
    model = arriving(tmp_path, sites)
    deliver_all(sites, model)
    assert model.dropped


def test_a_rule_that_needs_whole_updates_ends_the_guess(tmp_path: Path) -> None:
    sites = sites_in(tmp_path)
    model = arriving(tmp_path, sites, Median())
    deliver_all(sites, model)
    assert model.dropped
    assert leftovers(tmp_path) == []


def test_who_comes_first_with_chunks_of_another_size_is_in_nobody_s_way(tmp_path: Path) -> None:
    sites = sites_in(tmp_path, 2)
    model = arriving(tmp_path, sites)
    manifest = manifest_of(tmp_path / "chur-made", 2 << 20)
    model.announce(Update(1, Phase.TRAIN, "chur", manifest.digest, 5), manifest, sites[1].path)
    model.begin("chur", part_of(sites[1].path), [0])
    sites[0].announce(model)
    for index in sites[0].every:
        sites[0].place(model, index)
    assert model.dropped


def test_a_chunk_that_comes_twice_counts_once(tmp_path: Path) -> None:
    sites = sites_in(tmp_path, 1)
    model = arriving(tmp_path, sites)
    sites[0].announce(model)
    for index in [0, 0, 1, 1, 2, 2]:
        sites[0].place(model, index)
    assert leftovers(tmp_path) == [], "the fourth chunk of the first stretch is missing"
    for index in sites[0].every[3:]:
        sites[0].place(model, index)
    assert model.complete(inline)
    assert model.finish() is not None
    assert (tmp_path / "model").read_bytes() == sites[0].content


def test_what_was_there_and_is_not_any_more_ends_the_guess(tmp_path: Path) -> None:
    sites = sites_in(tmp_path, 2)
    model = arriving(tmp_path, sites)
    for site in sites:
        site.announce(model)
        for index in site.every[:6]:
            site.place(model, index)
    model.begin(sites[0].name, part_of(sites[0].path), sites[0].every[5:])
    assert model.dropped
    assert leftovers(tmp_path) == []


class Failing:
    """A rule that is defective."""

    def factors(self, weights: Vector) -> Vector:
        """Raise what no rule should."""
        del weights
        raise ZeroDivisionError


class TooFew:
    """A rule that forgets an update."""

    def factors(self, weights: Vector) -> Vector:
        """One factor less than there are updates."""
        return weights[1:]


@pytest.mark.parametrize("rule", [Failing(), TooFew()])
def test_a_defective_rule_does_not_break_transfers(tmp_path: Path, rule: AggregationRule) -> None:
    sites = sites_in(tmp_path)
    model = arriving(tmp_path, sites, rule)
    deliver_all(sites, model)
    assert not model.complete(inline)
    assert leftovers(tmp_path) == []


def test_one_that_was_let_go_at_the_last_moment_gets_no_name(tmp_path: Path) -> None:
    sites = sites_in(tmp_path, 2)
    model = arriving(tmp_path, sites)
    deliver_all(sites, model)
    assert model.complete(inline)
    model.drop()
    assert model.finish() is None
    assert leftovers(tmp_path) == []


def test_a_server_optimizer_or_many_sites_are_not_tried(tmp_path: Path) -> None:
    with TensorFile(sites_in(tmp_path, 1)[0].folder / "bern-made") as file:
        schema = file.schema
    out = Output(tmp_path / "model", sync=False)
    kept = Recipe(WeightedAverage(), FedAvgM(momentum=0.9))
    assert ArrivingModel(kept, 1, schema, ["bern"], out).dropped
    many = [f"site-{number}" for number in range(MOST_SITES + 1)]
    assert ArrivingModel(Recipe(WeightedAverage()), 1, schema, many, out).dropped
