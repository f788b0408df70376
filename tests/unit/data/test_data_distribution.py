import numpy as np
import pytest

from openfl_like.data.distribution import Distribution


def distribution(counts: list[list[int]], held_out: list[int] | None = None, *, labelled: bool = True) -> Distribution:
    array = np.array(counts)
    labels = tuple(range(array.shape[1])) if labelled else ()
    return Distribution(np.arange(len(counts)), labels, array, np.array(held_out or [1] * len(counts)))


def test_sites_that_are_alike_are_iid_whatever_their_sizes() -> None:
    assert distribution([[3, 6], [10, 20], [1, 2]]).iidness == pytest.approx(1.0)


def test_sites_of_one_label_are_as_far_as_their_number_allows() -> None:
    """By hand: a site has (1, 0), all have (1/2, 1/2); the middle is (3/4, 1/4)."""
    divergence = (np.log2(1 / 0.75) + (0.5 * np.log2(0.5 / 0.75) + 0.5 * np.log2(0.5 / 0.25))) / 2
    assert distribution([[5, 0], [0, 5]]).iidness == pytest.approx(1 - np.sqrt(divergence))


def test_the_more_skewed_the_lower() -> None:
    found = [distribution([[50 + skew, 50 - skew], [50 - skew, 50 + skew]]).iidness for skew in (0, 10, 30, 50)]
    assert all(score is not None for score in found)
    assert found == sorted(found, key=lambda score: -(score or 0))


def test_without_labels_there_is_no_score() -> None:
    found = distribution([[5], [7]], labelled=False)
    assert found.iidness is None
    assert found.sizes == {"least": 6, "median": 6, "most": 8}


def test_sizes_count_held_out_samples_too() -> None:
    found = distribution([[1, 1], [5, 5], [2, 1]], [3, 4, 5])
    assert found.sizes == {"least": 5, "median": 8, "most": 14}
    assert found.trained.tolist() == [2, 10, 3]
    assert found.facts == {"samples": {"least": 5, "median": 8, "most": 14}, "iidness": found.iidness}
