"""Public parts for tests: a clock that is moved by hand, throw-away certificates, a federation of real processes.

Layer: the top, beside `cli`; imported by tests only, ours and those of whoever builds on the platform.
"""
