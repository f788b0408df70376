"""Shifts the wall clock of a Python process; Python imports this before anything else when its folder is on PYTHONPATH.

Not for import: see `openfl_like.testing.faults.wall_clock`. The file that ``OPENFL_LIKE_WALL_CLOCK`` names has a line
``WORDS SECONDS`` for each shift; it is for processes that have all the words in their command line, and is read again
as often as it changes. Monotonic time is left alone, as a step of a real clock leaves it alone; TLS looks at the real
clock.
"""

import datetime
import os
import sys
import time

_FILE = os.environ.get("OPENFL_LIKE_WALL_CLOCK", "")
_EVERY_S = 0.1
_time, _time_ns = time.time, time.time_ns
_datetime: type[datetime.datetime] = datetime.datetime
_known = [0.0, 0.0]  # the shift, and when to look again


def _shift() -> float:
    now = time.monotonic()
    if now >= _known[1]:
        _known[:] = [_read(), now + _EVERY_S]
    return _known[0]


def _read() -> float:
    ours = set(sys.orig_argv)
    try:
        with open(_FILE, encoding="utf-8") as file:  # noqa: PTH123 (nothing is imported here that is not needed)
            lines = [line.split() for line in file]
    except OSError:
        return _known[0]
    return sum(float(words[-1]) for words in lines if words and ours.issuperset(words[:-1]))


class _Kind(type):
    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, _datetime)


class _Shifted(datetime.datetime, metaclass=_Kind):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:  # type: ignore[override] # not Self: the real class
        return cls.fromtimestamp(_time() + _shift(), tz)


if _FILE:
    time.time = lambda: _time() + _shift()
    time.time_ns = lambda: _time_ns() + int(_shift() * 1e9)
    datetime.datetime = _Shifted  # type: ignore[misc] # a class that is the same but for its clock
