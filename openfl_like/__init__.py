"""Federated learning for sites whose data never leaves them, over mTLS."""

__version__ = "0.2.0"


def _refuse_older_python() -> None:
    """Say in one line what is needed: every Python 3 reads this file, and an older one would end over the next."""
    import sys  # noqa: PLC0415 (a package exports nothing)

    if sys.version_info < (3, 11):  # noqa: UP036 (a checkout or a wrong environment has no pip that refuses)
        found = ".".join(str(number) for number in sys.version_info[:2])
        raise SystemExit("openfl_like needs Python 3.11 or later; this is " + found + ", " + sys.executable)


_refuse_older_python()
