import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openfl_like.frameworks.metrics.classifiers import accuracy, auc, classification
from openfl_like.frameworks.metrics.seen import Seen

SCORED = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=40)


def pairwise(scores: np.ndarray, targets: np.ndarray) -> float:
    """The definition: over all pairs of a positive and a negative sample."""
    ahead = scores[targets == 1][:, None] - scores[targets == 0][None, :]
    return float(np.mean((ahead > 0) + 0.5 * (ahead == 0)))


@given(SCORED)
def test_auc_is_the_share_of_rightly_ordered_pairs(scored: list[tuple[int, bool]]) -> None:
    scores, targets = np.array([s for s, _ in scored], dtype=float), np.array([int(t) for _, t in scored])
    if len(set(targets.tolist())) == 1:
        assert math.isnan(auc(scores, targets))
    else:
        assert auc(scores, targets) == pytest.approx(pairwise(scores, targets), abs=1e-12)


def test_auc_of_perfect_wrong_and_useless_scores() -> None:
    targets = np.array([0, 0, 1, 1])
    assert auc(np.array([1.0, 2, 3, 4]), targets) == 1
    assert auc(np.array([4.0, 3, 2, 1]), targets) == 0
    assert auc(np.zeros(4), targets) == 0.5


def test_accuracy_of_one_score_and_of_many() -> None:
    assert accuracy(np.array([-1.0, 1, 1, -1]), np.array([0, 1, 0, 0])) == 0.75
    assert accuracy(np.array([[1.0, 2, 0], [3, 0, 1]]), np.array([1, 2])) == 0.5


def test_a_column_of_scores_is_one_score() -> None:
    targets = np.array([0, 1, 1])
    assert classification(np.array([[-1.0], [2], [-3]]), targets) == classification(np.array([-1.0, 2, -3]), targets)


def test_two_scores_have_an_auc_and_three_do_not() -> None:
    targets = np.array([0, 1])
    assert classification(np.array([[1.0, 0], [0, 1]]), targets) == {"accuracy": 1.0, "auc": 1.0}
    assert classification(np.array([[1.0, 0, 0], [0, 1, 0]]), targets) == {"accuracy": 1.0}


def test_there_is_no_auc_of_a_single_class() -> None:
    assert classification(np.array([1.0, 2.0]), np.array([1, 1])) == {"accuracy": 1.0}


@pytest.mark.parametrize(
    ("scores", "targets", "names"),
    [
        (np.zeros((4, 1)), np.array([[0], [1], [1], [0]], np.uint8), {"loss", "accuracy", "auc"}),
        (np.zeros(4), np.array([True, False, True, True]), {"loss", "accuracy", "auc"}),
        (np.zeros((4, 3)), np.array([0, 1, 2, 2], np.int8), {"loss", "accuracy"}),
        (np.zeros((4, 3)), np.array([1, 2, 3, 3]), {"loss"}),
        (np.zeros(4), np.array([-1, 1, 1, -1]), {"loss"}),
        (np.zeros((4, 5, 2)), np.array([0, 1, 1, 0]), {"loss"}),
        (np.zeros((4, 2)), np.eye(2, dtype=np.int64)[[0, 1, 1, 0]], {"loss"}),
        (np.zeros(4), np.ones(4), {"loss"}),
    ],
)
def test_a_classifier_s_metrics_are_those_of_class_numbers_that_have_scores(
    scores: np.ndarray, targets: np.ndarray, names: set[str]
) -> None:
    seen = Seen()
    seen.add(1.0, scores[:3], targets[:3])
    seen.add(2.0, scores[3:], targets[3:])
    assert seen.metrics().keys() == names
    assert seen.metrics()["loss"] == 1.25
