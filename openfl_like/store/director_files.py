"""Names of files and folders in a Director's state directory: who needs one asks here."""

import secrets
from dataclasses import dataclass
from pathlib import Path

from openfl_like.store.files import ExperimentFiles
from openfl_like.store.site_files import PROCESS_NOTES

EXPERIMENTS = "experiments"
"""In the state directory: a folder for each experiment."""
UNFINISHED = "import.unfinished"
"""In the directory of an experiment that was imported, until it has a row."""
REMOVING = "removal.unfinished"
"""In the directory of an experiment that is being removed: once it has no row, it goes, too."""


@dataclass(frozen=True, slots=True)
class DirectorFiles:
    """What a Director keeps.

    Attributes:
        state: Its state directory.
    """

    state: Path

    @property
    def incoming(self) -> Path:
        """Where submissions and checkpoints arrive."""
        return self.state / "incoming"

    @property
    def outgoing(self) -> Path:
        """Where checkpoints are made."""
        return self.state / "outgoing"

    @property
    def processes(self) -> Path:
        """List of the processes that descend from the Director, for the next one."""
        return self.state / PROCESS_NOTES

    @property
    def experiments(self) -> Path:
        """The folder with a folder for each experiment."""
        return self.state / EXPERIMENTS

    def experiment(self, experiment: str) -> ExperimentFiles:
        """Return the files of one experiment."""
        return ExperimentFiles(self.experiments / experiment)

    def submission(self, owner: str, request_id: str) -> Path:
        """Return where the bundle of a request arrives: the same request goes on with the same file."""
        return self.incoming / f"{owner}-{request_id}.tar"

    def checkpoint(self, owner: str, request_id: str) -> Path:
        """Return where the checkpoint of a request arrives."""
        return self.incoming / f"{owner}-{request_id}.checkpoint"

    def unpacked(self) -> Path:
        """Return a new name for what is unpacked, until it has its place."""
        return self.incoming / f"unpacked-{secrets.token_hex(8)}"

    def export(self, experiment: str) -> Path:
        """Return a new name for a checkpoint that is made."""
        return self.outgoing / f"{experiment}-{secrets.token_hex(8)}.tar"
