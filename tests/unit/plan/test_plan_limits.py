"""How long is waited where a plan does not say."""

import pytest

from openfl_like.plan.limits import FIRST_TASK_S, described, return_limit_s, task_limit_s
from openfl_like.plan.schema import Deadline

NONE, BOTH = Deadline(), Deadline(round_s=60, train_s=30)


@pytest.mark.parametrize(
    ("own_s", "longest_s", "limit_s"),
    [
        (None, None, FIRST_TASK_S),
        (None, 0.1, 3600.0),
        (None, 360.0, 3600.0),
        (None, 361.0, 7200.0),
        (None, 10_000.0, 115_200.0),
        (30.0, 1000.0, 30.0),
        (60.0, None, 60.0),
    ],
)
def test_a_task_may_take_what_the_plan_says_or_ten_times_what_was_seen(
    own_s: float | None, longest_s: float | None, limit_s: float
) -> None:
    assert task_limit_s(own_s, longest_s) == limit_s


@pytest.mark.parametrize(
    ("deadline", "longest_s", "limit_s"),
    [
        (NONE, (), 60.0),
        (NONE, (20.0, 1.0), 60.0),
        (NONE, (200.0,), 400.0),
        (NONE, (100_000.0,), 3600.0),
        (BOTH, (200.0,), 60.0),
        (Deadline(round_s=5), (), 5.0),
        (Deadline(rejoin_s=7), (200.0,), 7.0),
    ],
)
def test_a_site_may_stay_away_as_long_as_a_round_is_worth(
    deadline: Deadline, longest_s: tuple[float, ...], limit_s: float
) -> None:
    assert return_limit_s(deadline, longest_s) == limit_s


def test_what_is_left_out_is_told_and_nothing_else() -> None:
    assert [*described(NONE)] == ["deadline.train_s", "deadline.round_s", "deadline.rejoin_s"]
    assert described(Deadline(round_s=30)) == {"deadline.rejoin_s": "2 times the longest so far, from 30 to 30 s"}
    assert described(Deadline(round_s=30, rejoin_s=3)) == {}
    grace = {"deadline.grace_s": "15 s: a quarter of train_s, at least 10 s"}
    assert described(Deadline(train_s=60, round_s=90, rejoin_s=3)) == grace
    assert described(Deadline(train_s=60, grace_s=4, round_s=90, rejoin_s=3)) == {}
