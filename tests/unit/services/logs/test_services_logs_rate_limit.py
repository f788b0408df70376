"""How much may go out: a burst, then an average, and what is dropped is counted."""

from openfl_like.services.logs.rate_limit import Rate, RateLimited, TokenBucket, Withheld

RATE = Rate(lines_per_s=2.0, bytes_per_s=100.0, burst_s=3.0)


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_goes_out_and_then_so_many_lines_a_second() -> None:
    time = Time()
    outlet = RateLimited(TokenBucket(RATE, time))
    assert outlet.admit("abcdefgh") == list("abcdef")
    time.now = 0.9
    assert outlet.admit("i") == []  # it stays closed until there is room for a second's worth
    time.now = 1.0
    note = "(3 lines are missing here: more than 2 lines or 0.0976562 KiB a second were written)"
    assert outlet.admit("jkl") == [note, "j", "k"]
    assert outlet.settle() == ["(1 lines are missing here: more than 2 lines or 0.0976562 KiB a second were written)"]
    assert outlet.settle() == []


def test_bytes_count_too_and_characters_are_not_bytes() -> None:
    time = Time()
    outlet = RateLimited(TokenBucket(RATE, time))
    assert outlet.admit(["é" * 100, "x" * 100]) == ["é" * 100, "x" * 100]
    assert outlet.admit(["x"]) == []
    time.now = 2.0
    assert outlet.admit(["y" * 150])[1:] == ["y" * 150]


def test_those_who_share_a_bucket_tell_their_own_losses() -> None:
    bucket = TokenBucket(RATE, Time())
    one, other = RateLimited(bucket), RateLimited(bucket)
    assert len(one.admit("abcdefg")) == 6
    assert other.admit("hi") == []
    assert one.settle()[0].startswith("(1 lines ")
    assert other.settle()[0].startswith("(2 lines ")


def test_a_clock_that_steps_back_takes_nothing_away() -> None:
    time = Time()
    outlet = RateLimited(TokenBucket(RATE, time))
    time.now = -50.0
    assert outlet.admit("abc") == list("abc")


def test_who_keeps_its_logs_says_so_once() -> None:
    outlet = Withheld("bern")
    assert [*outlet.admit(["secret"]), *outlet.admit(["more"]), *outlet.settle()] == [
        "(site 'bern' keeps its logs: logs.share of its shard.yaml is false)"
    ]
