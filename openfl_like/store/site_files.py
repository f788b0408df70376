"""Names of files and folders at a site: who needs one asks here."""

import re
from dataclasses import dataclass
from pathlib import Path

from openfl_like.errors import NotAllowedError
from openfl_like.plan.names import EXPERIMENT_PATTERN
from openfl_like.store.files import ExperimentFiles
from openfl_like.store.removal import remove_tree


def algorithm_state(directory: Path) -> Path:
    """The folder of a Collaborator's directory with what the plan's algorithm keeps at the site between rounds."""
    return directory / "algorithm"


PROCESS_NOTES = "processes"
"""File that lists the worker and whatever it has started, below the directory that its work belongs to."""


@dataclass(frozen=True, slots=True)
class CollaboratorFiles:
    """What a Collaborator keeps in its working directory."""

    directory: Path

    def prepare(self) -> None:
        """Make the directories."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in (self.updates, self.models):
            folder.mkdir(exist_ok=True)

    @property
    def updates(self) -> Path:
        """Updates that were not acknowledged yet."""
        return self.directory / "updates"

    @property
    def models(self) -> Path:
        """Models that were fetched."""
        return self.directory / "models"

    @property
    def progress(self) -> Path:
        """Is there if something was delivered since the Collaborator was started."""
        return self.directory / "progress"

    @property
    def performed(self) -> Path:
        """What was done, a line for each assignment, until it is in the site's record."""
        return self.directory / "performed"


@dataclass(frozen=True, slots=True)
class SiteExperimentFiles:
    """What an Envoy keeps of one experiment."""

    directory: Path

    @property
    def received(self) -> ExperimentFiles:
        """Bundle and plan."""
        return ExperimentFiles(self.directory)

    @property
    def workspace(self) -> Path:
        """The submitted code."""
        return self.directory / "workspace"

    @property
    def certificate(self) -> Path:
        """Certificate and key of the Collaborator."""
        return self.directory / "certificate"

    @property
    def run(self) -> Path:
        """Where the Collaborator and its worker work."""
        return self.directory / "run"

    def clear(self) -> None:
        """Remove all of it but what the plan's algorithm keeps, and make the folder if it is not there."""
        kept = algorithm_state(self.run)
        self.run.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.directory.chmod(0o700)
        for entry in {*self.directory.iterdir(), *self.run.iterdir()} - {self.run, kept}:
            if entry.is_dir() and not entry.is_symlink():
                remove_tree(entry)
            else:
                entry.unlink(missing_ok=True)

    @property
    def environment_log(self) -> Path:
        """What was said while packages were installed."""
        return self.directory / "environment.log"

    @property
    def collaborator_log(self) -> Path:
        """What the Collaborator and its worker wrote."""
        return self.directory / "collaborator.log"


@dataclass(frozen=True, slots=True)
class SiteFiles:
    """What an Envoy keeps in its directory."""

    directory: Path

    @property
    def environments(self) -> Path:
        """Installed packages of workspaces."""
        return self.directory.absolute() / "environments"

    @property
    def description(self) -> Path:
        """Where the process works that loads the shard to describe it."""
        return self.directory / "describe"

    @property
    def warm_up(self) -> Path:
        """Say what the last experiment at the site imported."""
        return self.directory / "warm-up.json"

    def experiment(self, experiment: str) -> SiteExperimentFiles:
        """Return the files of one experiment.

        Raises:
            NotAllowedError: If that is not how a Director names one: the folder, which is cleared, could be anywhere.
        """
        if not re.fullmatch(EXPERIMENT_PATTERN, experiment):
            raise NotAllowedError(f"{experiment[:64]!a} is not a valid id of an experiment")
        return SiteExperimentFiles(self.directory / experiment)

    def process_notes(self) -> list[Path]:
        """Return every list of processes that former Collaborators have left."""
        return sorted(self.directory.glob(f"*/run/{PROCESS_NOTES}"))
