"""An id, a beginning that no other has, or ``last``: over the experiments that a user may see."""

import pytest

from openfl_like.api.naming import experiment_id, is_whole
from openfl_like.errors import NotFoundError, UsageError
from openfl_like.federation.parties import ExperimentSummary
from openfl_like.federation.status import Status

KNOWN = [
    ExperimentSummary(name, "digits", Status.FINISHED, "", "ada", 1.0)
    for name in ("digits-1a2b3c4d", "digits-1a9f0000", "heart_disease-5e6f7a8b", "heart-5e6f7a8b")
]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("digits-1a2b3c4d", "digits-1a2b3c4d"),
        ("digits-1a2", "digits-1a2b3c4d"),
        ("heart_d", "heart_disease-5e6f7a8b"),
        ("heart-5", "heart-5e6f7a8b"),
        ("last", "heart-5e6f7a8b"),
    ],
)
def test_what_is_meant(text: str, meant: str) -> None:
    assert experiment_id(text, KNOWN) == meant


def test_an_id_that_begins_another_one_is_itself() -> None:
    longer = ExperimentSummary("heart-5e6f7a8b-9c0d1e2f", "x", Status.QUEUED, "", "ada", 2.0)
    assert experiment_id("heart-5e6f7a8b", [*KNOWN, longer]) == "heart-5e6f7a8b"


def test_a_beginning_of_several_is_refused_with_the_newest() -> None:
    with pytest.raises(UsageError, match="the ids of 2 experiments begin with 'digits-1a'") as caught:
        experiment_id("digits-1a", KNOWN)
    assert caught.value.cure == "write more of it: digits-1a9f0000, digits-1a2b3c4d"


@pytest.mark.parametrize(
    ("text", "cure"),
    [("digits-1a9f000x", "did you mean 'digits-1a9f0000'?"), ("", "known: "), ("mars", "known: digits-1a2b3c4d, ")],
)
def test_none_is_told_with_those_that_there_are(text: str, cure: str) -> None:
    with pytest.raises(NotFoundError, match=f"there is no experiment '{text}' that you may see") as caught:
        experiment_id(text, KNOWN)
    assert caught.value.cure.startswith(cure)


@pytest.mark.parametrize("text", ["last", "x"])
def test_where_there_are_none(text: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        experiment_id(text, [])
    assert caught.value.cure == "'fx experiment submit' makes one"


def test_whole_ids_are_known_by_their_end() -> None:
    assert is_whole("heart_disease-5e6f7a8b")
    assert not any(is_whole(text) for text in ("last", "heart", "5e6f7a8b", "heart-5e6f7a8", "heart-5E6F7A8B"))
