"""Colours of states; always beside a word, and readable on light and on dark terminals."""

from openfl_like.federation.status import Status

GOOD, ODD, BAD = "green4", "dark_orange3", "bold red1"
"""What is in order, what somebody should look at, and what went wrong."""

_WORDS = {
    Status.FINISHED.value: GOOD,
    f"{Status.FINISHED.value} (DEGRADED)": ODD,
    Status.FAILED.value: BAD,
    Status.CANCELLED.value: ODD,
    "ok": GOOD,
    "warn": ODD,
    "fail": BAD,
    "serving": GOOD,
    "degraded": ODD,
    "connected": GOOD,
    "away": ODD,
    "revoked": BAD,
}


def colour_of(word: str) -> str:
    """Return the style of a state; empty for what is none."""
    return _WORDS.get(word, "")
