import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openfl_like.data.partition import Dirichlet, Iid, LabelsPerSite, Partitioner
from openfl_like.errors import ShardError

TARGETS = np.random.default_rng(5).integers(0, 10, 600)
PARTITIONERS = [Iid(), Dirichlet(alpha=0.3), LabelsPerSite(labels=4)]


def deal(partitioner: Partitioner, sites: int, seed: int) -> list[np.ndarray]:
    return [partitioner.indices(TARGETS, site, sites, seed) for site in range(1, sites + 1)]


@pytest.mark.parametrize("partitioner", PARTITIONERS, ids=repr)
@given(sites=st.integers(3, 9), seed=st.integers(0, 2**63 - 1))
def test_every_row_goes_to_exactly_one_site(partitioner: Partitioner, sites: int, seed: int) -> None:
    shares = deal(partitioner, sites, seed)
    assert sorted(np.concatenate(shares).tolist()) == list(range(len(TARGETS)))
    for share in shares:
        assert share.dtype == np.int64
        assert (np.diff(share) > 0).all()


@pytest.mark.parametrize("partitioner", PARTITIONERS, ids=repr)
def test_the_seed_alone_decides(partitioner: Partitioner) -> None:
    first, again, other = deal(partitioner, 4, 1), deal(partitioner, 4, 1), deal(partitioner, 4, 2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_iid_shares_are_equal() -> None:
    assert [len(share) for share in deal(Iid(), 7, 0)] == [86] * 5 + [85] * 2


def test_dirichlet_is_more_skewed_for_a_smaller_alpha() -> None:
    def skew(alpha: float) -> float:
        shares = deal(Dirichlet(alpha=alpha, min_size=1), 4, 3)
        counts = np.array([np.bincount(TARGETS[share], minlength=10) for share in shares])
        return float((counts.max(axis=0) / counts.sum(axis=0)).mean())

    assert skew(0.1) > 0.7
    assert skew(100) < 0.4


def test_dirichlet_keeps_the_smallest_size() -> None:
    assert min(len(share) for share in deal(Dirichlet(alpha=0.05, min_size=40), 5, 11)) >= 40


def test_dirichlet_gives_up_on_the_impossible() -> None:
    with pytest.raises(ShardError, match="min_size"):
        Dirichlet(alpha=0.3, min_size=400).indices(TARGETS, 1, 2, 0)


def test_dirichlet_refuses_a_negative_alpha() -> None:
    with pytest.raises(ShardError, match="alpha"):
        Dirichlet(alpha=-1).indices(TARGETS, 1, 2, 0)


def test_labels_per_site_are_that_many() -> None:
    for share in deal(LabelsPerSite(labels=2), 5, 8):
        assert len(np.unique(TARGETS[share])) == 2


@pytest.mark.parametrize(("labels", "sites"), [(2, 4), (0, 4), (11, 4)])
def test_labels_that_cannot_be_covered_are_refused(labels: int, sites: int) -> None:
    with pytest.raises(ShardError, match="labels"):
        LabelsPerSite(labels=labels).indices(TARGETS, 1, sites, 0)


@pytest.mark.parametrize("site", [0, 4])
@pytest.mark.parametrize("partitioner", PARTITIONERS, ids=repr)
def test_sites_count_from_one(partitioner: Partitioner, site: int) -> None:
    with pytest.raises(ShardError, match="site"):
        partitioner.indices(TARGETS, site, 3, 0)
