"""Names of files and folders in a Director's state directory."""

INCOMING, OUTGOING = "incoming", "outgoing"


UNFINISHED = "import.unfinished"
"""In the directory of an experiment that was imported, until it has a row."""
