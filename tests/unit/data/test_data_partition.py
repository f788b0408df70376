import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openfl_like.data.label_partition import LabelShards, NonIid, OneLabel, Percentage
from openfl_like.data.partition import (
    NOBODY,
    Dirichlet,
    Iid,
    LabelsPerSite,
    Partitioner,
    build_partitioner,
    owners_of,
    rows_of_site,
)
from openfl_like.data.size_partition import Manual, Pipe, PipeStage, SizeSkew
from openfl_like.errors import ShardError

TARGETS = np.random.default_rng(5).integers(0, 10, 600)
PARTITIONERS = [Iid(), Dirichlet(alpha=0.3), LabelsPerSite(labels=4)]


def deal(partitioner: Partitioner, sites: int, seed: int) -> list[np.ndarray]:
    return [rows_of_site(partitioner, TARGETS, site, sites, seed) for site in range(1, sites + 1)]


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
        Dirichlet(alpha=0.3, min_size=400).owners(TARGETS, 2, 0)


def test_dirichlet_refuses_a_negative_alpha() -> None:
    with pytest.raises(ShardError, match="alpha"):
        build_partitioner("dirichlet", {"alpha": -1})


def test_labels_per_site_are_that_many() -> None:
    for share in deal(LabelsPerSite(labels=2), 5, 8):
        assert len(np.unique(TARGETS[share])) == 2


@pytest.mark.parametrize(("labels", "sites"), [(2, 4), (0, 4), (11, 4)])
def test_labels_that_cannot_be_covered_are_refused(labels: int, sites: int) -> None:
    with pytest.raises(ShardError, match="labels"):
        owners_of(build_partitioner("labels", {"labels": labels}), TARGETS, sites, 0)


@pytest.mark.parametrize("site", [0, 4])
@pytest.mark.parametrize("partitioner", PARTITIONERS, ids=repr)
def test_sites_count_from_one(partitioner: Partitioner, site: int) -> None:
    with pytest.raises(ShardError, match="site"):
        rows_of_site(partitioner, TARGETS, site, 3, 0)


EARLIER = [[58742, 60946, 60012], [38506, 76742, 64452], [52430, 74857, 52413]]
"""Sums of the rows of three sites, as they were when a partitioner was asked for one site at a time."""


def labels_of(share: np.ndarray) -> set[int]:
    return set(TARGETS[share].tolist())


def test_what_was_dealt_before_is_dealt_again() -> None:
    shares = [deal(partitioner, 3, 7) for partitioner in (Iid(), Dirichlet(0.3), LabelsPerSite(4))]
    assert [[int(share.sum()) for share in of_one] for of_one in shares] == EARLIER


def test_a_balanced_dirichlet_deal_has_equal_sizes_and_skewed_labels() -> None:
    shares = deal(Dirichlet(alpha=0.1, balanced=True), 7, 3)
    assert {len(share) for share in shares} == {85, 86}
    assert min(np.bincount(TARGETS[share]).max() / len(share) for share in shares[:4]) > 0.5


def test_shards_are_few_labels_and_equal_sizes() -> None:
    shares = deal(LabelShards(shards_per_site=2), 20, 1)
    assert {len(share) for share in shares} == {30}
    assert max(len(labels_of(share)) for share in shares) <= 4


def test_a_dominant_label_has_its_part() -> None:
    for share in deal(Percentage(fraction=0.6, size=25), 20, 4):
        assert np.bincount(TARGETS[share]).max() == 15
        assert len(share) == 25


def test_more_of_one_label_than_there_is_is_refused() -> None:
    with pytest.raises(ShardError, match=r"only 2 sites can have 60 of one label"):
        Percentage(fraction=1.0, size=60).owners(np.repeat([0, 1], [70, 110]), 3, 0)
    with pytest.raises(ShardError, match="3 sites of 60 rows need 180"):
        Percentage(fraction=0.5, size=60).owners(np.repeat([0, 1], [70, 60]), 3, 0)


