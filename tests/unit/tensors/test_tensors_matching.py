"""Patterns for names of tensors: the first that matches counts, and one for nothing is a mistake."""

import pytest

from openfl_like.errors import TensorError
from openfl_like.tensors.matching import matched
from openfl_like.tensors.named import ALGORITHM, OPTIMIZER

NAMES = ["body.0.weight", "body.bn.bias", "body.bn.weight", "head.bias", "head.weight"]


def test_the_first_pattern_that_matches_counts() -> None:
    found = matched(NAMES, ["*.bn.weight", "*.bn.*", "head.?????[st]"])
    assert found == {"body.bn.weight": 0, "body.bn.bias": 1, "head.weight": 2}


def test_what_is_not_the_models_own_matches_nothing() -> None:
    added = [f"{ALGORITHM}control/head.bias", f"{OPTIMIZER}momentum/head.bias"]
    assert matched([*NAMES, *added], ["*head.bias"]) == {"head.bias": 0}


@pytest.mark.parametrize(
    ("patterns", "told", "cure"),
    [
        (["head.*", "*.BN.*"], r"aggregation.rules\[1\].match: '\*.BN.\*' matches no tensor", "'body.0.weight', "),
        (["head.*", "head.bias"], r"rules\[1\].match: 'head.bias' matches only what a rule before it", "put it first"),
    ],
)
def test_a_pattern_for_nothing_is_refused_with_its_place(patterns: list[str], told: str, cure: str) -> None:
    with pytest.raises(TensorError, match=told) as raised:
        matched(NAMES, patterns)
    assert cure in raised.value.cure


def test_not_all_of_many_names_are_told() -> None:
    with pytest.raises(TensorError) as raised:
        matched([f"layer.{number}" for number in range(1000)], ["none"])
    assert raised.value.cure.endswith("and 995 more")
