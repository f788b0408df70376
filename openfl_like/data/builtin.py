"""Shards of the small data sets that scikit-learn carries with it, dealt out to simulated sites."""

from collections.abc import Mapping
from typing import cast

import numpy as np

from openfl_like import registry
from openfl_like.data.installed import installed_file
from openfl_like.data.partition import Dirichlet, build_partitioner, rows_of_site
from openfl_like.data.shard import ArrayShard, Dataset
from openfl_like.data.split import split_dataset
from openfl_like.errors import ShardError

_CURE = "pip install 'openfl_like[sklearn]'"
_FEWEST = 10
"""Rows that every site has at least where a Dirichlet distribution deals: none can see that another has too few."""


class DigitsShard(ArrayShard):
    """Handwritten digits: samples ``[8, 8]`` float32 from 0 to 1, targets 0 to 9 as int64 scalars.

    The whole set has 1797 images (E. Alpaydin, C. Kaynak, Bogazici University; UCI optical recognition of handwritten
    digits).

    Args:
        site: Which site's share, from 1 to ``sites``.
        sites: How many sites share the set.
        partitioner: How it is dealt out: ``template`` (``iid``, ``dirichlet``, ``labels`` or ``module:attr``) and
            ``settings``.
        seed: Seed of the deal and of the split; all sites must use the same.
        holdout: Share of the site's images that is held out, of each digit.
        shifted: Whether each image is there five times: as it is, and moved by a pixel up, down, left and right. It is
            done after the split, so that no image is both trained on and held out.
    """

    def __init__(
        self,
        site: int = 1,
        sites: int = 1,
        partitioner: Mapping[str, object] | None = None,
        seed: int = 0,
        holdout: float = 0.25,
        *,
        shifted: bool = False,
    ) -> None:
        images, targets = _load_digits()
        rows = _deal(targets, site, sites, partitioner, seed)
        datasets = split_dataset(Dataset(images[rows], targets[rows]), holdout, seed)
        super().__init__(
            {kind: _shifted(part) for kind, part in datasets.items()} if shifted else datasets,
            description=f"Handwritten digits (UCI, Alpaydin and Kaynak), part {site} of {sites}.",
            sample_range=(0.0, 1.0),
            classes=10,
        )


class BreastCancerShard(ArrayShard):
    """Breast tumours: 30 measurements as float32, target 1 for benign and 0 for malignant (int64 scalars).

    The whole set has 569 tumours (W. H. Wolberg, W. N. Street, O. L. Mangasarian, University of Wisconsin; UCI breast
    cancer Wisconsin, diagnostic). Every measurement is divided by a round constant; no statistics cross sites.

    Args:
        site: Which site's share, from 1 to ``sites``.
        sites: How many sites share the set.
        partitioner: How it is dealt out: ``template`` and ``settings``, as for `DigitsShard`.
        seed: Seed of the deal and of the split; all sites must use the same.
        holdout: Share of the site's tumours that is held out, of each outcome.
    """

    def __init__(
        self,
        site: int = 1,
        sites: int = 1,
        partitioner: Mapping[str, object] | None = None,
        seed: int = 0,
        holdout: float = 0.25,
    ) -> None:
        samples, targets = _load_breast_cancer()
        rows = _deal(targets, site, sites, partitioner, seed)
        super().__init__(
            split_dataset(Dataset(samples[rows], targets[rows]), holdout, seed),
            description=f"Breast tumours (UCI, Wolberg, Street and Mangasarian), part {site} of {sites}.",
            sample_range=(-10.0, 10.0),
            classes=2,
        )


# Typical value and spread of the mean, the standard error and the worst of ten properties of the cell nuclei: radius,
# texture, perimeter, area, smoothness, compactness, concavity, concave points, symmetry and fractal dimension.
# fmt: off
_CENTRES = (
    14, 19, 90, 650, 0.1, 0.1, 0.1, 0.05, 0.2, 0.06,
    0.4, 1.2, 3, 40, 0.007, 0.025, 0.03, 0.01, 0.02, 0.004,
    16, 25, 110, 900, 0.13, 0.25, 0.3, 0.1, 0.3, 0.08,
)
_SCALES = (
    4, 4, 25, 350, 0.02, 0.05, 0.1, 0.04, 0.03, 0.01,
    0.4, 0.6, 3, 60, 0.004, 0.02, 0.05, 0.01, 0.01, 0.004,
    5, 6, 35, 600, 0.02, 0.2, 0.2, 0.07, 0.06, 0.02,
)
# fmt: on


def _load_digits() -> tuple[np.ndarray, np.ndarray]:
    table = np.loadtxt(installed_file("sklearn", "datasets/data/digits.csv.gz", _CURE), delimiter=",")
    return (table[:, :-1].reshape(-1, 8, 8) / 16).astype(np.float32), table[:, -1].astype(np.int64)


def _shifted(dataset: Dataset) -> Dataset:
    """Add each image moved by a pixel in four directions; what comes in at an edge is empty."""
    padded = np.pad(dataset.samples, ((0, 0), (1, 1), (1, 1)))
    corners = ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))
    images = np.concatenate([padded[:, row : row + 8, column : column + 8] for row, column in corners])
    return Dataset(images, np.tile(dataset.targets, len(corners)))


def _load_breast_cancer() -> tuple[np.ndarray, np.ndarray]:
    path = installed_file("sklearn", "datasets/data/breast_cancer.csv", _CURE)
    table = np.loadtxt(path, delimiter=",", skiprows=1)
    scaled = np.clip((table[:, :-1] - np.array(_CENTRES)) / np.array(_SCALES), -10, 10)
    return scaled.astype(np.float32), table[:, -1].astype(np.int64)


def _deal(
    targets: np.ndarray, site: int, sites: int, partitioner: Mapping[str, object] | None, seed: int
) -> np.ndarray:
    chosen = {"template": "iid", **(partitioner or {})}
    unknown = sorted(set(chosen) - {"template", "settings"})
    if unknown:
        raise ShardError(f"the partitioner has the unknown key '{unknown[0]}'", cure="write 'template' and 'settings'")
    template, settings = str(chosen["template"]), cast("Mapping[str, object]", chosen.get("settings") or {})
    if registry.resolve("partitioner", template) is Dirichlet:
        settings = {"min_size": _FEWEST, **settings}
    return rows_of_site(build_partitioner(template, settings), targets, site, sites, seed)