def test_sites_of_one_label_go_through_the_labels_in_order() -> None:
    shares = deal(OneLabel(), 13, 2)
    assert [labels_of(share) for share in shares] == [{site % 10} for site in range(13)]
    assert {len(share) for share in deal(OneLabel(size=4), 13, 2)} == {4}
    with pytest.raises(ShardError, match="9 sites with one label each cannot cover 10"):
        OneLabel().owners(TARGETS, 9, 0)


def test_levels_take_labels_away_one_after_the_other() -> None:
    found = [np.mean([len(labels_of(share)) for share in deal(NonIid(level), 20, 6)]) for level in range(1, 6)]
    assert found[0] == 10
    assert found == sorted(found, reverse=True)
    assert 1 <= found[4] < 2


def test_sizes_are_those_that_are_given() -> None:
    assert [len(share) for share in deal(SizeSkew(given=(5, 300, 1)), 3, 0)] == [5, 300, 1]
    assert all(3 <= len(share) <= 9 for share in deal(SizeSkew(between=(3, 9)), 20, 0))
    even, odd = (np.std([len(share) for share in deal(SizeSkew(sigma=sigma), 20, 0)]) for sigma in (0.0, 1.5))
    assert even < 1
    assert odd > 20


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "exactly one"),
        ({"sigma": 1, "between": [1, 2]}, "exactly one"),
        ({"between": [3, 2]}, "smaller number first"),
        ({"given": [300, 301]}, "add up to 601 rows"),
        ({"given": [1, 2, 3]}, "there are 2 sites, and sizes are given for 3"),
        ({"sigma": float("inf")}, "sigma"),
    ],
)
def test_sizes_that_cannot_be_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ShardError, match=said):
        owners_of(build_partitioner("sizes", settings), TARGETS, 2, 0)


def test_rows_that_are_written_down_are_dealt_so() -> None:
    owners = Manual(((7, "0-2"), ("599-599",))).owners(TARGETS, 2, 0)
    assert np.flatnonzero(owners == 0).tolist() == [0, 1, 2, 7]
    assert np.flatnonzero(owners != NOBODY).tolist() == [0, 1, 2, 7, 599]


@pytest.mark.parametrize(
    ("rows", "said", "place"),
    [
        ((("0-9",), (9,)), "row 9 is written down twice, for sites 1 and 2", r"rows\[1\]"),
        (((600,), ()), "there is no row 600: 600 rows are trained on", r"rows\[0\]"),
        ((("5-3",), ()), "'5-3' is not a range", ""),
        ((("a",), ()), "'a' is not a range", ""),
        (((0,),), "there are 2 sites, and rows are written down for 1", ""),
    ],
)
def test_rows_that_cannot_be_are_refused(rows: tuple[tuple[int | str, ...], ...], said: str, place: str) -> None:
    with pytest.raises(ShardError, match=f"{place}.*{said}"):
        Manual(rows).owners(TARGETS, 2, 0)


def test_the_stages_of_a_pipe_go_one_after_the_other() -> None:
    shares = deal(Pipe((PipeStage(sites=2, labels=(3, 4), size=10), PipeStage(sites=3))), 5, 0)
    assert all(labels_of(share) <= {3, 4} and len(share) == 10 for share in shares[:2])
    assert sum(len(share) for share in shares) == len(TARGETS)


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ([{"sites": 1}], "the stages are for 1 sites, and there are 2"),
        ([{"sites": 2, "labels": [3, 12]}], r"stages\[0\]: no row has the label 12"),
        ([{"sites": 1}, {"sites": 1}], r"stages\[1\]: there are no rows to deal out"),
        ([{"sites": 2, "labels": [3], "size": 50}], "need 100 rows of label 3, and .. are left"),
        ([{"sites": 2, "partitioner": {"template": "my.deal:Mine"}}], "one of the short names"),
        ([{"sites": 2, "partitioner": {"template": "dirichle"}}], "did you mean 'dirichlet'"),
        ([{"sites": 2, "lables": [3]}], "did you mean 'labels'"),
    ],
)
def test_stages_that_cannot_be_are_refused(stages: list[dict[str, object]], said: str) -> None:
    with pytest.raises(ShardError, match=said):
        owners_of(build_partitioner("pipe", {"stages": stages}), TARGETS, 2, 0)


