"""Public parts for tests: a federation in this process, sites, sessions, stores, a clock moved by hand, a gate.

Layer: the top, beside `cli`; imported by tests only, ours and those of whoever builds on the platform.

Example:
    >>> from openfl_like.testing.clock import FakeClock
    >>> clock, rung = FakeClock(), []
    >>> _ = clock.call_later(30.0, lambda: rung.append("now"))
    >>> clock.advance(29.0), clock.advance(1.0), rung
    (0, 1, ['now'])
"""
