"""Names of files and folders at a site."""

from pathlib import Path


def progress_note(directory: Path) -> Path:
    """The file that says that the Collaborator of this directory has delivered something since it was started."""
    return directory / "progress"


PROCESS_NOTES = "processes"
"""File that lists the worker and whatever it has started, below the directory that its work belongs to."""
