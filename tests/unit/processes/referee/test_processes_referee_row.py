"""How long answers may take that follow each other."""

from openfl_like.processes.referee.row import TimeInARow


class Hand:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_answers_without_a_pause_share_their_time_and_a_pause_forgives() -> None:
    clock = Hand()
    row = TimeInARow(10.0, clock)
    left = []
    for pause in (0.0, 0.001, 0.001, 0.1, 5.0):
        clock.seconds += pause
        with row.spending() as left_s:
            left.append(round(left_s, 2))
            clock.seconds += 4.0
    assert left == [10.0, 6.02, 2.04, 0.04, 10.0]


def test_quick_answers_are_never_too_many() -> None:
    clock = Hand()
    row = TimeInARow(1.0, clock)
    for _ in range(10_000):
        clock.seconds += 0.001
        with row.spending() as left_s:
            assert left_s > 0.9
            clock.seconds += 0.01