def test_a_pipe_needs_labels_if_a_stage_does() -> None:
    assert not Pipe((PipeStage(sites=1),)).needs_labels
    assert Pipe((PipeStage(sites=1, labels=(1,)),)).needs_labels
    assert build_partitioner("pipe", {"stages": [{"sites": 1, "partitioner": {"template": "shards"}}]}).needs_labels


class EarlierPartitioner:
    """As they were written before: asked for one site at a time."""

    def indices(self, targets: np.ndarray, site: int, sites: int, seed: int) -> np.ndarray:  # noqa: ARG002 - nothing is drawn
        return np.arange(site - 1, len(targets), sites)[:3]


class GreedyPartitioner:
    """Gives everybody the same."""

    def indices(self, targets: np.ndarray, site: int, sites: int, seed: int) -> np.ndarray:  # noqa: ARG002 - it looks at nothing
        return np.arange(4)


class SilentPartitioner:
    """Does not say what it needs."""

    def owners(self, targets: np.ndarray, sites: int, seed: int) -> np.ndarray:  # noqa: ARG002 - it looks at nothing
        return np.zeros(len(targets), dtype=np.int64)


class RaisingPartitioner:
    """Has a mistake, where its setting says."""

    needs_labels = False

    def __init__(self, early: bool) -> None:  # noqa: FBT001 - a setting, which comes by name
        if early:
            raise ValueError("no settings like that")

    def owners(self, targets: np.ndarray, sites: int, seed: int) -> np.ndarray:  # noqa: ARG002 - it fails at once
        return np.array([1 / 0])


class WrongPartitioner:
    """Says what is no answer."""

    needs_labels = False

    def __init__(self, answer: list[float]) -> None:
        self._answer = answer

    def owners(self, targets: np.ndarray, sites: int, seed: int) -> np.ndarray:  # noqa: ARG002 - it looks at nothing
        return np.array(self._answer)


def test_a_partitioner_that_is_asked_for_one_site_at_a_time_is_still_taken() -> None:
    made = build_partitioner(f"{__name__}:EarlierPartitioner", {})
    assert [share.tolist() for share in deal(made, 3, 0)] == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]
    assert made.needs_labels


def test_a_row_that_is_given_to_two_sites_is_told() -> None:
    with pytest.raises(ShardError, match="GreedyPartitioner gave a row to two sites"):
        owners_of(build_partitioner(f"{__name__}:GreedyPartitioner", {}), TARGETS, 2, 0)


@pytest.mark.parametrize("answer", [[0, 0], [0.0, 0.0, 0.0], [0, 0, 3], [0, 0, -2]])
def test_an_answer_that_is_none_is_told(answer: list[float]) -> None:
    with pytest.raises(ShardError, match="WrongPartitioner"):
        owners_of(WrongPartitioner(answer), np.array([0, 1, 0]), 3, 0)


@pytest.mark.parametrize(
    ("early", "said"), [(True, "ValueError: no settings like that"), (False, "ZeroDivisionError: division by zero")]
)
def test_what_a_partitioner_raises_is_told_with_its_line(early: bool, said: str) -> None:  # noqa: FBT001 - a parameter
    with pytest.raises(ShardError, match=f"raised {said} .*test_data_partition.py:[0-9]+"):
        owners_of(build_partitioner(f"{__name__}:RaisingPartitioner", {"early": early}), np.array([0, 1]), 2, 0)


def test_a_partitioner_says_whether_it_needs_labels() -> None:
    with pytest.raises(ShardError, match="does not say whether it goes by class labels") as caught:
        build_partitioner(f"{__name__}:SilentPartitioner", {})
    assert "needs_labels = True" in caught.value.cure
