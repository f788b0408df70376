"""Text that somebody else wrote, made harmless for terminals and spreadsheets.

Sites, their data and submitted code are not trusted.
"""

import re

_HARMFUL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
"""Control characters, those that reorder or hide text, and halves of characters."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_KEPT = "\t"
_KEPT_IN_TEXT = "\t\n"


def printable_line(text: str) -> str:
    r"""Return a text as one line in which whatever could steer a terminal is written out, as ``\x1b``."""
    return _HARMFUL.sub(lambda found: _written_out(found[0], _KEPT), text)


def printable(text: str) -> str:
    """Do the same for a text that may have several lines."""
    return _HARMFUL.sub(lambda found: _written_out(found[0], _KEPT_IN_TEXT), text)


def _written_out(character: str, kept: str) -> str:
    return character if character in kept else character.encode("unicode_escape").decode("ascii")


def harmless_cell(value: object) -> object:
    """Return a value with ``'`` before a text that a spreadsheet would calculate: it shows it without."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
