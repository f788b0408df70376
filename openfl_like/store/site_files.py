"""Names of files and folders at a site."""

from pathlib import Path


def progress_note(directory: Path) -> Path:
    """The file that says that the Collaborator of this directory has delivered something since it was started."""
    return directory / "progress"


def warm_up_note(directory: Path) -> Path:
    """The file in an Envoy's directory that says what the last experiment at the site imported."""
    return directory / "warm-up.json"


PROCESS_NOTES = "processes"
"""File that lists the worker and whatever it has started, below the directory that its work belongs to."""
