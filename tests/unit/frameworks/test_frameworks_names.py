import re

from hypothesis import example, given
from hypothesis import strategies as st

from openfl_like.frameworks.names import stable_names


def test_layers_are_numbered_within_their_model() -> None:
    assert stable_names(["dense_7/kernel", "dense_7/bias", "out/kernel", "dense_9/kernel"]) == [
        "dense/kernel",
        "dense/bias",
        "out/kernel",
        "dense_1/kernel",
    ]


def test_the_same_model_has_the_same_names_wherever_it_is_built() -> None:
    first = ["block/dense/kernel", "block/dense_1/kernel", "dense_2/kernel"]
    later = ["block_1/dense_3/kernel", "block_1/dense_4/kernel", "dense_5/kernel"]
    assert stable_names(first) == stable_names(later) == ["block/dense/kernel", "block/dense_1/kernel", "dense/kernel"]


parts = st.from_regex(re.compile(r"[ab](_[0-9])?(_[0-9])?", re.ASCII), fullmatch=True)


@example(["a", "a", "a", "a_1"])
@given(st.lists(st.lists(parts, min_size=1, max_size=3).map("/".join), max_size=12))
def test_different_tensors_keep_different_names(paths: list[str]) -> None:
    assert len(set(stable_names(paths))) == len(paths)
